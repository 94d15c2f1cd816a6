"""The client of the databases in Django's settings: a transaction of statements on Django's own connection.

===============  =================================  =================================================================
operation        parameters                         answer
===============  =================================  =================================================================
``describe``     (nothing)                          ``vendor``, ``task`` and ``group`` (the tables' names, or None)
``prepare``      tables                             whether they stay: not if a caller's transaction may undo it
``transaction``  statements                         a list of rows for each statement; a row is a dict
``query``        statements                         the same
===============  =================================  =================================================================

A call is made on the connection that the calling thread has in Django: inside a caller's ``transaction.atomic()`` it is
a part of that transaction, as anything else is that Django writes. Outside of one it follows Django's rule for
connections: one that is unusable, or older than CONN_MAX_AGE, is closed before and after the call. An event loop's
calls are made in threads, since Django's database API is synchronous.

Times are written and read as Django does with the setting USE_TZ.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.clients.base import ThreadedClient
from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.clients.sql_errors import MISSING_TABLE, database_error
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.servers.sql_tables import SQLTable, pyformat
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    import django
    from django.apps import apps
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured as DjangoNotConfigured
    from django.db import DEFAULT_DB_ALIAS, connections, router, transaction
    from django.db.utils import Error as DatabaseError
    from django.utils import timezone
except ImportError as error:
    raise MissingExtra("django-db://", "django") from error

THREADS: Final = 5
"""The calls of an event loop that can be under way at once, each on a connection of its own."""

_RESULTS_APP: Final = "django_celery_results"
_TIMES: Final = frozenset({"date_created", "date_done", "date_started"})
_SCHEMA_LOCK: Final = 7_305_713_410_215_866_996
"""The key of PostgreSQL's advisory lock under which tables are created; any number that is always the same."""


def open_client(_service: str, options: Mapping[str, Any]) -> DjangoClient:
    """Make the client of one of Django's databases; the first call connects.

    Args:
        _service: the service's name.
        options: ``alias``, the database's in DATABASES; empty: the one that Django's routers choose for results.

    Raises:
        ImproperlyConfigured: Django has no settings, or can't be set up.
    """
    set_up()
    return DjangoClient(options["alias"])


async def open_async_client(service: str, options: Mapping[str, Any]) -> DjangoLoopClient:
    """Make the client for an event loop, whose calls run in threads; see ``open_client``."""
    return DjangoLoopClient(open_client(service, options))


def set_up() -> None:
    """Set Django up, unless that is done.

    Raises:
        ImproperlyConfigured: Django has no settings.
    """
    if apps.ready:
        return
    try:
        django.setup()
    except DjangoNotConfigured as error:
        raise ImproperlyConfigured(
            f"Django can't be set up: {error}; set DJANGO_SETTINGS_MODULE, or call settings.configure() first"
        ) from error


class DjangoClient:
    """A client of one of Django's databases. Threads may share it: each has its own connection.

    Args:
        alias: the database's name in DATABASES; empty: the one that Django's routers choose.
    """

    def __init__(self, alias: str) -> None:
        self._task, self._group = _models()
        self._alias = alias or (router.db_for_write(self._task) if self._task is not None else DEFAULT_DB_ALIAS)
        if self._alias not in connections:
            raise ImproperlyConfigured(f"django-db://{self._alias}: DATABASES has no database of this name")

    def call(self, call: Call) -> Any:
        """Run one transaction, or prepare the tables.

        Raises:
            CallError: the call failed.
        """
        before, connection = sys.exception(), connections[self._alias]
        try:
            with _usable(connection):
                return self._done(connection, call)
        except (DatabaseError, OSError) as error:
            interruption = interruption_in(error, before)
            if interruption is not None:
                raise interruption from None
            raise database_error(call, error, f"Django's database {self._alias!r}") from error

    def close(self) -> None:
        """Leave Django's connections as they are: they are Django's."""

    def close_connection(self) -> None:
        """Close the connection of the calling thread, which ends."""
        connections[self._alias].close()

    def _done(self, connection: Any, call: Call) -> Any:
        match call.operation:
            case "describe":
                names = {"task": self._task, "group": self._group}
                tables = {name: model and model._meta.db_table for name, model in names.items()}  # noqa: SLF001 - Django's API
                is_mariadb = connection.vendor == "mysql" and connection.mysql_is_mariadb
                return {"vendor": "mariadb" if is_mariadb else connection.vendor, **tables}
            case "prepare":
                return _prepare(connection, call, call.parameters["tables"])
            case "transaction" | "query":
                with _transaction(connection, writes=call.operation == "transaction"), connection.cursor() as cursor:
                    return [_rows(connection, cursor, *statement) for statement in call.parameters["statements"]]
        raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


class DjangoLoopClient(ThreadedClient):
    """Makes the calls of a client in threads, whose connections it closes at its end.

    Args:
        client: the client.
    """

    def __init__(self, client: DjangoClient) -> None:
        super().__init__(client, THREADS, "taskq-django")
        self._django = client

    async def close(self) -> None:
        """Close the connections of the threads after the calls that were made before."""
        import asyncio

        everyone = threading.Barrier(THREADS)

        def close_one() -> None:
            everyone.wait()  # so that each thread has one of these
            self._django.close_connection()

        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, close_one) for _ in range(THREADS)))
        self._threads.shutdown(wait=False)


def _models() -> tuple[Any, Any]:
    """The models of django-celery-results for tasks and for groups; None: the app isn't installed."""
    if not apps.is_installed(_RESULTS_APP):
        return None, None
    return apps.get_model(_RESULTS_APP, "TaskResult"), apps.get_model(_RESULTS_APP, "GroupResult")


@contextmanager
def _usable(connection: Any) -> Iterator[None]:
    """Close a connection that is unusable or too old, unless a caller's transaction is under way on it."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    try:
        yield
    finally:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


@contextmanager
def _transaction(connection: Any, *, writes: bool) -> Iterator[None]:
    """Run a block in a transaction, or in a caller's.

    One that writes takes SQLite's lock at its beginning: two that have read would wait for each other.
    """
    if connection.vendor != "sqlite" or connection.in_atomic_block or not connection.get_autocommit():
        with transaction.atomic(using=connection.alias):
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            yield
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")


def _prepare(connection: Any, call: Call, tables: Sequence[SQLTable]) -> bool:
    """Create tables and columns that are missing.

    In a caller's transaction, another connection does it: the tables must not go with the transaction, and MySQL would
    commit it. SQLite has but one writer, so that there the tables may go, and this is done again.
    """
    if not connection.in_atomic_block:
        _create(connection, call, tables)
        return True
    if connection.vendor == "sqlite":
        _create(connection, call, tables)
        return False
    other = connection.copy()
    try:
        _create(other, call, tables)
    finally:
        other.close()
    return True


def _create(connection: Any, call: Call, tables: Sequence[SQLTable]) -> None:
    """Run the statements for what is missing, if anything is, while no other process does so."""
    with connection.cursor() as cursor:
        if not _all_missing(connection, call, cursor, tables):
            return
        with _only_one(connection, cursor):
            for statement in _all_missing(connection, call, cursor, tables):
                cursor.execute(statement)


@contextmanager
def _only_one(connection: Any, cursor: Any) -> Iterator[None]:
    """Let no other process create tables in this block."""
    if connection.vendor == "mysql":  # which commits after each of these statements
        cursor.execute(f"SELECT GET_LOCK('taskq {_SCHEMA_LOCK}', 15)")
        try:
            yield
        finally:
            cursor.execute(f"SELECT RELEASE_LOCK('taskq {_SCHEMA_LOCK}')")
        return
    if connection.in_atomic_block:  # of SQLite's only
        yield
        return
    cursor.execute("BEGIN" if connection.vendor == "postgresql" else "BEGIN IMMEDIATE")
    try:
        if connection.vendor == "postgresql":
            cursor.execute(f"SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
        yield
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


def _all_missing(connection: Any, call: Call, cursor: Any, tables: Sequence[SQLTable]) -> list[str]:
    there = set(connection.introspection.table_names(cursor))
    return [statement for table in tables for statement in _missing(connection, call, cursor, table, there)]


def _missing(connection: Any, call: Call, cursor: Any, table: SQLTable, there: set[str]) -> list[str]:
    """The statements that create a table, or add what it lacks."""
    if table.name not in there:
        if table.columns:
            text = f"the table {table.name} of {_RESULTS_APP} is missing: run python manage.py migrate {_RESULTS_APP}"
            raise CallError(call, MISSING_TABLE, text, Trouble.REFUSED)
        return list(table.create)
    if not table.columns:
        return []
    # In one query: Django's own description takes two, and fails if another process adds columns between them.
    cursor.execute(" ".join(("SELECT * FROM", connection.ops.quote_name(table.name), "LIMIT 0")))
    known = {column[0] for column in cursor.description}
    missing = [statement for name, statement in table.columns if name not in known]
    return [*missing, *(table.complete if missing else ())]


def _rows(connection: Any, cursor: Any, sql: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor.execute(pyformat(sql), {name: _value(connection, each) for name, each in given.items()})
    if cursor.description is None:
        return []
    names = [column[0] for column in cursor.description]
    return [
        {name: _read(connection, name, value) for name, value in zip(names, row, strict=True)}
        for row in cursor.fetchall()
    ]


def _value(connection: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_value(connection, each) for each in value]
    if isinstance(value, datetime):
        local = value if settings.USE_TZ else timezone.make_naive(value)
        return connection.ops.adapt_datetimefield_value(local)
    return value


def _read(connection: Any, name: str, value: Any) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    if value is None or name not in _TIMES:
        return value
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    if time.tzinfo is None:
        time = timezone.make_aware(time, connection.timezone if settings.USE_TZ else None)
    return time.astimezone(UTC)
