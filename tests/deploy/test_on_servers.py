"""Tests of ``taskq doctor`` and ``taskq provision`` on real servers: Redis, RabbitMQ and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
import redis
from click.testing import CliRunner

from emulators.ports import free_port
from emulators.process import Emulator
from taskq_cloud import TaskQ
from taskq_cloud.cli import main
from taskq_cloud.clients.base import with_longest_call
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor import observe_servers
from taskq_cloud.deploy.doctor.checks import findings
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.provision_servers import ServerProvisioner
from taskq_cloud.errors import OperationalError

pytestmark = pytest.mark.slow

AREAS = frozenset({"alarms", "functions", "logs", "roles", "scaling", "services", "stores", "undeclared"})


@pytest.fixture
def make_app() -> Iterator[Callable[..., TaskQ]]:
    """Return a function that makes an application with queues of unique names."""
    apps: list[TaskQ] = []

    def make(broker: str, results: str = "disabled://", **settings: Any) -> TaskQ:
        settings = {"task_default_queue": f"work-{uuid4().hex[:8]}", **settings}
        app = TaskQ("shop", broker=broker, results=results, **settings)
        app.task(name="shop.length")(len)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


def drive(app: TaskQ, flow: Flow[Any]) -> Any:
    connections = Connections(with_longest_call(app.services(), 4))
    try:
        return connections.run(flow)
    finally:
        connections.close()


def diagnose(app: TaskQ) -> list[Finding]:
    topology = app.topology()
    observed = Observed(servers=drive(app, observe_servers.servers(topology, app)), skipped=AREAS)
    return findings(topology, observed)


def checks(app: TaskQ) -> list[str]:
    return [each.check for each in diagnose(app)]


def provision(app: TaskQ, *, dry_run: bool = False) -> Sequence[str]:
    provisioner = ServerProvisioner(app.topology(), app, dry_run=dry_run)
    made: Sequence[str] = drive(app, provisioner.run())
    return made


class TestRedis:
    @pytest.fixture
    def server(self, own_server: Callable[[str], Emulator]) -> Emulator:
        return own_server("redis")

    def test_server_with_safe_settings_has_no_findings(self, server: Emulator, make_app: Callable[..., TaskQ]) -> None:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "yes")
            assert checks(make_app(server.url, server.url)) == []
            assert client.keys("*taskq-doctor*") == []

    def test_server_that_drops_and_loses_messages_is_found(
        self, server: Emulator, make_app: Callable[..., TaskQ]
    ) -> None:
        app = make_app(server.url, server.url)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "no")
            client.config_set("save", "")
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.rpush(app.conf.task_default_queue, "a message in Celery's layout")
            found = {(each.check, each.severity): each for each in diagnose(app)}
        assert found.keys() == {
            ("redis.eviction", "error"),
            ("redis.eviction", "warning"),
            ("redis.layout", "warning"),
            ("redis.persistence", "warning"),
        }
        assert "writes no snapshots either" in found["redis.persistence", "warning"].difference
        assert f"1 in {app.conf.task_default_queue}" in found["redis.layout", "warning"].difference

    def test_user_without_permission_for_results_is_found_by_probe(
        self, server: Emulator, make_app: Callable[..., TaskQ]
    ) -> None:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendonly", "yes")
            client.acl_setuser("reader", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@read", "+info"])
        address = urlsplit(server.url)
        url = f"redis://reader:secret@{address.hostname}:{address.port}/0"
        found = [each for each in diagnose(make_app("sqs:///shop-", url)) if each.check.startswith("server")]
        assert len(found) == 1
        assert "secret" not in found[0].difference

    def test_wrong_password_and_missing_server_are_findings(
        self, server: Emulator, make_app: Callable[..., TaskQ]
    ) -> None:
        address = urlsplit(server.url)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", "secret")
        wrong = make_app(f"redis://:hunter2@{address.hostname}:{address.port}/0")
        missing = make_app(f"redis://127.0.0.1:{free_port()}/0")
        for app in (wrong, missing):
            [finding] = diagnose(app)
            assert (finding.check, finding.severity) == ("server.unusable", "error")
            assert "hunter2" not in finding.difference

    def test_provision_has_nothing_to_create(self, server: Emulator, make_app: Callable[..., TaskQ]) -> None:
        app = make_app(server.url, server.url)
        provisioner = ServerProvisioner(app.topology(), app)
        assert drive(app, provisioner.run()) == []
        assert ["queue exists once it is used" in note for note in provisioner.notes] == [True, False]


class TestRabbitMQ:
    def test_missing_queues_are_found_and_provisioned_once(
        self, server_url: Callable[[str], str], make_app: Callable[..., TaskQ]
    ) -> None:
        app = make_app(server_url("rabbitmq"))
        queue = app.conf.task_default_queue
        [finding] = diagnose(app)
        assert (finding.check, finding.severity) == ("rabbitmq.missing", "warning")
        expected = [f"create queue {queue}", f"create queue {queue}-dead"]
        assert provision(app, dry_run=True) == expected
        assert checks(app) == ["rabbitmq.missing"]
        assert provision(app) == expected
        assert provision(app) == []
        assert checks(app) == []

    def test_missing_queue_that_nobody_creates_is_an_error_and_can_be_provisioned(
        self, server_url: Callable[[str], str], make_app: Callable[..., TaskQ]
    ) -> None:
        options = {"create_missing_queues": False, "queue_type": "quorum"}
        app = make_app(server_url("rabbitmq"), broker_transport_options=options)
        [finding] = diagnose(app)
        assert (finding.check, finding.severity) == ("rabbitmq.missing", "error")
        assert len(provision(app)) == 2
        assert checks(app) == []
        app.send_task("shop.length", ["abc"], countdown=60)

    def test_queue_with_other_arguments_is_found_and_refused(
        self, server_url: Callable[[str], str], make_app: Callable[..., TaskQ]
    ) -> None:
        app = make_app(server_url("rabbitmq"))
        provision(app)
        settings = {"broker_transport_options": {"max_priority": 9}, "task_default_queue": app.conf.task_default_queue}
        other = make_app(server_url("rabbitmq"), **settings)
        found = diagnose(other)
        assert [each.check for each in found] == ["rabbitmq.arguments"]
        assert "x-max-priority" in found[0].difference
        with pytest.raises(OperationalError, match="x-max-priority"):
            provision(other)

    def test_wrong_password_is_a_finding(
        self, server_url: Callable[[str], str], make_app: Callable[..., TaskQ]
    ) -> None:
        address = urlsplit(server_url("rabbitmq"))
        [finding] = diagnose(make_app(f"amqp://guest:hunter2@{address.hostname}:{address.port}//"))
        assert finding.check == "server.unusable"
        assert "hunter2" not in finding.difference


class TestPostgreSQL:
    @pytest.fixture
    def url(self, server_url: Callable[[str], str]) -> Iterator[str]:
        """A database of the test's own, with a role that may not create anything."""
        server, name = server_url("postgresql"), f"shop_{uuid4().hex[:8]}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
            connection.execute(f"CREATE ROLE {name} LOGIN")
            yield f"{server}/{name}"
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            connection.execute(f"DROP ROLE {name}")

    @staticmethod
    def as_role(url: str) -> str:
        address = urlsplit(url)
        return f"postgresql://{address.path[1:]}@{address.hostname}:{address.port}{address.path}"

    def test_missing_tables_are_found_and_provisioned_once(self, url: str, make_app: Callable[..., TaskQ]) -> None:
        app = make_app(url, url)
        assert [(each.check, each.severity) for each in diagnose(app)] == [("postgresql.tables", "warning")] * 2
        expected = ["create the tables of the broker", "create the tables of the results"]
        assert provision(app, dry_run=True) == expected
        assert checks(app) == ["postgresql.tables"] * 2
        assert provision(app) == expected
        assert provision(app) == []
        assert checks(app) == []

    def test_role_that_may_not_create_tables_is_found(self, url: str, make_app: Callable[..., TaskQ]) -> None:
        [finding] = diagnose(make_app(self.as_role(url)))
        assert (finding.check, finding.severity) == ("postgresql.tables", "error")
        assert "--sql" in finding.remedy

    def test_privileges_that_role_lacks_are_found(self, url: str, make_app: Callable[..., TaskQ]) -> None:
        provision(make_app(url))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {urlsplit(url).path[1:]}")
        [finding] = diagnose(make_app(self.as_role(url)))
        assert finding.check == "postgresql.privileges"
        assert "lacks UPDATE, DELETE on" in finding.difference

    def test_more_workers_than_connections_are_found(self, url: str, make_app: Callable[..., TaskQ]) -> None:
        app = make_app(url, deployment={"services": {"worker": {"maximum_tasks": 1000}}})
        provision(app)
        [finding] = diagnose(app)
        assert (finding.check, finding.severity) == ("postgresql.connections", "warning")
        assert "open 5000" in finding.difference

    def test_database_that_refuses_writes_is_a_finding(self, url: str, make_app: Callable[..., TaskQ]) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} SET default_transaction_read_only = on")
        [finding] = diagnose(make_app(url))
        assert finding.check == "server.unusable"


@pytest.mark.parametrize("system", ["memcached", "postgresql"])
def test_other_result_stores_are_probed_and_need_nothing(
    system: str, server_url: Callable[[str], str], make_app: Callable[..., TaskQ]
) -> None:
    url = server_url(system)
    results = url if system == "memcached" else f"{url.replace('postgresql', 'db+postgresql+psycopg', 1)}/postgres"
    app = make_app("redis://127.0.0.1:1/0", results)
    topology = app.topology()
    observed = drive(app, observe_servers.servers(topology, app))
    assert observed["broker"].failure is not None
    assert (observed["results"].failure, observed["results"].probe) == (None, None)
    provisioner = ServerProvisioner(topology, app)
    assert drive(app, provisioner.run()) == []
    assert "first result creates" in provisioner.notes[1]


def test_commands_check_and_create_without_an_account_of_a_cloud(
    server_url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    queue = f"work-{uuid4().hex[:8]}"
    (tmp_path / "served_shop.py").write_text(
        "from taskq_cloud import TaskQ\n"
        f"app = TaskQ('shop', broker={server_url('rabbitmq')!r}, results={server_url('redis')!r},"
        f" task_default_queue={queue!r})\n"
        "@app.task\n"
        "def charge(): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(main, [arguments[0], "-A", "served_shop", *arguments[1:]])

    before = invoke("doctor")
    assert (before.exit_code, f"queue {queue}" in before.stdout) == (0, True), before.output
    assert "--cluster" in before.stderr
    planned = invoke("provision", "--dry-run")
    assert planned.stdout.splitlines() == [f"would create queue {queue}", f"would create queue {queue}-dead"]
    assert invoke("provision").stdout.splitlines() == [f"create queue {queue}", f"create queue {queue}-dead"]
    again = invoke("provision")
    assert (again.stdout, "results are keys" in again.stderr, "Everything is there" in again.stderr) == ("", True, True)
    assert "rabbitmq" not in invoke("doctor").stdout
