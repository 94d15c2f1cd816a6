"""A ``repr`` with limits on its length and its depth, which never fails: for the arguments that messages show."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from numbers import Number
from typing import Any, Final, NamedTuple

from taskq_cloud.celery.utils.text import truncate

__all__ = ("reprstream", "saferepr")


class _literal(NamedTuple):
    """A part of the text that is written as it is.

    Args:
        value: the text.
        truncate: whether it may be left out.
        direction: +1 opens a container, -1 closes one, and 0 does neither.
    """

    value: str
    truncate: bool
    direction: int


class _key(NamedTuple):
    """A key of a dict."""

    value: Any


class _quoted(NamedTuple):
    """A text or bytes."""

    value: str | bytes


class _dirty(NamedTuple):
    """The end of a container, which may be met again from here on."""

    objid: int


_SEPARATOR: Final = _literal(", ", truncate=True, direction=0)
_COLON: Final = _literal(": ", truncate=True, direction=0)


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = 3, seen: set[int] | None = None) -> str:
    """Show a value.

    Args:
        o: the value.
        maxlen: the most characters; brackets are closed after that. None: no limit.
        maxlevels: how many containers may lie in each other; deeper ones are shown as ``[...]``. 0: no limit.
        seen: ids of containers that are not shown again.
    """
    return "".join(_parts(o, maxlen, maxlevels, seen))


def _parts(o: Any, maxlen: int | None, maxlevels: int, seen: set[int] | None) -> Iterator[str]:
    stack = deque([iter([o])])
    for token, _ in reprstream(stack, seen=seen, maxlevels=maxlevels):
        direction = token.direction if isinstance(token, _literal) else 0
        if maxlen is not None and maxlen <= 0 and direction >= 0:
            yield ", ..."
            # A container that begins here isn't shown, so its end isn't either.
            yield from list(_ends(stack))[max(direction, 0) :]
            return
        shown = _shown(token, maxlen, maxlevels)
        yield shown
        if maxlen is not None and maxlen > 0:
            maxlen -= len(shown)


def _ends(stack: deque[Iterator[Any]]) -> Iterator[str]:
    """The ends of the containers that are open, the innermost first."""
    left = (token for it in reversed(stack) for token in it)
    return (token.value for token in left if isinstance(token, _literal) and token.direction < 0)


def _shown(token: Any, maxlen: int | None, maxlevels: int) -> str:
    match token:
        case _literal():
            return token.value
        case _key():
            return saferepr(token.value, maxlen, maxlevels)
        case _quoted(bytes() as value):
            cut = value[:maxlen] if maxlen and len(value) > maxlen else value
            return f"b'{_text_of_bytes(cut)}{'...' if cut is not value else ''}'"
        case _quoted():
            quoted = truncate(str(token.value), maxlen or 0).replace("'", "\\'")
            return f"'{quoted}'"
    return truncate(str(token), maxlen or 0)


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        stack = "\n".join(traceback.format_stack())
        return f"<Unrepresentable {type(value)!r}{id(value):#x}: {error!r} {stack!r}>"


def _pairs(value: Mapping[Any, Any]) -> Iterator[Any]:
    for number, (key, each) in enumerate(value.items()):
        yield from (_SEPARATOR,) if number else ()
        yield _key(key)
        yield _COLON
        yield each


def _items(value: Iterable[Any]) -> Iterator[Any]:
    for number, each in enumerate(value):
        yield from (_SEPARATOR,) if number else ()
        yield each


def _container(value: Any) -> tuple[str, Iterator[Any], str] | None:
    """The beginning of a container's text, its parts, and the end; None for another value."""
    match value:
        case set() | frozenset() if type(value) is set:
            return "{", _items(value), "}"
        case set() | frozenset():
            return f"{type(value).__name__}({{", _items(value), "})"
        case tuple():
            return "(", _items(value), ",)" if len(value) == 1 else ")"
        case dict():
            return "{", _pairs(value), "}"
        case list():
            return "[", _items(value), "]"
    return None


def _scalar(value: Any) -> Any:
    """The token of a value that isn't a container; None for a container that isn't empty or isn't a set."""
    match value:
        case Decimal():
            return _repr(value)
        case Number():
            return str(value)
        case str() | bytes():
            return _quoted(value)
        case set() | frozenset() if not value:
            return f"{type(value).__name__}()"
        case set() | frozenset() | tuple() | dict() | list():
            return None
    return _repr(value)


def reprstream(
    stack: deque[Iterator[Any]],
    seen: set[int] | None = None,
    maxlevels: int = 3,
    level: int = 0,
    isinstance: Any = isinstance,
) -> Iterator[tuple[Any, Iterator[Any]]]:
    """Yield the parts of a ``repr``, each with the iterator of those after it.

    Args:
        stack: iterators over values; the parts of containers are added to it.
        seen: ids of containers that are not shown again.
        maxlevels: how many containers may lie in each other.
        level: how many there are already.
        isinstance: has no effect.
    """
    met = set() if seen is None else seen
    while stack:
        it = stack[-1]
        value = next(it, stack)
        if value is stack:  # the iterator's end
            stack.pop()
        elif type(value) is _dirty:
            met.discard(value.objid)
        elif type(value) in (_literal, _key):
            level += value.direction if type(value) is _literal else 0
            yield value, it
        elif (token := _scalar(value)) is not None:
            yield token, it
        else:
            begin, parts, end = _container(value) or ("", iter(()), "")
            if maxlevels and level >= maxlevels:
                yield _literal(f"{begin}...{end}", truncate=False, direction=0), it
            elif id(value) in met:
                yield f"<Recursion on {type(value).__name__} with id={id(value)}>", it
            else:
                met.add(id(value))
                last = [_dirty(id(value)), _literal(end, truncate=False, direction=-1)]
                stack.append(iter(last))
                stack.append(parts)
                stack.append(iter([_literal(begin, truncate=False, direction=+1)]))
