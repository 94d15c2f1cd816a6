"""The tables of stores in SQL databases, as their clients create them: Celery's with our columns, and ours beside them.

Celery's tables are created as Celery creates them, so that either side may come first: where the database has
sequences, PostgreSQL and MariaDB, Celery takes the ids of rows from one. Ours are wider where Celery's columns are
narrow: MySQL's BLOB holds 64 KiB.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.servers.sql_tables import SQLTable
from taskq_cloud.stores.results._sql_celery_rows import OUR_COLUMNS
from taskq_cloud.stores.results._sql_statements import Names

Vendor: TypeAlias = Literal["sqlite", "postgresql", "mysql", "mariadb"]

_EXACT: Final = {"mysql": "utf8mb4_0900_bin", "mariadb": "utf8mb4_nopad_bin"}
"""System -> the collation by which all keys differ: by others, "a" is the same as "A", or as "a" and a blank."""

_MYSQL: Final = {
    "short": "VARCHAR(155) CHARACTER SET utf8mb4",
    "text": "LONGTEXT CHARACTER SET utf8mb4",
    "bytes": "LONGBLOB",
    "time": "DATETIME(6)",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "double precision": "DOUBLE",
}
_TYPES: Final[Mapping[Vendor, Mapping[str, str]]] = {
    "sqlite": {
        "id": "VARCHAR(255)",
        "short": "VARCHAR(155)",
        "text": "TEXT",
        "bytes": "BLOB",
        "time": "DATETIME",
        "integer": "INTEGER",
        "bigint": "BIGINT",
        "double precision": "DOUBLE PRECISION",
    },
    "postgresql": {
        "id": "VARCHAR(255)",
        "short": "VARCHAR(155)",
        "text": "TEXT",
        "bytes": "BYTEA",
        "time": "TIMESTAMP WITHOUT TIME ZONE",
        "integer": "INTEGER",
        "bigint": "BIGINT",
        "double precision": "DOUBLE PRECISION",
    },
    "mysql": {"id": f"VARCHAR(255) CHARACTER SET utf8mb4 COLLATE {_EXACT['mysql']}", **_MYSQL},
    "mariadb": {"id": f"VARCHAR(255) CHARACTER SET utf8mb4 COLLATE {_EXACT['mariadb']}", **_MYSQL},
}

TASK_COLUMNS: Final = {
    "task_id": "id",
    "status": "short",
    "result": "bytes",
    "date_done": "time",
    "traceback": "text",
    "children": "bytes",
    "name": "short",
    "args": "bytes",
    "kwargs": "bytes",
    "worker": "short",
    "retries": "integer",
    "queue": "short",
    "stamps": "bytes",
}
"""The columns of Celery's table of tasks, beside ``id``."""
GROUP_COLUMNS: Final = {"taskset_id": "id", "result": "bytes", "date_done": "time"}
"""The columns of Celery's table of groups, beside ``id``."""

POSTGRESQL_TYPES: Final = {
    "id": "text",
    "short": "text",
    "text": "text",
    "bytes": "bytea",
    "time": "timestamp",
    "integer": "integer",
}
"""The type of a column in the arrays of a write in PostgreSQL."""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's name and schema.

    Args:
        name: the name.
        schema: the schema; None: the connection's.
    """

    name: str
    schema: str | None = None

    def quoted(self, vendor: str) -> str:
        """The name as statements write it."""
        mark = "`" if vendor in ("mysql", "mariadb") else '"'
        return ".".join(f"{mark}{part}{mark}" for part in (self.schema, self.name) if part)

    def beside(self, name: str) -> TableName:
        """Another name in the table's schema."""
        return TableName(name, self.schema)


def sequence_of(name: str, of: TableName, vendor: Vendor) -> str:
    """The expression for the next value of a sequence in a table's schema."""
    sequence = of.beside(name).quoted(vendor)
    return f"nextval('{sequence}')" if vendor == "postgresql" else f"nextval({sequence})"


def celery_table(table: TableName, columns: Mapping[str, str], sequence: str, vendor: Vendor) -> SQLTable:
    """Describe a table of Celery's database backend, with our columns.

    Args:
        table: its name.
        columns: Celery's columns beside ``id``, and their kinds; the first is the key.
        sequence: the name of the sequence of its ids.
        vendor: the database.
    """
    types, name = _TYPES[vendor], table.quoted(vendor)
    serial = {
        "sqlite": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT",
        "postgresql": f"BIGINT NOT NULL DEFAULT {sequence_of(sequence, table, vendor)} PRIMARY KEY",
        "mysql": "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
        "mariadb": f"BIGINT NOT NULL DEFAULT {sequence_of(sequence, table, vendor)} PRIMARY KEY",
    }[vendor]
    ours = our_columns(vendor)
    theirs = {column: types[kind] for column, kind in columns.items()}
    key = next(iter(columns))
    written = [f"id {serial}", *(f"{column} {kind}" for column, kind in (theirs | ours).items()), f"UNIQUE ({key})"]
    before = []
    if vendor in ("postgresql", "mariadb"):
        before.append(f"CREATE SEQUENCE IF NOT EXISTS {table.beside(sequence).quoted(vendor)}")
    done = f"ix_{table.name}_date_done"
    return SQLTable(
        table.name,
        table.schema,
        (
            *before,
            f"CREATE TABLE {name} ({', '.join(written)})",
            f"CREATE INDEX {TableName(done).quoted(vendor)} ON {name} (date_done)",
            index_of_expiry(table, vendor),
        ),
        tuple((column, f"ALTER TABLE {name} ADD COLUMN {column} {kind}") for column, kind in (theirs | ours).items()),
        (index_of_expiry(table, vendor),),
    )


PLAIN_COLUMNS: Final = {
    "id": "text",
    "state": "text",
    "version": "integer",
    "payload": "text",
    "expires_at": "double precision",
    "fence": "bigint",
}
"""The columns of a table of records that is ours alone, and their types in PostgreSQL."""


def plain_table(table: TableName, vendor: Vendor) -> SQLTable:
    """Describe a table of records that is ours alone."""
    types, name = _TYPES[vendor], table.quoted(vendor)
    token = f", taskq_token {types['short']}" if vendor in ("mysql", "mariadb") else ""
    columns = (
        f"id {types['id']} NOT NULL PRIMARY KEY, state {types['short']} NOT NULL, version INTEGER NOT NULL, "
        f"payload {types['text']} NOT NULL, expires_at {types['double precision']}, fence BIGINT NOT NULL{token}"
    )
    index = TableName(f"{table.name}_expires_at").quoted(vendor)
    return SQLTable(
        table.name,
        table.schema,
        (f"CREATE TABLE {name} ({columns})", f"CREATE INDEX {index} ON {name} (expires_at)"),
    )


def our_columns(vendor: Vendor) -> dict[str, str]:
    """The columns that we add to tables of Celery's, and their types."""
    types = _TYPES[vendor]
    ours = {column: types[kind] for column, kind in OUR_COLUMNS.items()}
    return {**ours, "taskq_token": types["short"]} if vendor in ("mysql", "mariadb") else ours


def index_of_expiry(table: TableName, vendor: Vendor) -> str:
    """The statement that creates the index by which expired rows are found."""
    partial = "" if vendor in ("mysql", "mariadb") else " WHERE taskq_expires_at IS NOT NULL"
    index = TableName(f"{table.name}_taskq_expire").quoted(vendor)
    return f"CREATE INDEX {index} ON {table.quoted(vendor)} (taskq_expires_at){partial}"


@dataclass(frozen=True, slots=True)
class OwnTables:
    """Our tables of joins, locks and slots.

    Args:
        beside: a table in the schema that they are in.
        prefix: the beginning of their names.
    """

    beside: TableName
    prefix: str

    def names(self, vendor: Vendor) -> Names:
        """Their names in statements."""
        joins, members, claims, rates = (
            self._named(name).quoted(vendor) for name in ("joins", "join_members", "claims", "rates")
        )
        return Names(joins, members, claims, rates, key="name")

    def tables(self, vendor: Vendor) -> tuple[SQLTable, ...]:
        """Their descriptions."""
        key, number = _TYPES[vendor]["id"], _TYPES[vendor]["double precision"]
        name = key.replace("255", "512") if vendor in ("mysql", "mariadb") else "TEXT"
        given = ", given INTEGER NOT NULL DEFAULT 1" if vendor in ("mysql", "mariadb") else ""
        return (
            self._table("joins", f"id {key} NOT NULL PRIMARY KEY, expires_at {number}", vendor, "expires_at"),
            self._table(
                "join_members",
                f"join_id {key} NOT NULL, member VARCHAR(64) NOT NULL, PRIMARY KEY (join_id, member)",
                vendor,
            ),
            self._table(
                "claims",
                f"name {name} NOT NULL PRIMARY KEY, owner {key} NOT NULL, fence BIGINT NOT NULL, "
                f"lapses_at {number} NOT NULL",
                vendor,
                "lapses_at",
            ),
            self._table(
                "rates",
                f"name {name} NOT NULL PRIMARY KEY, next_slot {number} NOT NULL, spent_at {number} NOT NULL{given}",
                vendor,
                "spent_at",
            ),
        )

    def _named(self, name: str) -> TableName:
        return self.beside.beside(f"{self.prefix}{name}")

    def _table(self, name: str, columns: str, vendor: Vendor, indexed: str | None = None) -> SQLTable:
        table = self._named(name)
        quoted = table.quoted(vendor)
        create = [f"CREATE TABLE {quoted} ({columns})"]
        if indexed is not None:
            index = TableName(f"{table.name}_{indexed}").quoted(vendor)
            create.append(f"CREATE INDEX {index} ON {quoted} ({indexed})")
        return SQLTable(table.name, table.schema, tuple(create))
