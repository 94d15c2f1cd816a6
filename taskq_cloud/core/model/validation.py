"""Checks of the values in a message's headers and body. A value that fails its check raises ``InvalidTaskError``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from taskq_cloud.core.model.option_values import COUNT, ID, LIMIT, SIGNATURE, UNREADABLE, Kind, check
from taskq_cloud.errors import InvalidTaskError, OptionError


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


def identifier(what: str, text: str) -> str:
    """Check a name or an id, which becomes a part of keys: stores cut a key off at a NUL, or refuse it.

    Args:
        what: a name for the text, for the error.
        text: the text.

    Raises:
        InvalidTaskError: the text holds a NUL, or half of a character pair.
    """
    if "\0" in text:
        raise InvalidTaskError(f"{what} holds a NUL, which no store can keep in a key: {text!r:.100}")
    if not text.isascii():
        text_bytes(what, text)
    return text


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


def option(task: str, name: str, value: Any, kind: Kind) -> Any:
    """Check a value of a message as the option of a call is checked; None stays None."""
    if value is None:
        return None
    try:
        return check(kind, name, _uuid(value) if kind is ID and isinstance(value, dict) else value)
    except OptionError as error:
        raise InvalidTaskError(f"task {task}: {error}") from None


def count(task: str, name: str, value: Any) -> int:
    """Check a count of a message; None is zero."""
    return 0 if value is None else value if type(value) is int and value == 0 else option(task, name, value, COUNT)


def priority(task: str, value: Any) -> int:
    """Read the priority of a message; None is zero, and a number above the highest is the highest."""
    return 0 if value is None else option(task, "priority", value, SIGNATURE["priority"])


def given_options(task: str, given: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Check those values of a message that are options of these kinds, and leave out the ones that are None."""
    found: dict[str, Any] = {}
    for name, kind in kinds.items():
        value = given.get(name)
        if value is not None:
            try:
                found[name] = kind.read(value)
            except UNREADABLE:
                found[name] = option(task, name, value, kind)
    return found


def _uuid(value: Any) -> Any:
    """Read an id that a Celery caller gave as a UUID: kombu writes it as its JSON writes all UUIDs."""
    match value:
        case {"__type__": "uuid", "__value__": {"hex": str(digits)}}:
            from uuid import UUID  # few ids are written so

            with suppress(ValueError):
                return UUID(hex=digits)
    return value


def timelimit(task: str, value: Any) -> tuple[float | None, float | None]:
    """Check the hard and the soft time limit, in seconds; None leaves a limit to the task."""
    match value:
        case None | [None, None]:
            return (None, None)
        case [hard, soft]:
            return (option(task, "time_limit", hard, LIMIT), option(task, "soft_time_limit", soft, LIMIT))
    raise InvalidTaskError(f"task {task}: timelimit must be a pair [hard, soft] of seconds, not {value!r:.100}")
