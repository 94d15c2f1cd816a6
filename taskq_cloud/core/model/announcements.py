"""Announcements within a process: a thread or a coroutine that waits for something hears when it is there.

Whoever waits makes a ``Listener``, enters it in the ``Announcements`` of the part that will know, looks, and waits if
there was nothing. So an announcement between the look and the wait isn't lost. An announcement only says that a look is
worthwhile: what has happened is for the look to find out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Listener:
    """Hears announcements for one thread or one coroutine that waits. Any thread may announce."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: dict[str, None] = {}
        self._wake: Callable[[], object] | None = None
        self._on_close: list[Callable[[], object]] = []
        self._closed = False

    def hear(self, topic: str) -> None:
        """Note an announcement, and wake whoever waits."""
        with self._lock:
            self._heard[topic] = None
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    @property
    def has_heard(self) -> bool:
        """Whether something was announced that was not taken yet."""
        return bool(self._heard)

    def take(self) -> list[str]:
        """Return the topics that were announced since the last call, in their order."""
        with self._lock:
            heard, self._heard = self._heard, {}
        return list(heard)

    def wait(self, seconds: float) -> bool:
        """Wait in this thread until something is announced; False: nothing was, for so long."""
        gate = threading.Lock()
        gate.acquire()
        if self._set_wake(gate.release):
            return True
        try:
            return gate.acquire(timeout=min(max(seconds, 0), threading.TIMEOUT_MAX))
        finally:
            self._wake = None

    async def wait_on_loop(self, seconds: float) -> bool:
        """Wait on the running event loop until something is announced; False: nothing was, for so long."""
        import asyncio  # a process that only sends needs no event loop

        loop = asyncio.get_running_loop()
        heard: asyncio.Future[bool] = loop.create_future()
        if self._set_wake(partial(_wake_loop, loop, heard)):
            return True
        timer = loop.call_later(max(seconds, 0), partial(_answer, heard, heard_something=False))
        try:
            return await heard
        finally:
            timer.cancel()
            self._wake = None

    def on_close(self, function: Callable[[], object]) -> None:
        """Have a function called when nobody listens any more, and at once if that is so."""
        with self._lock:
            if not self._closed:
                self._on_close.append(function)
                return
        function()

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            self._closed = True
            functions, self._on_close = self._on_close, []
        for function in functions:
            function()

    def _set_wake(self, wake: Callable[[], object]) -> bool:
        """Set the function that ends the wait; True: something was announced already."""
        with self._lock:
            if not self._heard:
                self._wake = wake
            return bool(self._heard)


class Announcements:
    """The listeners of one part of a process, by what they wait for. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[Hashable, dict[Listener, str]] = {}

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def enter(self, listener: Listener, topics: Mapping[Hashable, str]) -> None:
        """Let a listener hear of topics until it is closed.

        Args:
            listener: the listener.
            topics: what is announced -> the topic that the listener hears.
        """
        with self._lock:
            for key, topic in topics.items():
                self._listeners.setdefault(key, {})[listener] = topic
        listener.on_close(lambda: self._leave(listener, topics))

    def announce(self, keys: Iterable[Hashable]) -> None:
        """Wake those who wait for one of these."""
        if not self._listeners:
            return
        with self._lock:
            heard = [each for key in keys for each in self._listeners.get(key, {}).items()]
        for listener, topic in heard:
            listener.hear(topic)

    def announce_all(self) -> None:
        """Wake everybody, for each topic."""
        with self._lock:
            heard = [each for listeners in self._listeners.values() for each in listeners.items()]
        for listener, topic in heard:
            listener.hear(topic)

    def _leave(self, listener: Listener, keys: Iterable[Hashable]) -> None:
        with self._lock:
            for key in keys:
                listeners = self._listeners.get(key, {})
                listeners.pop(listener, None)
                if not listeners:
                    self._listeners.pop(key, None)


def _wake_loop(loop: asyncio.AbstractEventLoop, heard: asyncio.Future[bool]) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nobody waits on it any more
        loop.call_soon_threadsafe(partial(_answer, heard, heard_something=True))


def _answer(heard: asyncio.Future[bool], *, heard_something: bool) -> None:
    if not heard.done():
        heard.set_result(heard_something)
