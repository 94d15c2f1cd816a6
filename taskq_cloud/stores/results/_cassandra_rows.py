"""The rows of Celery's table in Cassandra, and the two columns that this package adds to it.

Celery inserts a row for each state of a task, with the time of the write in its key, and reads the latest one. So this
package writes rows, too. What it needs for its conditions is in two columns of the whole partition (``static``), which
are shared by the rows of a task, and which Celery passes over:

==============  ===========================================================================================
``taskq_tag``   the version of the partition, a text by chance: the only one over which a write is made
``taskq``       a document of JSON: our metadata of the latest row, the parts of the result document that no
                column of Celery's has, and the whole of what isn't a result, such as a lock
==============  ===========================================================================================
"""

# ruff: noqa: S608 - the values that are inserted into these statements are names of tables and columns

from __future__ import annotations

import calendar
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.errors import DecodeError
from taskq_cloud.stores.buckets import StoredObject

OURS: Final = (("taskq_tag", "text static"), ("taskq", "text static"))
"""Our columns and their types."""

COLUMNS: Final = ("status", "result", "traceback", "children", "date_done", "taskq_tag", "taskq")
"""The columns that are read."""

_INSERTED: Final = "(task_id, status, result, traceback, children, date_done)"


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements on one table, with ``?`` for each value.

    Args:
        select: reads the latest row of a task.
        update: writes our columns over the version that was read.
        insert: adds a row.
        delete: removes a partition.
        create: creates the table.
    """

    select: str
    update: str
    insert: str
    delete: str
    create: str

    @classmethod
    def of(cls, table: str) -> Statements:
        """The statements on a table, whose name is as CQL writes it, with the keyspace."""
        ours = ", ".join(f"{column} {kind}" for column, kind in OURS)
        return cls(
            f"SELECT {', '.join(COLUMNS)} FROM {table} WHERE task_id = ? LIMIT 1",
            f"UPDATE {table} USING TTL ? SET taskq_tag = ?, taskq = ? WHERE task_id = ? IF taskq_tag = ?",
            f"INSERT INTO {table} {_INSERTED} VALUES (?, ?, ?, ?, ?, ?) USING TTL ?",
            f"DELETE FROM {table} WHERE task_id = ?",
            f"CREATE TABLE IF NOT EXISTS {table} (task_id text, status text, result blob, date_done timestamp, "
            f"traceback blob, children blob, {ours}, PRIMARY KEY ((task_id), date_done)) "
            "WITH CLUSTERING ORDER BY (date_done DESC)",
        )


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a partition that was read.

    Args:
        tag: its ``taskq_tag``; None: only Celery has written it.
        done_ms: the time in the key of its latest row, in milliseconds since the epoch; 0: it has no row.
    """

    tag: str | None = None
    done_ms: int = 0

    @classmethod
    def read(cls, stored: StoredObject | None) -> Version:
        """The version in an object's tag."""
        if stored is None or stored.tag is None:
            return cls()
        done_ms, _, tag = stored.tag.partition(" ")
        return cls(tag or None, int(done_ms))

    def __str__(self) -> str:
        return f"{self.done_ms} {self.tag or ''}"


def object_of(task_id: str, row: Mapping[str, Any]) -> StoredObject:
    """The object of a partition.

    Args:
        task_id: the partition's key.
        row: its latest row, with our columns.
    """
    done_ms = _milliseconds(row["date_done"])
    version = str(Version(row["taskq_tag"], done_ms))
    ours: Mapping[str, Any] = json.loads(row["taskq"]) if row["taskq"] else {}
    if ours and ours.get("done_ms", done_ms) == done_ms:  # else Celery has added a row since
        parts = (ours["body"],) if "body" in ours else (ours["head"], row["result"].decode(), ours["tail"])
        return StoredObject("".join(parts).encode(), ours["meta"], version, ours["expires_at"])
    return StoredObject(_celerys(task_id, row), {}, version)


def values_of(new: StoredObject, done_ms: int) -> tuple[str, dict[str, Any] | None]:
    """Divide an object into our column and the values of a row.

    Args:
        new: the object.
        done_ms: the time in the row's key, in milliseconds since the epoch.

    Returns:
        The document for ``taskq``, and the values of the row; None: the object is no result.
    """
    ours: dict[str, Any] = {"meta": dict(new.metadata), "expires_at": new.expires_at}
    text = new.body.decode()
    if not new.metadata:
        return json.dumps({**ours, "body": text}), None
    ours["done_ms"] = done_ms
    try:
        found: Mapping[str, Any] = result_document.decode(text)
    except DecodeError:  # another program's payload is kept as it is
        found = {}
    result = serializers.dumps(found.get("result"))
    head = f'{{"status":{serializers.dumps(found.get("status"))},"result":'
    if text.startswith(f"{head}{result}"):
        ours |= {"head": head, "tail": text[len(head) + len(result) :]}
    else:
        ours["body"] = text
    row = {
        "status": unquote(new.metadata["state"]),
        "result": result.encode(),
        "traceback": serializers.dumps(found.get("traceback")).encode(),
        "children": serializers.dumps(found.get("children")).encode(),
        "date_done": datetime.fromtimestamp(done_ms / 1000, UTC),
    }
    return json.dumps(ours), row


def _celerys(task_id: str, row: Mapping[str, Any]) -> bytes:
    """The result document of a row that Celery wrote, or its result alone if that can't be read."""
    parts: dict[str, str] = {}
    for name in ("result", "traceback", "children"):
        value = row[name]
        try:
            parts[name] = "null" if value is None else unpacked(value)
        except DecodeError:
            return bytes(value)
    done = row["date_done"]
    rest = {"date_done": None if done is None else done.replace(tzinfo=UTC).isoformat(), "task_id": task_id}
    fields: Sequence[str] = [f'"{name}":{text}' for name, text in parts.items()]
    status = f'"status":{serializers.dumps(row["status"])}'
    return f"{{{status},{','.join(fields)},{serializers.dumps(rest)[1:]}".encode()


def _milliseconds(moment: datetime | None) -> int:
    if moment is None:
        return 0
    return calendar.timegm(moment.utctimetuple()) * 1000 + moment.microsecond // 1000
