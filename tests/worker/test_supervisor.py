"""Test a whole worker in this process, with a memory broker, a memory store and the threads pool."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from taskq_cloud import Ignore, Reject, TaskQ
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Delivery, Release
from taskq_cloud.core.ports import Depth
from taskq_cloud.testing.waiting import auntil
from taskq_cloud.worker.supervisor import Worker
from tests.worker.serving import depth, serving


async def dead_letters(app: TaskQ, queue: str) -> list[str]:
    """Return the reasons of the messages in a queue's dead-letter queue."""
    deliveries = await app.arun(app.broker.receive(dead_letter_queue(queue), 10, 0, 30))
    return [delivery.attributes[DEAD_LETTER_REASON] for delivery in deliveries]


async def test_every_outcome_ends_in_its_state(app: TaskQ) -> None:
    @app.task
    def add(a: int, b: int) -> int:
        return a + b

    @app.task
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    @app.task
    def fail() -> None:
        raise ValueError("no", 1)

    @app.task
    def ignore() -> None:
        raise Ignore

    @app.task
    def reject() -> None:
        raise Reject("not mine")

    async with serving(app):
        added, doubled, failed = add.delay(1, 2), await double.adelay(4), fail.delay()
        ignored, rejected = ignore.delay(), reject.delay()
        assert await added.aget(timeout=10) == 3
        assert await doubled.aget(timeout=10) == 8
        with pytest.raises(ValueError, match="no"):
            await failed.aget(timeout=10)
        await auntil(lambda: rejected.state == "FAILURE", "the rejected task's state")
    assert ignored.state == "PENDING"
    assert await dead_letters(app, "celery") == ["Reject: not mine"]
    assert depth(app) == Depth(waiting=0, delayed=0, in_flight=0)


async def test_task_five_leases_long_runs_once(app: TaskQ) -> None:
    runs = []

    @app.task
    def long() -> str:
        runs.append(1)
        threading.Event().wait(5)
        return "done"

    async with serving(app, concurrency=1), serving(app, concurrency=1):
        assert await long.delay().aget(timeout=15) == "done"
    assert len(runs) == 1


async def test_delivery_waiting_for_slot_keeps_lease_and_is_released_on_stop(app: TaskQ) -> None:
    began, go_on = threading.Event(), threading.Event()

    @app.task
    def block() -> str:
        began.set()
        go_on.wait(20)
        return "done"

    results = [block.delay() for _ in range(4)]
    async with serving(app, concurrency=1, prefetch_multiplier=4) as worker:
        await auntil(began.is_set, "the first task to begin")
        await auntil(lambda: len(worker._leased) == 4, "all four messages to be leased")
        worker.stop()
        await auntil(lambda: depth(app).waiting == 3, "three waiting messages to be released while the first task runs")
        go_on.set()
    assert sorted(result.state for result in results) == ["PENDING", "PENDING", "PENDING", "SUCCESS"]
    async with serving(app):
        for result in results:
            assert await result.aget(timeout=10) == "done"


async def test_second_stop_releases_running_task(app: TaskQ) -> None:
    began, go_on = threading.Event(), threading.Event()

    @app.task
    def block() -> None:
        began.set()
        go_on.wait(20)

    result = block.delay()
    try:
        async with serving(app, concurrency=1) as worker:
            await auntil(began.is_set, "the task to begin")
            worker.stop()
            worker.stop()
        assert (depth(app).waiting, depth(app).in_flight) == (1, 0)
        assert result.state == "PENDING"
    finally:
        go_on.set()


async def test_worker_leases_no_more_than_its_capacity(app: TaskQ) -> None:
    go_on = threading.Event()
    most = 0

    @app.task
    def block() -> None:
        go_on.wait(20)

    block.map_async([()] * 50)
    async with serving(app, concurrency=2, prefetch_multiplier=3) as worker:
        await auntil(lambda: len(worker._leased) == 6, "the worker to be full")
        most = depth(app).in_flight
        go_on.set()
        await auntil(lambda: not len(worker._leased), "the worker to be empty")
    assert most == 6


async def test_empty_queue_does_not_starve_another(app: TaskQ) -> None:
    @app.task(queue="busy")
    def work() -> int:
        return 1

    @app.task(queue="idle")
    def rest() -> None:
        """Never called."""

    async with serving(app, queues=["idle", "busy"], concurrency=1, prefetch_multiplier=1, wait_time_seconds=10):
        results = work.map_async([()] * 5)
        for result in results:
            assert await result.aget(timeout=5) == 1


async def test_busy_queue_among_many_fills_every_slot(app: TaskQ) -> None:
    all_run = threading.Barrier(4, timeout=15)

    @app.task(queue="busy")
    def work() -> None:
        all_run.wait()

    queues = ["busy", *(f"idle-{number}" for number in range(15))]
    async with serving(app, queues=queues, concurrency=4, wait_time_seconds=10) as worker:
        await auntil(lambda: worker._leased._taken[0] == len(queues), "a receive of every queue")
        for result in work.map_async([()] * 4):
            await result.aget(timeout=15)


async def test_burst_ends_when_queues_are_empty_retries_included(app: TaskQ) -> None:
    runs = []

    @app.task(autoretry_for=(OSError,), default_retry_delay=0.5)
    def flaky() -> int:
        runs.append(1)
        if len(runs) < 3:
            raise OSError("again")
        return len(runs)

    result = flaky.delay()
    async with serving(app, burst=True) as worker:
        await auntil(worker._stopping.is_set, "the burst to end by itself")
    assert result.get(timeout=0) == 3


async def test_order_within_group_is_kept_when_a_message_is_released(app: TaskQ) -> None:
    seen = []

    @app.task(queue="orders.fifo")
    def note(number: int) -> None:
        seen.append(number)
        if number == 1 and seen.count(1) == 1:
            raise Reject("not yet", requeue=True)

    for number in range(4):
        note.apply_async((number,), MessageGroupId="a")
    async with serving(app, concurrency=4):
        await auntil(lambda: seen.count(3) == 1, "the last message of the group")
    assert seen == [0, 1, 1, 2, 3]


async def test_messages_behind_a_released_one_of_their_group_use_up_no_receives(app: TaskQ) -> None:
    receives: list[tuple[int, int]] = []

    @app.task(queue="orders.fifo", bind=True)
    def note(self: Any, number: int) -> None:
        receives.append((number, self.request.delivery_info["receive_count"]))
        if number == 0 and len(receives) < 3:
            raise Reject("not yet", requeue=True)

    for number in range(4):
        note.apply_async((number,), MessageGroupId="a")
    async with serving(app, concurrency=1, prefetch_multiplier=4):
        await auntil(lambda: len(receives) == 6, "the last message of the group")
    assert receives == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1), (3, 1)]


async def take_over(app: TaskQ, worker: Worker, queue: str) -> list[Delivery]:
    """Receive a worker's leased messages, as another worker would after the first was frozen past its leases."""
    await app.arun(app.broker.settle([Release(lease.delivery) for lease in worker._leased._leases.values()]))
    taken: list[Delivery] = await app.arun(app.broker.receive(queue, 10, 0, 60))
    worker._leased._clock = lambda: time.monotonic() + 30
    await worker._leased.renew_due()
    return taken


@pytest.mark.parametrize("queue", ["celery", "orders.fifo"])
async def test_delivery_that_lost_its_lease_while_waiting_is_left_to_other_worker(app: TaskQ, queue: str) -> None:
    runs, go_on = [], threading.Event()

    @app.task(queue=queue)
    def block(number: int) -> None:
        runs.append(number)
        go_on.wait(20)

    for number in range(3):
        block.apply_async((number,), MessageGroupId="a")
    try:
        async with serving(app, queues=[queue], concurrency=1, prefetch_multiplier=3, visibility_timeout=60) as worker:
            await auntil(lambda: len(worker._leased) == 3, "all messages to be leased")
            await auntil(lambda: runs == [0], "the first to begin")
            taken = await take_over(app, worker, queue)
            assert len(taken) == 3
            go_on.set()
            await auntil(lambda: not len(worker._leased), "the worker to finish")
            assert runs == [0]
            assert depth(app, queue).in_flight == 3, "the other worker keeps its messages"
    finally:
        go_on.set()


async def test_slot_beside_a_long_task_does_not_wait_for_room_for_a_whole_batch(
    app: TaskQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("leases", "settlement"):
        monkeypatch.setattr(f"taskq_cloud.worker.{module}.LINGER_SECONDS", 3600)
    ran: list[int] = []
    others_have_run = threading.Event()

    @app.task(ignore_result=True)
    def long() -> bool:
        return others_have_run.wait(60)

    @app.task(ignore_result=True)
    def short(number: int) -> None:
        ran.append(number)

    long.delay()
    for number in range(60):
        short.delay(number)
    async with serving(app):
        await auntil(lambda: len(ran) == 60, "all short runs")
        others_have_run.set()
    assert sorted(ran) == list(range(60))
