"""Waiting for many tasks, with as few reads of the store as possible.

All tasks have to end, so one task that has not ended is enough to go on waiting. Each poll reads a page of tasks, the
first that are missing. Only every eighth poll reads all of them, so that a failure is raised before the others have
ended. A store that tells of ends (``TellsOfEnds``) is read for the tasks it has told of, and is hardly polled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.option_values import WAIT, check
from taskq_cloud.core.records import record
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.looks import listening
from taskq_cloud.results.waiting import (
    FIRST_POLL_SECONDS,
    POLL_GROWTH,
    deadline_after,
    in_time,
    refuse_without_store,
)
from taskq_cloud.runtime.protocols import Backend

PAGE_RESULTS: Final = 500
"""Records that one read takes: five requests to DynamoDB."""
POLLS_UNTIL_ALL: Final = 8
"""Every poll whose number is a multiple of this reads all pages."""

Results = Sequence[AsyncResult[Any]]


def wait_for_all(
    app: Backend,
    results: Results,
    timeout: float | None,
    interval: float,
    *,
    propagate: bool,
    on_interval: Callable[[], object] | None = None,
) -> Flow[None]:
    """Wait until all tasks have ended, or until a failure is found.

    Args:
        app: the application.
        results: the results of the tasks.
        timeout: the longest time to wait, in seconds; None: without end.
        interval: the longest pause between two polls, in seconds. The first pauses are shorter, and pauses grow with
            the square root of the number of pages that are missing.
        propagate: raise the exception of the first failed task that is found.
        on_interval: called after each poll that finds a task still running.

    Raises:
        TimeoutError: the time is over.
        Exception: the exception of a failed task, with ``propagate``.
    """
    _throw(results, propagate=propagate)
    pages = _pages(_missing(results))
    if pages:
        refuse_without_store(app)
    deadline, interval = deadline_after(timeout), check(WAIT, "interval", interval)
    listener = Listener()
    try:
        ids = [each.id for each in _missing(results)]
        told = bool(ids) and (yield from listening(app.store, ids, listener, timeout, deadline))
        first_pause = interval if told else min(FIRST_POLL_SECONDS, interval)
        polls = _Polls(app, listener, timeout, deadline, first_pause, interval, propagate, on_interval)
        _time_out(results, (yield from polls.until_over(pages)), timeout)
    finally:
        listener.close()


@dataclass(frozen=True, slots=True)
class _Polls:
    """The polls of a wait for many tasks; see ``wait_for_all``.

    Args:
        app: the application.
        listener: hears the ids of tasks that have ended, if the store tells of them.
        timeout: the longest time to wait, in seconds, for errors.
        deadline: the end of that time, by the monotonic clock.
        first_pause: the first pause, in seconds.
        interval: the longest pause, while one page is missing.
        propagate: raise the exception of the first failed task that is found.
        on_interval: called after each poll that finds a task still running.
    """

    app: Backend
    listener: Listener
    timeout: float | None
    deadline: float
    first_pause: float
    interval: float
    propagate: bool
    on_interval: Callable[[], object] | None

    def until_over(self, pages: Sequence[Results]) -> Flow[Sequence[Results]]:
        """Poll until all tasks have ended or the time is over, and return the pages of those that have not ended."""
        polls, pause, heard = count(1), self.first_pause, set[str]()
        while pages:
            everything = next(polls) % POLLS_UNTIL_ALL == 0
            before = len(pages)
            poll = self._look(pages, heard) if heard else self._poll(pages, len(pages) if everything else 1)
            pages = yield from in_time(poll, pages[0][0].id, self.timeout, self.deadline)
            if len(pages) < before:
                heard = set()
                continue  # the next page may have ended too
            left = self.deadline - time.monotonic()
            if left <= 0:
                return (yield from self._poll(pages, len(pages)))
            if self.on_interval is not None:
                self.on_interval()
            yield Sleep(min(pause, left), self.listener)
            heard = set(self.listener.take())
            pause = min(pause * POLL_GROWTH, self.interval * math.sqrt(len(pages)))
        return pages

    def _poll(self, pages: Sequence[Results], number: int) -> Flow[Sequence[Results]]:
        """Read the first ``number`` pages, and return the pages of the results that are still missing."""
        left: list[Results] = []
        for page in pages[:number]:
            yield from self._read(page)
            left.append(_missing(page))
        return [page for page in (*left, *pages[number:]) if page]

    def _look(self, pages: Sequence[Results], heard: set[str]) -> Flow[Sequence[Results]]:
        """Read the tasks that the store has told of, and return the pages of the results that are still missing."""
        told_of = [each for page in pages for each in page if each.id in heard]
        for some in _pages(told_of):
            yield from self._read(some)
        return [left for page in pages if (left := _missing(page))]

    def _read(self, page: Results) -> Flow[None]:
        found = yield from self.app.store.load([each.id for each in page])
        for each in page:
            each.seen(found.get(each.id))
        _throw(page, propagate=self.propagate)


def _pages(results: Results) -> Sequence[Results]:
    return [results[begin : begin + PAGE_RESULTS] for begin in range(0, len(results), PAGE_RESULTS)]


def _missing(results: Results) -> Results:
    return [each for each in results if each.known is None and not each.ignored]


def _throw(results: Results, *, propagate: bool) -> None:
    for each in results if propagate else ():
        if each.known is not None and each.known.state in record.PROPAGATE_STATES:
            raise each.known.result


def _time_out(results: Results, pages: Sequence[Results], timeout: float | None) -> None:
    missing = [each for page in pages for each in page]
    if missing:
        raise errors.TimeoutError(
            f"{len(missing)} of {len(results)} tasks have not ended after {timeout} s, for example {missing[0].id}; "
            "they may still end"
        )
