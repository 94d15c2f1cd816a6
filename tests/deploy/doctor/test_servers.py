"""Tests of the doctor's checks of servers on observations in values; ``test_on_servers`` asks real servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.deploy.doctor.checks import findings
from taskq_cloud.deploy.doctor.observed import Observed, ObservedScaling
from taskq_cloud.deploy.doctor.observed_servers import (
    ObservedPostgreSQL,
    ObservedRabbitMQ,
    ObservedRedis,
    ObservedServer,
)
from taskq_cloud.deploy.topology.model import Topology

AREAS = frozenset({"alarms", "functions", "logs", "roles", "services", "stores", "undeclared"})
REDIS = ObservedRedis("7.4.0", "noeviction", 0, append_only=True, snapshots=True, failed_writes=None)
RABBITMQ = ObservedRabbitMQ((), {}, None, creates=True)
POSTGRESQL = ObservedPostgreSQL(
    tables=True, may_create=False, lacking={}, autovacuum=True, free_connections=20, connections=4
)


def topology(broker: str = "redis://cache/0", results: str = "redis://cache/1") -> Topology:
    app = TaskQ("shop", broker=broker, results=results, task_default_queue="work")
    app.task(name="shop.length")(len)
    return app.topology()


def found(topology: Topology, **servers: ObservedServer) -> list[tuple[str, str]]:
    observed = Observed(servers=servers, skipped=AREAS | {"scaling"})
    return [(each.check, each.severity) for each in findings(topology, observed)]


@pytest.mark.parametrize(
    ("change", "broker", "results"),
    [
        ({}, [], []),
        ({"eviction": "volatile-lru", "evicted": 3}, [("redis.eviction", "error")], [("redis.eviction", "warning")]),
        ({"append_only": False, "snapshots": None}, [("redis.persistence", "warning")], []),
        ({"failed_writes": "a snapshot"}, [("redis.writes", "error")], [("redis.writes", "error")]),
        ({"other_layout": {"work": 2}}, [("redis.layout", "warning")], []),
    ],
    ids=["as it should be", "eviction", "no persistence", "failed writes", "other layout"],
)
def test_settings_of_redis_are_judged_by_its_use(
    change: dict[str, Any], broker: list[tuple[str, str]], results: list[tuple[str, str]]
) -> None:
    server = ObservedServer(redis=replace(REDIS, **change))
    assert found(topology(), broker=server) == broker
    assert found(topology(), results=server) == results


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"missing": ("work-dead",)}, [("rabbitmq.missing", "warning")]),
        ({"missing": ("work",), "creates": False}, [("rabbitmq.missing", "error")]),
        ({"missing": ("another",), "creates": False}, []),
        ({"different": {"work": "inequivalent arg 'x-queue-type'"}}, [("rabbitmq.arguments", "error")]),
        ({"refusal": "Blocked: low on memory"}, [("rabbitmq.blocked", "error")]),
    ],
    ids=["as it should be", "missing", "missing for good", "another application's", "arguments", "alarm"],
)
def test_queues_of_rabbitmq_are_compared(change: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    server = ObservedServer(rabbitmq=replace(RABBITMQ, **change))
    assert found(topology("amqp://rabbit", "disabled://"), broker=server) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"tables": False}, [("postgresql.tables", "error")]),
        ({"tables": False, "may_create": True}, [("postgresql.tables", "warning")]),
        ({"lacking": {"taskq_messages": "DELETE"}}, [("postgresql.privileges", "error")]),
        ({"autovacuum": False}, [("postgresql.autovacuum", "error")]),
        ({"free_connections": 19}, [("postgresql.connections", "warning")]),
        ({"free_connections": 1, "connections": None}, []),
    ],
    ids=["as it should be", "no tables", "tables to come", "privileges", "autovacuum", "connections", "pooler"],
)
def test_database_of_postgresql_is_judged(change: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    server = ObservedServer(postgresql=replace(POSTGRESQL, **change))
    assert found(topology("postgresql://db/shop", "disabled://"), broker=server) == expected


def test_failures_of_servers_are_errors() -> None:
    servers = {"broker": ObservedServer(failure="no answer"), "results": ObservedServer(probe="it can't be read")}
    assert found(topology(), **servers) == [("server.unusable", "error"), ("server.probe", "error")]


def test_area_that_is_skipped_has_no_findings() -> None:
    observed = Observed(servers={"broker": ObservedServer(failure="no answer")}, skipped=AREAS | {"scaling", "servers"})
    assert findings(topology(), observed) == []


def test_service_with_queues_on_server_is_not_compared_by_backlog() -> None:
    scaling = {"shop-worker": ObservedScaling(1, 4, None)}
    assert findings(topology(), Observed(scaling=scaling, skipped=AREAS)) == []
    other = {"shop-worker": ObservedScaling(1, 9, None)}
    assert [each.check for each in findings(topology(), Observed(scaling=other, skipped=AREAS))] == ["service.scaling"]
