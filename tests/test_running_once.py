"""Tests that a task's followers run once, although the task is delivered twice or its worker dies at any line."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.core.model.message import Outgoing
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.chaos import Chaos
from tests.counted_results import CountedResults

MOST_STEPS = 20
"""More steps than any delivery in these tests takes."""


class Shop:
    """An application whose queue a test serves step by step; it counts the runs of each task."""

    def __init__(self) -> None:
        self.app = TaskQ("shop", broker="memory://", results="memory://")
        clock, self.runs, tasks = FakeClock(), Counter[str](), self.app.tasks
        self.store = CountedResults(clock)
        self.bench = Bench.of(self.app, clock=clock, store=self.store)
        # One delivery at a time: two copies of a message that are processed at the same time would both run.
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
        """Receive all messages without settling them, and return their bodies."""
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
def test_follower_runs_once_although_a_worker_dies_at_any_step(
    shop: Shop, workflow: Callable[[Shop], Any], steps: int
) -> None:
    workflow(shop).apply_async()
    assert shop.chaos.crash(steps)
    shop.chaos.serve()
    assert shop.runs["follower"] == 1


@pytest.mark.parametrize("workflow", CALLED, ids=OF_CALLED)
@pytest.mark.usefixtures("shop")
def test_called_errback_runs_twice_only_if_the_worker_dies_before_the_failure_is_recorded(
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
    # Two steps lie between the end of the run and the recorded failure: after a crash there, the errback runs again.
    assert Counter(runs) == {1: MOST_STEPS - 2, 2: 2}


@pytest.mark.parametrize("workflow", [*FOLLOWED, *CALLED], ids=[*NAMES, *OF_CALLED])
def test_follower_runs_once_although_messages_are_redelivered_after_the_end(
    shop: Shop, workflow: Callable[[Shop], Any]
) -> None:
    workflow(shop).apply_async()
    bodies = shop.bodies()
    shop.bench.clock.advance(45)
    shop.chaos.serve()
    for _ in range(2):
        shop.app.run(shop.app.broker.send("celery", [Outgoing(body=body) for body in bodies]))
        shop.chaos.serve()
    assert shop.runs["follower"] == 1


@pytest.mark.parametrize("steps", range(MOST_STEPS))
def test_replacement_runs_once_although_a_worker_dies_at_any_step(shop: Shop, steps: int) -> None:
    shop.replaced.s().apply_async()
    shop.chaos.crash(steps)
    shop.chaos.serve()
    assert shop.runs["follower"] == 1


def test_undisturbed_chain_reads_no_record(shop: Shop) -> None:
    chain(shop.add.s(1, 1), shop.follower.s()).apply_async()
    shop.chaos.serve()
    assert shop.store.loads == 0
