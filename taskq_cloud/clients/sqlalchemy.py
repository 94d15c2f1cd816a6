"""The client of SQL databases, by SQLAlchemy 2: a transaction of textual statements is an operation, as in ``sqlite``.

===============  ==========================================  ========================================================
operation        parameters                                  answer
===============  ==========================================  ========================================================
``prepare``      tables: vendor -> tables                    the names of those whose ids come from a sequence
``transaction``  statements                                  a list of rows for each statement; a row is a dict
``query``        statements                                  the same
===============  ==========================================  ========================================================

``prepare`` creates the tables (``core.servers.sql_tables``), and adds the columns that they lack. With the option
``create_tables`` False it changes nothing, and tables or columns that are missing are an error.

Threads share a synchronous engine, and an event loop has an asynchronous one (``core.servers.sql_drivers`` chooses the
drivers); without a driver for event loops, threads make the calls. A transaction that writes to SQLite takes the lock
at its beginning: otherwise two that have read would wait for each other.

A connection on which something was raised that isn't an error of the database is closed: nobody knows what it is still
waiting for.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

from taskq_cloud.clients.base import ThreadedClient, shortest
from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.clients.sql_errors import MISSING_TABLE, database_error
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.servers.sql_drivers import DIALECTS, EXTRAS, driver_for
from taskq_cloud.core.servers.sql_tables import SQLTable
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    import sqlalchemy
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as error:
    raise MissingExtra("a db+ URL", "sqlalchemy") from error


CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 30
"""How long a driver waits for an answer, where it can limit the wait."""
THREADS: Final = 5
"""The calls of an event loop without a driver that can be under way at once: the size of SQLAlchemy's pool."""

_SCHEMA_LOCK: Final = 7_305_713_410_215_866_995
"""The key of PostgreSQL's advisory lock under which tables are created; any number that is always the same."""

_POOL_RECYCLE_SECONDS: Final = 3600
"""Celery's default: after so long a connection is replaced, since MySQL closes it after some hours."""


def open_client(_service: str, options: Mapping[str, Any]) -> SQLAlchemyClient:
    """Open a client of one database; the first call connects.

    Args:
        _service: the service's name, which errors don't need: they name the database.
        options: ``url``, SQLAlchemy's; ``engine``, pairs of options for ``create_engine``; ``engine_callback``, a
            function that gets the engine, its name, or None; ``short_lived``, whether each call has a connection of
            its own; ``create_tables``.

    Raises:
        ImproperlyConfigured: the URL or an option is wrong, or no driver for the database is installed.
    """
    url = _with_driver(options["url"], loop=False)
    return SQLAlchemyClient(_engine(url, options, sqlalchemy.create_engine), options)


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncSQLAlchemyClient | ThreadedClient:
    """Open a client of one database for an event loop; see ``open_client``."""
    try:
        from sqlalchemy.ext.asyncio import create_async_engine

        url = _with_driver(options["url"], loop=True)
    except (ImportError, ImproperlyConfigured):
        return ThreadedClient(open_client(service, options), THREADS, "taskq-sqlalchemy")
    return AsyncSQLAlchemyClient(_engine(url, options, create_async_engine), options)


class SQLAlchemyClient:
    """A client of one database. Threads may share it.

    Args:
        engine: SQLAlchemy's engine.
        options: the options of ``open_client``.
    """

    def __init__(self, engine: Any, options: Mapping[str, Any]) -> None:
        self._engine = engine
        self._work = _Work(options)

    def call(self, call: Call) -> Any:
        """Run one transaction, or prepare the tables.

        Raises:
            CallError: the call failed.
        """
        before = sys.exception()
        try:
            with self._engine.connect() as connection:
                return self._work.done(connection, call)
        except (SQLAlchemyError, OSError) as error:
            raise self._work.failure(call, error, before) from error

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._engine.dispose()


class AsyncSQLAlchemyClient:
    """A client of one database, used on the event loop that opened it.

    Args:
        engine: SQLAlchemy's asynchronous engine.
        options: the options of ``open_client``.
    """

    def __init__(self, engine: Any, options: Mapping[str, Any]) -> None:
        self._engine = engine
        self._work = _Work(options)
        self._longest_seconds = shortest(ANSWER_TIMEOUT_SECONDS, options)

    async def call(self, call: Call) -> Any:
        """Run one transaction, or prepare the tables: see ``SQLAlchemyClient.call``.

        Raises:
            CallError: the call failed, or has no answer in time: not all drivers for event loops limit that.
        """
        before = sys.exception()
        # Indexes of a large table take as long as they take.
        waiting = asyncio.timeout(None if call.operation == "prepare" else self._longest_seconds)
        try:
            async with waiting, self._engine.connect() as connection:
                return await connection.run_sync(self._work.done, call)
        except (SQLAlchemyError, OSError) as error:
            if waiting.expired():
                raise self._work.no_answer(call, self._longest_seconds) from error
            raise self._work.failure(call, error, before) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()


class _Work:
    """What is done on a connection, for both kinds of engines: an asynchronous one runs it by ``run_sync``."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._place = make_url(options["url"]).render_as_string(hide_password=True)
        self._create = options["create_tables"]

    def done(self, connection: Any, call: Call) -> Any:
        if call.operation == "prepare":
            with _transaction(connection, writes=self._create), self._only_one(connection):
                return self._prepared(connection, call)
        if call.operation not in ("transaction", "query"):
            raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)
        with _transaction(connection, writes=call.operation == "transaction"):
            return [_rows(connection, sql, given) for sql, given in call.parameters["statements"]]

    def failure(self, call: Call, error: Exception, before: BaseException | None) -> BaseException:
        """The exception to raise in place of SQLAlchemy's: the call's error, or what was raised into the call."""
        interruption = interruption_in(error, before)
        return database_error(call, error, self._place) if interruption is None else interruption

    def no_answer(self, call: Call, seconds: float) -> CallError:
        """The error of a call that has no answer in time."""
        return CallError(call, "NoAnswer", f"{self._place}: no answer in {seconds:g} s", Trouble.TRANSIENT)

    @contextmanager
    def _only_one(self, connection: Any) -> Iterator[None]:
        """Let no other process create tables in this block. In SQLite, the transaction does that."""
        dialect = DIALECTS[connection.dialect.name] if self._create else ""
        if dialect == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
        if dialect != "mysql":
            yield
            return
        connection.exec_driver_sql(f"SELECT GET_LOCK('taskq {_SCHEMA_LOCK}', {ANSWER_TIMEOUT_SECONDS // 2})")
        try:
            yield
        except BaseException:
            connection.invalidate()  # which gives up the lock
            raise
        connection.exec_driver_sql(f"SELECT RELEASE_LOCK('taskq {_SCHEMA_LOCK}')")

    def _prepared(self, connection: Any, call: Call) -> list[str]:
        """Create tables and columns that are missing, and return the names of the tables whose ids are a sequence's."""
        dialect = connection.dialect
        vendor = "mariadb" if getattr(dialect, "is_mariadb", False) else DIALECTS[dialect.name]
        tables: Sequence[SQLTable] = call.parameters["tables"][vendor]
        inspector = sqlalchemy.inspect(connection)
        there = {
            (schema, name) for schema in {each.schema for each in tables} for name in inspector.get_table_names(schema)
        }
        of_sequence = []
        for table in tables:
            self._complete(connection, call, table, is_there=(table.schema, table.name) in there)
            if table.columns and vendor != "sqlite" and _from_sequence(_described(connection, table)):
                of_sequence.append(table.name)
        return of_sequence

    def _complete(self, connection: Any, call: Call, table: SQLTable, *, is_there: bool) -> None:
        """Create a table, or add the columns that it lacks."""
        if is_there:
            known = {column["name"] for column in _described(connection, table)} if table.columns else ()
            missing = [statement for name, statement in table.columns if name not in known]
            statements, what = [*missing, *(table.complete if missing else ())], "columns are missing"
        else:
            statements, what = list(table.create), "the table is missing"
        if statements and not self._create:
            raise self._missing(call, table, what, statements)
        for statement in statements:
            connection.exec_driver_sql(statement)

    def _missing(self, call: Call, table: SQLTable, what: str, statements: Sequence[str]) -> CallError:
        script = " ".join(f"{' '.join(each.split())};" for each in statements)
        text = f"{self._place}: {table.name}: {what}, and create_tables is off: let somebody who may run: {script}"
        return CallError(call, MISSING_TABLE, text, Trouble.REFUSED)


def _described(connection: Any, table: SQLTable) -> Sequence[Any]:
    columns: Sequence[Any] = sqlalchemy.inspect(connection).get_columns(table.name, schema=table.schema)
    return columns


def _from_sequence(columns: Sequence[Any]) -> bool:
    """Whether a new row needs an id, as in the tables that Celery creates where there are sequences."""
    found = [column for column in columns if column["name"] == "id"]
    return any(not (each["default"] or each.get("identity") or each.get("autoincrement") is True) for each in found)


@contextmanager
def _transaction(connection: Any, *, writes: bool) -> Iterator[None]:
    with connection.begin():
        if writes and connection.dialect.name == "sqlite":  # the engine is in autocommit there
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException as error:
            if not isinstance(error, SQLAlchemyError | CallError):
                connection.invalidate()  # before the end of the block would roll back on it
            raise


def _rows(connection: Any, sql: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    for_text = connection.dialect.name == "sqlite"
    result = connection.execute(_text(sql), {name: _value(each, for_text) for name, each in given.items()})
    if not result.returns_rows:
        return []
    return [{name: _read(each) for name, each in row.items()} for row in result.mappings()]


@lru_cache(maxsize=256)
def _text(sql: str) -> Any:
    return sqlalchemy.text(sql)


def _value(value: Any, for_text: bool) -> Any:
    """Write a time in UTC as SQLAlchemy's DateTime does: without a time zone, and in SQLite as text."""
    if isinstance(value, list):
        return [_value(each, for_text) for each in value]
    if isinstance(value, datetime):
        naive = value.astimezone(UTC).replace(tzinfo=None)
        return naive.isoformat(" ", "microseconds") if for_text else naive
    return value


def _read(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _with_driver(text: str, *, loop: bool) -> URL:
    url = make_url(text)
    dialect = url.drivername.partition("+")[0]
    scheme = driver_for(url.drivername, loop=loop)
    if scheme is None:
        raise MissingExtra(f"a db+{dialect} URL", EXTRAS[DIALECTS[dialect]])
    return url.set(drivername=scheme)


def _engine(url: URL, options: Mapping[str, Any], create: Callable[..., Any]) -> Any:
    given = dict(options["engine"])
    driver = url.drivername.partition("+")[2]
    if options["short_lived"]:
        given = {name: value for name, value in given.items() if not name.startswith("pool") and name != "max_overflow"}
        given["poolclass"] = sqlalchemy.pool.NullPool
    dialect = url.get_dialect().name
    # MySQL's own level locks the gaps between rows, which sets writers of different rows against each other.
    levels = {"sqlite": "AUTOCOMMIT", "mysql": "READ COMMITTED", "mariadb": "READ COMMITTED"}
    if dialect in levels:
        given.setdefault("isolation_level", levels[dialect])
    if dialect != "sqlite" and not options["short_lived"]:
        given.setdefault("pool_recycle", _POOL_RECYCLE_SECONDS)
    seconds = max(1, math.ceil(shortest(CONNECT_TIMEOUT_SECONDS, options)))
    given["connect_args"] = {**_connect_arguments(driver, seconds), **dict(given.get("connect_args", ()))}
    try:
        engine = create(url, **given)
    except ImportError as error:  # a driver that the URL names
        raise MissingExtra(f"db+{url.drivername}", EXTRAS[DIALECTS[url.drivername.partition("+")[0]]]) from error
    except (TypeError, sqlalchemy.exc.ArgumentError) as error:
        raise ImproperlyConfigured(f"database_engine_options can't be used: {error}") from error
    callback = options["engine_callback"]
    if callback is not None:
        (_imported(callback) if isinstance(callback, str) else callback)(engine)
    return engine


def _imported(name: str) -> Any:
    """Import a function by its name, ``shop.databases.configure`` or ``shop.databases:configure``."""
    module, _, function = name.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ImproperlyConfigured(f"engine_callback {name!r} can't be imported: {error}") from error


def _connect_arguments(driver: str, seconds: int) -> dict[str, Any]:
    """The arguments by which a driver limits its waits: to connect, and for an answer where it can."""
    match driver:
        case "psycopg" | "psycopg_async" | "psycopg2":
            waits = {"connect_timeout": max(2, seconds), "tcp_user_timeout": 1000 * ANSWER_TIMEOUT_SECONDS}
            return {"client_encoding": "utf8", **waits}  # otherwise it is the database's
        case "asyncpg":
            return {"timeout": seconds, "command_timeout": ANSWER_TIMEOUT_SECONDS}
        case "pymysql" | "mysqldb":
            answer = {"read_timeout": ANSWER_TIMEOUT_SECONDS, "write_timeout": ANSWER_TIMEOUT_SECONDS}
            return {"connect_timeout": seconds, **answer}
        case "asyncmy" | "aiomysql":
            return {"connect_timeout": seconds}
        case "pysqlite" | "aiosqlite":
            return {"timeout": seconds}
    return {}
