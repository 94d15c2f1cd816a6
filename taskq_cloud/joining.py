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
from taskq_cloud.core import records
from taskq_cloud.core.calls import Flow, Sleep
from taskq_cloud.result import AsyncResult
from taskq_cloud.result_tree import Backend, refuse_without_store
from taskq_cloud.waiting import FIRST_POLL_SECONDS, POLL_GROWTH

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
        interval: seconds between two looks, reached from shorter ones; longer for more than a page.
        propagate: raise the first failure that is found.
        on_interval: called after each look that has not found the end.

    Raises:
        TimeoutError: the time is over.
    """
    _throw(results, propagate=propagate)
    missing = _missing(results)
    if missing:
        refuse_without_store(app)
    deadline = None if timeout is None else time.monotonic() + timeout
    looks, pause = count(1), min(FIRST_POLL_SECONDS, interval)
    while missing:
        everything = next(looks) % LOOKS_UNTIL_ALL == 0
        missing, ended = yield from _look(app, missing, everything=everything, propagate=propagate)
        if ended:
            continue  # the next page may have ended too
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            missing, _ = yield from _look(app, missing, everything=True, propagate=propagate)
            _time_out(results, missing, timeout)
            return
        if on_interval is not None:
            on_interval()
        yield Sleep(pause if left is None else min(pause, left))
        pause = min(pause * POLL_GROWTH, interval * math.sqrt(max(1, len(missing) / PAGE_RESULTS)))


def _look(app: Backend, missing: Results, *, everything: bool, propagate: bool) -> Flow[tuple[Results, bool]]:
    """Look at the first page of those that are missing, or at all; those still missing, and whether no page had one."""
    unfinished: list[AsyncResult[Any]] = []
    pages = [missing[begin : begin + PAGE_RESULTS] for begin in range(0, len(missing), PAGE_RESULTS)]
    looked_at = pages if everything else pages[:1]
    for page in looked_at:
        found = yield from app.store.load([each.id for each in page])
        for each in page:
            each.seen(found.get(each.id))
        _throw(page, propagate=propagate)
        unfinished += _missing(page)
    left = [*unfinished, *(each for page in pages[len(looked_at) :] for each in page)]
    return left, not unfinished


def _missing(results: Results) -> Results:
    return [each for each in results if each.known is None and not each.ignored]


def _throw(results: Results, *, propagate: bool) -> None:
    for each in results if propagate else ():
        if each.known is not None and each.known.state in records.PROPAGATE_STATES:
            raise each.known.result


def _time_out(results: Results, missing: Results, timeout: float | None) -> None:
    if missing:
        raise errors.TimeoutError(
            f"{len(missing)} of {len(results)} tasks have not ended after {timeout} s, {missing[0].id} for one; "
            "they may still end"
        )
