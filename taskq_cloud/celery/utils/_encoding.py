"""Text from values of any kind, without ever raising: what the other utilities need of kombu's encodings."""

import traceback
from typing import Any

__all__ = ("bytes_to_str", "safe_repr", "safe_str")


def bytes_to_str(value: Any) -> Any:
    """Return bytes decoded as UTF-8, and every other value as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def safe_str(value: Any, errors: str = "replace") -> str:
    """Return ``value`` as text that every stream can be given, whatever ``value`` is."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors)
    if not isinstance(value, str):
        return safe_repr(value, errors)
    try:
        # Lone surrogates would make the stream raise later, where nobody expects it.
        return value.encode("utf-8", errors).decode("utf-8", errors)
    except UnicodeError:
        return _unrepresentable(value)


def safe_repr(value: Any, errors: str = "replace") -> str:
    """Return ``repr(value)``, or a description of the value if its ``__repr__`` raises."""
    try:
        return repr(value)
    except Exception:
        return _unrepresentable(value)


def _unrepresentable(value: Any) -> str:
    stack = "\n".join(traceback.format_stack()[:-2])
    return f"<Unrepresentable {type(value)!r}: {stack}>"
