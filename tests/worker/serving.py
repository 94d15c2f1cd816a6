"""Run a worker in the test's own process, for an application with a memory broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskq_cloud import TaskQ
from taskq_cloud.core.ports import Depth
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.supervisor import Worker

DEADLINE_SECONDS = 20


@asynccontextmanager
async def serving(app: TaskQ, **options: Any) -> AsyncIterator[Worker]:
    """Run a worker that serves the application's queues until the block ends."""
    chosen: dict[str, Any] = {"pool": "threads", "concurrency": 2, "wait_time_seconds": 0.2, **options}
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


def depth(app: TaskQ, queue: str = "celery") -> Depth:
    """Count the messages of a queue. Fail if the broker doesn't count them."""
    counted = app.run(app.broker.depth(queue))
    assert counted is not None
    return counted
