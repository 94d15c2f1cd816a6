"""Priorities in a whole worker, on brokers that have none: a queue for each level."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud import BoundTask, TaskQ
from taskq_cloud.testing.waiting import auntil
from taskq_cloud.worker.options import WorkerOptions
from tests.brokers.pubsub_server import PubSubServer
from tests.conftest import StackAddress
from tests.worker.serving import depth, serving


class Shop:
    """An application with levels of priority, and a task that notes its argument and waits to be let go."""

    def __init__(self, app: TaskQ) -> None:
        self.app = app
        self.ran: list[Any] = []
        self.began, self.go_on = threading.Event(), threading.Event()

        @app.task(name="block")
        def block() -> None:
            self.began.set()
            assert self.go_on.wait(20)

        @app.task(name="note")
        def note(value: Any) -> None:
            self.ran.append(value)

        @app.task(name="again", bind=True)
        def again(self: BoundTask, value: Any) -> str:
            if not self.request.retries:
                self.retry(countdown=0)
            return str(self.request.delivery_info["routing_key"])

    @property
    def levels(self) -> list[str]:
        """The queues of the levels, the lowest first."""
        return self.app.priorities.queues(self.app.conf.task_default_queue)

    async def send(self, priorities: list[int]) -> None:
        # On a FIFO queue, each message has a group of its own.
        group = "MessageGroupId" if self.levels[0].endswith(".fifo") else "shadow"
        for number, priority in enumerate(priorities):
            options: Any = {"priority": priority, group: str(number)}
            await self.app.tasks["note"].aapply_async((priority,), **options)


@pytest.fixture(params=["memory", "sqlite", "sqs", "fifo"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An application on each broker."""
    suffix = ".fifo" if request.param == "fifo" else ""
    prefix = f"levels-{uuid4().hex[:8]}-"
    broker = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/broker.db"}.get(
        request.param, f"sqs://eu-west-1/{prefix}"
    )
    app = TaskQ(
        "tests",
        broker=broker,
        results="memory://",
        task_default_queue=f"work{suffix}",
        task_queue_max_priority=9,
        visibility_timeout=5,
    )
    if broker.startswith("sqs"):
        import boto3

        stack: StackAddress = request.getfixturevalue("local_stack")
        for name, value in stack.environment().items():
            monkeypatch.setenv(name, value)
        sqs = boto3.client("sqs", region_name="eu-west-1")
        for queue in app.queues():
            sqs.create_queue(QueueName=f"{prefix}{queue}", Attributes={"FifoQueue": "true"} if suffix else {})
    yield Shop(app)
    app.close()


async def test_worker_begins_with_the_highest_priority(shop: Shop) -> None:
    async with serving(shop.app, concurrency=1) as worker:
        await shop.app.tasks["block"].adelay()
        await auntil(shop.began.is_set, "the first task to begin")
        await shop.send([0, 0, 5, 9, 5, 9])
        await auntil(lambda: len(worker._leased) == 7, "the messages of all levels to be leased")
        shop.go_on.set()
        await auntil(lambda: len(shop.ran) == 6, "all tasks")
    assert shop.ran == [9, 9, 5, 5, 0, 0]


async def test_urgent_message_need_not_wait_behind_a_backlog(shop: Shop) -> None:
    async with serving(shop.app, concurrency=1, prefetch_multiplier=2):
        await shop.app.tasks["block"].adelay()
        await auntil(shop.began.is_set, "the first task to begin")
        await shop.send([0] * 12)
        await shop.send([9])
        await auntil(lambda: depth(shop.app, shop.levels[-1]).waiting == 0, "the urgent message to be received")
        shop.go_on.set()
        await auntil(lambda: len(shop.ran) == 13, "all tasks")
    assert 9 in shop.ran[:3]


async def test_retry_stays_in_its_level(shop: Shop) -> None:
    async with serving(shop.app, concurrency=1):
        result = await shop.app.tasks["again"].aapply_async((1,), priority=9)
        assert await result.aget(timeout=15) == shop.app.conf.task_default_queue
    assert all(depth(shop.app, queue).total == 0 for queue in shop.app.queues())


async def test_worker_can_serve_one_level_alone(shop: Shop) -> None:
    lowest, highest = (shop.app.priorities.exact(shop.levels[index]) for index in (0, -1))
    await shop.send([0, 9])
    async with serving(shop.app, queues=[highest]):
        await auntil(lambda: shop.ran == [9], "the urgent task")
    async with serving(shop.app, queues=[lowest]):
        await auntil(lambda: shop.ran == [9, 0], "the other task")


async def test_worker_on_pubsub_begins_with_the_highest_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    with PubSubServer("my-project") as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        app = TaskQ("tests", broker="pubsub://my-project/t-", results="memory://", task_queue_max_priority=9)
        for queue in app.queues():
            server.make_queue(f"t-{queue}")
            server.make_queue(f"t-{queue}-dead")
        shop = Shop(app)
        async with serving(app, concurrency=1, prefetch_multiplier=8) as worker:
            await app.tasks["block"].adelay()
            await auntil(shop.began.is_set, "the first task to begin")
            await shop.send([0, 0, 5, 9, 5, 9])
            await auntil(lambda: len(worker._leased) == 7, "the messages of all levels to be leased")
            shop.go_on.set()
            await auntil(lambda: len(shop.ran) == 6, "all tasks")
        await app.aclose()
        app.close()
    assert [shop.ran[:2], sorted(shop.ran[2:4]), shop.ran[4:]] == [[9, 9], [5, 5], [0, 0]]


def test_each_level_has_the_room_that_a_queue_has_without_levels() -> None:
    plain, levels = TaskQ("a", broker="memory://"), TaskQ("a", broker="memory://", task_queue_max_priority=9)
    options = [WorkerOptions.from_settings(app.conf, ["a", "b"], concurrency=4) for app in (plain, levels)]
    assert options[1].queues == ("a", "a-p1", "a-p2", "b", "b-p1", "b-p2")
    assert [(each.share, each.refill, each.capacity) for each in options] == [(8, 4, 16)] * 2
    assert [options[1].level_of(queue) for queue in options[1].queues] == [0, 1, 2] * 2


def test_weights_of_the_setting_are_the_workers() -> None:
    app = TaskQ("a", broker="memory://", task_queue_max_priority=9, worker_priority_weights=[1, 4, 16])
    assert WorkerOptions.from_settings(app.conf, app.queues()).priority_weights == (1, 4, 16)


async def test_low_level_is_not_starved_with_weights() -> None:
    app = TaskQ("a", broker="memory://", results="memory://", task_queue_max_priority=1, worker_priority_weights=[1, 3])
    shop = Shop(app)
    async with serving(app, concurrency=1, prefetch_multiplier=60) as worker:
        await app.tasks["block"].adelay()
        await auntil(shop.began.is_set, "the first task to begin")
        await shop.send([0] * 20 + [1] * 20)
        await auntil(lambda: len(worker._leased) == 41, "all messages to be leased")
        shop.go_on.set()
        await auntil(lambda: len(shop.ran) == 40, "all tasks")
    assert shop.ran[:20].count(0) == 5
