"""Keeps the tables of a server of Cassandra: partitions with static columns, rows, and cells that expire."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from emulators.documents.cql import Statement

_KEYS: Final = ("task_id", "date_done")

_HOST: Final = UUID("5f0f6cd6-6f3c-4a8e-9d3f-2f6a36f0b8aa")
SYSTEM: Final[Mapping[tuple[str, str], Mapping[str, tuple[str, Any]]]] = {
    ("system", "local"): {
        "key": ("text", "local"),
        "cluster_name": ("text", "Test Cluster"),
        "data_center": ("text", "datacenter1"),
        "rack": ("text", "rack1"),
        "release_version": ("text", "4.1.3"),
        "cql_version": ("text", "3.4.6"),
        "native_protocol_version": ("text", "4"),
        "partitioner": ("text", "org.apache.cassandra.dht.Murmur3Partitioner"),
        "host_id": ("uuid", _HOST.bytes),
        "schema_version": ("uuid", _HOST.bytes),
        "rpc_address": ("inet", bytes([127, 0, 0, 1])),
        "broadcast_address": ("inet", bytes([127, 0, 0, 1])),
        "listen_address": ("inet", bytes([127, 0, 0, 1])),
    }
}
"""Keyspace and name of a system table -> its one row: column -> type and value."""


@dataclass
class Cell:
    value: Any
    expires_at: float | None


@dataclass
class Partition:
    static: dict[str, Cell] = field(default_factory=dict)
    rows: dict[int, dict[str, Cell]] = field(default_factory=dict)


@dataclass
class Table:
    """A table: its columns, and its partitions."""

    types: dict[str, str]
    static: set[str]
    partitions: dict[str, Partition] = field(default_factory=dict)

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The rows of a partition, from the latest on; a partition without rows shows its static columns."""
        partition = self.partitions.get(key, Partition())
        static = _living(partition.static)
        rows = [
            {"task_id": key, "date_done": done, **static, **cells}
            for done, stored in sorted(partition.rows.items(), reverse=True)
            if (cells := _living(stored))
        ]
        return rows or ([{"task_id": key, **static}] if static else [])

    def current(self, statement: Statement) -> dict[str, Any]:
        """The latest row of the partition that a statement is about."""
        return next(iter(self.rows(statement.where["task_id"])), {})

    def holds(self, statement: Statement) -> bool:
        """Whether the conditions of a statement hold."""
        row = self.current(statement)
        return all(row.get(name) == value for name, value in statement.conditions.items())

    def write(self, statement: Statement) -> None:
        """Carry out an insertion, an update or a removal."""
        keys = statement.values if statement.kind == "insert" else statement.where
        if statement.kind == "delete":
            self.partitions.pop(keys["task_id"], None)
            return
        partition = self.partitions.setdefault(keys["task_id"], Partition())
        expires_at = time.time() + statement.ttl if statement.ttl else None
        for name, value in statement.values.items():
            if name not in _KEYS:
                cells = partition.static if name in self.static else partition.rows.setdefault(keys["date_done"], {})
                cells[name] = Cell(value, expires_at)


def _living(cells: Mapping[str, Cell]) -> dict[str, Any]:
    now = time.time()
    return {
        name: cell.value
        for name, cell in cells.items()
        if cell.value is not None and (cell.expires_at is None or cell.expires_at > now)
    }
