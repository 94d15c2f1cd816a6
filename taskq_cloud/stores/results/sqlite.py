"""Stores results in one SQLite file, which several processes of one machine can use at once and which outlives them.

Every method is one transaction. The first call creates the file and its directory. The client
(``taskq_cloud.clients.sqlite``) handles connections, the journal and locking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

from taskq_cloud.core.file_errors import operational_error
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.model.local_clock import STEP_BACK, clock_schema, see_time
from taskq_cloud.core.ports import Service
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.urls import file_of, query_of
from taskq_cloud.stores.results._sql_records import RecordTable, Rows, Statement
from taskq_cloud.stores.results._sql_results import SQLResults, plain_record, plain_row, sql_capabilities
from taskq_cloud.stores.results._sql_statements import Statements

LARGEST_RECORD_BYTES: Final = 900_000_000
"""The largest payload of one record. SQLite's own limit is 1,000,000,000 bytes a row
(https://www.sqlite.org/limits.html, SQLITE_MAX_LENGTH)."""

_TABLES = """
CREATE TABLE IF NOT EXISTS results (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER NOT NULL, payload TEXT NOT NULL, expires_at REAL,
    fence INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS results_expire ON results (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS joins (id TEXT PRIMARY KEY, expires_at REAL);
CREATE INDEX IF NOT EXISTS joins_expire ON joins (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS join_members (
    join_id TEXT NOT NULL, member TEXT NOT NULL, PRIMARY KEY (join_id, member)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, fence INTEGER NOT NULL, lapses_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS claims_lapse ON claims (lapses_at);
CREATE TABLE IF NOT EXISTS rates (key TEXT PRIMARY KEY, next_slot REAL NOT NULL, spent_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS rates_spent ON rates (spent_at);
"""

# A lock and a slot must not last longer than they were meant to because the machine's clock was set back.
_SCHEMA = _TABLES + clock_schema(
    "results_clock",
    f"""
    UPDATE claims SET lapses_at = lapses_at - {STEP_BACK} WHERE lapses_at > new.latest;
    UPDATE rates SET next_slot = next_slot - {STEP_BACK}, spent_at = spent_at - {STEP_BACK}
    WHERE spent_at > new.latest;
    """,  # noqa: S608 - the inserted value is a constant
)
_SEE_TIME = see_time("results_clock")

_RECORDS: Final = RecordTable(
    "results", "id", dict.fromkeys(("id", "state", "version", "payload", "expires_at", "fence"), "")
)
_STATEMENTS: Final = Statements("sqlite", _RECORDS)


class SQLiteResults(SQLResults):
    """The store behind ``sqlite:///path``.

    Args:
        path: the database's file.
        clock: returns the time, in seconds since the epoch.
    """

    database = "SQLite"
    largest_bytes = LARGEST_RECORD_BYTES
    capabilities: ClassVar[StoreCapabilities] = sql_capabilities(LARGEST_RECORD_BYTES)

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        # The path is made absolute, so that a later change of the working directory doesn't lead to another file.
        self._path = str(Path(path).absolute())
        self._service = f"sqlite:{self._path}"
        super().__init__(clock)

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> SQLiteResults:
        """Make the store for ``sqlite:///relative/path`` or ``sqlite:////absolute/path``."""
        query_of(url)
        return cls(file_of(url))

    @property
    def services(self) -> Mapping[str, Service]:
        """The client that opens the file."""
        return {self._service: Service("sqlite", (("path", self._path),))}

    def listen(self, ids: Sequence[str], listener: Listener) -> Flow[bool]:
        """Let a listener hear of the ends of tasks: see ``TellsOfEnds.listen``."""
        topics = {self._topic(each): each for each in ids}
        heard: bool = yield from self._call("listen", listener=listener, topics=topics)
        return heard

    def _prepare(self) -> Flow[Statements]:
        yield from ()
        return _STATEMENTS

    def _run(self, operation: str, statements: Sequence[Statement], announce: Sequence[str] = ()) -> Flow[list[Rows]]:
        answer: list[Rows] = yield from self._call(
            operation, schema=_SCHEMA, statements=list(statements), announce=announce
        )
        return answer

    def _call(self, operation: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise operational_error("the result store can't be used", error) from error

    def _row(self, record: Record) -> Mapping[str, Any]:
        return plain_row(record)

    def _record(self, row: Mapping[str, Any]) -> Record:
        return plain_record(row)

    def _before_locks(self, now: float) -> list[Statement]:
        return [(_SEE_TIME, {"now": now})]

    def _topic(self, task_id: str) -> str:
        return f"result {task_id}"
