"""Stores results in Celery's tables of an SQL database, by SQLAlchemy: PostgreSQL, MySQL, MariaDB, and SQLite.

``celery_taskmeta`` and ``celery_tasksetmeta`` hold the columns of Celery's database backend, so that either side reads
what the other has written, and the fields of our records beside them (``_sql_celery_rows``). Joins, locks and slots
have tables of their own. Every method is one transaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.servers.sql_drivers import DIALECTS
from taskq_cloud.core.urls import shown, without_secrets
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results import _sql_celery_rows as rows
from taskq_cloud.stores.results._sql_prepared import PreparedSQLResults
from taskq_cloud.stores.results._sql_records import Dialect, RecordTable
from taskq_cloud.stores.results._sql_results import sql_capabilities
from taskq_cloud.stores.results._sql_statements import GROUPS, Statements
from taskq_cloud.stores.results._sql_tables import (
    GROUP_COLUMNS,
    POSTGRESQL_TYPES,
    TASK_COLUMNS,
    OwnTables,
    TableName,
    Vendor,
    celery_table,
    sequence_of,
)

LARGEST_RECORD_BYTES: Final[Mapping[str, int]] = {
    "postgresql": 250_000_000,
    "sqlite": 900_000_000,
    # A statement fits into max_allowed_packet, 16 MiB by default in MariaDB, with each quotation mark escaped.
    "mysql": 8_000_000,
}
"""The largest payload of one record."""

_VENDORS: Final[Mapping[str, tuple[Vendor, ...]]] = {
    "postgresql": ("postgresql",),
    "sqlite": ("sqlite",),
    "mysql": ("mysql", "mariadb"),
}
_SEQUENCES: Final = {"task": "task_id_sequence", "group": "taskset_id_sequence"}
_DEFAULT_NAMES: Final = {"task": "celery_taskmeta", "group": "celery_tasksetmeta"}
_LONGEST_NAME: Final = 155

SETTINGS: Final = {
    "create_tables": "create_tables_at_setup",
    "engine_callback": "engine_callback",
    "engine_options": "engine_options",
    "short_lived_sessions": "short_lived_sessions",
    "table_names": "table_names",
    "table_schemas": "table_schemas",
}
"""Option -> Celery's name of it, without ``database_``."""
_OTHERS: Final = frozenset({"retry_policy"})
"""Options of other backends that Celery's users set for all."""
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}")


class SQLAlchemyResults(PreparedSQLResults):
    """The store behind ``db+postgresql://``, ``db+mysql://``, ``db+mariadb://`` and ``db+sqlite:///``.

    Args:
        url: SQLAlchemy's URL, without ``db+``.
        options: ``result_backend_transport_options``; each may also have Celery's name, ``database_...``:
            ``table_names`` and ``table_schemas``, with the keys ``task`` and ``group``; ``create_tables``;
            ``engine_options``, the arguments of ``create_engine``; ``engine_callback``, a function that gets the
            engine; ``short_lived_sessions``, a connection of its own for each call.
        clock: returns the time, in seconds since the epoch; None: the server's clock for locks, else this machine's.
    """

    def __init__(
        self, url: str, options: Mapping[str, Any] | None = None, *, clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__(clock)
        scheme = url.partition("://")[0]
        dialect = DIALECTS.get(scheme.partition("+")[0])
        if dialect is None:
            known = ", ".join(f"db+{each}" for each in sorted(DIALECTS))
            raise ImproperlyConfigured(f"db+{scheme} isn't supported; known: {known}")
        self._dialect: Dialect = dialect  # type: ignore[assignment]  # the values of DIALECTS are dialects
        self.database = f"the result store in {dialect}"
        self.largest_bytes = LARGEST_RECORD_BYTES[dialect]
        self.capabilities = sql_capabilities(self.largest_bytes)
        given = _read_options(options or {})
        self._tables = {kind: _table_name(kind, given, dialect) for kind in _DEFAULT_NAMES}
        task = self._tables["task"]
        self._own = OwnTables(task, "taskq_" if task.name == _DEFAULT_NAMES["task"] else f"{task.name}_")
        self._service_name = f"sqlalchemy:{without_secrets(url)} {task.quoted('')}"
        self._service = Service("sqlalchemy", (("url", _absolute(url)), *_engine_options(given)))

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> SQLAlchemyResults:
        """Make the store for ``db+dialect://user:password@host/database``, with the driver's options after ``?``."""
        if url.scheme.startswith("db+sqlite") and (url.netloc or not url.path.strip("/") or ":memory:" in url.path):
            raise ImproperlyConfigured(
                f"{shown(url)} names no file: write db+sqlite:///relative/path or db+sqlite:////absolute/path"
            )
        query = f"?{url.query}" if url.query else ""
        return cls(f"{url.scheme.removeprefix('db+')}://{url.netloc}{url.path}{query}", options)

    def _prepare(self) -> Flow[Statements]:
        if self._prepared is None:
            tables = {vendor: self._described(vendor) for vendor in _VENDORS[self._dialect]}
            of_sequence: list[str] = yield from self._call("prepare", tables=tables)
            self._prepared = Statements(
                self._dialect,
                self._record_table("task", TASK_COLUMNS, of_sequence),
                self._own.names(self._dialect),
                groups=self._record_table("group", GROUP_COLUMNS, of_sequence),
                server_time=self._server_time,
            )
        return self._prepared

    def _described(self, vendor: Vendor) -> tuple[Any, ...]:
        task, group = self._tables["task"], self._tables["group"]
        return (
            celery_table(task, TASK_COLUMNS, _SEQUENCES["task"], vendor),
            celery_table(group, GROUP_COLUMNS, _SEQUENCES["group"], vendor),
            *self._own.tables(vendor),
        )

    def _record_table(self, kind: str, columns: Mapping[str, str], of_sequence: Sequence[str]) -> RecordTable:
        table = self._tables[kind]
        vendor: Vendor = "mariadb" if self._dialect == "mysql" else self._dialect
        written = {column: POSTGRESQL_TYPES[each] for column, each in columns.items() if column != "stamps"}
        return RecordTable(
            table.quoted(vendor),
            next(iter(columns)),
            {**written, **rows.OUR_COLUMNS},
            prefix="taskq_",
            state="status" if kind == "task" else "taskq_state",
            own="taskq_state",
            serial=sequence_of(_SEQUENCES[kind], table, vendor) if table.name in of_sequence else "",
        )

    def _row(self, record: Record) -> Mapping[str, Any]:
        frame, text = rows.parted(record.payload)
        result = None if text is None else rows.packed_like(record, text)
        document = {} if text is None else rows.around(frame)
        done, ours = rows.time_done(document), rows.our_columns(record, frame, result)
        if record.id.startswith(GROUPS):
            return {"taskset_id": record.id.removeprefix(GROUPS), "result": result, "date_done": done, **ours}
        return {
            "task_id": record.id,
            "status": record.state,
            "result": result,
            "date_done": done,
            "traceback": rows.storable(document.get("traceback")),
            "children": rows.encoded(document.get("children")),
            "name": rows.storable(document.get("name"), _LONGEST_NAME),
            "args": rows.encoded(document.get("args")),
            "kwargs": rows.encoded(document.get("kwargs")),
            "worker": rows.storable(document.get("worker"), _LONGEST_NAME),
            "retries": document.get("retries"),
            "queue": rows.storable(document.get("queue"), _LONGEST_NAME),
            **ours,
        }

    def _record(self, row: Mapping[str, Any]) -> Record:
        result = row["result"]
        is_task = "task_id" in row
        record_id = row["task_id"] if is_task else f"{GROUPS}{row['taskset_id']}"
        ours = rows.our_record(record_id, row, result)
        if ours is not None:
            return ours
        done = rows.written_time(row["date_done"])
        if not is_task:
            return rows.celerys_record(record_id, {"status": "PENDING", "date_done": done}, result)
        document = {
            "status": row["status"],
            "traceback": row["traceback"],
            "children": rows.plain_value(record_id, row["children"]) or [],
            "date_done": done,
            "name": row["name"],
            "args": rows.plain_value(record_id, row["args"]),
            "kwargs": rows.plain_value(record_id, row["kwargs"]),
            "worker": row["worker"],
            "retries": row["retries"],
            "queue": row["queue"],
        }
        return rows.celerys_record(record_id, document, result)


def _absolute(url: str) -> str:
    """Make the path of an SQLite file absolute: a later change of the working directory leads to no other file."""
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("sqlite"):
        return url
    path, mark, query = rest.removeprefix("/").partition("?")
    return f"{scheme}:///{Path(unquote(path)).absolute()}{mark}{query}"


def _read_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Read the options by their own names or Celery's.

    Raises:
        ImproperlyConfigured: an option is unknown.
    """
    given = {}
    unknown = set(options) - _OTHERS
    for name, celerys in SETTINGS.items():
        for each in (name, celerys, f"database_{name}", f"database_{celerys}"):
            if each in options:
                given[name] = options[each]
                unknown.discard(each)
    if unknown:
        raise ImproperlyConfigured(
            f"unknown option {min(unknown)!r} of the result store db+; known: {', '.join(sorted(SETTINGS))}"
        )
    return given


def _table_name(kind: str, given: Mapping[str, Any], dialect: str) -> TableName:
    name = (given.get("table_names") or {}).get(kind) or _DEFAULT_NAMES[kind]
    schema = (given.get("table_schemas") or {}).get(kind)
    for each in (name, schema):
        if each is not None and (not isinstance(each, str) or not _IDENTIFIER.fullmatch(each)):
            raise ImproperlyConfigured(f"{each!r} can't be the name of a table or a schema of the result store db+")
    if schema is not None and dialect == "sqlite":
        raise ImproperlyConfigured("table_schemas: SQLite has no schemas")
    return TableName(name, schema)


def _engine_options(given: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return (
        ("engine", _frozen(given.get("engine_options") or {})),
        ("engine_callback", given.get("engine_callback")),
        ("short_lived", bool(given.get("short_lived_sessions"))),
        ("create_tables", given.get("create_tables") is not False),
    )


def _frozen(value: Any) -> Any:
    """Write dicts as pairs, since the options of a service are hashable."""
    if isinstance(value, Mapping):
        return tuple(sorted((name, _frozen(each)) for name, each in value.items()))
    return value
