"""Tests of topologies whose messages or results are on a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.deploy.topology.formats import graph, tfvars
from taskq_cloud.deploy.topology.formats import json as as_json
from taskq_cloud.deploy.topology.model import Server, Topology
from taskq_cloud.deploy.topology.servers import is_secret, servers
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import STORES

OF_CLOUDS = frozenset({"azureblob", "azureblockblob", "dynamodb", "gs", "s3"})
ELSEWHERE = frozenset({"disabled", "django-cache", "django-db", "file", "memory", "redis+socket", "sqlite"})
NO_SERVERS = OF_CLOUDS | ELSEWHERE
"""Schemes of results that name no server."""


def application(broker: str, results: str, **settings: Any) -> TaskQ:
    app = TaskQ("shop", broker=broker, results=results, task_default_queue="work", **settings)
    app.task(name="shop.charge", time_limit=5)(len)
    app.task(name="shop.report", queue="reports", time_limit=5)(len)
    return app


def topology(broker: str, results: str, **settings: Any) -> Topology:
    return application(broker, results, **settings).topology(app_path="shop:app")


def addresses(server: Server) -> list[str]:
    return [f"{each.host}:{each.port}" for each in server.addresses]


@pytest.mark.parametrize(
    ("broker", "kind", "expected", "tls", "database"),
    [
        ("redis://cache/3", "redis", ["cache:6379"], False, "3"),
        ("rediss://:pw@cache:6380", "redis", ["cache:6380"], True, "0"),
        ("sentinel://one:26379/0;sentinel://two:26379/0", "redis", ["one:26379", "two:26379"], False, "0"),
        ("amqp://guest:pw@rabbit//", "rabbitmq", ["rabbit:5672"], False, "/"),
        ("amqps://guest:pw@rabbit/shop", "rabbitmq", ["rabbit:5671"], True, "shop"),
        ("postgresql://u:pw@one,two:5433/shop", "postgresql", ["one:5432", "two:5433"], False, "shop"),
        ("postgresql://one/shop?sslmode=require", "postgresql", ["one:5432"], True, "shop"),
    ],
    ids=["redis", "redis over TLS", "sentinels", "rabbitmq", "rabbitmq over TLS", "two hosts", "sslmode"],
)
def test_broker_on_server_is_declared_with_address_and_containers(
    broker: str, kind: str, expected: list[str], tls: bool, database: str
) -> None:
    options = {"broker_transport_options": {"master_name": "m"}} if broker.startswith("sentinel") else {}
    found = topology(broker, "disabled://", **options)
    [server] = found.servers
    assert (server.name, server.kind, addresses(server), server.tls) == ("broker", kind, expected, tls)
    assert [(each.role, each.database) for each in server.uses] == [("broker", database)]
    assert [each.queue for each in found.server_queues] == ["reports", "work"]
    assert [each.dead_letter_queue for each in found.server_queues] == ["reports-dead", "work-dead"]
    assert (found.queues, found.functions) == ((), ())
    [service] = found.services
    assert (service.queues, service.minimum_tasks) == (("reports", "work"), 1)


def test_server_of_broker_and_results_is_declared_once() -> None:
    [server] = topology("redis://cache/0", "redis://cache/1").servers
    assert [(each.role, each.variable, each.database) for each in server.uses] == [
        ("broker", "TASKQ_BROKER", "0"),
        ("results", "TASKQ_RESULTS", "1"),
    ]


def test_results_by_rpc_are_on_server_of_broker() -> None:
    [server] = topology("amqp://rabbit", "rpc://").servers
    assert [each.role for each in server.uses] == ["broker", "results"]


def test_results_by_rpc_on_server_of_their_own_are_declared() -> None:
    found = topology("redis://cache", "rpc://guest:pw@rabbit//").servers
    assert [(each.name, each.kind, addresses(each)) for each in found] == [
        ("broker", "redis", ["cache:6379"]),
        ("results", "rabbitmq", ["rabbit:5672"]),
    ]


@pytest.mark.parametrize(
    ("results", "kind", "expected"),
    [
        ("db+postgresql+psycopg://db/shop", "postgresql", ["db:5432"]),
        ("db+mysql+pymysql://db/shop", "mariadb", ["db:3306"]),
        ("cache+memcached://one:11211;two:11212/", "memcached", ["one:11211", "two:11212"]),
        ("mongodb://one,two:27018/shop", "mongodb", ["one:27017", "two:27018"]),
        ("elasticsearch+https://search:443/celery", "elasticsearch", ["search:443"]),
    ],
    ids=["postgresql", "mariadb", "memcached", "mongodb", "elasticsearch"],
)
def test_functions_with_results_on_server_declare_it(results: str, kind: str, expected: list[str]) -> None:
    found = topology("sqs://eu-west-1/shop-", results)
    assert [each.runtime for each in found.queues] == ["lambda", "lambda"]
    [server] = found.servers
    assert (server.name, server.kind, addresses(server)) == ("results", kind, expected)
    assert [each.role for each in server.uses] == ["results"]


@pytest.mark.parametrize("scheme", sorted(STORES.known.keys() - NO_SERVERS))
def test_every_scheme_of_servers_is_known(scheme: str) -> None:
    assert is_secret(f"{scheme}://user:hunter2@server/x")


def test_hosts_of_cassandra_share_a_port() -> None:
    [server] = servers(TaskQ("shop", broker="sqs:///", results="cassandra://one,two:9043/shop").conf, [])
    assert addresses(server) == ["one:9043", "two:9043"]


def test_url_with_password_is_not_written_down() -> None:
    found = topology("redis://shop:hunter2@cache/0", "postgresql://db/shop?password=hunter2")
    assert [use.secret for server in found.servers for use in server.uses] == [True, True]
    for text in (as_json.write(found), tfvars.write(found), graph.write(found), graph.write_mermaid(found)):
        assert "hunter2" not in text
        assert "shop:hunter2" not in text
    assert "TASKQ_BROKER" not in found.environment
    assert "TASKQ_RESULTS" not in found.services[0].environment


def test_url_without_password_is_in_environment() -> None:
    found = topology("redis://cache/0", "redis://cache/1")
    assert found.environment["TASKQ_BROKER"] == "redis://cache/0"
    assert found.services[0].environment["TASKQ_RESULTS"] == "redis://cache/1"


def test_password_in_environment_of_deployment_is_refused() -> None:
    deployment = {"environment": {"TASKQ_RESULTS": "redis://:hunter2@cache"}}
    with pytest.raises(ImproperlyConfigured, match="TASKQ_RESULTS would be written") as caught:
        topology("sqs:///shop-", "disabled://", deployment=deployment)
    assert "hunter2" not in str(caught.value)


def test_roles_of_broker_on_server_have_no_permissions_for_queues() -> None:
    [role] = topology("redis://cache/0", "redis://cache/0").roles
    assert (role.name, role.statements) == ("shop-worker-service", ())


def test_roles_of_broker_on_server_may_use_table_of_results() -> None:
    roles = topology("redis://cache/0", "dynamodb://results").roles
    assert [role.name for role in roles] == ["shop-producer", "shop-worker-service"]
    assert {action for role in roles for each in role.statements for action in each.actions} == {
        f"dynamodb:{each}"
        for each in ("BatchGetItem", "BatchWriteItem", "GetItem", "PartiQLInsert", "PutItem", "UpdateItem")
    }


def test_lambda_runtime_is_refused_for_broker_on_server() -> None:
    app = application("redis://cache/0", "disabled://")
    app.task(name="shop.pinned", queue="pinned", time_limit=5, runtime="lambda")(len)
    with pytest.raises(ImproperlyConfigured, match=r"Lambda functions need SQS as the broker.*set TASKQ_BROKER to sqs"):
        app.topology()


def test_schedules_by_terraform_are_refused_for_broker_on_server() -> None:
    with pytest.raises(ImproperlyConfigured, match="run taskq beat"):
        topology("redis://cache/0", "disabled://", deployment={"schedules": "terraform"})


def test_one_service_may_serve_any_number_of_queues_on_server() -> None:
    app = application("redis://cache/0", "disabled://")
    for number in range(6):
        app.task(name=f"shop.t{number}", queue=f"q{number}")(len)
    assert len(app.topology().services[0].queues) == 8


@pytest.mark.parametrize("url", ["redis+socket:///run/redis.sock", "sqlite:///broker.db", "memory://"])
def test_broker_on_one_machine_needs_no_deployment(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="needs no deployment"):
        topology(url, "disabled://")


@pytest.mark.parametrize("url", ["redis+socket:///run/redis.sock", "db+sqlite:///results.db"])
def test_results_on_one_machine_are_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="on one machine"):
        topology("redis://cache", url)


def test_formats_show_server_and_leave_it_out_where_there_is_none() -> None:
    found, other = topology("redis://cache/0", "redis://db/0"), topology("sqs:///shop-", "disabled://")
    written = json.loads(tfvars.write(found))["servers"]
    assert written == {
        "broker": {
            "kind": "redis",
            "addresses": [{"host": "cache", "port": 6379}],
            "tls": False,
            "uses": [{"role": "broker", "variable": "TASKQ_BROKER", "database": "0", "secret": False}],
        },
        "results": {
            "kind": "redis",
            "addresses": [{"host": "db", "port": 6379}],
            "tls": False,
            "uses": [{"role": "results", "variable": "TASKQ_RESULTS", "database": "0", "secret": False}],
        },
    }
    assert '"server:broker" -> "queue:work";' in graph.write(found)
    assert '"service:shop-worker" -> "server:results";' in graph.write(found)
    assert Topology.model_validate_json(as_json.write(found)) == found
    assert "servers" not in json.loads(tfvars.write(other))
    assert "servers" not in json.loads(as_json.write(other))


def test_options_with_password_in_file_of_deployment_are_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "TASKQ_BROKER": "sentinel://one:26379/0",
        "TASKQ_BROKER_TRANSPORT_OPTIONS": '{"master_name": "m", "sentinel_kwargs": {"password": "hunter2"}}',
        "TASKQ_WORKER_CONCURRENCY": "2",
    }
    file = tmp_path / "production.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    monkeypatch.setenv("TASKQ_ENV_FILE", str(file))
    found = TaskQ("shop", results="disabled://").topology()
    assert found.environment.keys() & variables.keys() == {"TASKQ_BROKER", "TASKQ_WORKER_CONCURRENCY"}
    assert "hunter2" not in as_json.write(found)
