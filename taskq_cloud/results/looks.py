"""The looks into the result store of all that wait for single tasks: threads in ``get`` and coroutines in ``aget``.

A store that tells of ends (``TellsOfEnds``) wakes whoever waits. The others are polled, soon at first and then ever
less often. In both cases waits share their looks: one that looks reads the records of the others whose look is due too,
in one read, and wakes those whose task has ended. So a thousand callers who wait for a thousand tasks in DynamoDB make
a hundredth of the requests.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

from taskq_cloud import errors
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.option_values import WAIT, check
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import Record
from taskq_cloud.results.state import TaskState
from taskq_cloud.results.waiting import TIGHT_POLL_SECONDS, deadline_after, in_time, pauses
from taskq_cloud.runtime.protocols import Backend

MOST_TOGETHER: Final = 100
"""Waits whose records are read at once: as many as one BatchGetItem of DynamoDB reads."""

LONGEST_LOOK_SECONDS: Final = 1.0
"""How long a wait relies on another wait's look before it looks itself."""

_ANSWERED: Final = ""
"""What a wait hears when another wait's look has an answer for it."""


class Wait:
    """One wait for one task.

    Args:
        task_id: the task's id.

    Attributes:
        due_at: when its next look is due, by the monotonic clock.
        pause: the seconds between its last look and that.
        told: the store has told of the task's end since the last look of this wait began.
        looker: the wait whose look, under way, is for this wait too; None: there is none.
        answer: the record that another wait's look has found for this one, or None in a tuple if there was none; None:
            there was no such look.
    """

    __slots__ = ("answer", "due_at", "listener", "looker", "pause", "task_id", "told")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.listener = Listener()
        self.due_at, self.pause, self.told = 0.0, 0.0, False
        self.looker: Wait | None = None
        self.answer: tuple[Record | None] | None = None

    def rest(self, seconds: float) -> Flow[bool]:
        """Pause until there is a reason to go on, and return whether there was one."""
        heard = yield Sleep(seconds, self.listener)
        self.told = self.task_id in self.listener.take() or self.told
        return bool(heard)

    def is_nearly_due(self, now: float) -> bool:
        """Whether another wait's look may be for this one too."""
        if self.looker is not None or self.answer is not None:
            return False
        return self.told or self.listener.has_heard or self.due_at - now <= self.pause / 2

    def take_answer(self) -> tuple[Record | None] | None:
        """Take the answer of another wait's look, unless that look began before the store told of the end."""
        answer, self.answer = self.answer, None
        if answer is None or (self.told and not (answer[0] is not None and answer[0].final)):
            return None
        return answer


class Looks:
    """The waits of an application. Threads and event loops may share it."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self._lock = threading.Lock()
        self._waits: dict[Wait, None] = {}

    def enter(self, wait: Wait) -> None:
        """Let a wait share looks until it leaves."""
        with self._lock:
            self._waits[wait] = None

    def leave(self, wait: Wait) -> None:
        """Let a wait that is over share no more looks."""
        wait.listener.close()
        with self._lock:
            self._waits.pop(wait, None)

    def look(self, wait: Wait, store: ResultStore, timeout: float | None, deadline: float) -> Flow[Record | None]:
        """Return the record of a wait's task as another wait has just found it, or read the store.

        Args:
            wait: the wait.
            store: the result store.
            timeout: the longest time to wait, in seconds, for the error; None: without end.
            deadline: the end of that time, by the monotonic clock.
        """
        while True:
            answer = wait.take_answer()
            if answer is not None:
                return answer[0]
            together = self._begin(wait)
            if together:
                break
            if not (yield from wait.rest(min(LONGEST_LOOK_SECONDS, max(deadline - time.monotonic(), 0.0)))):
                wait.looker = None
        found: Mapping[str, Record] | None = None
        try:
            ids = list(dict.fromkeys(each.task_id for each in together))
            found = yield from in_time(store.load(ids), wait.task_id, timeout, deadline)
        finally:
            self._end(together, found)
        return found.get(wait.task_id)

    def _begin(self, wait: Wait) -> Sequence[Wait]:
        """Return the waits that a look is for, this one first; none: another wait's look for it is under way."""
        with self._lock:
            if wait.looker is not None or wait.answer is not None:
                return ()
            now = time.monotonic()
            others = (each for each in self._waits if each is not wait and each.is_nearly_due(now))
            together = [wait, *islice(others, MOST_TOGETHER - 1)]
            for each in together:
                each.looker, each.told = wait, False
            return together

    def _end(self, together: Sequence[Wait], found: Mapping[str, Record] | None) -> None:
        """Give the waits of a look their answers, and wake those that have a reason to go on.

        Args:
            together: the waits.
            found: the records that were read; None: the look failed, and each wait looks for itself.
        """
        first, *others = together
        with self._lock:
            now = time.monotonic()
            first.looker = None
            woken: list[Wait] = []
            for each in others:
                if each.looker is not first:  # it has waited too long for this look
                    continue
                each.looker = None
                record = None if found is None else found.get(each.task_id)
                if found is not None:
                    each.answer = (record,)
                if found is None or now >= each.due_at or (record is not None and record.final):
                    woken.append(each)
        for each in woken:
            each.listener.hear(_ANSWERED)


def listening(store: ResultStore, ids: Sequence[str], listener: Listener) -> Flow[bool]:
    """Let a listener hear of the ends of tasks, and return whether it will."""
    # isinstance(store, TellsOfEnds) would take longer than a read of SQLite.
    listen: Callable[[Sequence[str], Listener], Flow[bool]] | None = getattr(store, "listen", None)
    return False if listen is None else (yield from listen(ids, listener))


def wait_for_one(
    app: Backend,
    task_id: str,
    seen: Callable[[Record | None], TaskState],
    timeout: float | None,
    interval: float,
    on_interval: Callable[[], object] | None,
) -> Flow[TaskState]:
    """Wait until a task has ended, and return its state.

    Args:
        app: the application.
        task_id: the task's id.
        seen: takes note of each record that was read, and returns the task's state.
        timeout: the longest time to wait, in seconds; None: without end.
        interval: the longest pause between two looks, in seconds.
        on_interval: called after each look that finds the task still running.

    Raises:
        TimeoutError: the time is over.
    """
    deadline, interval = deadline_after(timeout), check(WAIT, "interval", interval)
    looks, wait = _looks_of(app), Wait(task_id)
    try:
        told = yield from listening(app.store, [task_id], wait.listener)
        looks.enter(wait)  # not before it listens: the answer of an earlier look could be out of date by then
        for pause in pauses(interval, interval if told else TIGHT_POLL_SECONDS):
            state = seen((yield from looks.look(wait, app.store, timeout, deadline)))
            if state.ready:
                return state
            if on_interval is not None:
                on_interval()
            left = deadline - time.monotonic()
            if left <= 0:
                raise errors.TimeoutError(f"task {task_id} is {state.state} after {timeout} s; it may still end")
            wait.pause = min(pause, left)
            wait.due_at = time.monotonic() + wait.pause
            yield from wait.rest(wait.pause)
    finally:
        looks.leave(wait)
    raise AssertionError("the pauses of a wait have no end")


_ALL: weakref.WeakKeyDictionary[Backend, Looks] = weakref.WeakKeyDictionary()


def _looks_of(app: Backend) -> Looks:
    """Return the looks that an application's waits share. A forked process begins anew, without its parent's waits."""
    looks = _ALL.get(app)
    if looks is None or looks.process_id != os.getpid():
        looks = _ALL[app] = Looks()
    return looks
