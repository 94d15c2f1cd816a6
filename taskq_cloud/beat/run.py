"""Runs a ticker until it is told to stop, together with a worker or in its own process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from taskq_cloud.beat.ticker import LEASE_SECONDS, Ticker
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.errors import TaskQError
from taskq_cloud.runtime.protocols import Application
from taskq_cloud.runtime.signals import heeding

logger: Final = logging.getLogger("taskq_cloud.beat")

T = TypeVar("T")

FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 30.0
"""The longest wait after a turn of the ticker has failed several times."""


class Drive(Protocol):
    """Drives a flow on the running event loop, as ``TaskQ.arun`` does."""

    async def __call__(self, flow: Flow[T], /) -> T:
        """Drive the flow, and return its value."""
        ...


def make_ticker(app: Application, entries: list[ScheduleEntry], *, lease_seconds: float = LEASE_SECONDS) -> Ticker:
    """Make a ticker for this process.

    Args:
        app: the application.
        entries: the application's periodic tasks.
        lease_seconds: how long the ticker's lock lasts after it was renewed.

    Raises:
        ImproperlyConfigured: the application has no name, or its result store has no locks.
    """
    # The random part tells a restarted process from the killed one, which may have had the same process id.
    owner = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"
    return Ticker(app=app, entries=entries, owner=owner, clock=time.time, lease_seconds=lease_seconds)


async def tick_until(stopping: asyncio.Event, ticker: Ticker, run: Drive, resign_seconds: float = 5.0) -> None:
    """Run a ticker until it is told to stop, and then let another ticker lead.

    Args:
        stopping: set when the ticker is to stop.
        ticker: the ticker.
        run: drives a flow.
        resign_seconds: the longest time for giving up the ticker's lock.
    """
    failures = 0
    while not stopping.is_set():
        try:
            wait_seconds = await run(ticker.turn())
            failures = 0
        except TaskQError as error:
            failures += 1
            wait_seconds = growing_delay(failures, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
            text = "the ticker failed and tries again in %.0f s: %s"
            logger.error(text, wait_seconds, error, extra={"action": "beat.failed"})  # noqa: TRY400 - the error's text is enough
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), wait_seconds)
    try:
        await asyncio.wait_for(run(ticker.resign()), resign_seconds)
    except (TaskQError, TimeoutError) as error:
        extra = {"action": "beat.failed"}
        text = "the ticker could not give up its lock, so another one leads only once it lapses: %s"
        logger.warning(text, error or type(error).__name__, extra=extra)


async def tick_until_signal(ticker: Ticker, run: Drive, close: Callable[[], Awaitable[None]]) -> None:
    """Run a ticker until a signal stops it: SIGTERM, SIGINT, SIGQUIT, or SIGHUP unless it is ignored.

    Args:
        ticker: the ticker.
        run: drives a flow on this event loop.
        close: closes the connections that ``run`` has opened.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    with heeding(lambda _number: loop.call_soon_threadsafe(stopping.set)):
        try:
            logger.info("ready: %d periodic tasks", len(ticker.entries), extra={"action": "beat.ready"})
            await tick_until(stopping, ticker, run)
        finally:
            await close()
