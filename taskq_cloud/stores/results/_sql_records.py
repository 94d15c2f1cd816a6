"""The statements of one table of records: conditional writes, in the three dialects that the SQL stores know.

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
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.records.record import FINAL_VERSION

Dialect: TypeAlias = Literal["sqlite", "postgresql", "mysql"]
Statement: TypeAlias = tuple[str, Mapping[str, Any]]
Rows: TypeAlias = list[dict[str, Any]]


class _New(Protocol):
    def __call__(self, column: str, /) -> str:
        """The SQL of a column's new value."""
        ...


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
        chosen, parameters = among(self._dialect, self._table.key, ids)
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
        token = os.urandom(16).hex()
        chosen, parameters = among(self._dialect, self._table.key, [row[self._table.key] for row in rows])
        select = f"SELECT {self._table.key} FROM {self._table.name} WHERE {chosen} AND taskq_token = :token"
        writes: list[Statement] = [(self._save, {**row, "now": now, "token": token}) for row in kept]
        return [*writes, (select, {**parameters, "token": token})]

    def saved(self, answers: Sequence[Rows]) -> set[str]:
        """The keys of the rows that were written, by the answers to the statements of ``save``."""
        return {row[self._table.key] for rows in answers for row in rows}

    def sweep(self, now: float, limit: int) -> Statement:
        """Remove some of the rows that have expired."""
        expired = self._table.expired("", ":now")
        return delete_some(self._dialect, self._table.name, self._table.key, expired, limit), {"now": now}

    def delete(self, ids: Sequence[str]) -> Statement:
        """Delete the rows of ids."""
        chosen, parameters = among(self._dialect, self._table.key, ids)
        return f"DELETE FROM {self._table.name} WHERE {chosen}", parameters


def among(dialect: Dialect, column: str, values: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The condition that a column is one of the values, and its parameters."""
    unique = sorted(set(values)) if len(values) > 1 else list(values)
    if dialect == "postgresql":
        return f"{column} = ANY(CAST(:ids AS text[]))", {"ids": unique}
    if dialect == "sqlite":
        return f"{column} IN (SELECT value FROM json_each(:ids))", {"ids": json.dumps(unique)}
    named = {f"id{number}": value for number, value in enumerate(unique)}
    return f"{column} IN ({', '.join(f':{name}' for name in named)})", named


def delete_some(dialect: Dialect, table: str, key: str, condition: str, limit: int) -> str:
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
