"""Checks of the values in a message's headers and body, and readers for times that options and headers give.

A value that fails its check raises ``InvalidTaskError``, unless its function says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskq_cloud.errors import InvalidTaskError

LARGEST_NUMBER: Final = 2**31
"""No count of retries and no limit in seconds gets near it; a store's columns and a timer's arguments hold it."""


def aware(moment: datetime) -> datetime:
    """Give a time its zone: a naive time is UTC, as in Celery."""
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


def time_from_option(value: float | str | datetime | None, now: float) -> datetime | None:
    """Read the time that an option such as ``eta``, ``countdown`` or ``expires`` gives.

    Args:
        value: seconds from now, a ``datetime``, or ISO 8601 text; a time without a zone is UTC. None stays None.
        now: the time, in seconds since the epoch.

    Raises:
        TypeError: the value has another type.
        ValueError: the text isn't ISO 8601.
        OverflowError: the time is past the year 9999.
    """
    if value is None:
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(now, UTC) + timedelta(seconds=value)
    return aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))


def text_bytes(what: str, text: str) -> bytes:
    """A text as UTF-8. JSON's escapes can make half a character of two, which no store, broker or log can write.

    Raises:
        InvalidTaskError: it holds such a half.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTaskError(f"{what} is no text that UTF-8 can write: {text!r:.100}: {error.reason}") from None


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """A JSON object; an empty one where there is none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidTaskError(f"{what} is no JSON object: {value!r:.100}")
    return value


def signatures(task: str, name: str, value: Any) -> Any:
    """What follows a task, as the embed's ``name`` has it, or None."""
    if value is None or value == []:
        return None
    found = [value] if name == "chord" else value
    well_formed = isinstance(found, Sequence) and all(
        isinstance(each, dict) and isinstance(each.get("task"), str) for each in found
    )
    if not well_formed:
        raise InvalidTaskError(f"task {task}: {name} holds no signatures: {value!r:.200}")
    return value


def number(task: str, name: str, value: Any) -> int | None:
    """A count, or None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_NUMBER):
        return value
    raise InvalidTaskError(f"task {task}: {name} is no whole number from 0 to {LARGEST_NUMBER}: {value!r:.100}")


def time(task: str, name: str, value: Any) -> datetime | None:
    """A time; a naive one is UTC."""
    if value is None:
        return None
    try:
        return aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    except (ValueError, TypeError):
        raise InvalidTaskError(f"task {task}: {name} is no ISO 8601 time: {value!r:.100}") from None


def timelimit(task: str, value: Any) -> tuple[float | None, float | None]:
    """The hard and the soft limit, in seconds."""
    match value:
        case None:
            return (None, None)
        case [hard, soft] if _is_limit(hard) and _is_limit(soft):
            return (hard, soft)
    raise InvalidTaskError(f"task {task}: timelimit is no [hard, soft] in seconds: {value!r:.100}")


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value < LARGEST_NUMBER)
