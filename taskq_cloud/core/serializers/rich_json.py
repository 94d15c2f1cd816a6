"""JSON with Celery's rich types: dates, times, decimals, UUIDs and bytes.

A rich value is written as ``{"__type__": ..., "__value__": ...}``. Source: kombu 5.7, ``kombu.utils.json``.
"""

from __future__ import annotations

import base64
import json
import math
import re
import sys
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any, Final

from taskq_cloud.core.serializers import json_text
from taskq_cloud.errors import DecodeError, EncodeError

_MAY_BE_BEYOND_JSON: Final = re.compile(r"NaN|Infinity|[0-9][eE]\+?[0-9]{3}")
"""What JSON text has in it if a number may not be finite: a name, or a number beyond the largest of a float."""


class PlainForm:
    """A value that every serializer writes in a plain form, and that its receiver gets in that form.

    Workflows and results are such values: on Celery's wire, a signature is a dict and a result is a tuple.
    """

    __slots__ = ()

    def __json__(self) -> Any:
        """The value's plain form, made of types that JSON has and of other values with a plain form.

        The method has kombu's name, and kombu's JSON serializer calls it too.
        """
        raise NotImplementedError


def dumps(value: Any) -> str:
    """Write a value as compact JSON text, with the rich types.

    Raises:
        EncodeError: JSON can't carry a part of the value; the error names that part.
    """
    try:
        text = _ENCODER.encode(value)
        if '"__type__"' in text:
            # A dict of the caller's own may look like a rich value that no receiver can read: it is refused here.
            loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"not serialisable as JSON: {error}") from error
    return text


def loads(text: str | bytes) -> Any:
    """Read JSON text, with the rich types.

    Raises:
        DecodeError: the text isn't JSON, or it names an unknown type.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode(errors="surrogatepass")  # json would also guess UTF-16 and UTF-32
        # The key of a rich value is in the text as it is, unless it is written with escapes.
        return (_RICH_DECODER.decode if "__type__" in text or "\\u" in text else json_text.parse)(text)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DecodeError(f"not readable as JSON: {error}") from error


def strict(text: str) -> str:
    """Write JSON text of Python's so that any reader takes it: JSON has no NaN and no infinity, which become null."""
    if _MAY_BE_BEYOND_JSON.search(text) is None:
        return text
    value = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _rich(value: Any) -> Any:
    reduce_to_json = getattr(value, "__json__", None)
    if reduce_to_json is not None:
        return reduce_to_json()
    if isinstance(value, bytes):
        try:
            return {"__type__": "bytes", "__value__": value.decode()}
        except UnicodeDecodeError:
            return {"__type__": "base64", "__value__": base64.b64encode(value).decode()}
    for kind, name, encode in _ENCODERS:
        if isinstance(value, kind):
            return {"__type__": name, "__value__": encode(value)}
    for module, type_name, name, encode in _IMPORTED_ENCODERS:
        if isinstance(value, getattr(sys.modules.get(module), type_name, ())):  # without the module, no value is one
            return {"__type__": name, "__value__": encode(value)}
    raise TypeError(f"{value!r:.200} of type {type(value).__module__}.{type(value).__qualname__}")


def _from_rich(pairs: dict[str, Any]) -> Any:
    if pairs.keys() != {"__type__", "__value__"}:
        return pairs
    decode = _DECODERS.get(pairs["__type__"]) if isinstance(pairs["__type__"], str) else None
    if decode is None:
        raise ValueError(f"unknown __type__ {pairs['__type__']!r}")
    return decode(pairs["__value__"])


# datetime comes before date, as it is a subclass of date.
_ENCODERS: Final[tuple[tuple[type, str, Callable[[Any], Any]], ...]] = (
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
)
_IMPORTED_ENCODERS: Final[tuple[tuple[str, str, str, Callable[[Any], Any]], ...]] = (
    ("decimal", "Decimal", "decimal", str),
    ("uuid", "UUID", "uuid", lambda value: {"hex": value.hex}),
)


def _decimal(text: Any) -> Any:
    from decimal import Decimal  # few messages hold one

    return Decimal(text)


def _uuid(value: Any) -> Any:
    from uuid import UUID  # few messages hold one

    return UUID(hex=value["hex"])


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda value: datetime.fromisoformat(value).date(),
    "time": time.fromisoformat,
    "decimal": _decimal,
    "uuid": _uuid,
    "bytes": str.encode,
    "base64": lambda value: base64.b64decode(value, validate=True),
}
# Made once: json.loads and json.dumps make one for each text. A value that contains itself nests too deeply, so noting
# each container, which is a third of the work, finds nothing more.
_ENCODER: Final = json.JSONEncoder(default=_rich, separators=(",", ":"), check_circular=False)
_RICH_DECODER: Final = json.JSONDecoder(object_hook=_from_rich)
