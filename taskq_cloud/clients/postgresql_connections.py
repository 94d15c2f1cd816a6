"""Connections to PostgreSQL that never wait for ever, and the steps of one transaction on them, for both colours.

psycopg has a connection for threads and one for event loops with the same methods. What is done on one is written once,
as the steps of ``clients.base.Operation``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg import waiting
from psycopg.rows import dict_row

from taskq_cloud.clients.base import Operation, shortest
from taskq_cloud.clients.postgresql_errors import NoAnswerError
from taskq_cloud.core.servers.postgresql import PGBOUNCER

CONNECT_TIMEOUT_SECONDS: Final = 5.0
LEAST_CONNECT_TIMEOUT_SECONDS: Final = 2
"""libpq's own least timeout."""

CALL_TIMEOUT_SECONDS: Final = 20.0
"""How long an answer is waited for. The longest calls are a purge's steps and the creation of indexes."""

SCHEMA_TIMEOUT_SECONDS: Final = 300.0
"""How long tables may take to be created or changed, or to be locked by another process that does so."""

OLDEST_SERVER: Final = 130_000
"""The oldest version of the server: 13, as PostgreSQL numbers it. It has all settings of our tables."""

_CHECK_SECONDS: Final = 0.1

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Begins a transaction in which each statement sees what was committed before it, also behind a pooler, whose
connections don't have our settings.
"""

_BEGIN_LOCKED: Final = "BEGIN; SELECT pg_advisory_xact_lock(499851160433); SELECT FROM pg_class LIMIT 0"
"""Begins a transaction that no other process has begun by this text; the lock's number has the letters of "taskq". A
backend learns of others' tables when it locks one, here pg_class: it may have looked for ours before.
"""

NOTIFY: Final = "SELECT pg_notify(channel, content) FROM unnest(%s::text[], %s::text[]) AS topic(channel, content)"

_OPTIONS: Final = (
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off "
    r"-c default_transaction_isolation=read\ committed"
)
"""Settings of our own connections. A statement is prepared while its table is small, and has to be right when it is
large: its plan must use the indexes from the beginning. And statements rely on seeing what was committed before them.
"""

_KEEPALIVES: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 20000}


def connect_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with which psycopg opens a connection.

    Args:
        options: the options of the client.
    """
    pooled = options[PGBOUNCER]
    conninfo = options["conninfo"]
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    timeout = shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2)
    arguments: dict[str, Any] = {
        **_KEEPALIVES,
        "connect_timeout": max(LEAST_CONNECT_TIMEOUT_SECONDS, round(timeout)),
        "fallback_application_name": "taskq",
        "client_encoding": "utf8",  # otherwise it is the database's; psycopg gives no texts to one with SQL_ASCII
    }
    if not pooled:
        arguments["options"] = f"{given.pop('options', '')} {_OPTIONS}".strip()
    return {
        "conninfo": conninfo,
        **{name: value for name, value in arguments.items() if name not in given},
        "autocommit": True,
        "row_factory": dict_row,
        "prepare_threshold": None if pooled else 2,
    }


class Connection(psycopg.Connection[dict[str, Any]]):
    """A connection for threads, of which one at a time uses it."""

    longest_seconds: float = CALL_TIMEOUT_SECONDS

    def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
        """Wait for the end of psycopg's generator, at most ``longest_seconds``.

        psycopg's own method would cancel the statement after an interruption and wait for the answer. Here the
        connection is closed instead.
        """
        gen = _in_time(gen, self.longest_seconds)
        return waiting.wait(gen, self.pgconn.socket, interval=_CHECK_SECONDS)

    def __del__(self, *_: Any) -> None:
        """Say nothing if an application is dropped without ``close``: psycopg would warn."""


class AsyncConnection(psycopg.AsyncConnection[dict[str, Any]]):
    """A connection for an event loop, on which one task at a time uses it."""

    longest_seconds: float = CALL_TIMEOUT_SECONDS

    async def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
        """Wait for the end of psycopg's generator: see ``Connection.wait``."""
        gen = _in_time(gen, self.longest_seconds)
        return await waiting.wait_async(gen, self.pgconn.socket, interval=_CHECK_SECONDS)

    def __del__(self, *_: Any) -> None:
        """Say nothing if an application is dropped without ``close``: see ``Connection``."""


def _in_time(generator: Any, longest_seconds: float) -> Any:
    """Pass on the steps of a generator of psycopg's, which is told every 0.1 s that nothing has happened."""
    ends_at = time.monotonic() + longest_seconds
    try:
        wanted = next(generator)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= ends_at:
                raise NoAnswerError(f"no answer in {longest_seconds:g} s")
            wanted = generator.send(ready)
    except StopIteration as stop:
        return stop.value


def run_statements(connection: Any, statements: Sequence[tuple[str, Any]], topics: Sequence[str] = ()) -> Operation:
    """Run statements in one transaction, and announce topics after its commit, all in one round trip.

    One statement is prepared, unless a pooler gives each transaction another connection. Several are one text with
    BEGIN and COMMIT, in which psycopg has put the parameters: a pipeline of prepared ones takes twice as much time. The
    announcement is a transaction of its own: one that notifies takes a lock that all of them share, and would hold it
    until its commit is on the disk.

    Args:
        connection: the connection, of either colour.
        statements: the statements, each with its parameters; a list of parameters runs it once for each.
        topics: the topics to announce.
    """
    is_prepared = connection.prepare_threshold is not None
    if is_prepared and not topics and len(statements) == 1 and not isinstance(statements[0][1], list):
        cursor = yield connection.execute(*statements[0])
        return [(yield cursor.fetchall()) if cursor.description is not None else []]
    written = psycopg.ClientCursor if isinstance(connection, psycopg.Connection) else psycopg.AsyncClientCursor
    mogrify = written(connection).mogrify
    texts = [_BEGIN] if statements else []
    for sql, parameters in statements:
        texts += [mogrify(sql, each) for each in (parameters if isinstance(parameters, list) else [parameters])]
    if statements:
        texts.append("COMMIT")
    if topics:
        texts.append(mogrify(NOTIFY, channels_and_contents(topics)))
    if not texts:
        return []
    cursor = yield connection.execute(";\n".join(texts), prepare=False)
    rows: list[list[dict[str, Any]]] = []
    for _, parameters in statements:
        repeated = isinstance(parameters, list)
        for _ in parameters if repeated else [None]:
            cursor.nextset()
        found = [] if repeated or cursor.description is None else (yield cursor.fetchall())
        rows.append(found)
    return rows


def channels_and_contents(topics: Sequence[str]) -> tuple[list[str], list[str]]:
    """The channels of topics, which are their first words, and what is said there, which is the rest."""
    parts = [topic.partition(" ") for topic in topics]
    return [channel for channel, _, _ in parts], [content for _, _, content in parts]


def create_tables(connection: Any, schema: tuple[str, str]) -> Operation:
    """Create the tables that a query doesn't find, while no other process does so; returns whether they were missing.

    Args:
        connection: the connection, of either colour.
        schema: a query whose answer is a row with a true value if all is there, and the script that creates it.
    """
    check, script = schema
    if (yield from _is_there(connection, check)):
        return False
    connection.longest_seconds = SCHEMA_TIMEOUT_SECONDS
    yield connection.execute(_BEGIN_LOCKED)
    if not (yield from _is_there(connection, check)):
        yield connection.execute(script)
    yield connection.execute("COMMIT")
    connection.longest_seconds = CALL_TIMEOUT_SECONDS
    return True


def _is_there(connection: Any, check: str) -> Operation:
    cursor = yield connection.execute(check)
    row = yield cursor.fetchone()
    return bool(row) and all(row.values())
