"""Helpers for exceptions that have to be pickled, and small conversions: Celery's names over our own code."""

from __future__ import annotations

import pickle
import sys
from base64 import b64decode as _b64decode
from base64 import b64encode as _b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from itertools import takewhile
from numbers import Real
from typing import Any, Final, NoReturn

__all__ = (
    "UnpickleableExceptionWrapper",
    "create_exception_cls",
    "find_pickleable_exception",
    "get_pickleable_etype",
    "get_pickleable_exception",
    "get_pickled_exception",
    "strtobool",
    "subclass_exception",
)

unwanted_base_classes: Final = (Exception, BaseException, object)
"""Classes that say too little about an exception to stand for it."""

STRTOBOOL_DEFAULT_TABLE: Final[Mapping[str, bool]] = {
    "false": False,
    "no": False,
    "0": False,
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
    "off": False,
}


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<Unrepresentable {type(value)!r}{id(value):#x}: {error!r}>"


def subclass_exception(name: str, parent: type, module: str) -> type[Any]:
    """Make a class of exceptions.

    Args:
        name: its name.
        parent: its base class.
        module: the name of the module that it says it is from.
    """
    return type(name, (parent,), {"__module__": module})


def create_exception_cls(name: str, module: str, parent: type | None = None) -> type[Any]:
    """Make a class of exceptions, derived from ``Exception`` unless another parent is given."""
    return subclass_exception(name, parent or Exception, module)


def itermro(cls: type, stop: Iterable[type]) -> Iterator[type]:
    """Yield a class and its base classes in the order of their precedence, up to one of the classes in ``stop``."""
    return takewhile(lambda each: each not in stop, cls.__mro__)


def find_pickleable_exception(
    exc: BaseException,
    loads: Callable[[bytes], Any] = pickle.loads,
    dumps: Callable[[Any], bytes] = pickle.dumps,
) -> Any:
    """Make an exception of the nearest class that can be pickled; None if only ``Exception`` is left.

    Args:
        exc: the exception.
        loads: reads a pickle.
        dumps: writes a pickle.
    """
    arguments = getattr(exc, "args", ())

    def made_of(kind: type) -> Any:
        try:
            made = kind(*arguments)
            loads(dumps(made))
        except Exception:
            return None
        return made

    return next((made for made in map(made_of, itermro(type(exc), unwanted_base_classes)) if made is not None), None)


def ensure_serializable(items: Iterable[Any], encoder: Callable[[Any], object]) -> tuple[Any, ...]:
    """Replace the items that ``encoder`` can't encode by their ``repr``."""

    def ensured(item: Any) -> Any:
        try:
            encoder(item)
        except Exception:
            return _repr(item)
        return item

    return tuple(ensured(item) for item in items)


def _pickled_and_back(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


class UnpickleableExceptionWrapper(Exception):
    """Stands for an exception that can't be pickled.

    Args:
        exc_module: the module of the exception's class.
        exc_cls_name: the name of the class.
        exc_args: the exception's arguments; those that can't be pickled are replaced by their ``repr``.
        text: the text to show.
    """

    exc_module: str | None = None
    exc_cls_name: str | None = None
    exc_args: tuple[Any, ...] | None = None

    def __init__(self, exc_module: str, exc_cls_name: str, exc_args: Iterable[Any], text: str | None = None) -> None:
        safe = ensure_serializable(exc_args, _pickled_and_back)
        self.exc_module = exc_module
        self.exc_cls_name = exc_cls_name
        self.exc_args = safe
        self.text = text
        super().__init__(exc_module, exc_cls_name, safe, text)

    def restore(self) -> Any:
        """Make an exception of a new class with the name of the exception's own."""
        kind = create_exception_cls(str(self.exc_cls_name), str(self.exc_module))
        return kind(*(self.exc_args or ()))

    def __str__(self) -> str:
        return self.text  # type: ignore[return-value]  # as in Celery, where a wrapper without a text can't be shown

    @classmethod
    def from_exception(cls, exc: BaseException) -> UnpickleableExceptionWrapper:
        """Wrap an exception, with its traceback."""
        kind = type(exc)
        made = cls(kind.__module__, kind.__name__, getattr(exc, "args", ()), _repr(exc))
        return made.with_traceback(exc.__traceback__)


def get_pickleable_exception(exc: Any) -> Any:
    """Return the exception if it can be pickled, or else one that can be and comes nearest to it."""
    try:
        _pickled_and_back(exc)
    except Exception:
        return find_pickleable_exception(exc) or UnpickleableExceptionWrapper.from_exception(exc)
    return exc


def get_pickleable_etype(
    cls: type,
    loads: Callable[[bytes], Any] = pickle.loads,
    dumps: Callable[[Any], bytes] = pickle.dumps,
) -> type:
    """Return a class of exceptions if it can be pickled, or else ``Exception``."""
    try:
        loads(dumps(cls))
    except Exception:
        return Exception
    return cls


def get_pickled_exception(exc: Any) -> Any:
    """Return the exception that ``get_pickleable_exception`` was given, as far as it can be made again."""
    return exc.restore() if isinstance(exc, UnpickleableExceptionWrapper) else exc


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def b64encode(s: str | bytes) -> str:
    """Encode a text or bytes in base 64."""
    return _b64encode(_as_bytes(s)).decode()


def b64decode(s: str | bytes) -> bytes:
    """Decode base 64."""
    return _b64decode(_as_bytes(s))


def strtobool(term: Any, table: Mapping[str, bool] | None = None) -> Any:
    """Read a word such as ``"yes"`` or ``"off"`` as a bool; a value that is not a text stays as it is.

    Raises:
        TypeError: the word is not in the table.
    """
    if not isinstance(term, str):
        return term
    try:
        return (STRTOBOOL_DEFAULT_TABLE if table is None else table)[term.lower()]
    except KeyError:
        raise TypeError(f"Cannot coerce {term!r} to type bool") from None


def _time_to_json(value: date | time) -> str:
    """Write a time in ISO 8601 with milliseconds, as ECMAScript does."""
    if isinstance(value, datetime):
        written = value.isoformat(timespec="milliseconds" if value.microsecond else "auto")
        return written.removesuffix("+00:00") + "Z" if written.endswith("+00:00") else written
    if isinstance(value, time):
        return value.isoformat()[:12] if value.microsecond else value.isoformat()
    return value.isoformat()


def jsonify(
    obj: Any,
    builtin_types: tuple[type, ...] = (Real, str),
    key: Any = None,
    keyfilter: Callable[[Any], Any] | None = None,
    unknown_type_filter: Callable[[Any], Any] | None = None,
) -> Any:
    """Make a value of plain JSON types.

    Args:
        obj: the value.
        builtin_types: types that stay as they are.
        key: the key that the value stands under, for the error.
        keyfilter: tells whether a key of a dict is kept; None: all are.
        unknown_type_filter: converts a value of another type; None: such values are refused.

    Raises:
        ValueError: a value has a type that is not known.
    """

    def within(value: Any, at: Any = key) -> Any:
        return jsonify(value, builtin_types, at, keyfilter, unknown_type_filter)

    if hasattr(obj, "as_dict") and not isinstance(obj, dict | type):  # a queue or an exchange
        obj = obj.as_dict(recurse=True)
    if obj is None or isinstance(obj, builtin_types):
        return obj
    if isinstance(obj, tuple | list):
        return [within(each) for each in obj]
    if isinstance(obj, dict):
        return {name: within(value, name) for name, value in obj.items() if keyfilter is None or keyfilter(name)}
    if isinstance(obj, date | time):
        return _time_to_json(obj)
    if isinstance(obj, timedelta):
        return str(obj)
    if unknown_type_filter is None:
        raise ValueError(f"Unsupported type: {type(obj)!r} {obj!r} (parent: {key})")
    return unknown_type_filter(obj)


def raise_with_context(exc: BaseException) -> NoReturn:
    """Raise an exception whose cause is the exception that is being handled, if there is one."""
    handled = sys.exc_info()[1]
    if handled is exc:
        raise exc
    raise exc from handled
