"""The kinds of values that options take: in declarations, in calls, in retries, and in messages from elsewhere.

One table for each place says of which kind each option is. ``check`` returns a value in the form in which it is kept,
which every worker can run: a ``timedelta`` becomes a number of seconds, a UUID the text of an id. A value that is
accepted in one place is so accepted in the others.
"""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import index
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.priorities import HIGHEST
from taskq_cloud.errors import OptionError

LARGEST_NUMBER: Final = 2**31
"""A bound on counts of retries and limits in seconds, far above any real one: stores and timers can hold it."""

LONGEST_DELAY_SECONDS: Final = 100 * 366 * 86_400
"""A hundred years: longer than any real delay, and far from the largest time that a datetime can hold."""

LONGEST_ID_BYTES: Final = 255
"""Every store's keys have room for an id of this length, also where each byte beyond ASCII takes three (S3)."""

_UNFIT: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
"""Characters that an id or a name can't have: control characters, and halves of character pairs."""

_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")

_repr = reprlib.Repr()  # also copes with a __repr__ that raises
_repr.maxstring = _repr.maxother = 100


UNREADABLE: Final = (TypeError, ValueError, ArithmeticError)
"""What a kind's ``read`` raises for a value that is not of the kind."""


def aware(moment: datetime) -> datetime:
    """Give a time its zone: a naive time is UTC, as in Celery."""
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value.

    Args:
        description: the values, for the error: ``"a whole number"``.
        read: makes the form of a value that is kept; a ``TypeError`` or an ``ArithmeticError`` or a ``ValueError``
            means that the value is not of this kind.
        hint: the way out, at the end of the error.
    """

    description: str
    read: Callable[[Any], Any]
    hint: str = ""


def check(kind: Kind, name: str, value: Any) -> Any:
    """Check a value, and return it in the form in which it is kept.

    Args:
        kind: the kind that it has to be of.
        name: the option's name, for the error.
        value: the value.

    Raises:
        OptionError: the value is not of this kind; the error names the option, but not the task.
    """
    try:
        return kind.read(value)
    except UNREADABLE:
        raise OptionError(f"{name} must be {kind.description}, not {_repr.repr(value)}{kind.hint}") from None


def check_all(kinds: Mapping[str, Kind], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check options by a table. None stays None, and so do options that the table doesn't have.

    Raises:
        OptionError: a value is not of its option's kind.
    """
    return {
        name: value if value is None or (kind := kinds.get(name)) is None else check(kind, name, value)
        for name, value in given.items()
    }


def time_from_option(value: float | str | datetime | None, now: float) -> datetime | None:
    """Make a time of the checked value of ``eta``, ``countdown`` or ``expires``.

    Args:
        value: seconds from now, a ``datetime``, or ISO 8601 text; a time without a zone is UTC. None stays None.
        now: the time, in seconds since the epoch.
    """
    if value is None:
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(now, UTC) + timedelta(seconds=value)
    return aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))


# -- reading values


def _seconds(value: Any, least: float, most: float) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError
    return int(value) if isinstance(value, int) else float(value)  # a subclass may not be serialisable


def _limit(value: Any) -> float | None:
    return _seconds(value, 0, LARGEST_NUMBER) or None  # as in Celery, 0 is no limit of its own


def _priority(value: Any) -> int:
    priority = _whole(value)
    if priority > HIGHEST:
        raise ValueError
    return priority


def _priority_at_most(value: Any) -> int:
    return min(_whole(value), HIGHEST)


def _whole(value: Any, least: int = 0) -> int:
    if type(value) is int and least <= value < LARGEST_NUMBER:  # nearly every value: it needs no look for more
        return value
    if isinstance(value, bool):
        raise TypeError
    number = int(value) if isinstance(value, float) and value.is_integer() else index(value)
    if not least <= number < LARGEST_NUMBER:
        raise ValueError
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, int) or value not in (0, 1):
        raise TypeError
    return bool(value)


def _text(value: Any) -> str:
    if type(value) is str and value.isascii():  # nearly every value
        return value
    if not isinstance(value, str) or (not value.isascii() and _HALF_PAIR.search(value)):
        raise TypeError
    return str.__str__(value)  # a StrEnum is its value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value or (not value.isprintable() and _UNFIT.search(value)):
        raise TypeError
    return str.__str__(value)


def _identifier(value: Any) -> str:
    if type(value) is str and 0 < len(value) <= LONGEST_ID_BYTES and value.isascii() and value.isprintable():
        return value  # nearly every value
    name = _name(value if isinstance(value, str) else _uuid_text(value))
    if len(name) > LONGEST_ID_BYTES or (not name.isascii() and len(name.encode()) > LONGEST_ID_BYTES):
        raise ValueError
    return name


def _uuid_text(value: Any) -> Any:
    kind = getattr(sys.modules.get("uuid"), "UUID", ())  # importing it takes long, and without it no value is a UUID
    return str(value) if isinstance(value, kind) else value


def _names(value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise TypeError
    return [_name(each) for each in value]


def _headers(value: Any) -> dict[str, Any]:
    return {_name(name): each for name, each in _mapping(value).items()}


def _attributes(value: Any) -> dict[str, str]:
    return {_name(name): _text(text) for name, text in _mapping(value).items()}


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return value


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime | str):
        raise TypeError
    moment = aware(value if isinstance(value, datetime) else datetime.fromisoformat(value))
    moment.astimezone(UTC)  # raises for a time that is not in the years 1 to 9999 in UTC
    return moment


def _delay(value: Any) -> float:
    return _seconds(value, -LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)


def _delay_or_moment(value: Any) -> float | datetime:
    return _moment(value) if isinstance(value, datetime | str) else _delay(value)


def _exceptions(value: Any) -> tuple[type[BaseException], ...]:
    return tuple(_classes(value))


def _classes(value: Any) -> Iterator[type[BaseException]]:
    if isinstance(value, type) and issubclass(value, BaseException):
        yield value
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for each in value:
            yield from _classes(each)
    else:
        raise TypeError


def _backoff(value: Any) -> bool | float:
    return value if isinstance(value, bool) else _seconds(value, 0, LONGEST_DELAY_SECONDS)


def _choice(value: Any, among: tuple[str, ...]) -> str:
    if value not in among:
        raise ValueError
    return str(value)


# -- kinds

DELAY: Final = Kind("a number of seconds or a timedelta, at most a hundred years", _delay)
WAIT: Final = Kind(
    "a number of seconds or a timedelta, from 0 to a hundred years",
    partial(_seconds, least=0, most=LONGEST_DELAY_SECONDS),
)
LIMIT: Final = Kind(f"a number of seconds from 0 to {LARGEST_NUMBER}, or a timedelta", _limit)
TIME: Final = Kind("a datetime or a time in ISO 8601", _moment)
WHEN: Final = Kind("a number of seconds of at most a hundred years, a timedelta or a datetime", _delay_or_moment)
COUNT: Final = Kind(f"a whole number from 0 to {LARGEST_NUMBER - 1}", _whole)
PRIORITY: Final = Kind(f"a whole number from 0 to {HIGHEST}, the highest priority", _priority)
POSITIVE: Final = Kind("a whole number above zero", partial(_whole, least=1))
FLAG: Final = Kind("True or False", _flag)
TEXT: Final = Kind("a text", _text)
NAME: Final = Kind("a name: a text without control characters", _name)
ID: Final = Kind(f"a text of 1 to {LONGEST_ID_BYTES} bytes without control characters, or a UUID", _identifier)
HEADERS: Final = Kind("a mapping of names to values", _headers)
NAMES: Final = Kind("a list of names", _names)
ATTRIBUTES: Final = Kind("a mapping of names to texts", _attributes)
MAPPING: Final = Kind("a mapping", _mapping)
EXCEPTIONS: Final = Kind("an exception class, or a tuple of exception classes", _exceptions)

CALL: Final[Mapping[str, Kind]] = {
    "task_id": ID,
    "countdown": DELAY,
    "eta": Kind(TIME.description, _moment, "; for seconds, use countdown"),
    "expires": WHEN,
    "queue": NAME,
    "ignore_result": FLAG,
    "time_limit": LIMIT,
    "soft_time_limit": LIMIT,
    "serializer": NAME,
    "compression": NAME,
    "headers": HEADERS,
    "priority": PRIORITY,
    "shadow": TEXT,
    "argsrepr": TEXT,
    "kwargsrepr": TEXT,
    "MessageGroupId": NAME,
    "MessageDeduplicationId": NAME,
    "message_attributes": ATTRIBUTES,
    "trace_header": NAME,
    "add_to_parent": FLAG,
}
"""The options of ``apply_async``, apart from ``link`` and ``link_error``, which are signatures."""

SIGNATURE: Final[Mapping[str, Kind]] = {
    **CALL,
    # Celery's messages may have any number: one above the highest counts as the highest.
    "priority": Kind("a whole number from 0", _priority_at_most),
    "group_id": ID,
    "group_index": COUNT,
    "chord": MAPPING,
    "reply_to": TEXT,
    "replaced_task_nesting": COUNT,
    "stamped_headers": NAMES,
}
"""The options of a signature: those of a call, and those by which a workflow is put together."""

RETRY: Final[Mapping[str, Kind]] = {
    **{name: kind for name, kind in CALL.items() if name not in ("task_id", "add_to_parent", "MessageDeduplicationId")},
    "max_retries": COUNT,
}
"""The arguments of ``self.retry``, and the keys of ``retry_kwargs``."""

DECLARED: Final[Mapping[str, Kind]] = {
    "acks_late": FLAG,
    "acks_on_failure": FLAG,
    "acks_on_timeout": FLAG,
    "acks_on_failure_or_timeout": FLAG,
    "max_retries": Kind(COUNT.description, _whole, "; None: no limit"),
    "default_retry_delay": WAIT,
    "autoretry_for": EXCEPTIONS,
    "dont_autoretry_for": EXCEPTIONS,
    "retry_kwargs": MAPPING,
    "retry_backoff": Kind("True, False, a number of seconds or a timedelta, at most a hundred years", _backoff),
    "retry_backoff_max": WAIT,
    "retry_jitter": FLAG,
    "time_limit": LIMIT,
    "soft_time_limit": LIMIT,
    "ignore_result": FLAG,
    "store_errors_even_if_ignored": FLAG,
    "store_eager_result": FLAG,
    "track_started": FLAG,
    "throws": EXCEPTIONS,
    "reject_on_worker_lost": FLAG,
    "once": FLAG,
    "queue": NAME,
    "serializer": NAME,
    "compression": NAME,
    "expires": WAIT,
    "priority": PRIORITY,
    "typing": FLAG,
    "typed": FLAG,
    "pydantic": FLAG,
    "pydantic_strict": FLAG,
    "pydantic_context": MAPPING,
    "pydantic_dump_kwargs": MAPPING,
    "trail": FLAG,
    "runtime": Kind("one of auto, container, lambda", partial(_choice, among=("auto", "container", "lambda"))),
    "memory_mb": Kind("a whole number of MiB above zero", POSITIVE.read),
    "rate_limit_scope": Kind("one of task, queue, worker", partial(_choice, among=("task", "queue", "worker"))),
    "rate_key": TEXT,
}
"""The options of ``@app.task``; ``core.model.rates`` reads ``rate_limit`` and its burst, which belong together."""
