"""The end of a burst: a worker that was started with ``--burst`` stops once its queues are empty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from taskq_cloud.errors import TaskQError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.worker.poller import Poller

logger = logging.getLogger("taskq_cloud.worker")

CHECK_SECONDS: Final = 0.5
EMPTY_RECEIVES: Final = 5
"""A queue whose broker doesn't count its messages is empty after this many empty receives in a row. One empty receive
says little."""


async def until_empty(runtime: Runtime, pollers: Sequence[Poller], is_busy: Callable[[], bool]) -> None:
    """Wait until all messages of the worker are settled and every queue is empty.

    Args:
        runtime: the application's runtime.
        pollers: the pollers of the worker's queues.
        is_busy: whether the worker has messages.
    """
    broker, run = runtime.broker, runtime.async_connections.run
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        if is_busy():
            continue
        try:
            depths = [await run(broker.depth(poller.queue)) for poller in pollers]
        except TaskQError as error:
            text = "the burst goes on, because it is unknown whether the queues are empty: %s"
            logger.warning(text, error, extra={"action": "depth.failed"})
            continue
        unknown = [poller.health for poller, depth in zip(pollers, depths, strict=True) if depth is None]
        empty = all(depth.waiting == depth.delayed == depth.in_flight == 0 for depth in depths if depth is not None)
        empty = empty and all(health.empty_receives >= EMPTY_RECEIVES for health in unknown)
        if empty and not is_busy():
            return
