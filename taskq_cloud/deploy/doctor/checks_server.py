"""The doctor's checks of servers: Redis, RabbitMQ, PostgreSQL, and the servers of result stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from taskq_cloud.deploy.doctor.check import Check, require
from taskq_cloud.deploy.doctor.matching import Pair
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.doctor.observed_servers import (
    ObservedPostgreSQL,
    ObservedRabbitMQ,
    ObservedRedis,
    ObservedServer,
)
from taskq_cloud.deploy.topology.model import Server, ServerQueue, ServerUse, Topology


@dataclass(frozen=True, slots=True)
class DeclaredUse:
    """A server in one of its uses, as it is declared."""

    server: Server
    use: ServerUse


Used: TypeAlias = Pair[DeclaredUse, ObservedServer]
OnRedis: TypeAlias = Pair[DeclaredUse, ObservedRedis]
OnRabbitMQ: TypeAlias = Pair[ServerQueue, ObservedRabbitMQ]
OnPostgreSQL: TypeAlias = Pair[DeclaredUse, ObservedPostgreSQL]

_SETTING: Final = "change the server's configuration"


def _uses(topology: Topology, observed: Observed) -> Iterator[Used]:
    for server in topology.servers:
        addresses = ", ".join(f"{each.host}:{each.port}" for each in server.addresses)
        for use in server.uses:
            if use.role in observed.servers:
                resource = f"{use.role} on {server.kind} at {addresses}"
                declared = DeclaredUse(server, use)
                yield Pair(resource, declared, observed.servers[use.role], _SETTING, topology, observed)


def _redis(topology: Topology, observed: Observed) -> Iterator[OnRedis]:
    for used in _uses(topology, observed):
        if used.live.redis is not None:
            yield Pair(used.resource, used.declared, used.live.redis, used.remedy, topology, observed)


def _redis_of(role: str) -> Callable[[Topology, Observed], Iterable[OnRedis]]:
    return lambda topology, observed: (each for each in _redis(topology, observed) if each.declared.use.role == role)


def _rabbitmq(topology: Topology, observed: Observed) -> Iterator[OnRabbitMQ]:
    remedy = "run taskq provision"
    for used in _uses(topology, observed):
        if used.live.rabbitmq is not None:
            for queue in used.declared.server.queues:
                yield Pair(f"queue {queue.queue}", queue, used.live.rabbitmq, remedy, topology, observed)


def _postgresql(topology: Topology, observed: Observed) -> Iterator[OnPostgreSQL]:
    for used in _uses(topology, observed):
        if used.live.postgresql is not None:
            yield Pair(used.resource, used.declared, used.live.postgresql, used.remedy, topology, observed)


def _evicts(server: OnRedis) -> str | None:
    dropped = f"; {server.live.evicted} keys were dropped already" if server.live.evicted else ""
    return require(
        server.live.eviction == "noeviction",
        f"its maxmemory-policy is {server.live.eviction}, not noeviction{dropped}",
    )


def _persists(server: OnRedis) -> str | None:
    snapshots = {
        True: "it writes snapshots",
        False: "it writes no snapshots either",
        None: "it doesn't tell whether it writes snapshots",
    }
    return require(server.live.append_only, f"appendonly is off, and {snapshots[server.live.snapshots]}")


def _layout(server: OnRedis) -> str | None:
    found = ", ".join(f"{count} in {queue}" for queue, count in sorted(server.live.other_layout.items()))
    return require(not found, f"messages wait in Celery's layout: {found}")


def _names(queue: OnRabbitMQ) -> list[str]:
    return [queue.declared.queue, queue.declared.dead_letter_queue]


def _missing(queue: OnRabbitMQ) -> str | None:
    missing = [name for name in _names(queue) if name in queue.live.missing]
    return require(not missing, f"these queues don't exist: {', '.join(missing)}")


def _missing_for_good(queue: OnRabbitMQ) -> str | None:
    return None if queue.live.creates else _missing(queue)


def _missing_until_used(queue: OnRabbitMQ) -> str | None:
    return _missing(queue) if queue.live.creates else None


def _different(queue: OnRabbitMQ) -> str | None:
    different = [queue.live.different[name] for name in _names(queue) if name in queue.live.different]
    return require(not different, f"its declaration is refused: {'; '.join(different)}")


def _lacking(database: OnPostgreSQL) -> str | None:
    lacking = "; ".join(f"{names} on {table}" for table, names in sorted(database.live.lacking.items()))
    return require(not lacking, f"the role of {database.declared.use.variable} lacks {lacking}")


def _needed_connections(database: OnPostgreSQL) -> int:
    """Return how many connections the most workers open: those for calls, and one that waits for notifications."""
    most = sum(service.maximum_tasks for service in database.topology.services)
    return most * ((database.live.connections or 0) + 1)


def _connections(database: OnPostgreSQL) -> str | None:
    if database.live.connections is None:
        return None
    needed, free = _needed_connections(database), database.live.free_connections
    return require(free >= needed, f"it has {free} free connections, and the most workers open {needed}")


CHECKS: Final = (
    Check(
        "server.unusable",
        _uses,
        lambda server: server.live.failure,
        "no worker and no caller can use it",
        "follow the error; if only the deployment can reach the server, run this command there, or with --skip servers",
    ),
    Check(
        "server.probe",
        _uses,
        lambda server: server.live.probe,
        "results can't be stored: every message is given back and its task run again",
        "give the role of the URL the permissions to write, read and remove",
    ),
    Check(
        "redis.eviction",
        _redis_of("broker"),
        _evicts,
        "a server whose memory is full drops queued messages without a trace",
        "set maxmemory-policy to noeviction",
    ),
    Check(
        "redis.eviction",
        _redis_of("results"),
        _evicts,
        "a server whose memory is full drops results before they expire",
        "set maxmemory-policy to noeviction",
        severity="warning",
    ),
    Check(
        "redis.persistence",
        _redis_of("broker"),
        _persists,
        "a crash of the server loses the messages since its last snapshot, or all of them if it writes none",
        "set appendonly to yes; on ElastiCache, use replicas and Multi-AZ, or MemoryDB",
        severity="warning",
    ),
    Check(
        "redis.writes",
        _redis,
        lambda server: require(
            server.live.failed_writes is None, f"it could not write {server.live.failed_writes} the last time"
        ),
        "the server may refuse all writes, and a crash loses what it has not written",
        "look at the server's log: its disk is full, or it lacks the memory to write",
    ),
    Check(
        "redis.layout",
        _redis_of("broker"),
        _layout,
        "no worker of this application receives them",
        "let Celery's workers finish them, or set layout to celery while you move over",
        severity="warning",
    ),
    Check(
        "rabbitmq.missing",
        _rabbitmq,
        _missing_for_good,
        "calls raise QueueNotFound, because create_missing_queues is off",
    ),
    Check(
        "rabbitmq.missing",
        _rabbitmq,
        _missing_until_used,
        "the first worker or caller creates them, if its user may configure queues",
        severity="warning",
    ),
    Check(
        "rabbitmq.arguments",
        _rabbitmq,
        _different,
        "workers and callers that declare the queue are refused",
        "set queue_type, max_priority, delivery_limit and queue_arguments as the queue has them, or drain the queue,"
        " delete it, and run taskq provision: the arguments of a queue can't be changed",
    ),
    Check(
        "rabbitmq.blocked",
        lambda topology, observed: (each for each in _uses(topology, observed) if each.live.rabbitmq is not None),
        lambda server: server.live.rabbitmq.refusal if server.live.rabbitmq else None,
        "calls fail: an alarm of memory or disk, or a missing permission, keeps the server from taking messages",
        "rabbitmqctl status names an alarm: give the server memory or disk, or empty its queues. A user needs the"
        " permission to write to amq.default",
    ),
    Check(
        "postgresql.tables",
        _postgresql,
        lambda database: require(
            database.live.tables or database.live.may_create, "its tables are missing, and the role may not create them"
        ),
        "calls fail, and workers don't start",
        "let the owner of the schema run what taskq provision --sql prints",
    ),
    Check(
        "postgresql.tables",
        _postgresql,
        lambda database: require(
            database.live.tables or not database.live.may_create, "its tables are missing; the role may create them"
        ),
        "the first worker or caller creates them",
        "run taskq provision",
        severity="warning",
    ),
    Check(
        "postgresql.privileges",
        _postgresql,
        _lacking,
        "calls fail, or workers can't settle their messages",
        "GRANT SELECT, INSERT, UPDATE, DELETE on these tables",
    ),
    Check(
        "postgresql.autovacuum",
        _postgresql,
        lambda database: require(database.live.autovacuum, "autovacuum is off"),
        "rows of finished messages are never removed: receives become slower, and the disk fills",
        "set autovacuum to on",
    ),
    Check(
        "postgresql.connections",
        _postgresql,
        _connections,
        "workers that start at a peak are refused",
        "raise max_connections, lower connections in the URL or maximum_tasks of the services, or use a pooler with"
        " pgbouncer=true",
        severity="warning",
    ),
)
