"""The looks into the result store of all that wait for single tasks: threads in ``get`` and coroutines in ``aget``.

A store that tells of ends (``TellsOfEnds``) wakes whoever waits. The others are polled, soon at first and then ever
less often. In both cases waits share their looks: one that looks reads the records of the others whose look is due too,
in one read, and wakes those whose task has ended. So a thousand callers who wait for a thousand tasks in DynamoDB make
a hundredth of the requests. In an object store, a read of many records is many requests, and only waits for one task
share it.

Each wait stands for itself: if a shared read fails because of a record, each of its waits reads its own record before
it raises anything, and a large result is fetched by the wait for it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, cast

from taskq_cloud import errors
from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.option_values import WAIT, check
from taskq_cloud.core.ports import LoadsInParts, ResultStore
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
        relies: it rests until another wait's look is over.
        alone: its next look is for itself only, since one that it shared has failed.
        looker: the wait whose look, under way, is for this wait too; None: there is none.
        answer: the record that another wait's look has found for this one, or None in a tuple if there was none; None:
            there was no such look.
    """

    __slots__ = ("alone", "answer", "due_at", "listener", "looker", "pause", "relies", "task_id", "told")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.listener = Listener()
        self.due_at, self.pause = 0.0, 0.0
        self.told = self.relies = self.alone = False
        self.looker: Wait | None = None
        self.answer: tuple[Record | None] | None = None

    def rest(self, seconds: float) -> Flow[bool]:
        """Pause until there is a reason to go on, and return whether there was one."""
        heard = yield Sleep(seconds, self.listener)
        self.told = self.task_id in self.listener.take() or self.told
        return bool(heard)

    def is_nearly_due(self, now: float) -> bool:
        """Whether another wait's look may be for this one too."""
        if self.looker is not None or self.answer is not None or self.alone:
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
        record = yield from self._record(wait, store, timeout, deadline)
        if record is None or not hasattr(store, "load_small"):
            return record
        in_parts = cast("LoadsInParts", store)
        return (yield from in_time(in_parts.complete(record), wait.task_id, timeout, deadline))

    def _record(self, wait: Wait, store: ResultStore, timeout: float | None, deadline: float) -> Flow[Record | None]:
        while (answer := wait.take_answer()) is None:
            together = self._begin(wait, store)
            if together:
                return (yield from self._read(together, store, timeout, deadline))
            if wait.answer is None:
                heard = yield from wait.rest(min(LONGEST_LOOK_SECONDS, max(deadline - time.monotonic(), 0.0)))
                self._stop_relying(wait, has_waited_too_long=not heard)
        return answer[0]

    def _read(
        self, together: Sequence[Wait], store: ResultStore, timeout: float | None, deadline: float
    ) -> Flow[Record | None]:
        """Read the records of several waits, and return that of the first one."""
        load: Callable[[Sequence[str]], Flow[dict[str, Record]]] = getattr(store, "load_small", store.load)
        own, before = together[0].task_id, sys.exception()
        ids = list(dict.fromkeys(each.task_id for each in together))
        found: Mapping[str, Record] | None = None
        spoilt = False
        try:
            try:
                found = yield from in_time(load(ids), own, timeout, deadline)
            except Exception as error:
                # A store that can't be reached would let the wait's own read wait as long again.
                if len(ids) == 1 or isinstance(error, errors.Unreachable) or interruption_in(error, before) is not None:
                    raise
                record = (yield from in_time(load([own]), own, timeout, deadline)).get(own)
                spoilt = True
                return record
            return found.get(own)
        finally:
            self._end(together, found, spoilt=spoilt)

    def _begin(self, wait: Wait, store: ResultStore) -> Sequence[Wait]:
        """Return the waits that a look is for, this one first; none: there is an answer, or another look is under way.

        In the last case, the wait now relies on that look.
        """
        with self._lock:
            if wait.looker is not None or wait.answer is not None:
                wait.relies = wait.answer is None
                return ()
            together = [wait]
            if len(self._waits) > 1 and not wait.alone:
                together += islice(self._others(wait, store), MOST_TOGETHER - 1)
            wait.alone = False
            for each in together:
                each.looker, each.told = wait, False
            return together

    def _others(self, wait: Wait, store: ResultStore) -> Iterator[Wait]:
        now, any_task = time.monotonic(), store.capabilities.loads_together
        for each in self._waits:
            if (any_task or each.task_id == wait.task_id) and each is not wait and each.is_nearly_due(now):
                yield each

    def _stop_relying(self, wait: Wait, *, has_waited_too_long: bool) -> None:
        with self._lock:
            wait.relies = False
            if has_waited_too_long:
                wait.looker = None

    def _end(self, together: Sequence[Wait], found: Mapping[str, Record] | None, *, spoilt: bool) -> None:
        """Give the waits of a look their answers, and wake those that have a reason to go on.

        Args:
            together: the waits.
            found: the records that were read; None: the look failed, and each wait looks for itself.
            spoilt: only the record of one of the others can be the reason, so each of them looks alone next time.
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
                each.alone = spoilt
                record = None if found is None else found.get(each.task_id)
                if found is not None:
                    each.answer = (record,)
                # It takes note of an answer at once: when its own look is due, the record may say something else.
                if found is not None or each.relies or now >= each.due_at:
                    woken.append(each)
        for each in woken:
            each.listener.hear(_ANSWERED)


def listening(
    store: ResultStore, ids: Sequence[str], listener: Listener, timeout: float | None, deadline: float
) -> Flow[bool]:
    """Let a listener hear of the ends of tasks, and return whether it will.

    Args:
        store: the result store.
        ids: the tasks' ids.
        listener: the listener.
        timeout: the longest time to wait, in seconds, for the error; None: without end.
        deadline: the end of that time, by the monotonic clock.
    """
    # isinstance(store, TellsOfEnds) would take longer than a read of SQLite.
    listen: Callable[[Sequence[str], Listener], Flow[bool]] | None = getattr(store, "listen", None)
    return False if listen is None else (yield from in_time(listen(ids, listener), ids[0], timeout, deadline))


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
        told = yield from listening(app.store, [task_id], wait.listener, timeout, deadline)
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
