"""Stores results in tables of a PostgreSQL database, which the workers of any number of machines share.

Every method is one transaction and one round trip: a batch of records is one statement. The first call creates the
tables. The client (``taskq_cloud.clients.postgresql``) handles connections and announces the ends of tasks by NOTIFY.

The tables are ours. ``db+postgresql://`` (``sqlalchemy``) shares those of Celery instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, urlsplit

from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.servers.postgresql import database_of
from taskq_cloud.core.servers.sql_tables import pyformat
from taskq_cloud.errors import AccessDenied, OperationalError, StoreNotFound, Unreachable
from taskq_cloud.stores.results._sql_records import RecordTable, Rows, Statement
from taskq_cloud.stores.results._sql_results import SWEEP_EVERY, SQLResults, sql_capabilities
from taskq_cloud.stores.results._sql_statements import Names, Statements

LARGEST_RECORD_BYTES: Final = 250_000_000
"""The largest payload of one record: a field can have 1 GB (PostgreSQL's documentation, "PostgreSQL Limits"), and a
message of the protocol holds a whole batch."""

_CHANNEL: Final = "taskq_results"

_RECORDS: Final = RecordTable(
    "taskq_results",
    "id",
    {
        "id": "text",
        "state": "text",
        "version": "integer",
        "payload": "text",
        "packed": "bytea",
        "expires_at": "double precision",
        "fence": "bigint",
    },
)
_NAMES: Final = Names("taskq_joins", "taskq_join_members", "taskq_claims", "taskq_rates")

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS taskq_results (
    id text PRIMARY KEY, state text NOT NULL, version integer NOT NULL, payload text, packed bytea,
    expires_at double precision, fence bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS taskq_results_expire ON taskq_results (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS taskq_joins (id text PRIMARY KEY, expires_at double precision);
CREATE INDEX IF NOT EXISTS taskq_joins_expire ON taskq_joins (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS taskq_join_members (
    join_id text NOT NULL, member text NOT NULL, PRIMARY KEY (join_id, member)
);
CREATE TABLE IF NOT EXISTS taskq_claims (
    key text PRIMARY KEY, owner text NOT NULL, fence bigint NOT NULL, lapses_at double precision NOT NULL
);
CREATE INDEX IF NOT EXISTS taskq_claims_lapse ON taskq_claims (lapses_at);
CREATE TABLE IF NOT EXISTS taskq_rates (
    key text PRIMARY KEY, next_slot double precision NOT NULL, spent_at double precision NOT NULL
);
CREATE INDEX IF NOT EXISTS taskq_rates_spent ON taskq_rates (spent_at);
"""
_SCHEMA: Final = (
    "SELECT to_regclass('taskq_results') IS NOT NULL AND to_regclass('taskq_rates_spent') IS NOT NULL AS there",
    _TABLES,
)

_DENIED: Final = re.compile(r"28...|42501|25006|SchemaRefused")
"""A refused login or permission, a read-only server: their causes can be mended while a finished run waits."""
_MISSING: Final = re.compile(r"3D000|3F000|42P01")


class PostgreSQLResults(SQLResults):
    """The store behind ``postgresql://host/database``.

    Args:
        urls: the URL, or several that differ in their hosts only.
        clock: returns the time, in seconds since the epoch; None: the server's clock for locks, else this machine's.
    """

    database = "the result store in PostgreSQL"
    largest_bytes = LARGEST_RECORD_BYTES
    capabilities: ClassVar[StoreCapabilities] = sql_capabilities(LARGEST_RECORD_BYTES)

    def __init__(self, *urls: str, clock: Callable[[], float] | None = None) -> None:
        super().__init__(clock, SWEEP_EVERY)
        database = database_of([urlsplit(url) for url in urls])
        self._service_name, self._service = database.name, database.service
        self._statements = Statements("postgresql", _RECORDS, _NAMES, server_time=clock is None)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> PostgreSQLResults:
        """Make the store for ``postgresql://user:password@host/database``, with libpq's parameters after the ``?``."""
        return cls(url.geturl())

    @classmethod
    def from_urls(cls, urls: Sequence[SplitResult], options: Mapping[str, Any]) -> PostgreSQLResults:
        """Make the store for several hosts of one database: the first that takes writes is used."""
        return cls(*(url.geturl() for url in urls))

    @property
    def services(self) -> Mapping[str, Service]:
        """The client of the database."""
        return {self._service_name: self._service}

    @property
    def schema(self) -> tuple[str, str]:
        """What the client needs to create the tables; see ``HasTables.schema``."""
        return _SCHEMA

    @property
    def script(self) -> str:
        """The statements that create the tables, for a role that may do that; see ``HasTables.script``."""
        return _TABLES.strip()

    def listen(self, ids: Sequence[str], listener: Listener) -> Flow[bool]:
        """Let a listener hear of the ends of tasks: see ``TellsOfEnds.listen``."""
        topics = {self._topic(each): each for each in ids}
        heard: bool = yield from self._call("listen", listener=listener, topics=topics)
        return heard

    def _prepare(self) -> Flow[Statements]:
        yield from ()
        return self._statements

    def _run(self, operation: str, statements: Sequence[Statement], announce: Sequence[str] = ()) -> Flow[list[Rows]]:
        written = [(pyformat(sql), parameters) for sql, parameters in statements]
        answer: list[Rows] = yield from self._call(operation, schema=_SCHEMA, statements=written, announce=announce)
        return answer

    def _call(self, operation: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service_name, operation, parameters))
        except CallError as error:
            kind = OperationalError
            if _DENIED.fullmatch(error.code):
                kind = AccessDenied
            elif _MISSING.fullmatch(error.code):
                kind = StoreNotFound
            elif error.trouble is not Trouble.REFUSED:
                kind = Unreachable
            raise kind(f"the result store can't be used: {error.message}") from error

    def _row(self, record: Record) -> Mapping[str, Any]:
        return {
            "id": record.id,
            "state": record.state,
            "version": record.version,
            "payload": record.payload if record.packed is None else None,
            "packed": record.packed,
            "expires_at": record.expires_at,
            "fence": record.fence,
        }

    def _record(self, row: Mapping[str, Any]) -> Record:
        fields = dict(row)
        packed = fields.pop("packed")
        return Record(**fields) if packed is None else Record(**{**fields, "payload": unpacked(bytes(packed))})

    def _topic(self, task_id: str) -> str:
        return f"{_CHANNEL} {task_id}"
