"""Buffers of messages with a largest size, one by one and by key."""

from __future__ import annotations

from collections import OrderedDict as _OrderedDict
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from queue import Empty as _Empty
from typing import Any

_LIMIT = 100
"""The messages that one pass of eviction removes at most."""


class OrderedDict(_OrderedDict[Any, Any]):
    """A dict that remembers which key was used least recently: its first one."""

    def _LRUkey(self) -> Any:
        return next(iter(self))


class Evictable:
    """Adds ``evict``, which removes content until no more than ``maxsize`` is left."""

    Empty: type[Exception] = _Empty
    maxsize: int | None
    _evictcount: int

    def evict(self) -> None:
        """Remove content until the largest size is kept."""
        self._evict(range=lambda _limit: count())

    def _evict(self, limit: int = _LIMIT, range: Callable[[int], Iterable[int]] = range) -> None:
        for _ in range(limit):
            try:
                self._evict1()
            except IndexError:
                return

    def _evict1(self) -> None:
        if self._evictcount <= (self.maxsize or 0):
            raise IndexError
        try:
            self._pop_to_evict()
        except self.Empty:
            raise IndexError from None

    def _pop_to_evict(self) -> Any:
        raise NotImplementedError


class Messagebuffer(Evictable):
    """A queue of messages that drops its oldest ones beyond a largest size.

    Args:
        maxsize: the largest size; None or 0: there is none.
        iterable: the first messages.
        deque: makes the container.
    """

    def __init__(self, maxsize: int | None, iterable: Iterable[Any] | None = None, deque: Any = deque) -> None:
        self.maxsize = maxsize
        self.data = deque(iterable or [])

    def put(self, item: Any) -> None:
        """Add a message at the end."""
        self.data.append(item)
        if self.maxsize:
            self._evict()

    def extend(self, it: Iterable[Any]) -> None:
        """Add several messages at the end."""
        self.data.extend(it)
        if self.maxsize:
            self._evict()

    def take(self, *default: Any) -> Any:
        """Remove and return the oldest message, or return the default.

        Raises:
            Empty: there is no message, and no default.
        """
        try:
            return self.data.popleft()
        except IndexError:
            if default:
                return default[0]
            raise self.Empty from None

    def _pop_to_evict(self) -> Any:
        return self.take()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)}/{self.maxsize}>"

    def __iter__(self) -> Iterator[Any]:
        """Take all messages, one after the other."""
        while self.data:
            yield self.data.popleft()

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: Any) -> bool:
        return item in self.data

    def __reversed__(self) -> Iterator[Any]:
        backwards: Iterator[Any] = reversed(self.data)
        return backwards

    def __getitem__(self, index: int) -> Any:
        return self.data[index]

    @property
    def _evictcount(self) -> int:  # type: ignore[override]
        return len(self)


Sequence.register(Messagebuffer)


class BufferMap(OrderedDict, Evictable):
    """A buffer of messages for each key.

    Args:
        maxsize: the largest number of messages in all buffers together; None or 0: there is none.
        iterable: pairs of a key and its first messages.
        bufmaxsize: the largest number of messages in one buffer.
    """

    Buffer: type[Messagebuffer] = Messagebuffer
    total: int = 0
    """The number of messages in all buffers together."""
    bufmaxsize: int | None = None

    def __init__(self, maxsize: int | None, iterable: Any = None, bufmaxsize: int | None = 1000) -> None:
        super().__init__()
        self.maxsize = maxsize
        self.bufmaxsize = bufmaxsize
        for key, messages in dict(iterable or ()).items():
            self._get_or_create_buffer(key).extend(messages)
        self.total = sum(map(len, self.values()))
        if self.maxsize:
            self.evict()

    def put(self, key: Any, item: Any) -> None:
        """Add a message to a key's buffer, which becomes the one that was used last."""
        self._add(key, lambda buffer: buffer.put(item), used=True)

    def extend(self, key: Any, it: Iterable[Any]) -> None:
        """Add several messages to a key's buffer."""
        self._add(key, lambda buffer: buffer.extend(it), used=False)

    def _add(self, key: Any, add: Callable[[Messagebuffer], None], *, used: bool) -> None:
        buffer = self._get_or_create_buffer(key)
        before = len(buffer)
        add(buffer)
        self.total += len(buffer) - before
        if used:
            self.move_to_end(key)
        if self.maxsize:
            self._evict()

    def take(self, key: Any, *default: Any) -> Any:
        """Remove and return the oldest message of a key, or return the default.

        Raises:
            Empty: the key has no message, and there is no default.
        """
        try:
            item = self[key].take()
        except (KeyError, self.Empty):
            if default:
                return default[0]
            raise self.Empty from None
        self.total -= 1
        self.move_to_end(key)
        return item

    def _get_or_create_buffer(self, key: Any) -> Messagebuffer:
        if key not in self:
            self[key] = self._new_buffer()
        buffer: Messagebuffer = self[key]
        return buffer

    def _new_buffer(self) -> Messagebuffer:
        return self.Buffer(maxsize=self.bufmaxsize)

    def _LRUpop(self, *default: Any) -> Any:
        return self[self._LRUkey()].take(*default)

    def _pop_to_evict(self) -> None:
        """Remove a message of the buffer that was used least recently, and empty buffers before it."""
        for _ in range(_LIMIT):
            key = self._LRUkey()
            buffer = self[key]
            if buffer:
                buffer.take()
                self.total -= 1
                if buffer:
                    self.move_to_end(key)
                else:
                    del self[key]
                return
            del self[key]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.total}/{self.maxsize}>"

    @property
    def _evictcount(self) -> int:  # type: ignore[override]
        return self.total
