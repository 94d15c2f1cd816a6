"""The two headers that mark a message as one tick of a periodic task, and the part of such a message that is signed.

The ticks themselves are in ``core.schedules.ticks``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from taskq_cloud.core.model.validation import aware

SCHEDULE: Final = "taskq_schedule"
"""The header that holds the entry that a message comes from, and the entry's timing."""

SCHEDULED_TIME: Final = "taskq_scheduled_time"
"""The header that holds the fire time of a tick, or a platform's placeholder for it."""


def as_signed(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a message that its signature covers: all of it, or of a tick all but its fire time and its id.

    The signer of a tick doesn't know these two: the platform fills in the fire time, and the reader derives the id from
    the fire time and the signed name, whatever id the message has.
    """
    headers = document.get("headers")
    if not isinstance(headers, Mapping) or SCHEDULE not in headers:
        return document
    timeless = {**headers, SCHEDULED_TIME: None, "id": None}
    signed = {**document, "headers": timeless}
    if headers.get("root_id") == headers.get("id"):
        timeless["root_id"] = None
    properties = document.get("properties")
    if isinstance(properties, Mapping) and properties.get("correlation_id") == headers.get("id"):
        signed["properties"] = {**properties, "correlation_id": None}
    return signed


def due_at(headers: Mapping[str, Any]) -> float:
    """The time at which a message is due, by its eta or as a tick, in seconds since the epoch; 0 if it has neither."""
    return max(_seconds(headers.get("eta")), _seconds(headers.get(SCHEDULED_TIME)))


def _seconds(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return 0
    return aware(moment).timestamp()
