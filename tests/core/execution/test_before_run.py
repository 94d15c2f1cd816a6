"""What is decided when a task can begin, after its message has waited for a slot, and not when it was received."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from taskq_cloud.core.execution.look_cost import LookCost
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Acknowledge, Message, Release, Settlement
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import Invocation, Outcome, RunTimes, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records.record import STARTED, Record
from taskq_cloud.core.workflows.revocation import revoke_tasks
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.counted_results import CountedResults

WAIT_SECONDS = 90.0
RUN_SECONDS = 3.0


class SlowResults(CountedResults):
    """A store that takes some time to answer."""

    def __init__(self, clock: FakeClock, answers_after: float = 0) -> None:
        super().__init__(clock)
        self.clock = clock
        self.answers_after = answers_after

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        self.clock.advance(self.answers_after)
        return (yield from super().load(ids))


class Shop:
    """A bench with one task, whose messages wait for a slot while ``meanwhile`` happens, and whose runs take 3 s."""

    def __init__(self, meanwhile: Callable[[], None] | None = None, answers_after: float = 0, **options: Any) -> None:
        self.clock = FakeClock()
        self.store = SlowResults(self.clock, answers_after)
        self.runs: list[float] = []
        policy = Policy(result_extended=options.pop("result_extended", False))
        self.bench = Bench.in_memory(
            {"notify": TaskDefinition("notify", lambda: None, TaskOptions(**options))},
            self.clock,
            store=self.store,
            policy=policy,
            run_task=self._run,
            meanwhile=meanwhile or (lambda: None),
        )

    def revoke(self) -> None:
        assert self.bench.run(revoke_tasks(self.store, ["t-1"], None)) == 1

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.bench.run(self.store.load(["t-1"]))["t-1"].payload)
        return document

    def _run(self, _invocation: Invocation) -> Outcome:
        self.runs.append(self.clock())
        self.clock.advance(RUN_SECONDS)
        return Succeeded("5")


def waits(shop: Shop, seconds: float = WAIT_SECONDS, then: Callable[[], None] = lambda: None) -> None:
    """Let the messages of a shop wait for a slot, and something happen at the end of that."""

    def meanwhile() -> None:
        shop.clock.advance(seconds)
        then()

    shop.bench.meanwhile = meanwhile


@pytest.mark.parametrize("options", [{}, {"track_started": True}, {"once": True, "time_limit": 60}])
def test_task_that_expires_while_it_waits_does_not_run(options: dict[str, Any]) -> None:
    shop = Shop(**options)
    waits(shop)
    expires = datetime.fromtimestamp(shop.clock() + WAIT_SECONDS - 1, UTC)
    shop.bench.send(Message(task="notify", id="t-1", expires=expires))
    assert [type(each) for each in shop.bench.work()] == [Acknowledge]
    assert shop.runs == []
    assert shop.bench.states("t-1") == ["REVOKED"]


@pytest.mark.parametrize("options", [{}, {"track_started": True}, {"once": True, "time_limit": 60}])
def test_task_that_is_revoked_while_it_waits_does_not_run(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "taskq_cloud.execution")
    shop = Shop(**options)
    waits(shop, then=shop.revoke)
    shop.bench.send(Message(task="notify", id="t-1"))
    assert [type(each) for each in shop.bench.work()] == [Acknowledge]
    assert shop.runs == []
    assert [vars(line)["action"] for line in caplog.records] == ["task.already_done"]


def test_start_of_a_run_does_not_count_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskq_cloud.execution")
    shop = Shop(track_started=True)
    waits(shop)
    shop.bench.send(Message(task="notify", id="t-1"))
    began = shop.clock() + WAIT_SECONDS
    (delivery,) = shop.bench.receive()
    running = shop.bench.begin(delivery)
    assert (shop.document()["status"], shop.document()["date_started"]) == (STARTED, iso(began))
    shop.clock.advance(RUN_SECONDS)
    running.end(Succeeded("5"))
    document = shop.document()
    assert (document["date_started"], document["date_done"]) == (iso(began), iso(began + RUN_SECONDS))
    assert "succeeded in 3.000 s" in caplog.text


def test_process_that_runs_the_task_tells_its_times(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskq_cloud.execution")
    shop = Shop(result_extended=True)
    shop.bench.run_task = lambda _: Succeeded("5", times=RunTimes(1_000_000.5, 0.25))
    shop.bench.send(Message(task="notify", id="t-1"))
    shop.bench.work()
    assert shop.document()["date_started"] == iso(1_000_000.5)
    assert "succeeded in 0.250 s" in caplog.text


def test_lock_of_a_once_task_lasts_for_its_run_and_not_for_its_wait() -> None:
    shop = Shop(once=True, time_limit=60)
    waits(shop, 1000)
    shop.bench.send(Message(task="notify", id="t-1"), deduplication="1")
    shop.bench.send(Message(task="notify", id="t-1"), deduplication="2")
    first, second = shop.bench.receive(lease_seconds=10_000)
    running = shop.bench.begin(first)
    assert running.invocation is not None
    waits(shop, 30)
    assert isinstance(shop.bench.deliver(second), Release)
    assert shop.runs == []
    running.end(Succeeded("5"))
    assert shop.bench.states("t-1") == ["SUCCESS"]


def test_two_copies_of_a_once_task_that_wait_together_run_one_after_the_other() -> None:
    shop = Shop(once=True, time_limit=60)
    shop.bench.send(Message(task="notify", id="t-1"))
    shop.bench.send(Message(task="notify", id="t-1"))
    first, second = shop.bench.receive(lease_seconds=10_000)
    # The second copy is looked up before the first one has ended, and gets its slot long afterwards.
    other_worker = shop.bench.changed(meanwhile=None)
    ended: list[Settlement] = []
    waits(shop, 1000, then=lambda: ended.append(other_worker.deliver(first)))
    assert isinstance(shop.bench.deliver(second), Acknowledge)
    assert (len(shop.runs), len(ended)) == (1, 1)


def test_message_that_has_not_waited_is_not_looked_up() -> None:
    shop = Shop()
    shop.bench.send(Message(task="notify", id="t-1"))
    shop.bench.work()
    assert (len(shop.runs), shop.store.loads) == (1, 0)


def test_message_that_waits_before_its_pipeline_begins_is_looked_up() -> None:
    shop = Shop()
    shop.bench.send(Message(task="notify", id="t-1"))
    (delivery,) = shop.bench.receive(lease_seconds=1000)
    shop.clock.advance(WAIT_SECONDS)
    shop.revoke()
    assert isinstance(shop.bench.deliver(delivery), Acknowledge)
    assert shop.runs == []


@pytest.mark.parametrize(
    ("look_seconds", "waited_seconds", "worth"),
    [
        (0, 0.01, False),
        (0, 0.03, True),
        (0.005, 0.09, False),
        (0.005, 0.11, True),
        (300, 0.9, False),
        (300, 1.1, True),
    ],
)
def test_look_takes_a_twentieth_of_the_wait_at_most(look_seconds: float, waited_seconds: float, worth: bool) -> None:
    assert LookCost(look_seconds).is_worth(waited_seconds) == worth


def test_looks_into_a_slow_store_become_few() -> None:
    shop = Shop(answers_after=0.01)
    waits(shop, 0.1)
    for number in range(3):
        shop.bench.send(Message(task="notify", id=f"t-{number}"))
        shop.bench.work()
    assert (len(shop.runs), shop.store.loads) == (3, 1)


def test_worker_that_stops_gives_a_waiting_message_back_without_a_trace() -> None:
    shop = Shop(once=True, time_limit=60, track_started=True)
    shop.bench.admits = False
    shop.bench.send(Message(task="notify", id="t-1"))
    (settlement,) = [shop.bench.deliver(each) for each in shop.bench.receive()]
    assert isinstance(settlement, Release)
    assert not settlement.counts
    assert shop.bench.states("t-1") == [None]
    (again,) = shop.bench.receive()
    assert again.receive_count == 1


def test_outcome_that_is_dropped_is_not_called_a_success(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskq_cloud.execution")
    shop = Shop()
    shop.bench.send(Message(task="notify", id="t-1"))
    (delivery,) = shop.bench.receive()
    running = shop.bench.begin(delivery)
    shop.revoke()
    running.end(Succeeded("5"))
    assert shop.bench.states("t-1") == ["REVOKED"]
    assert [vars(line)["action"] for line in caplog.records] == ["task.outcome_dropped"]
    assert "has run, but is REVOKED already; this run's outcome is dropped" in caplog.text


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
