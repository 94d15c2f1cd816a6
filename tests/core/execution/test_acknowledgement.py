"""When a message is acknowledged: before its run (``acks_late=False``), or never (``acks_on_failure=False``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, DeadLetter, Message, Outgoing, Release
from taskq_cloud.core.model.options import Policy, TaskOptions, task_options
from taskq_cloud.core.model.outcome import (
    Abandoned,
    ErrorInfo,
    Failed,
    Invocation,
    Lost,
    Outcome,
    Rejected,
    Retrying,
    Succeeded,
    TimedOut,
)
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import Unreachable
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.bench import Bench

FAILED = Failed(ErrorInfo.of(ValueError("no such user")))


class Shop:
    """A bench with one task, whose runs end in the given outcomes, the last of them again and again."""

    def __init__(self, outcomes: Sequence[Outcome], policy: Policy | None = None, **options: Any) -> None:
        self.outcomes = list(outcomes)
        self.left_at_run: list[int] = []
        self.bench = Bench.in_memory(
            {"notify": TaskDefinition("notify", lambda: None, task_options("notify", options))},
            policy=policy or Policy(),
            run_task=self._run,
        )

    def _run(self, _invocation: Invocation) -> Outcome:
        self.left_at_run.append(self.bench.left())
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]

    def call(self) -> list[Any]:
        """Call the task; returns the types of the settlements until its message is gone."""
        self.bench.send(Message(task="notify", id="t-1"))
        settlements: list[Any] = []
        while self.bench.left():
            settlements += [type(each) for each in self.bench.work()]
            self.bench.clock.advance(60)
        return settlements

    def error(self) -> str:
        """The stored error of the task."""
        record = self.bench.run(self.bench.store.load(["t-1"]))["t-1"]
        error = document.error_of(document.of(record))
        assert error is not None
        return error.summary


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("by_setting", [True, False])
def test_message_is_acknowledged_before_the_run_only_without_acks_late(late: bool, by_setting: bool) -> None:
    policy, options = (Policy(acks_late=late), {}) if by_setting else (Policy(acks_late=not late), {"acks_late": late})
    shop = Shop([Succeeded("1")], policy, **options)
    assert shop.call() == [Acknowledge]
    assert shop.left_at_run == [int(late)]
    assert shop.bench.states("t-1") == ["SUCCESS"]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Lost("killed by SIGKILL"), "WorkerLostError: the process that ran it died (killed by SIGKILL) on receive 1"),
        (
            Abandoned("the worker stops"),
            "WorkerLostError: the run was ended after its message was acknowledged: the worker stops",
        ),
        (Rejected("not mine", requeue=True), "Reject: not mine"),
        (Rejected("not mine", requeue=False), "Reject: not mine"),
        (TimedOut(5), "TimeLimitExceeded: 5"),
        (FAILED, "ValueError: no such user"),
    ],
)
def test_run_of_an_acknowledged_message_that_is_cut_off_is_a_failure(outcome: Outcome, error: str) -> None:
    shop = Shop([outcome], acks_late=False, acks_on_failure_or_timeout=False)
    assert shop.call() == [Acknowledge]
    assert shop.bench.states("t-1") == ["FAILURE"]
    assert shop.error() == error
    assert shop.bench.dead_letters() == []
    assert len(shop.left_at_run) == 1


def test_retry_of_an_early_acknowledged_task_is_a_new_message() -> None:
    shop = Shop([Retrying(ErrorInfo.of(OSError()), 10), Succeeded("1")], acks_late=False)
    assert shop.call() == [Acknowledge, Acknowledge]
    assert shop.bench.states("t-1") == ["SUCCESS"]
    assert shop.left_at_run == [0, 0]


def test_acknowledged_message_does_not_come_back_when_its_state_cannot_be_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class SilentResults(MemoryResults):
        def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
            yield from ()
            raise Unreachable("the store gives no answer")

    shop = Shop([Succeeded("1")], acks_late=False)
    shop.bench = shop.bench.changed(store=SilentResults(shop.bench.clock))
    assert shop.call() == [Acknowledge]
    assert [vars(each)["action"] for each in caplog.records if each.levelname == "ERROR"] == ["task.state_not_recorded"]


@pytest.mark.parametrize("policy", [Policy(acks_on_failure=False), Policy(acks_on_failure_or_timeout=False), None])
def test_failed_task_without_acks_on_failure_is_dead_lettered(policy: Policy | None) -> None:
    shop = Shop([FAILED, Succeeded("1")], policy, **({"acks_on_failure": False} if policy is None else {}))
    assert shop.call() == [DeadLetter]
    assert shop.bench.states("t-1") == ["FAILURE"]
    (dead,) = shop.bench.dead_letters()
    assert dead.attributes[DEAD_LETTER_REASON] == "ValueError: no such user"

    # An operator moves the message back.
    shop.bench.run(shop.bench.broker.send("work", [Outgoing(body=dead.body, attributes=dead.attributes)]))
    shop.bench.work()
    assert shop.bench.states("t-1") == ["SUCCESS"]


def test_failure_that_was_recorded_before_a_crash_is_dead_lettered_all_the_same() -> None:
    shop = Shop([FAILED], acks_on_failure=False)
    shop.bench.send(Message(task="notify", id="t-1"))
    (delivery,) = shop.bench.receive()
    shop.bench.run(shop.bench.pipeline.process(delivery))  # the worker dies before it settles the message
    shop.bench.clock.advance(120)
    assert [type(each) for each in shop.bench.work()] == [DeadLetter]
    assert len(shop.left_at_run) == 1


def test_task_ended_by_its_time_limit_without_acks_on_timeout_runs_until_its_receives_run_out() -> None:
    shop = Shop([TimedOut(5)], Policy(max_receives=3), acks_on_timeout=False)
    assert shop.call() == [Release, Release, DeadLetter]
    assert shop.bench.states("t-1") == ["FAILURE"]
    assert shop.error() == "TimeLimitExceeded: 5"


def test_task_ended_by_its_time_limit_without_acks_on_timeout_can_succeed_later() -> None:
    shop = Shop([TimedOut(5), Succeeded("1")], acks_on_timeout=False)
    assert shop.call() == [Release, Acknowledge]
    assert shop.bench.states("t-1") == ["SUCCESS"]


@pytest.mark.parametrize(
    ("options", "policy", "failure", "timeout"),
    [
        ({}, Policy(), True, True),
        ({"acks_on_failure_or_timeout": False}, Policy(), False, False),
        ({"acks_on_failure_or_timeout": False, "acks_on_timeout": True}, Policy(), False, True),
        ({"acks_on_failure_or_timeout": False}, Policy(acks_on_failure=True), True, False),
        ({"acks_on_failure_or_timeout": True}, Policy(acks_on_failure_or_timeout=False), True, True),
        ({}, Policy(acks_on_failure_or_timeout=False, acks_on_timeout=True), False, True),
    ],
)
def test_first_given_option_decides_as_in_celery(
    options: dict[str, Any], policy: Policy, failure: bool, timeout: bool
) -> None:
    task = TaskOptions(**options)
    assert (policy.acknowledges_failure(task), policy.acknowledges_timeout(task)) == (failure, timeout)


def test_expected_failure_is_dead_lettered_too() -> None:
    assert Shop([Failed(ErrorInfo.of(KeyError("k")), expected=True)], acks_on_failure=False).call() == [DeadLetter]


def test_worker_that_dies_in_an_early_acknowledged_run_loses_it() -> None:
    shop = Shop([Succeeded("1")], acks_late=False)
    shop.bench.send(Message(task="notify", id="t-1"))
    (delivery,) = shop.bench.receive()
    running = shop.bench.begin(delivery)
    assert shop.bench.left() == 0
    running.crash()
    shop.bench.clock.advance(120)
    assert shop.bench.work() == []
    assert shop.bench.states("t-1") == [None]
