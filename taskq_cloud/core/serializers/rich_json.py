"""JSON that carries what Celery's JSON carries beyond the standard.

Each such value is ``{"__type__": ..., "__value__": ...}``. Source: kombu 5.7, ``kombu.utils.json``.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

from taskq_cloud.errors import DecodeError, EncodeError


class PlainForm:
    """A value that every serializer writes in a plain form; whoever receives it gets that form, not the value again.

    Workflows and results are such values, as Celery's signature is a dict, and its result goes as a tuple.
    """

    __slots__ = ()

    def __json__(self) -> Any:
        """Its plain form: dicts, lists and what JSON has beside; values with a plain form may stand in it.

        The name is kombu's, whose serializers of JSON ask for it too.
        """
        raise NotImplementedError


def dumps(value: Any) -> str:
    """Encode a value as compact JSON text, with the rich types.

    Raises:
        EncodeError: names the part of the value that JSON can't carry.
    """
    try:
        text = json.dumps(value, default=_rich, separators=(",", ":"))
        if '"__type__"' in text:
            # A dict of the caller's own may look like a rich value that nobody can read: better refused here.
            loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"not serialisable as JSON: {error}") from error
    return text


def loads(text: str | bytes) -> Any:
    """Decode JSON text, with the rich types.

    Raises:
        DecodeError: it is not JSON, or names a type that is not known here.
    """
    try:
        return json.loads(text, object_hook=_from_rich)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DecodeError(f"not readable as JSON: {error}") from error


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
    raise TypeError(f"{value!r:.200} of type {type(value).__module__}.{type(value).__qualname__}")


def _from_rich(pairs: dict[str, Any]) -> Any:
    if pairs.keys() != {"__type__", "__value__"}:
        return pairs
    decode = _DECODERS.get(pairs["__type__"]) if isinstance(pairs["__type__"], str) else None
    if decode is None:
        raise ValueError(f"unknown __type__ {pairs['__type__']!r}")
    return decode(pairs["__value__"])


# datetime stands before date, of which it is a subclass.
_ENCODERS: Final[tuple[tuple[type, str, Callable[[Any], Any]], ...]] = (
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (Decimal, "decimal", str),
    (uuid.UUID, "uuid", lambda value: {"hex": value.hex}),
)
_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda value: datetime.fromisoformat(value).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda value: uuid.UUID(hex=value["hex"]),
    "bytes": str.encode,
    "base64": lambda value: base64.b64decode(value, validate=True),
}
