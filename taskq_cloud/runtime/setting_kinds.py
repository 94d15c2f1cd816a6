"""The kinds of settings' values: which values each takes, as keywords and as texts of the environment, and their form.

They take and refuse what pydantic does in ``taskq_cloud.settings``, without its import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import Enum
from math import isfinite
from typing import Any, Final, TypeAlias

from taskq_cloud.core.model.priorities import HIGHEST

Kind: TypeAlias = Callable[[Any], Any]
"""Turns a keyword's value, or a text of the environment, into the setting's; raises ``ValueError`` or ``TypeError``
with the rule that the value breaks. Values are never quoted, as they may be secrets."""

_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "n", "off"})
_WHOLE: Final = re.compile(r"\s*[+-]?[0-9]+(_[0-9]+)*(\.0+)?\s*")
_FRACTION: Final = r"[0-9]+(?:[.,][0-9]+)?"
_ISO_8601: Final = re.compile(
    rf"(?P<sign>[+-]?)P(?:(?P<years>{_FRACTION})Y)?(?:(?P<months>{_FRACTION})M)?(?:(?P<weeks>{_FRACTION})W)?"
    rf"(?:(?P<days>{_FRACTION})D)?(?:T(?:(?P<hours>{_FRACTION})H)?(?:(?P<minutes>{_FRACTION})M)?"
    rf"(?:(?P<seconds>{_FRACTION})S)?)?"
)
_CLOCK: Final = re.compile(
    r"(?P<sign>[+-]?)(?:(?P<days>[0-9]+) ?d(?:ays?)?(?:,? ?(?=[0-9])|$))?"
    r"(?:(?P<hours>[0-9]{2}):(?P<minutes>[0-5][0-9])(?::(?P<seconds>[0-5][0-9](?:[.,][0-9]+)?))?)?",
    re.IGNORECASE,
)
_UNITS: Final = {
    "years": 365 * 86_400,
    "months": 30 * 86_400,
    "weeks": 7 * 86_400,
    "days": 86_400,
    "hours": 3600,
    "minutes": 60,
    "seconds": 1,
}
_UNSIGNED: Final = ("events", "auth", "all")


class Secret:
    """A text that is not shown."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('**********')"

    def get_secret_value(self) -> str:
        """Return the text."""
        return self._value


def text(value: Any) -> str:
    """Read a text."""
    if isinstance(value, Enum) and not isinstance(value, str):
        value = str(value.value)
    if isinstance(value, bytes | bytearray):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise ValueError("must be a text in UTF-8") from None
    if not isinstance(value, str):
        raise TypeError("must be a text")
    return str.__str__(value)  # a StrEnum is its value


def flag(value: Any) -> bool:
    """Read a truth value."""
    if isinstance(value, str | bytes):
        word = text(value).lower()
        found: Any = True if word in _TRUE else False if word in _FALSE else None
    else:
        found = {0.0: False, 1.0: True}.get(_number(value))
    if found is None:
        raise ValueError("must be true or false")
    return bool(found)


def _number(value: Any) -> float:
    """Read a number of any type, or of text in digits of ASCII."""
    if isinstance(value, str | bytes):
        value = text(value)
        if not value.isascii():
            raise ValueError("must be a number")
    try:
        if not isinstance(value, bytearray | memoryview):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("must be a number")


def whole(least: int | None, most: int | None = None) -> Kind:
    """Make a kind of whole numbers.

    Args:
        least: the least one; None: there is none.
        most: the greatest one; None: there is none.
    """
    bounds = ("" if least is None else f" from {least}") + ("" if most is None else f" to {most}")
    rule = f"must be a whole number{bounds}"

    def kind(value: Any) -> int:
        if isinstance(value, str | bytes):
            digits = text(value)
            number = int(digits.partition(".")[0]) if _WHOLE.fullmatch(digits) else None
        elif isinstance(value, int):
            number = int(value)
        else:
            found = _number(value)
            number = int(found) if found.is_integer() and abs(found) < 2**63 else None
        if number is None or (least is not None and number < least) or (most is not None and number > most):
            raise ValueError(rule)
        return number

    return kind


def seconds(*, zero: bool) -> Kind:
    """Make a kind of durations in seconds.

    Args:
        zero: whether 0 is one.
    """

    def kind(value: Any) -> float:
        number = value.total_seconds() if isinstance(value, timedelta) else _number(value)
        if not isfinite(number) or number < 0 or (number == 0 and not zero):
            raise ValueError(f"must be a number of seconds {'from' if zero else 'above'} 0")
        return number

    return kind


def expiry(value: Any) -> float:
    """Read the time after which results expire: seconds, a ``timedelta``, or ISO 8601 (``P7D``) and other texts."""
    if isinstance(value, str | bytes):
        found = _ISO_8601.fullmatch(text(value)) or _CLOCK.fullmatch(text(value))
        parts = {} if found is None else {unit: each for unit, each in found.groupdict().items() if each}
        sign = -1 if parts.pop("sign", "") == "-" else 1
        if parts:
            value = sign * sum(_UNITS[unit] * float(each.replace(",", ".")) for unit, each in parts.items())
            if abs(value) > timedelta.max.total_seconds():
                raise ValueError("must not be longer than Python's timedelta")
    read: float = _EXPIRY(value)
    return read


def rate(value: Any) -> str | float:
    """Read a rate: see ``core.model.rates``."""
    if isinstance(value, str | bytes | bytearray) or (isinstance(value, Enum) and not isinstance(value, int)):
        return text(value)
    try:
        return _number(value)
    except ValueError:
        raise ValueError("must be a rate: a text, or a number of tasks per second") from None


def _route(value: Any) -> str | dict[str, Any]:
    return mapping(value) if isinstance(value, Mapping) else text(value)


def mapping(value: Any) -> dict[str, Any]:
    """Read a mapping of any values."""
    return _mapping_to(value, lambda each: each)


def mapping_of_texts(value: Any) -> dict[str, Any]:
    """Read a mapping of texts."""
    return _mapping_to(value, text)


def routes(value: Any) -> dict[str, Any]:
    """Read ``task_routes``."""
    return _mapping_to(value, _route)


def rates(value: Any) -> dict[str, Any]:
    """Read a mapping of rates."""
    return _mapping_to(value, rate)


def priorities(value: Any) -> dict[str, Any]:
    """Read a mapping of priorities."""
    return _mapping_to(value, priority)


def weights(value: Any) -> tuple[int, ...]:
    """Read a list of weights."""
    return tuple(map(_WEIGHT, _list(value)))


def _mapping_to(value: Any, kind: Kind) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("must be a mapping")
    read: dict[str, Any] = {}
    for key, each in value.items():
        try:
            name = text(key)
        except (TypeError, ValueError):
            raise TypeError("must have texts as its keys") from None
        try:
            read[name] = kind(each)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name!r:.100} {error}") from None
    return read


def _list(value: Any) -> list[Any]:
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise TypeError("must be a list")
    return list(value)


def texts(value: Any) -> tuple[str, ...]:
    """Read a list of texts."""
    try:
        return tuple(map(text, _list(value)))
    except (TypeError, ValueError):
        raise TypeError("must be a list of texts") from None


def unsigned(value: Any) -> tuple[str, ...]:
    """Read ``accept_unsigned``."""
    found = _list(value)
    if not all(isinstance(each, str) and each in _UNSIGNED for each in found):
        raise ValueError(f"must be a list of {', '.join(map(repr, _UNSIGNED))}")
    return tuple(map(text, found))


def secret(value: Any) -> Any:
    """Read a secret."""
    return value if hasattr(value, "get_secret_value") else Secret(text(value))


def secrets(value: Any) -> tuple[Any, ...]:
    """Read secrets, which a text separates by commas."""
    found = [key for key in value.split(",") if key.strip()] if isinstance(value, str) else _list(value)
    return tuple(map(secret, found))


def or_none(kind: Kind) -> Kind:
    """Make a kind that also takes None."""
    return lambda value: None if value is None else kind(value)


def or_word(word: str, kind: Kind) -> Kind:
    """Make a kind that also takes a word."""

    def either(value: Any) -> Any:
        return value if value == word else kind(value)

    return either


def zone(value: Any) -> str | None:
    """Read the name of a time zone."""
    from taskq_cloud.core.schedules.base import zone_name  # only with periodic tasks

    return zone_name(text(value))


_EXPIRY: Final = seconds(zero=True)
_WEIGHT: Final = whole(1)
priority: Final = whole(0, HIGHEST)
"""Read a priority."""
