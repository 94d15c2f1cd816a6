"""Calls of functions in the order of their times."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from functools import total_ordering, wraps
from typing import Any, NamedTuple, Self

__all__ = ("Entry", "Schedule", "to_timestamp")

logger = logging.getLogger("celery.utils.timer2")

DEFAULT_MAX_INTERVAL = 2


def to_timestamp(d: Any, default_timezone: tzinfo = UTC, time: Callable[[], float] = time.monotonic) -> Any:
    """Return a time on the clock ``time``; a number is one already, and a naive time is in ``default_timezone``."""
    if not isinstance(d, datetime):
        return d
    aware = d if d.tzinfo is not None else d.replace(tzinfo=default_timezone)
    return max(aware.timestamp() - (_wall_clock() - time()), 0)


_wall_clock = time.time


@total_ordering
class Entry:
    """A call at a time.

    Args:
        fun: the function.
        args: its arguments.
        kwargs: its keyword arguments.
    """

    def __init__(self, fun: Callable[..., Any], args: Any = None, kwargs: Any = None) -> None:
        self.fun = fun
        self.args = args or []
        self.kwargs = kwargs or {}
        self.canceled = False
        self._last_run: float | None = None

    @property
    def tref(self) -> Entry:
        """The entry, for code that cancels it."""
        return self

    def __call__(self) -> Any:
        """Make the call."""
        return self.fun(*self.args, **self.kwargs)

    def cancel(self) -> None:
        """Let the call not be made."""
        self.canceled = True

    @property
    def cancelled(self) -> bool:
        """Whether the call is not made."""
        return self.canceled

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        self.canceled = value

    def __repr__(self) -> str:
        return f"<TimerEntry: {self.fun.__name__}(*{self.args!r}, **{self.kwargs!r})"

    def __lt__(self, other: object) -> bool:
        return id(self) < id(other)


class scheduled(NamedTuple):
    """An entry with its time and its priority."""

    eta: float
    priority: Any
    entry: Entry


class Schedule:
    """Calls in the order of their times.

    Args:
        max_interval: the longest wait for the next call, in seconds.
        on_error: called with the exception of a call.
    """

    Entry = Entry
    on_error: Any = None

    def __init__(self, max_interval: float | None = None, on_error: Any = None, **kwargs: Any) -> None:
        self.max_interval = float(max_interval or DEFAULT_MAX_INTERVAL)
        self.on_error = on_error or self.on_error
        self._queue: list[scheduled] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def call_at(self, eta: Any, fun: Any, args: Any = (), kwargs: Any = None, priority: int = 0) -> Any:
        """Call a function at a time."""
        return self.enter_at(self.Entry(fun, args, kwargs or {}), eta, priority)

    def call_after(self, secs: float, fun: Any, args: Any = (), kwargs: Any = None, priority: int = 0) -> Any:
        """Call a function after so many seconds."""
        return self.enter_after(secs, self.Entry(fun, args, kwargs or {}), priority)

    def call_repeatedly(self, secs: float, fun: Any, args: Any = (), kwargs: Any = None, priority: int = 0) -> Any:
        """Call a function every so many seconds, until its entry is cancelled."""
        entry = self.Entry(fun, args, kwargs or {})

        @wraps(fun)
        def call_and_enter_again(*args: Any, **kwargs: Any) -> Any:
            now = time.monotonic()
            since = secs if entry._last_run is None else now - entry._last_run
            try:
                if since and since >= secs:
                    entry._last_run = now
                    return fun(*args, **kwargs)
                return None
            finally:
                if not entry.canceled:
                    last = entry._last_run
                    self.enter_after(secs if last is None else secs - (now - last), entry, priority)

        entry.fun = call_and_enter_again
        return self.enter_after(secs, entry, priority)

    def enter_at(
        self, entry: Any, eta: Any = None, priority: Any = 0, time: Callable[[], float] = time.monotonic
    ) -> Any:
        """Add an entry for a time; None is now."""
        if eta is None:
            eta = time()
        if isinstance(eta, datetime):
            try:
                eta = to_timestamp(eta)
            except Exception as error:
                if not self.handle_error(error):
                    raise
                return None
        return self._enter(eta, priority, entry)

    def enter_after(
        self, secs: float, entry: Any, priority: Any = 0, time: Callable[[], float] = time.monotonic
    ) -> Any:
        """Add an entry for so many seconds from now."""
        return self.enter_at(entry, time() + float(secs), priority)

    def _enter(self, eta: float, priority: Any, entry: Any) -> Any:
        heapq.heappush(self._queue, scheduled(eta, priority, entry))
        return entry

    def apply_entry(self, entry: Any) -> None:
        """Make a call; its exception is given to ``on_error``, or logged."""
        try:
            entry()
        except Exception as error:
            if not self.handle_error(error):
                logger.log(logging.ERROR, "Error in timer: %r", error, exc_info=True)

    def handle_error(self, exc_info: Any) -> bool:
        """Give an exception to ``on_error``, and tell whether there is such a function."""
        if self.on_error:
            self.on_error(exc_info)
        return bool(self.on_error)

    def stop(self) -> None:
        """Do nothing: nothing runs here."""

    def __iter__(self) -> Iterator[tuple[float | None, Any]]:
        """Yield an entry that is due as ``(None, entry)``; otherwise how long to wait, or ``(None, None)``."""
        while True:
            if not self._queue:
                yield None, None
                continue
            now, first = time.monotonic(), self._queue[0]
            if now < first.eta:
                yield min(first.eta - now, self.max_interval), None
                continue
            entry = heapq.heappop(self._queue).entry
            if not entry.canceled:
                yield None, entry

    def clear(self) -> None:
        """Forget all entries."""
        self._queue.clear()

    def cancel(self, tref: Any) -> None:
        """Let the call of an entry not be made."""
        tref.cancel()

    def __len__(self) -> int:
        return len(self._queue)

    def __bool__(self) -> bool:
        return True

    @property
    def queue(self) -> list[scheduled]:
        """The entries with their times, in order."""
        return sorted(self._queue)

    @property
    def schedule(self) -> Schedule:
        """The schedule, for code that has a timer."""
        return self
