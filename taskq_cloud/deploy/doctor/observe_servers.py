"""Observes the servers of an application's messages and results, by the clients of its own broker and store.

Nothing is changed, except for a record that is written to the result store and removed again. Its first use creates the
tables of a store whose tables the doctor can't look for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from taskq_cloud.brokers._redis_celery import CeleryRedisBroker
from taskq_cloud.brokers.rabbitmq import RabbitMQBroker
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.ports import Broker, ResultStore
from taskq_cloud.core.records.record import FINAL_VERSION, SUCCESS, Record
from taskq_cloud.core.servers.postgresql import CONNECTIONS, PGBOUNCER, HasTables, operational_error
from taskq_cloud.core.servers.rabbitmq import operational_error as rabbitmq_error
from taskq_cloud.core.servers.redis import redis_error
from taskq_cloud.deploy.doctor.observed_servers import (
    ObservedPostgreSQL,
    ObservedRabbitMQ,
    ObservedRedis,
    ObservedServer,
)
from taskq_cloud.deploy.topology.model import Server, Topology
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, TaskQError

PROBE_SECONDS: Final = 60
"""How long the record of a probe is kept if the doctor is killed before it removes the record."""

_INFO: Final = ("server", "memory", "persistence", "stats")
_CREATED: Final = re.compile(r"CREATE TABLE IF NOT EXISTS (\S+)")
_PRIVILEGES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")

_DATABASE: Final = """
SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create,
    current_setting('autovacuum')::boolean AS autovacuum,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer + 1 AS free_connections
"""
"""The connection that asks is one of those that count, and ends."""

_LACKING: Final = """
SELECT %(table)s AS table, privilege FROM unnest(string_to_array(%(privileges)s, ',')) AS privilege
WHERE NOT has_table_privilege(to_regclass(%(table)s), privilege)
"""


class App(Protocol):
    """The parts of an application that are observed."""

    @property
    def broker(self) -> Broker:
        """The broker."""
        ...

    @property
    def store(self) -> ResultStore:
        """The result store."""
        ...


def servers(topology: Topology, app: App) -> Flow[dict[str, ObservedServer]]:
    """Observe the declared servers, each in each of its uses.

    Args:
        topology: the declaration.
        app: the application, whose broker and store the calls are made by.

    Returns:
        ``broker`` and ``results`` -> the server in this use. A server that can't be reached is no error here.
    """
    found: dict[str, ObservedServer] = {}
    for server in topology.servers:
        for use in server.uses:
            try:
                found[use.role] = yield from _server(server, use.role, app)
            except TaskQError as error:
                found[use.role] = ObservedServer(failure=str(error))
    return found


def _server(server: Server, role: Literal["broker", "results"], app: App) -> Flow[ObservedServer]:
    adapter: Broker | ResultStore = app.broker if role == "broker" else app.store
    redis = rabbitmq = postgresql = None
    if server.kind == "redis":
        redis = yield from _redis(server if role == "broker" else None, adapter)
    elif isinstance(adapter, RabbitMQBroker):
        rabbitmq = yield from _rabbitmq(server, adapter)
    elif server.kind == "postgresql" and isinstance(adapter, HasTables):
        postgresql = yield from _postgresql(adapter)
    probe = None
    if role == "results" and (postgresql is None or postgresql.tables):
        probe = yield from _probe(app.store)
    return ObservedServer(probe=probe, redis=redis, rabbitmq=rabbitmq, postgresql=postgresql)


def _ask(
    adapter: Broker | ResultStore, explained: Callable[[str, CallError], OperationalError], operation: str, **more: Any
) -> Flow[Any]:
    [service] = adapter.services
    try:
        return (yield Call(service, operation, more))
    except CallError as error:
        raise explained("taskq doctor", error) from error


def _redis(broker: Server | None, adapter: Broker | ResultStore) -> Flow[ObservedRedis]:
    """Observe Redis; the queues of a broker that is given are looked for in Celery's layout, too."""
    queues = [each.queue for each in broker.queues] if broker and not isinstance(adapter, CeleryRedisBroker) else []
    commands = [*(["INFO", section] for section in _INFO), ["CONFIG", "GET", "save"]]
    commands += [["LLEN", queue] for queue in queues]
    answers = yield from _ask(adapter, redis_error, "commands", commands=commands)
    info: dict[str, str] = {}
    for answer in answers[: len(_INFO)]:
        if isinstance(answer, CallError):
            raise redis_error("taskq doctor", answer)
        info |= dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
    save, lengths = answers[len(_INFO)], answers[len(_INFO) + 1 :]
    failed = {"rdb_last_bgsave_status": "a snapshot", "aof_last_write_status": "the append-only file"}
    return ObservedRedis(
        version=info.get("redis_version", "?"),
        eviction=info.get("maxmemory_policy", "noeviction"),
        evicted=int(info.get("evicted_keys", 0)),
        append_only=info.get("aof_enabled") == "1",
        # Providers of managed servers don't let clients read the configuration.
        snapshots=None if isinstance(save, CallError) or not save else bool(save[-1]),
        failed_writes=next((what for field, what in failed.items() if info.get(field, "ok") != "ok"), None),
        # A key of another type is an application's own.
        other_layout={
            queue: length
            for queue, length in zip(queues, lengths, strict=True)
            if not isinstance(length, CallError) and length
        },
    )


def _rabbitmq(server: Server, broker: RabbitMQBroker) -> Flow[ObservedRabbitMQ]:
    missing, different = list[str](), dict[str, str]()
    for queue in (name for each in server.queues for name in (each.queue, each.dead_letter_queue)):
        try:
            difference = yield from compare_queue(broker, queue)
        except QueueNotFound:
            missing.append(queue)
        else:
            different |= {queue: difference} if difference else {}
    refusal = None
    try:
        # Messages to no queue, which the server returns. An alarm blocks a connection after the first one it sends.
        message: tuple[str, str, dict[str, Any], bytes] = ("", f"taskq-doctor-{new_id()}", {}, b"")
        [service] = broker.services
        for _ in range(2):
            yield Call(service, "publish", {"needs": (), "messages": [message]})
    except CallError as error:
        refusal = f"{error.code}: {error.message}"
    return ObservedRabbitMQ(tuple(missing), different, refusal, creates=not broker.capabilities.queues_must_exist)


def compare_queue(broker: RabbitMQBroker, queue: str) -> Flow[str | None]:
    """Compare a queue of RabbitMQ with its declaration by the broker.

    To declare a queue that is there changes nothing, and is refused if the arguments differ. A user who may not declare
    queues can't compare them, and needn't, if the broker doesn't create queues either.

    Returns:
        Why the server refuses the declaration, in its words; None: it doesn't.

    Raises:
        QueueNotFound: the queue doesn't exist.
        OperationalError: the server can't be reached, or refuses the login.
    """
    existing, declaration = broker.declarations(queue)
    yield from _ask(broker, rabbitmq_error, "ask", methods=[existing])
    try:
        yield from _ask(broker, rabbitmq_error, "ask", methods=[declaration])
    except OperationalError as error:
        return None if isinstance(error, AccessDenied) and broker.capabilities.queues_must_exist else str(error)
    return None


def _postgresql(adapter: Any) -> Flow[ObservedPostgreSQL]:
    check, script = adapter.schema
    [[row], [there]] = yield from _ask(adapter, operational_error, "query", statements=[(_DATABASE, {}), (check, {})])
    lacking: dict[str, str] = {}
    tables = all(there.values())
    if tables:
        given = {"privileges": ",".join(_PRIVILEGES)}
        statements = [(_LACKING, {**given, "table": table}) for table in _CREATED.findall(script)]
        for rows in (yield from _ask(adapter, operational_error, "query", statements=statements)):
            lacking |= {each["table"]: ", ".join(found["privilege"] for found in rows) for each in rows}
    options = dict(next(iter(adapter.services.values())).options)
    return ObservedPostgreSQL(
        tables=tables,
        lacking=lacking,
        connections=None if options[PGBOUNCER] else options[CONNECTIONS],
        **row,
    )


def _probe(store: ResultStore) -> Flow[str | None]:
    """Write a record, read it, and remove it; return the first failure in words."""
    if not store.capabilities.remembers:
        return None
    payload = '{"status": "SUCCESS", "result": null, "traceback": null, "children": [], "task_id": "%s"}'
    identifier = f"taskq-doctor-{new_id()}"
    record = Record(identifier, SUCCESS, FINAL_VERSION, payload % identifier, time.time() + PROBE_SECONDS)
    for step, flow in (("written", store.save([record])), ("read", store.load([identifier]))):
        try:
            answer = yield from flow
        except (OperationalError, CallError) as error:
            return f"a record can't be {step}: {error}"
        if step == "read" and identifier not in answer:
            return "a record that was written can't be read again"
    try:
        yield from store.delete([identifier])
        left = yield from store.load([identifier])
    except (OperationalError, CallError) as error:
        return f"a record can't be removed: {error}"
    return "a record that was removed can still be read" if left else None
