"""A thread that calls functions at their times."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from threading import TIMEOUT_MAX as THREAD_TIMEOUT_MAX
from typing import Any, ClassVar

from ._timed_calls import Entry, Schedule, logger, to_timestamp

__all__ = ("Entry", "Schedule", "Timer", "to_timestamp")


class Timer(threading.Thread):
    """A thread that makes the calls of a schedule.

    Args:
        schedule: the schedule; None: a new one.
        on_error: called with the exception of a call.
        on_tick: called with the seconds before each wait.
        on_start: called with the timer before it starts.
        max_interval: the longest wait for the next call, in seconds.
    """

    Entry = Entry
    Schedule = Schedule

    running: bool = False
    on_tick: Any = None
    _timer_count: ClassVar[Iterator[int]] = itertools.count(1)

    def __init__(
        self,
        schedule: Any = None,
        on_error: Any = None,
        on_tick: Any = None,
        on_start: Any = None,
        max_interval: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=f"Timer-{next(self._timer_count)}", daemon=True)
        made = schedule if schedule is not None else self.Schedule(on_error=on_error, max_interval=max_interval)
        self.schedule: Any = made
        self.on_start = on_start
        self.on_tick = on_tick or self.on_tick
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self.mutex = threading.Lock()
        self.not_empty = threading.Condition(self.mutex)
        self.scheduler: Iterator[Any] = iter(made)

    def _next_entry(self) -> Any:
        with self.not_empty:
            delay, entry = next(self.scheduler)
            if entry is None:
                if delay is None:
                    self.not_empty.wait(1.0)
                return delay
        return self.schedule.apply_entry(entry)

    __next__ = next = _next_entry

    def run(self) -> None:
        """Make the calls at their times; an error of the timer itself ends the process."""
        try:
            self.running = True
            self.scheduler = iter(self.schedule)
            while not self._stopping.is_set():
                delay = self._next_entry()
                if delay:
                    if self.on_tick:
                        self.on_tick(delay)
                    time.sleep(delay)
            self._ended.set()
        except Exception:
            logger.exception("Thread Timer crashed")
            sys.stderr.flush()
            os._exit(1)

    def stop(self) -> None:
        """Make no more calls, and wait for the end of the thread."""
        self._stopping.set()
        if self.running:
            self._ended.wait()
            self.join(THREAD_TIMEOUT_MAX)
            self.running = False

    def ensure_started(self) -> None:
        """Start the thread, unless it runs."""
        if not self.running and not self.is_alive():
            if self.on_start:
                self.on_start(self)
            self.start()

    def _do_enter(self, meth: str, *args: Any, **kwargs: Any) -> Any:
        self.ensure_started()
        with self.mutex:
            entry = getattr(self.schedule, meth)(*args, **kwargs)
            self.not_empty.notify()
            return entry

    def enter(self, entry: Any, eta: Any, priority: Any = None) -> Any:
        """Add an entry for a time."""
        return self._do_enter("enter_at", entry, eta, priority=priority)

    def call_at(self, *args: Any, **kwargs: Any) -> Any:
        """Call a function at a time."""
        return self._do_enter("call_at", *args, **kwargs)

    def enter_after(self, *args: Any, **kwargs: Any) -> Any:
        """Add an entry for so many seconds from now."""
        return self._do_enter("enter_after", *args, **kwargs)

    def call_after(self, *args: Any, **kwargs: Any) -> Any:
        """Call a function after so many seconds."""
        return self._do_enter("call_after", *args, **kwargs)

    def call_repeatedly(self, *args: Any, **kwargs: Any) -> Any:
        """Call a function every so many seconds."""
        return self._do_enter("call_repeatedly", *args, **kwargs)

    def exit_after(self, secs: float, priority: int = 10) -> None:
        """End the thread after so many seconds."""
        self.call_after(secs, sys.exit, priority)

    def cancel(self, tref: Any) -> None:
        """Let the call of an entry not be made."""
        tref.cancel()

    def clear(self) -> None:
        """Forget all entries."""
        self.schedule.clear()

    def empty(self) -> bool:
        """Tell whether there is no entry."""
        return not len(self)

    def __len__(self) -> int:
        return len(self.schedule)

    def __bool__(self) -> bool:
        return True

    @property
    def queue(self) -> Any:
        """The entries with their times, in order."""
        return self.schedule.queue
