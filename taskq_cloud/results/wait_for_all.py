"""Waiting for many tasks: which of their records are looked at when, so that a look costs no more than it tells.

All have to end, so as long as one has not it is enough to know of one: the first that are still missing are looked at
each time, and the others only now and then, for a failure among them is to be raised before all others have ended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.records import record
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.waiting import FIRST_POLL_SECONDS, POLL_GROWTH
from taskq_cloud.results.workflow import refuse_without_store
from taskq_cloud.runtime.protocols import Backend

PAGE_RESULTS: Final = 500
"""Read in one look: five requests of DynamoDB."""
LOOKS_UNTIL_ALL: Final = 8
"""Each time that so many looks have found the first page unfinished, the others are looked at too."""

Results = Sequence[AsyncResult[Any]]


def wait_for_all(
    app: Backend,
    results: Results,
    timeout: float | None,
    interval: float,
    *,
    propagate: bool,
    on_interval: Callable[[], None] | None = None,
) -> Flow[None]:
    """Wait until every result is known, or with ``propagate`` until one of a failure is: that is raised.

    Args:
        app: the application.
        results: of tasks.
        timeout: seconds to wait at most; None: for ever.
        interval: seconds between two looks, reached from shorter ones; longer by the root of the number of pages.
        propagate: raise the first failure that is found.
        on_interval: called after each look that has not found the end.

    Raises:
        TimeoutError: the time is over.
    """
    _throw(results, propagate=propagate)
    pages = _pages(_missing(results))
    if pages:
        refuse_without_store(app)
    deadline = None if timeout is None else time.monotonic() + timeout
    looks, pause = count(1), min(FIRST_POLL_SECONDS, interval)
    while pages:
        everything = next(looks) % LOOKS_UNTIL_ALL == 0
        before = len(pages)
        pages = yield from _look(app, pages, len(pages) if everything else 1, propagate=propagate)
        if len(pages) < before:
            continue  # the next page may have ended too
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            pages = yield from _look(app, pages, len(pages), propagate=propagate)
            return _time_out(results, pages, timeout)
        if on_interval is not None:
            on_interval()
        yield Sleep(pause if left is None else min(pause, left))
        pause = min(pause * POLL_GROWTH, interval * math.sqrt(len(pages)))
    return None


def _look(app: Backend, pages: Sequence[Results], number: int, *, propagate: bool) -> Flow[Sequence[Results]]:
    """Look at the first pages, so many of them; what is still missing."""
    left: list[Results] = []
    for page in pages[:number]:
        found = yield from app.store.load([each.id for each in page])
        for each in page:
            each.seen(found.get(each.id))
        _throw(page, propagate=propagate)
        left.append(_missing(page))
    return [page for page in (*left, *pages[number:]) if page]


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
            f"{len(missing)} of {len(results)} tasks have not ended after {timeout} s, {missing[0].id} for one; "
            "they may still end"
        )
