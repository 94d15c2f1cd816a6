"""Test that rate-limited messages stay in the queue, and that a rate-limit slot is taken only when a task can run."""

from __future__ import annotations

import threading

from taskq_cloud import TaskQ
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.waiting import auntil
from tests.worker.serving import depth, serving


def slots_taken(app: TaskQ) -> list[str]:
    """Return the keys of the rate limits of which the memory store has given out a slot."""
    assert isinstance(app.store, MemoryResults)
    return [*app.store._slots._next]


async def test_rate_limited_tasks_take_neither_pool_slot_nor_lease(app: TaskQ) -> None:
    @app.task(rate_limit="1/h")
    def rare(number: int) -> int:
        return number

    @app.task
    def common() -> str:
        return "done"

    waiting = [rare.delay(number) for number in range(30)]
    async with serving(app, concurrency=1) as worker:
        assert await common.delay().aget(timeout=10) == "done"
        await auntil(lambda: sum(each.ready() for each in waiting) == 1, "one task to run")
        await auntil(lambda: depth(app).delayed == 29, "the other messages to be back in the queue")
        await auntil(lambda: len(worker._leased) == worker._slots.taken == 0, "all messages to be settled")


async def test_busy_worker_takes_no_rate_limit_slot_for_waiting_task(app: TaskQ) -> None:
    begun, end = threading.Event(), threading.Event()

    @app.task
    def long() -> None:
        begun.set()
        end.wait(20)

    @app.task(name="limited", rate_limit="10/s")
    def limited() -> None: ...

    first, result = long.delay(), limited.delay()
    async with serving(app, concurrency=1) as worker:
        await auntil(
            lambda: begun.is_set() and len(worker._leased) == 2, "the limited task to be leased while the pool is busy"
        )
        assert slots_taken(app) == []
        end.set()
        await result.aget(timeout=10)
        await first.aget(timeout=10)
    assert slots_taken(app) == ["task limited"]


async def test_stopping_worker_releases_rate_limited_task_that_waits(app: TaskQ) -> None:
    begun, end = threading.Event(), threading.Event()

    @app.task
    def long() -> None:
        begun.set()
        end.wait(20)

    @app.task(rate_limit="10/s")
    def limited() -> None: ...

    long.delay()
    limited.delay()
    async with serving(app, concurrency=1) as worker:
        await auntil(
            lambda: begun.is_set() and len(worker._leased) == 2, "the limited task to be leased while the pool is busy"
        )
        worker.stop()
        await auntil(lambda: depth(app).waiting == 1, "the limited message to be back in its queue")
        end.set()
    assert slots_taken(app) == []
