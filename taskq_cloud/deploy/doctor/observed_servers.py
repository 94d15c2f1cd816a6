"""The servers of an application's messages and results as they describe themselves; a part of ``observed``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ObservedRedis:
    """The settings of a Redis server.

    Args:
        version: the version of Redis whose commands it has.
        eviction: its ``maxmemory-policy``.
        evicted: how many keys it has dropped since its start because its memory was full.
        append_only: whether it keeps a file of its commands.
        snapshots: whether it writes snapshots; None: it doesn't let us read that.
        failed_writes: the kind of file that it could not write the last time; None: all is well.
        other_layout: queue -> messages that wait in Celery's layout, although the broker has its own.
    """

    version: str
    eviction: str
    evicted: int
    append_only: bool
    snapshots: bool | None
    failed_writes: str | None
    other_layout: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ObservedRabbitMQ:
    """The queues of a virtual host of RabbitMQ.

    Args:
        missing: queues, with dead-letter queues, that don't exist.
        different: queue -> the server's words for how it differs from its declaration.
        refusal: why the server takes no messages, such as an alarm; None: it takes them.
        creates: whether workers and callers create missing queues.
    """

    missing: tuple[str, ...]
    different: Mapping[str, str]
    refusal: str | None
    creates: bool


@dataclass(frozen=True, slots=True)
class ObservedPostgreSQL:
    """A database of PostgreSQL.

    Args:
        tables: whether the tables are there.
        may_create: whether the role of the URL may create them.
        lacking: table -> privileges that the role lacks.
        autovacuum: whether the server removes dead rows by itself.
        free_connections: how many clients may connect besides those that are connected.
        connections: how many connections one process opens; None: a pooler stands in between.
    """

    tables: bool
    may_create: bool
    lacking: Mapping[str, str]
    autovacuum: bool
    free_connections: int
    connections: int | None


@dataclass(frozen=True, slots=True)
class ObservedServer:
    """A server in one of its uses.

    Args:
        failure: why it can't be used; None: it can.
        probe: what went wrong with a record that was written, read and removed; None: nothing.
        redis: its settings, if it is Redis.
        rabbitmq: its queues, if it is RabbitMQ and holds the messages.
        postgresql: the database, if it is PostgreSQL with tables of this package.
    """

    failure: str | None = None
    probe: str | None = None
    redis: ObservedRedis | None = None
    rabbitmq: ObservedRabbitMQ | None = None
    postgresql: ObservedPostgreSQL | None = None
