"""Run a worker in the test's own process, for an application with a memory broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from taskq_cloud import TaskQ
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.supervisor import Worker

DEADLINE_SECONDS = 20


async def until(true: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until a condition is true. Fail after ``DEADLINE_SECONDS`` with the description ``what``."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        value = true()
        if await value if asyncio.iscoroutine(value) else value:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")


@asynccontextmanager
async def serving(app: TaskQ, **options) -> AsyncIterator[Worker]:
    """Run a worker that serves the application's queues until the block ends."""
    chosen = {"pool": "threads", "concurrency": 2, "wait_time_seconds": 0.2, **options}
    queues = chosen.pop("queues", None) or app.queues()
    worker = Worker(app.runtime(), WorkerOptions.from_settings(app.conf, queues, **chosen))
    serve = asyncio.create_task(worker.serve())
    try:
        yield worker
    finally:
        if not worker._stopping.is_set():  # a second stop() would make it give up running tasks
            worker.stop()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await serve
