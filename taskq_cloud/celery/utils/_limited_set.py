"""A set with a largest size and a time after which its members expire."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, MutableSet
from itertools import count
from typing import Any, ClassVar

Entry = tuple[float, int, Any]
"""The time of an item's insertion, a number that orders insertions of one moment, and the item."""


class LimitedSet:
    """A set that forgets its oldest items.

    The times are those of ``time.monotonic``, so the times of another machine's set mean nothing here.

    Args:
        maxlen: the largest number of items; 0: there is none.
        expires: the seconds after which an item may be removed; 0: never.
        data: first items: an iterable, a mapping from items to their times, or a ``LimitedSet``.
        minlen: the number of items that expiry leaves in the set.

    Raises:
        ValueError: a number is negative, or ``minlen`` is larger than ``maxlen``.
    """

    max_heap_percent_overload: ClassVar[int] = 15
    """The percentage of outdated entries at which the heap is made anew."""

    def __init__(self, maxlen: int = 0, expires: float = 0, data: Any = None, minlen: int = 0) -> None:
        self.maxlen = maxlen or 0
        self.minlen = minlen or 0
        self.expires = expires or 0
        self._data: dict[Any, Entry] = {}
        self._heap: list[Entry] = []
        self._seq = count()
        if data:
            self.update(data)
        if not 0 <= self.minlen <= self.maxlen:
            raise ValueError("minlen must be a positive number, less or equal to maxlen.")
        if self.expires < 0:
            raise ValueError("expires cannot be negative!")

    # -- reading

    def __contains__(self, key: Any) -> bool:
        return key in self._data

    def __len__(self) -> int:
        return len(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __iter__(self) -> Iterator[Any]:
        return (item for _, _, item in sorted(self._data.values(), key=lambda entry: entry[:2]))

    def __eq__(self, other: object) -> bool:
        return self.as_dict() == other.as_dict() if isinstance(other, LimitedSet) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}({len(self)}): maxlen={self.maxlen}, expires={self.expires}, minlen={self.minlen}>"
        )

    def __reduce__(self) -> Any:
        return type(self), (self.maxlen, self.expires, self.as_dict(), self.minlen)

    def as_dict(self) -> dict[Any, float]:
        """Return a mapping from the items to the times of their insertion."""
        return {item: inserted_at for inserted_at, _, item in self._data.values()}

    # -- changing

    def add(self, item: Any, now: float | None = None) -> None:
        """Add an item, or make a present item the newest one.

        Args:
            item: the item.
            now: the time of the insertion; None: the present.
        """
        if item in self._data:
            self.discard(item)
        entry = (time.monotonic() if now is None else float(now), next(self._seq), item)
        self._data[item] = entry
        heapq.heappush(self._heap, entry)
        if self.maxlen and len(self._data) >= self.maxlen:
            self.purge()

    def update(self, other: Iterable[Any]) -> None:
        """Add the items of an iterable, of a mapping from items to times, or of another ``LimitedSet``.

        Raises:
            ValueError: a time of a mapping isn't a float.
        """
        if not other:
            return
        if isinstance(other, LimitedSet):
            times = other.as_dict()
            for item in other:
                self._data[item] = (times[item], next(self._seq), item)
            self._refresh_heap()
            self.purge()
        elif isinstance(other, dict):
            for item, given in other.items():
                inserted_at = given[0] if isinstance(given, tuple | list) else given
                if not isinstance(inserted_at, float):
                    raise ValueError(  # noqa: TRY004 - Celery's error
                        f"Expecting float timestamp, got type {type(inserted_at)!r} with value: {inserted_at}"
                    )
                self.add(item, inserted_at)
        else:
            for item in other:
                self.add(item)

    def discard(self, item: Any) -> None:
        """Remove an item, if it is in the set."""
        self._data.pop(item, None)
        self._maybe_refresh_heap()

    pop_value = discard

    def pop(self, default: Any = None) -> Any:
        """Remove and return the oldest item; the default, if the set is empty."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            if self._is_current(entry):
                del self._data[entry[2]]
                return entry[2]
        return default

    def clear(self) -> None:
        """Remove all items."""
        self._data.clear()
        self._heap.clear()

    def purge(self, now: float | Callable[[], float] | None = None) -> None:
        """Remove the oldest items beyond the largest size, and the expired ones.

        Args:
            now: the time to compare with, or a function that returns it; None: the present.
        """
        while self.maxlen and len(self._data) > self.maxlen:
            self.pop()
        if not self.expires:
            return
        moment = time.monotonic() if now is None else now() if callable(now) else now
        while len(self._data) > self.minlen:
            oldest = self._heap[0]
            if not self._is_current(oldest):
                heapq.heappop(self._heap)
            elif oldest[0] + self.expires > moment:
                return
            else:
                self.pop()

    def _is_current(self, entry: Entry) -> bool:
        """Return whether an entry of the heap is an item's latest one: removals leave theirs behind."""
        return self._data.get(entry[2]) is entry

    def _refresh_heap(self) -> None:
        self._heap[:] = self._data.values()
        heapq.heapify(self._heap)

    def _maybe_refresh_heap(self) -> None:
        if self._heap_overload >= self.max_heap_percent_overload:
            self._refresh_heap()

    @property
    def _heap_overload(self) -> float:
        """The outdated entries of the heap, as a percentage of the items."""
        return len(self._heap) * 100 / max(len(self._data), 1) - 100


MutableSet.register(LimitedSet)
