"""Checks of the values in a message's headers and body, and the reading of times in headers and options.

A value that fails its check raises ``InvalidTaskError``, unless the function says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskq_cloud.errors import InvalidTaskError

LARGEST_NUMBER: Final = 2**31
"""A bound on counts of retries and limits in seconds, far above any real one: stores and timers can hold it."""


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
    """Encode a text as UTF-8. JSON's escapes can spell half of a character pair, which nothing can store or log.

    Args:
        what: a name for the text, for the error: ``"the task's id"``.
        text: the text.

    Raises:
        InvalidTaskError: the text holds half of a character pair.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTaskError(f"{what} can't be written as UTF-8: {text!r:.100}: {error.reason}") from None


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Check that a value is a JSON object; None becomes an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidTaskError(f"{what} isn't a JSON object: {value!r:.100}")
    return value


def signatures(task: str, name: str, value: Any) -> Any:
    """Check the signatures under one key of an embed: the body of a chord, or a list; None for an empty list."""
    if value is None or value == []:
        return None
    found = [value] if name == "chord" else value
    well_formed = isinstance(found, Sequence) and all(
        isinstance(each, dict) and isinstance(each.get("task"), str) for each in found
    )
    if not well_formed:
        raise InvalidTaskError(f"task {task}: {name} holds something that isn't a signature: {value!r:.200}")
    return value


def number(task: str, name: str, value: Any) -> int | None:
    """Check that a value is a count or None."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_NUMBER):
        return value
    raise InvalidTaskError(f"task {task}: {name} isn't a whole number from 0 to {LARGEST_NUMBER}: {value!r:.100}")


def time(task: str, name: str, value: Any) -> datetime | None:
    """Read a time in ISO 8601, or take a ``datetime``; a time without a zone is UTC, and None stays None."""
    if value is None:
        return None
    try:
        return aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    except (ValueError, TypeError):
        raise InvalidTaskError(f"task {task}: {name} isn't an ISO 8601 time: {value!r:.100}") from None


def timelimit(task: str, value: Any) -> tuple[float | None, float | None]:
    """Check the hard and the soft time limit, in seconds; None: there is none."""
    match value:
        case None:
            return (None, None)
        case [hard, soft] if _is_limit(hard) and _is_limit(soft):
            return (hard, soft)
    raise InvalidTaskError(f"task {task}: timelimit isn't a pair [hard, soft] of seconds: {value!r:.100}")


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value < LARGEST_NUMBER)
