"""The documents of task results in MongoDB, as Celery's backend writes and reads them.

Celery's document has the fields of the result document, with the result as a text of JSON and the end as a date. Ours
has the field ``taskq``, too: what the conditions compare, and what the other fields don't tell of the payload.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.compressed import unpacked
from taskq_cloud.core.records.record import FINAL_VERSION, READY_STATES, RETRY, Record, version_of
from taskq_cloud.errors import DecodeError, EncodeError

FIELDS: Final = "taskq"
DONE: Final = "date_done"

_LARGEST_INTEGER: Final = 2**63
_DEEPEST: Final = 90
"""The server takes documents of 100 levels."""
_LARGEST_TWICE: Final = 3_500_000
"""The most characters of a payload that is kept beside Celery's fields, as both have to fit into one document."""
_LAST_DATE: Final = datetime(9999, 12, 31, tzinfo=UTC)


def document_of(record: Record) -> dict[str, Any]:
    """The document of a record."""
    try:
        found = result_document.decode(record.payload)
    except DecodeError:  # another program's payload is kept as it is
        found = {}
    ours: dict[str, Any] = {"version": record.version, "fence": record.fence, "expires": record.expires_at}
    if isinstance(found.get(DONE), str):
        ours[DONE] = found[DONE]
    stored = {name: value if _fits(value) else serializers.dumps(value) for name, value in found.items()}
    stored |= {
        "_id": record.id,
        "status": record.state,
        "result": serializers.dumps(found.get("result")),
        DONE: result_document.date_done(found),
        FIELDS: ours,
    }
    if _payload(stored) != record.payload:
        ours["payload"] = record.payload  # another program's JSON, or values that MongoDB has no type for
        if len(record.payload) > _LARGEST_TWICE:
            stored["result"] = None
    if record.expires_at is not None:
        stored["expires_at"] = date_of(record.expires_at)
    return stored


def record_of(stored: Mapping[str, Any]) -> Record:
    """Read the record of a document, which Celery or this package wrote.

    Raises:
        DecodeError: Celery wrote its result by a serializer other than JSON.
    """
    ours = stored.get(FIELDS)
    if ours is None:
        return _celerys(stored)
    return Record(
        id=stored["_id"],
        state=stored["status"],
        version=ours["version"],
        payload=ours.get("payload") or _payload(stored),
        expires_at=ours["expires"],
        fence=ours["fence"],
    )


def replaceable(record: Record, now: float) -> dict[str, Any]:
    """The filter that finds a stored document only if a record may replace it: the rule ``records.may_replace``.

    Of Celery's documents, those of ended tasks stay, as does a retry that is to come.
    """
    stays = [*READY_STATES, RETRY] if record.version < version_of(RETRY, 0) else [*READY_STATES]
    earlier = {
        f"{FIELDS}.version": {"$lte": min(record.version, FINAL_VERSION - 1)},
        f"{FIELDS}.fence": {"$lte": record.fence},
    }
    return {
        "_id": record.id,
        "$or": [
            earlier,
            {f"{FIELDS}.expires": {"$lte": now}},
            {FIELDS: {"$exists": False}, "status": {"$nin": sorted(stays)}},
        ],
    }


def date_of(seconds: float) -> datetime:
    """A time for the index by which the server removes documents, up to a second later."""
    try:
        return datetime.fromtimestamp(math.ceil(seconds), UTC)
    except (OverflowError, ValueError, OSError):  # after the year 9999, or after all years that the system knows
        return _LAST_DATE


def _payload(stored: Mapping[str, Any]) -> str:
    """Write the result document of a stored one, in the form of ``records.document.encode``."""
    done = stored[FIELDS].get(DONE)
    rest = {
        name: done if name == DONE else value
        for name, value in stored.items()
        if name not in ("_id", "status", "result", "expires_at", FIELDS)
    }
    head = f'{{"status":{serializers.dumps(stored["status"])},"result":{stored["result"]}'
    try:
        return f"{head},{serializers.dumps(rest)[1:]}"
    except EncodeError:
        return ""


def _celerys(stored: Mapping[str, Any]) -> Record:
    task_id, state, result = stored["_id"], stored["status"], stored.get("result")
    try:
        text = unpacked(result) if isinstance(result, bytes) else result
        value = serializers.loads(text) if isinstance(text, str) else text
        rest = {name: value for name, value in stored.items() if name not in ("_id", "status", "result", DONE)}
        done = stored.get(DONE)
        more = {DONE: done.isoformat() if isinstance(done, datetime) else done, "task_id": task_id}
        payload = serializers.dumps({"status": state, "result": value, **rest, **more})
    except (DecodeError, EncodeError) as error:
        raise DecodeError(
            f"Celery's result of task {task_id} can't be read: {error}; set Celery's result_serializer to 'json', and "
            "its result_compression, if any, to 'gzip' or 'bzip2'",
            task_id,
        ) from error
    retries = stored.get("retries")
    return Record(task_id, state, version_of(state, retries if isinstance(retries, int) else 0), payload)


def _fits(value: Any, depth: int = 1) -> bool:
    """Whether MongoDB has a type for a value of JSON."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, int):
        return -_LARGEST_INTEGER <= value < _LARGEST_INTEGER
    if isinstance(value, dict):
        return all("\0" not in name and _fits(each, depth + 1) for name, each in value.items())
    return not isinstance(value, list) or all(_fits(each, depth + 1) for each in value)
