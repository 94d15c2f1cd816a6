"""Stores results in a database of Django's settings: ``django-db://``.

If django-celery-results is installed, records are rows of its tables, so that its models, its admin pages and Celery's
backend read what we have written, and the other way round: our fields are in columns of ours beside its own
(``_sql_celery_rows``). Otherwise they are in a table of ours. Joins, locks and slots always are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.servers.sql_tables import SQLTable
from taskq_cloud.core.urls import query_of, shown
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results import _sql_celery_rows as rows
from taskq_cloud.stores.results._sql_prepared import PreparedSQLResults
from taskq_cloud.stores.results._sql_records import Dialect, RecordTable
from taskq_cloud.stores.results._sql_results import plain_record, sql_capabilities
from taskq_cloud.stores.results._sql_statements import GROUPS, Statements
from taskq_cloud.stores.results._sql_tables import (
    PLAIN_COLUMNS,
    OwnTables,
    TableName,
    Vendor,
    index_of_expiry,
    our_columns,
    plain_table,
)

LARGEST_RECORD_BYTES: Final = 8_000_000
"""The largest payload of one record: what MySQL's max_allowed_packet takes (``sqlalchemy``), on every database."""

_DIALECTS: Final[Mapping[Vendor, Dialect]] = {
    "mariadb": "mysql",
    "mysql": "mysql",
    "postgresql": "postgresql",
    "sqlite": "sqlite",
}
_PLAIN: Final = TableName("taskq_results")

_TASK: Final = {
    "task_id": "text",
    "status": "text",
    "result": "text",
    "content_type": "text",
    "content_encoding": "text",
    "date_created": "timestamptz",
    "date_started": "timestamptz",
    "date_done": "timestamptz",
    "traceback": "text",
    "meta": "text",
    "task_name": "text",
    "task_args": "text",
    "task_kwargs": "text",
    "worker": "text",
}
_GROUP: Final = {
    "group_id": "text",
    "result": "text",
    "content_type": "text",
    "content_encoding": "text",
    "date_created": "timestamptz",
    "date_done": "timestamptz",
}
"""Column of django-celery-results -> its type in the arrays of a write in PostgreSQL."""

_CONTENT: Final = {"content_type": "application/json", "content_encoding": "utf-8"}
_LONGEST_NAME: Final = 255
_LONGEST_WORKER: Final = 100


class DjangoResults(PreparedSQLResults):
    """The store behind ``django-db://`` and ``django-db://alias``.

    Args:
        alias: the database's name in DATABASES; empty: the one that Django's routers choose for results.
        clock: returns the time, in seconds since the epoch; None: the server's clock for locks, else this machine's.
    """

    database = "the result store in Django's database"
    largest_bytes = LARGEST_RECORD_BYTES
    capabilities: ClassVar[StoreCapabilities] = sql_capabilities(LARGEST_RECORD_BYTES)

    def __init__(self, alias: str = "", *, clock: Callable[[], float] | None = None) -> None:
        super().__init__(clock)
        self._service_name = f"django:{alias}"
        self._service = Service("django", (("alias", alias),))
        self._own = OwnTables(_PLAIN, "taskq_")

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> DjangoResults:
        """Make the store for ``django-db://``, or for ``django-db://alias``."""
        query_of(url)
        if url.path.strip("/"):
            raise ImproperlyConfigured(f"{shown(url)}: write django-db:// or django-db://ALIAS, a name of DATABASES")
        return cls(url.netloc)

    def _prepare(self) -> Flow[Statements]:
        if self._prepared is not None:
            return self._prepared
        described: Mapping[str, Any] = yield from self._call("describe")
        vendor = described["vendor"]
        if vendor not in _DIALECTS:
            raise ImproperlyConfigured(
                f"django-db:// can't use a database of {vendor}; known: {', '.join(sorted(_DIALECTS))}"
            )
        dialect = _DIALECTS[vendor]
        names = {kind: described[kind] for kind in ("task", "group")}
        tables = [*self._tables(names, vendor), *self._own.tables(vendor)]
        lasting: bool = yield from self._call("prepare", tables=tuple(tables))
        statements = self._statements(names, dialect)
        if lasting:
            self._prepared = statements
        return statements

    def _tables(self, names: Mapping[str, str | None], vendor: Vendor) -> list[SQLTable]:
        found = [TableName(name) for name in names.values() if name is not None]
        if not found:
            return [plain_table(_PLAIN, vendor)]
        ours = our_columns(vendor).items()
        return [
            SQLTable(
                table.name,
                None,
                (),
                tuple(
                    (column, f"ALTER TABLE {table.quoted(vendor)} ADD COLUMN {column} {kind}") for column, kind in ours
                ),
                (index_of_expiry(table, vendor),),
            )
            for table in found
        ]

    def _statements(self, names: Mapping[str, str | None], dialect: Dialect) -> Statements:
        own = self._own.names(dialect)
        task, group = names["task"], names["group"]
        if task is None or group is None:
            plain = RecordTable(_PLAIN.quoted(dialect), "id", PLAIN_COLUMNS)
            return Statements(dialect, plain, own, server_time=self._server_time)
        kept = frozenset({"date_created"})
        tables = [
            RecordTable(
                TableName(name).quoted(dialect),
                key,
                {**columns, **rows.OUR_COLUMNS},
                prefix="taskq_",
                state=state,
                own="taskq_state",
                kept=kept,
            )
            for name, key, columns, state in (
                (task, "task_id", _TASK, "status"),
                (group, "group_id", _GROUP, "taskq_state"),
            )
        ]
        return Statements(dialect, tables[0], own, groups=tables[1], server_time=self._server_time)

    def _row(self, record: Record) -> Mapping[str, Any]:
        frame, text = rows.parted(record.payload)
        result = None if text is None else text.encode()
        document = {} if text is None else rows.around(frame)
        now = datetime.fromtimestamp(self._clock(), UTC)
        common = {
            "result": text,
            **_CONTENT,
            "date_created": now,
            "date_done": rows.time_done(document) or now,
            **rows.our_columns(record, frame, result),
        }
        plain = {
            "id": record.id,
            "state": record.state,
            "version": record.version,
            "fence": record.fence,
            "expires_at": record.expires_at,
            "payload": record.payload,
        }
        if record.id.startswith(GROUPS):
            return {"group_id": record.id.removeprefix(GROUPS), **common, **plain}
        return {
            "task_id": record.id,
            "status": record.state,
            "date_started": result_document.time_in(document, result_document.STARTED_AT),
            "traceback": rows.storable(document.get("traceback")),
            "meta": rows.text_of({"children": document.get("children") or []}),
            "task_name": rows.storable(document.get("name"), _LONGEST_NAME),
            "task_args": None if document.get("args") is None else rows.text_of(document["args"]),
            "task_kwargs": None if document.get("kwargs") is None else rows.text_of(document["kwargs"]),
            "worker": rows.storable(document.get("worker"), _LONGEST_WORKER),
            **common,
            **plain,
        }

    def _record(self, row: Mapping[str, Any]) -> Record:
        if "payload" in row:
            return plain_record(row)
        is_task = "task_id" in row
        record_id = row["task_id"] if is_task else f"{GROUPS}{row['group_id']}"
        text = row["result"]
        ours = rows.our_record(record_id, row, None if text is None else text.encode())
        if ours is not None:
            return ours
        stored = rows.stored_bytes(text, row["content_encoding"])
        done = rows.written_time(row["date_done"])
        if not is_task:
            return rows.celerys_record(record_id, {"status": "PENDING", "date_done": done}, stored)
        encoding = row["content_encoding"]
        meta = rows.plain_value(record_id, rows.stored_bytes(row["meta"], encoding))
        document = {
            "status": row["status"],
            "traceback": row["traceback"],
            **(meta if isinstance(meta, dict) else {}),
            "date_done": done,
            result_document.STARTED_AT: rows.written_time(row["date_started"]),
            "name": row["task_name"],
            "args": rows.described_value(record_id, row["task_args"], encoding),
            "kwargs": rows.described_value(record_id, row["task_kwargs"], encoding),
            "worker": row["worker"],
        }
        return rows.celerys_record(record_id, document, stored)
