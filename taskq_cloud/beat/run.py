"""A ticker at work: called when it says so, until it is told to stop; beside a worker, or as a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from taskq_cloud.beat.ticker import Ticker
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.errors import TaskQError
from taskq_cloud.runtime.protocols import Application

logger: Final = logging.getLogger("taskq_cloud.beat")

FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 30.0


def make_ticker(app: Application, entries: list[ScheduleEntry], **options: Any) -> Ticker:
    """A ticker of this process.

    Args:
        app: the application.
        entries: its periodic tasks.
        options: others of ``Ticker``.

    Raises:
        ImproperlyConfigured: the application's result store has no claims.
    """
    # Not the process alone: one that is started again must not be taken for the one that was killed.
    owner = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
    return Ticker(app=app, entries=entries, owner=owner, clock=time.time, **options)


async def tick_until(
    stopping: asyncio.Event, ticker: Ticker, run: Callable[[Any], Awaitable[Any]], last_words_seconds: float = 5.0
) -> None:
    """Have a ticker tick until told to stop; then another may lead.

    Args:
        stopping: set when it is to stop.
        ticker: the ticker.
        run: drives a flow.
        last_words_seconds: how long giving up the claim may take.
    """
    failures = 0
    while not stopping.is_set():
        try:
            wait_seconds = await run(ticker.turn())
            failures = 0
        except TaskQError as error:
            failures += 1
            wait_seconds = growing_delay(failures, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
            logger.error("the ticker goes on in %.0f s: %s", wait_seconds, error, extra={"action": "beat.failed"})  # noqa: TRY400 - it says all there is to know
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), wait_seconds)
    try:
        await asyncio.wait_for(run(ticker.resign()), last_words_seconds)
    except (TaskQError, TimeoutError) as error:
        extra = {"action": "beat.failed"}
        logger.warning("the claim of the leader lapses by itself: %s", error or type(error).__name__, extra=extra)


async def tick_until_signal(
    ticker: Ticker, run: Callable[[Any], Awaitable[Any]], close: Callable[[], Awaitable[None]]
) -> None:
    """``tick_until`` SIGTERM or SIGINT.

    Args:
        ticker: the ticker.
        run: drives a flow on this loop.
        close: closes what ``run`` has opened.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        logger.info("ready: %d periodic tasks", len(ticker.entries), extra={"action": "beat.ready"})
        await tick_until(stopping, ticker, run)
    finally:
        await close()
