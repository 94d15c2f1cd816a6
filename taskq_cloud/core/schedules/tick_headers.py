"""The two headers that make a message a periodic task's tick, and what a signature is of in it. See ``ticks``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from taskq_cloud.core.model.validation import aware

SCHEDULE: Final = "taskq_schedule"
"""Which entry the message comes from, and when that is due."""

SCHEDULED_TIME: Final = "taskq_scheduled_time"
"""The moment at which it was due, or a platform's placeholder for it."""


def as_signed(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message as its signature is of it: a tick's without its moment and its id, any other as it is.

    Of a tick, the signer has seen neither: a platform fills in the moment, and the reader makes the id from it and the
    signed name, whatever the message says.
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
    """When a message is due, by its eta or as a tick, in seconds since the epoch; 0 where it says nothing readable."""
    return max(_seconds(headers.get("eta")), _seconds(headers.get(SCHEDULED_TIME)))


def _seconds(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return 0
    return aware(moment).timestamp()
