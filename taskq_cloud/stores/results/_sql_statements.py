"""The statements of the result stores in SQL databases, for the three dialects that they are written in.

Statements have named parameters (``:id``). The dialect is SQLite's, PostgreSQL's, or that of MySQL and MariaDB. A
conditional write is one statement in each: SQLite and PostgreSQL have ``ON CONFLICT ... DO UPDATE ... WHERE``, and tell
by ``RETURNING`` which rows were written. MySQL has no such condition, so a token is first assigned under the condition,
the other columns only where the token is this write's, and the written rows are then selected by the token.

What a table of records holds is defined by its ``RecordTable``: our own tables have a column for each field of a
record, and those that Celery also uses keep the fields beside Celery's columns (``_sql_celery_rows``).
"""

# ruff: noqa: S608 - the values that are inserted into these statements are names of tables and columns

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias
from uuid import uuid4

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS, FINAL_VERSION

Dialect: TypeAlias = Literal["sqlite", "postgresql", "mysql"]
Statement: TypeAlias = tuple[str, Mapping[str, Any]]
Rows: TypeAlias = list[dict[str, Any]]

SWEPT: Final = 20
"""Each sweep removes so many expired rows more than were added since the last one: rows don't pile up, and no write
pays for all of them."""

GROUPS: Final = "taskset-"
"""The beginning of the ids of records that list a group's tasks (``core.workflows.saved_groups``)."""

_SERVER_TIME: Final[Mapping[Dialect, str]] = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM statement_timestamp()) AS double precision)",
    "mysql": "CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)",
}


class _New(Protocol):
    def __call__(self, column: str, /) -> str:
        """The SQL of a column's new value."""
        ...


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a store's tables, quoted where that is needed.

    Args:
        joins: the joins that were begun.
        members: the members that have arrived.
        claims: the locks.
        rates: the next slots of rate limits.
        key: the column with the key of a lock or a rate.
    """

    joins: str = "joins"
    members: str = "join_members"
    claims: str = "claims"
    rates: str = "rates"
    key: str = "key"


LOCAL_NAMES: Final = Names()
"""The names in a database file of our own."""


@dataclass(frozen=True, slots=True)
class RecordTable:
    """The table of a store's records.

    Args:
        name: its name, quoted where that is needed.
        key: the column with the task's id.
        columns: column -> its type in PostgreSQL, the key included.
        prefix: the beginning of the names of the columns ``version``, ``fence`` and ``expires_at``.
        state: the column with the state; it is only needed where others write the table, too.
        own: the column with the state of our last write; empty: nobody else writes the table.
        serial: an expression for the column ``id`` of a new row; empty: the database fills it in.
        kept: the columns that stay as they are when a row is replaced, beside the key.
    """

    name: str
    key: str
    columns: Mapping[str, str]
    prefix: str = ""
    state: str = "state"
    own: str = ""
    serial: str = ""
    kept: frozenset[str] = frozenset()

    @property
    def replaced(self) -> list[str]:
        """The columns that a new row replaces."""
        return [name for name in self.columns if name != self.key and name not in self.kept]

    def replaceable(self, new: _New, now: str) -> str:
        """The condition under which a stored row may be replaced: ``records.may_replace``.

        A row that another program has written holds no version: it is replaced unless its state is final.
        """
        version, fence = f"{self.prefix}version", f"{self.prefix}fence"
        later = f"stored.{version} <= {new(version)} AND stored.{fence} <= {new(fence)}"
        if not self.own:
            return f"{self.expired('stored.', now)} OR (stored.{version} < {FINAL_VERSION} AND {later})"
        foreign = f"stored.{self.own} IS NULL OR stored.{self.own} <> stored.{self.state}"
        unready = f"stored.{self.state} NOT IN ('SUCCESS', 'FAILURE', 'REVOKED')"
        return f"({self.expired('stored.', now)}) OR ({unready} AND ({foreign} OR ({later})))"

    def expired(self, of: str, now: str) -> str:
        """The condition under which a row that we have written has expired."""
        ours = f"{of}{self.own} = {of}{self.state} AND " if self.own else ""
        return f"{ours}{of}{self.prefix}expires_at <= {now}"


class RecordStatements:
    """The statements of one table of records.

    Args:
        dialect: the database's dialect.
        table: the table.
    """

    def __init__(self, dialect: Dialect, table: RecordTable) -> None:
        self._dialect = dialect
        self._table = table
        self._save = _SAVES[dialect](table)
        self._load = f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE "

    def load(self, ids: Sequence[str]) -> Statement:
        """Select the rows of ids."""
        chosen, parameters = _among(self._dialect, self._table.key, ids)
        return f"{self._load}{chosen}", parameters

    def save(self, rows: Sequence[Mapping[str, Any]], now: float) -> list[Statement]:
        """Write rows with different keys, in their order. The answers of the statements go to ``saved``."""
        if self._dialect == "postgresql":
            arrays = {name: [row[name] for row in rows] for name in self._table.columns}
            return [(self._save, {**arrays, "now": now})]
        columns = self._table.columns
        kept = rows if len(rows[0]) == len(columns) else [{name: row[name] for name in columns} for row in rows]
        if self._dialect == "sqlite":
            return [(self._save, {**row, "now": now}) for row in kept]
        token = uuid4().hex
        chosen, parameters = _among(self._dialect, self._table.key, [row[self._table.key] for row in rows])
        select = f"SELECT {self._table.key} FROM {self._table.name} WHERE {chosen} AND taskq_token = :token"
        writes: list[Statement] = [(self._save, {**row, "now": now, "token": token}) for row in kept]
        return [*writes, (select, {**parameters, "token": token})]

    def saved(self, answers: Sequence[Rows]) -> set[str]:
        """The keys of the rows that were written, by the answers to the statements of ``save``."""
        return {row[self._table.key] for rows in answers for row in rows}

    def sweep(self, now: float, limit: int) -> Statement:
        """Remove some of the rows that have expired."""
        expired = self._table.expired("", ":now")
        return _delete_some(self._dialect, self._table.name, self._table.key, expired, limit), {"now": now}

    def delete(self, ids: Sequence[str]) -> Statement:
        """Delete the rows of ids."""
        chosen, parameters = _among(self._dialect, self._table.key, ids)
        return f"DELETE FROM {self._table.name} WHERE {chosen}", parameters


class Statements:
    """The statements of one store.

    Args:
        dialect: the database's dialect.
        records: the table of the records.
        names: the names of the other tables.
        groups: the table of the records whose ids begin with ``GROUPS``; None: it is that of the others.
        server_time: locks lapse by the server's clock, and not by that of the caller.
    """

    def __init__(
        self,
        dialect: Dialect,
        records: RecordTable,
        names: Names = LOCAL_NAMES,
        *,
        groups: RecordTable | None = None,
        server_time: bool = False,
    ) -> None:
        self.dialect = dialect
        self.records = RecordStatements(dialect, records)
        self.groups = None if groups is None else RecordStatements(dialect, groups)
        self._names = names
        self._now = _SERVER_TIME[dialect] if server_time and dialect in _SERVER_TIME else ":now"
        self._join = self._join_statements()

    @property
    def tables(self) -> list[RecordStatements]:
        """The statements of all tables of records."""
        return [self.records] if self.groups is None else [self.records, self.groups]

    def of(self, record_id: str) -> RecordStatements:
        """The statements of the table with a record."""
        return self.groups if self.groups is not None and record_id.startswith(GROUPS) else self.records

    def key_of(self, record_id: str) -> str:
        """The key of a record in its table."""
        return record_id.removeprefix(GROUPS) if self.groups is not None else record_id

    # Joins

    def join(self, join_id: str, member: str, expires_at: float | None, now: float) -> list[Statement]:
        """Enter a member; the answer to the last statement is a row with the number of members, ``arrived``.

        A member of the same join from before its expiry doesn't count. On a server, the first statement locks the join,
        so that of two members who arrive at once the later one sees the earlier one.
        """
        values = {"id": join_id, "member": member, "expires_at": expires_at, "now": now}
        return [(sql, values) for sql in self._join]

    def _join_statements(self) -> list[str]:
        names = self._names
        nothing = "ON DUPLICATE KEY UPDATE" if self.dialect == "mysql" else "ON CONFLICT DO NOTHING"
        lock = {
            "sqlite": "",
            "postgresql": f"""
                INSERT INTO {names.joins} AS stored (id, expires_at) VALUES (:id, :expires_at)
                ON CONFLICT (id) DO UPDATE SET expires_at = stored.expires_at
            """,
            "mysql": f"""
                INSERT INTO {names.joins} (id, expires_at) VALUES (:id, :expires_at)
                ON DUPLICATE KEY UPDATE expires_at = {names.joins}.expires_at
            """,
        }[self.dialect]
        begin_anew = f"""
            DELETE FROM {names.members}
            WHERE join_id = :id AND EXISTS (SELECT 1 FROM {names.joins} WHERE id = :id AND expires_at <= :now)
        """
        enter = f"""
            INSERT INTO {names.joins} (id, expires_at) VALUES (:id, :expires_at)
            ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
        """
        if self.dialect != "sqlite":
            enter = f"UPDATE {names.joins} SET expires_at = :expires_at WHERE id = :id"
        arrive = f"""
            INSERT INTO {names.members} (join_id, member) VALUES (:id, :member)
            {nothing}{" member = :member" if self.dialect == "mysql" else ""}
        """
        count = f"SELECT count(*) AS arrived FROM {names.members} WHERE join_id = :id"
        return [sql for sql in (lock, begin_anew, enter, arrive, count) if sql]

    def sweep_joins(self, now: float, limit: int) -> list[Statement]:
        """Remove some of the oldest join that has expired: first its members, and then the join."""
        names, skip = self._names, " FOR UPDATE SKIP LOCKED" if self.dialect == "postgresql" else ""
        oldest = f"SELECT id FROM {names.joins} WHERE expires_at <= :now ORDER BY expires_at LIMIT 1{skip}"
        of_oldest = f"join_id = ({oldest})"
        if self.dialect == "mysql":
            members = f"DELETE FROM {names.members} WHERE {of_oldest} LIMIT {limit}"
            join = f"""
                DELETE FROM {names.joins} WHERE expires_at <= :now
                    AND NOT EXISTS (SELECT 1 FROM {names.members} WHERE join_id = {names.joins}.id)
                ORDER BY expires_at LIMIT 1
            """
        else:
            members = f"""
                DELETE FROM {names.members} WHERE {of_oldest} AND member IN (
                    SELECT member FROM {names.members} WHERE {of_oldest} LIMIT {limit}
                )
            """
            join = f"""
                DELETE FROM {names.joins} WHERE id = ({oldest}) AND expires_at <= :now
                    AND NOT EXISTS (SELECT 1 FROM {names.members} WHERE join_id = {names.joins}.id)
            """
        return [(members, {"now": now}), (join, {"now": now})]

    # Locks and slots

    def claim(self, key: str, owner: str, ttl_seconds: float, now: float) -> list[Statement]:
        """Take, renew or give up a lock; the one of the answers is a row with its ``fence``, or none is."""
        claims, name, time = self._names.claims, self._names.key, self._now
        values: dict[str, Any] = {"key": key, "owner": owner, "ttl": float(ttl_seconds)}
        values |= {"now": now} if time == ":now" else {}
        forget = _delete_some(self.dialect, claims, name, f"lapses_at <= {time} - {FENCE_KEPT_SECONDS}", SWEPT)
        if ttl_seconds <= 0:
            held = f"{name} = :key AND owner = :owner AND lapses_at > {time}"
            unlock = f"UPDATE {claims} SET lapses_at = {time} WHERE {held}"
            if self.dialect == "mysql":
                fence = f"SELECT fence FROM {claims} WHERE {held} FOR UPDATE"
                return [(fence, values), (unlock, values)]
            return [(forget, values), (f"{unlock} RETURNING fence", values)]
        insert = f"({name}, owner, fence, lapses_at) VALUES (:key, :owner, 1, {time} + :ttl)"
        lapsed = f"stored.lapses_at <= {time}"
        if self.dialect == "mysql":
            # The assignments count from left to right: the owner changes only if the lock has lapsed.
            lock = f"""
                INSERT INTO {claims} {insert} ON DUPLICATE KEY UPDATE
                    fence = fence + IF(lapses_at <= {time}, 1, 0),
                    owner = IF(lapses_at <= {time}, :owner, owner),
                    lapses_at = IF(owner = :owner, {time} + :ttl, lapses_at)
            """
            fence = f"SELECT fence FROM {claims} WHERE {name} = :key AND owner = :owner"
            return [(forget, values), (lock, values), (fence, values)]
        lock = f"""
            INSERT INTO {claims} AS stored {insert} ON CONFLICT ({name}) DO UPDATE SET
                owner = excluded.owner, lapses_at = excluded.lapses_at,
                fence = stored.fence + CASE WHEN {lapsed} THEN 1 ELSE 0 END
            WHERE {lapsed} OR stored.owner = excluded.owner
            RETURNING fence
        """
        return [(forget, values), (lock, values)]

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float, now: float) -> list[Statement]:
        """Take a slot by ``rates.take_slot``; the answer to the last statement is a row with ``next_slot``, or none."""
        rates, name = self._names.rates, self._names.key
        interval, earliest = float(interval_seconds), now - credit_seconds
        values = {"key": key, "earliest": earliest, "interval": interval, "credit": float(credit_seconds)}
        values |= {"farthest": now + FARTHEST_SLOT_SECONDS}
        # Removing such a row changes nothing: the key's next slot would be the same without the row.
        forget = _delete_some(self.dialect, rates, name, "spent_at <= :now", SWEPT)
        columns = f"({name}, next_slot, spent_at)"
        first = "(:key, :earliest + :interval, :earliest + :interval + :credit)"
        if self.dialect == "mysql":
            slot = f"""
                INSERT INTO {rates} {columns} VALUES {first} ON DUPLICATE KEY UPDATE
                    given = IF(next_slot <= :farthest, 1, 0),
                    next_slot = IF(given = 1, GREATEST(next_slot, :earliest) + :interval, next_slot),
                    spent_at = next_slot + :credit
            """
            taken = f"SELECT next_slot FROM {rates} WHERE {name} = :key AND given = 1"
            return [(forget, {"now": now}), (slot, values), (taken, {"key": key})]
        later = "(CASE WHEN stored.next_slot > :earliest THEN stored.next_slot ELSE :earliest END)"
        slot = f"""
            INSERT INTO {rates} AS stored {columns} VALUES {first} ON CONFLICT ({name}) DO UPDATE SET
                next_slot = {later} + :interval, spent_at = {later} + :interval + :credit
            WHERE stored.next_slot <= :farthest
            RETURNING next_slot
        """
        return [(forget, {"now": now}), (slot, values)]


def _among(dialect: Dialect, column: str, values: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The condition that a column is one of the values, and its parameters."""
    unique = sorted(set(values)) if len(values) > 1 else list(values)
    if dialect == "postgresql":
        return f"{column} = ANY(CAST(:ids AS text[]))", {"ids": unique}
    if dialect == "sqlite":
        return f"{column} IN (SELECT value FROM json_each(:ids))", {"ids": json.dumps(unique)}
    named = {f"id{number}": value for number, value in enumerate(unique)}
    return f"{column} IN ({', '.join(f':{name}' for name in named)})", named


def _delete_some(dialect: Dialect, table: str, key: str, condition: str, limit: int) -> str:
    if dialect == "mysql":
        return f"DELETE FROM {table} WHERE {condition} LIMIT {limit}"
    # Rows that another transaction is changing are left to a later sweep.
    skip = " FOR UPDATE SKIP LOCKED" if dialect == "postgresql" else ""
    return f"DELETE FROM {table} WHERE {key} IN (SELECT {key} FROM {table} WHERE {condition} LIMIT {limit}{skip})"


def _save_one(table: RecordTable) -> str:
    names = list(table.columns)
    return f"""
        INSERT INTO {table.name} AS stored ({", ".join(names)}) VALUES ({", ".join(f":{name}" for name in names)})
        {_on_conflict(table)}
    """


def _save_many(table: RecordTable) -> str:
    names = ", ".join(table.columns)
    arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in table.columns.items())
    serial = ("id, ", f"{table.serial}, ") if table.serial else ("", "")
    return f"""
        INSERT INTO {table.name} AS stored ({serial[0]}{names})
        SELECT {serial[1]}{names} FROM unnest({arrays}) AS new ({names})
        {_on_conflict(table)}
    """


def _on_conflict(table: RecordTable) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in table.replaced)
    condition = table.replaceable(lambda column: f"excluded.{column}", ":now")
    return f"ON CONFLICT ({table.key}) DO UPDATE SET {changes} WHERE {condition} RETURNING {table.key}"


def _save_with_token(table: RecordTable) -> str:
    names = list(table.columns)
    condition = table.replaceable(lambda column: f":{column}", ":now").replace("stored.", "")
    changes = ", ".join(f"{name} = IF(taskq_token = :token, :{name}, {name})" for name in table.replaced)
    serial = ("id, ", f"{table.serial}, ") if table.serial else ("", "")
    return f"""
        INSERT INTO {table.name} ({serial[0]}{", ".join(names)}, taskq_token)
        VALUES ({serial[1]}{", ".join(f":{name}" for name in names)}, :token)
        ON DUPLICATE KEY UPDATE taskq_token = IF({condition}, :token, taskq_token), {changes}
    """


_SAVES: Final = {"sqlite": _save_one, "postgresql": _save_many, "mysql": _save_with_token}
