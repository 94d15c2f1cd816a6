"""What follows a task runs once in effect, though the task comes twice or whoever runs it dies at any line."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Outgoing
from taskq_cloud.core.records.record import Record
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.chaos import Chaos

MOST_STEPS = 20
"""More than any delivery here takes."""


class CountedResults(MemoryResults):
    """Results, and how often they were asked for."""

    loads = 0

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        self.loads += 1
        return (yield from super().load(ids))


class Shop:
    """An application whose queue is served by hand, and how often each of its tasks has run."""

    def __init__(self) -> None:
        self.app = TaskQ("shop", broker="memory://", results="memory://")
        clock, self.runs, tasks = FakeClock(), Counter[str](), self.app.tasks
        self.store = CountedResults(clock)
        self.bench = Bench.of(self.app, clock=clock, store=self.store)
        # Copies of a message that are processed at the same time both run.
        self.chaos = Chaos(self.bench, random.Random(0), at_once=1)

        def ran(name: str) -> None:
            self.runs[name] += 1

        @self.app.task(name="add")
        def add(x: int, y: int) -> int:
            ran("add")
            return x + y

        @self.app.task(name="fail")
        def fail(*_: Any) -> None:
            ran("fail")
            raise ValueError("no")

        @self.app.task(name="replaced", bind=True)
        def replaced(self: Any) -> Any:
            ran("replaced")
            return self.replace(tasks["follower"].si(1))

        @self.app.task(name="follower")
        def follower(*_: Any) -> int:
            ran("follower")
            return 1

        @self.app.task(name="told")
        def told(task_id: str) -> str:
            ran("follower")
            return task_id

        @self.app.task(name="called")
        def called(request: Any, exc: Exception, traceback: str) -> str:
            ran("follower")
            return f"{request.id} {exc!r} {traceback}"

        self.add, self.fail, self.replaced, self.follower = add, fail, replaced, follower
        self.told, self.called = told, called

    def bodies(self) -> list[str]:
        """What is in the queue: received, and not settled."""
        return [each.body for each in self.bench.receive(lease_seconds=30)]


@pytest.fixture
def shop(caplog: pytest.LogCaptureFixture) -> Iterator[Shop]:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")
    shop = Shop()
    yield shop
    shop.app.close()


FOLLOWED: list[Callable[[Shop], Any]] = [
    lambda shop: chain(shop.add.s(1, 1), shop.follower.s()),
    lambda shop: shop.add.s(1, 1).link(shop.follower.s()),
    lambda shop: chain(shop.add.s(1, 1), chord([shop.add.s(1)], shop.follower.s())),
    lambda shop: chord([shop.add.s(1, 1), shop.add.s(1, 1)], shop.follower.s()),
    lambda shop: shop.fail.s().link_error(shop.told.s()),
    lambda shop: chord([shop.fail.s(), shop.add.s(1, 1)], shop.add.s(1).link_error(shop.told.s())),
    lambda shop: chord([shop.add.s(1, 1), shop.add.s(1, 1)], shop.fail.s().link_error(shop.told.s())),
]
NAMES = ["chain", "callback", "chord-in-chain", "body", "errback", "errback-of-body", "errback-of-body-that-ran"]
CALLED: list[Callable[[Shop], Any]] = [
    lambda shop: shop.fail.s().link_error(shop.called.s()),
    lambda shop: chord([shop.fail.s(), shop.add.s(1, 1)], shop.add.s(1).link_error(shop.called.s())),
    lambda shop: chain(shop.fail.s(), group(shop.add.s(1), shop.add.s(2))).link_error(shop.called.s()),
]
OF_CALLED = ["task", "body", "chain"]


@pytest.mark.parametrize("workflow", FOLLOWED, ids=NAMES)
@pytest.mark.parametrize("steps", range(MOST_STEPS))
def test_though_its_worker_dies_at_any_step(shop: Shop, workflow: Callable[[Shop], Any], steps: int) -> None:
    workflow(shop).apply_async()
    assert shop.chaos.crash(steps)
    shop.chaos.serve()
    assert shop.runs["follower"] == 1


@pytest.mark.parametrize("workflow", CALLED, ids=OF_CALLED)
@pytest.mark.usefixtures("shop")
def test_what_is_called_where_the_task_fails_unless_its_worker_dies_before_that_is_recorded(
    workflow: Callable[[Shop], Any],
) -> None:
    runs = []
    for steps in range(MOST_STEPS):
        shop = Shop()
        workflow(shop).apply_async()
        shop.chaos.crash(steps)
        shop.chaos.serve()
        runs.append(shop.runs["follower"])
        shop.app.close()
    # Two steps: the run has ended, and the record is about to be saved.
    assert Counter(runs) == {1: MOST_STEPS - 2, 2: 2}


@pytest.mark.parametrize("workflow", [*FOLLOWED, *CALLED], ids=[*NAMES, *OF_CALLED])
def test_though_the_task_comes_again_when_all_has_ended(shop: Shop, workflow: Callable[[Shop], Any]) -> None:
    workflow(shop).apply_async()
    bodies = shop.bodies()
    shop.bench.clock.advance(45)
    shop.chaos.serve()
    for _ in range(2):
        shop.app.run(shop.app.broker.send("celery", [Outgoing(body=body) for body in bodies]))
        shop.chaos.serve()
    assert shop.runs["follower"] == 1


@pytest.mark.parametrize("steps", range(MOST_STEPS))
def test_what_replaces_a_task_though_its_worker_dies(shop: Shop, steps: int) -> None:
    shop.replaced.s().apply_async()
    shop.chaos.crash(steps)
    shop.chaos.serve()
    assert shop.runs["follower"] == 1


def test_only_what_may_have_been_sent_asks_the_store(shop: Shop) -> None:
    chain(shop.add.s(1, 1), shop.follower.s()).apply_async()
    shop.chaos.serve()
    assert shop.store.loads == 0
