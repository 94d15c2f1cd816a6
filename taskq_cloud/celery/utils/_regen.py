"""Iterators that can be read many times."""

import operator
from collections import UserList
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ("regen",)


def regen(it: Any) -> Any:
    """Return ``it`` if it is a list or a tuple, else a list that reads the iterable as far as it is needed."""
    return it if isinstance(it, list | tuple) else _regen(it)


class _regen(UserList[Any], list[Any]):  # type: ignore[misc]  # a list, so that JSON encoders take it
    """A list over an iterable, which is read once, and not before an item is asked for."""

    def __init__(self, it: Iterable[Any]) -> None:
        # Neither parent's constructor is called: both would read the iterable.
        self._source: Any = it
        self._read: list[Any] = []
        self._done = False

    def __reduce__(self) -> Any:
        return list, (self.data,)

    def map(self, func: Callable[[Any], Any]) -> None:
        """Apply ``func`` to each item: at once to those that were read, to the others when they are."""
        self._read = [func(item) for item in self._read]
        self._source = map(func, self._source)

    def __length_hint__(self) -> int:
        return int(self._source.__length_hint__())

    def _pull(self, source: Iterator[Any]) -> bool:
        """Read one item more, and return False if there is none."""
        try:
            self._read.append(next(source))
        except StopIteration:
            self._done = True
            return False
        return True

    def __iter__(self) -> Iterator[Any]:
        source: Iterator[Any] | None = None
        position, pulled = 0, False
        while True:
            if position >= len(self._read):
                if self._done:
                    return
                if source is None:
                    # Opening the source may itself read from it, so the position is looked at again.
                    source = iter(self._source)
                    continue
                if not self._pull(source):
                    return
                pulled = True
            if pulled and not self._done and position + 1 >= len(self._read):
                yield from self._yield_after_look_ahead(source, position)
            else:
                yield self._read[position]
            position += 1

    def _yield_after_look_ahead(self, source: Iterator[Any] | None, position: int) -> Iterator[Any]:
        """Read one item ahead, so that the end is known with the last item; an error there comes after this item."""
        assert source is not None
        try:
            self._pull(source)
        finally:
            yield self._read[position]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.data[index]
        index = operator.index(index)
        if index < 0:
            return self.data[index]
        if not self._done and len(self._read) <= index:
            source = iter(self._source)
            # One more than asked for: whoever reads the last item then knows that it is the last.
            while len(self._read) <= index + 1 and self._pull(source):
                pass
        return self._read[index]

    def __bool__(self) -> bool:
        return bool(self._read) or next((True for _ in self), False)

    @property
    def data(self) -> list[Any]:  # type: ignore[override]  # UserList has an attribute
        """All items; the rest of the iterable is read for it."""
        if not self._done:
            self._read.extend(self._source)
            self._done = True
        return self._read

    def __repr__(self) -> str:
        items = ", ".join(repr(item) for item in self._read)
        return f"<{type(self).__name__}: [{items}{'' if self._done else '...'}]>"
