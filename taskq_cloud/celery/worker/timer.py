"""The timer of a worker, ``worker.timer``: calls functions of a project after a time, in a thread of its own."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

from taskq_cloud.celery.utils.log import get_logger

__all__ = ("Entry", "Timer")

logger = get_logger(__name__)


class Entry:
    """A call of the future.

    Args:
        fun: the function.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """

    def __init__(self, fun: Callable[..., Any], args: Any = None, kwargs: Any = None) -> None:
        self.fun, self.args, self.kwargs = fun, args or (), kwargs or {}
        self.tref = self
        self.canceled = False

    def __call__(self) -> Any:
        """Call the function."""
        return self.fun(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.fun!r}{' (canceled)' if self.canceled else ''}>"

    def cancel(self) -> None:
        """Don't call the function any more."""
        self.canceled = True

    @property
    def cancelled(self) -> bool:
        """Whether the call was canceled."""
        return self.canceled


class Timer:
    """Calls functions at their times. Its thread starts with the first of them.

    Args:
        max_interval: has no effect: the thread sleeps until the next call.
        on_error: is called with the error of a function; None: it is logged.
        kwargs: further arguments of Celery's timer.
    """

    def __init__(self, max_interval: Any = None, on_error: Any = None, **kwargs: Any) -> None:
        self.max_interval, self.on_error = max_interval, on_error
        self._numbers = count()
        self._queue: list[tuple[float, int, int, Entry]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def call_after(
        self, secs: float, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """Call a function once, after some seconds."""
        return self.enter_after(secs, Entry(fun, args, kwargs), priority)

    def call_at(
        self, eta: Any, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """Call a function once, at a time: a ``datetime``, or seconds since the epoch."""
        moment = eta.timestamp() if isinstance(eta, datetime) else eta
        return self.enter_after(moment - time.time(), Entry(fun, args, kwargs), priority)

    def call_repeatedly(
        self, secs: float, fun: Callable[..., Any], args: Any = (), kwargs: Any = None, priority: int = 0
    ) -> Entry:
        """Call a function again and again, with some seconds between the calls, until the entry is canceled."""

        def call() -> None:
            try:
                fun(*args, **(kwargs or {}))
            finally:
                if not entry.canceled:
                    self.enter_after(secs, entry, priority)

        entry = Entry(call)
        return self.enter_after(secs, entry, priority)

    def enter_after(self, secs: float, entry: Entry, priority: int = 0) -> Entry:
        """Call an entry after some seconds."""
        with self._changed:
            heapq.heappush(self._queue, (time.monotonic() + secs, priority, next(self._numbers), entry))
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="celery-timer", daemon=True)
                self._thread.start()
            self._changed.notify()
        return entry

    def cancel(self, tref: Any) -> None:
        """Don't call an entry any more."""
        tref.cancel()

    def clear(self) -> None:
        """Forget all entries."""
        with self._changed:
            self._queue.clear()
            self._changed.notify()

    def stop(self) -> None:
        """End the thread, after the call that is under way."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            try:
                entry()
            except Exception as error:
                if self.on_error is None:
                    logger.exception("a function that the worker's timer has called failed")
                else:
                    self.on_error(error)

    def _next(self) -> Entry | None:
        """Wait for the next entry that is due, and return it; None: the timer was stopped."""
        with self._changed:
            while not self._stopped:
                if self._queue and self._queue[0][-1].canceled:
                    heapq.heappop(self._queue)
                    continue
                left = self._queue[0][0] - time.monotonic() if self._queue else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._queue)[-1]
                self._changed.wait(left)
            return None


Timer.Entry = Entry  # type: ignore[attr-defined]  # Celery's name; in the class it would hide the annotations' one
