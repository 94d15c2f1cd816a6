"""Test time limits in the main thread. "For ever" is a minute here, so that a limit that isn't kept fails a test."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import Failed, Invocation, Lost, Outcome, Succeeded, TimedOut
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskq_cloud.serverless.time_limits import OutOfTime, TimeKeeper

pytestmark = pytest.mark.usefixtures("no_garbage_collection")

SOON = 0.05


def wait_for_ever() -> None:
    threading.Event().wait(60)


async def await_for_ever() -> None:
    await asyncio.sleep(60)


def run(function: Callable[..., Any], **options: Any) -> Outcome:
    """Run a function as a task, and return its outcome. The options are the keyword arguments of ``runs``."""
    (outcome,) = runs(1, function, **options)
    return outcome


def runs(
    times: int,
    function: Callable[..., Any],
    *,
    soft: float | None = None,
    hard: float | None = None,
    left: float = 60.0,
    keeper: TimeKeeper | None = None,
) -> list[Outcome]:
    """Run a function as a task several times, and return the outcome of each run."""
    runner = TaskRunner({"task": TaskDefinition("task", function, TaskOptions())})
    keeper = keeper or TimeKeeper()
    invocation = Invocation(message=Message(task="task", id="1"), time_limit=hard, soft_time_limit=soft)
    with keeper.deadline(math.inf):
        return [keeper.run(runner, invocation, left) for _ in range(times)]


def test_task_within_its_limits_succeeds() -> None:
    assert run(lambda: 3, soft=60, hard=60) == Succeeded("3")


def test_task_that_catches_soft_limit_can_end_early() -> None:
    def task() -> str | None:
        try:
            wait_for_ever()
        except SoftTimeLimitExceeded:
            return "cleaned up"
        return None

    assert run(task, soft=SOON, hard=60) == Succeeded('"cleaned up"')


def test_uncaught_soft_limit_is_a_failure() -> None:
    outcome = run(wait_for_ever, soft=SOON)
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "SoftTimeLimitExceeded"


@pytest.mark.parametrize("function", [wait_for_ever, await_for_ever])
def test_hard_limit_ends_a_task(function: Callable[..., Any]) -> None:
    assert run(function, hard=SOON) == TimedOut(SOON)


class OneAlarmAtATime(TimeKeeper):
    """Blocks the alarm when it raises, so that the next alarm strikes only where the task allows it."""

    def _raise(self, error: BaseException) -> None:
        block_alarms()
        super()._raise(error)


def block_alarms() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})


def allow_alarms() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[TimeKeeper]:
    """A keeper whose alarms repeat soon, and strike only after ``allow_alarms``."""
    monkeypatch.setattr("taskq_cloud.serverless.time_limits.TIME_LIMIT_REPEAT_SECONDS", SOON)
    block_alarms()
    yield OneAlarmAtATime()
    signal.sigtimedwait({signal.SIGALRM}, 0)  # drop an alarm that is still blocked, so that it reaches no other handler
    allow_alarms()


def test_task_that_catches_every_exception_is_ended_by_a_later_alarm(keeper: TimeKeeper) -> None:
    caught: list[type[Exception]] = []

    def stubborn() -> None:
        while len(caught) < 2:
            try:
                allow_alarms()
                wait_for_ever()
            except Exception as error:
                caught.append(type(error))
        allow_alarms()
        wait_for_ever()

    assert run(stubborn, hard=SOON, keeper=keeper) == TimedOut(SOON)
    assert caught == [TimeLimitExceeded, TimeLimitExceeded]


def test_coroutine_that_catches_every_exception_is_ended_by_a_later_alarm(keeper: TimeKeeper) -> None:
    caught: list[type[Exception]] = []

    async def stubborn() -> None:
        while len(caught) < 2:
            try:
                allow_alarms()
                await await_for_ever()
            except Exception as error:
                caught.append(type(error))
        allow_alarms()
        await await_for_ever()

    assert run(stubborn, hard=SOON, keeper=keeper) == TimedOut(SOON)
    assert caught == [TimeLimitExceeded, TimeLimitExceeded]


@pytest.mark.parametrize("function", [wait_for_ever, await_for_ever])
def test_ended_task_leaves_no_reference_cycle(function: Callable[..., Any]) -> None:
    keeper = TimeKeeper()
    alive = weakref.ref(keeper)
    assert run(function, hard=SOON, keeper=keeper) == TimedOut(SOON)
    del keeper
    assert alive() is None, "the keeper would wait for a garbage collection in the middle of a later task"


@pytest.mark.parametrize("function", [wait_for_ever, await_for_ever])
@pytest.mark.parametrize("hard", [None, 30])
def test_task_running_at_the_end_of_the_functions_time_is_lost(function: Callable[..., Any], hard: int | None) -> None:
    outcome = run(function, hard=hard, left=SOON)
    assert isinstance(outcome, Lost)
    assert "the function's time was over" in outcome.reason


def test_soft_limit_is_raised_where_a_coroutine_awaits() -> None:
    async def task() -> int | None:
        try:
            await asyncio.gather(await_for_ever(), await_for_ever())
        except SoftTimeLimitExceeded:
            await asyncio.sleep(0)  # the coroutine can still await
            current = asyncio.current_task()
            return current.cancelling() if current else None
        return None

    assert run(task, soft=SOON, hard=60) == Succeeded("0")


def test_hard_limit_ends_coroutine_that_blocks_its_loop() -> None:
    async def task() -> None:
        wait_for_ever()

    assert run(task, hard=SOON) == TimedOut(SOON)


def test_hard_limit_ends_coroutine_whose_subtask_blocks_the_loop() -> None:
    async def blocks() -> None:
        wait_for_ever()

    async def task() -> None:
        await asyncio.create_task(blocks())

    assert run(task, hard=SOON) == TimedOut(SOON)


def test_coroutines_share_one_loop_after_a_hard_limit() -> None:
    loops = []

    async def task() -> int:
        loops.append(asyncio.get_running_loop())
        if len(loops) == 2:
            await await_for_ever()
        return len(loops)

    assert runs(3, task, hard=0.2) == [Succeeded("1"), TimedOut(0.2), Succeeded("3")]
    assert len(set(loops)) == 1


def test_time_limit_error_raised_by_the_task_is_a_failure() -> None:
    def task() -> None:
        raise TimeLimitExceeded(5)

    outcome = run(task, hard=60)
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "TimeLimitExceeded"


@pytest.mark.parametrize(("code", "reason"), [(3, "exit code 3"), (None, "exit code 0"), ("bye", "exit code 1")])
def test_task_that_exits_is_lost_and_the_process_lives_on(code: int | str | None, reason: str) -> None:
    def task() -> None:
        raise SystemExit(code)

    assert run(task) == Lost(reason)


def test_coroutine_that_exits_is_lost_and_the_next_runs() -> None:
    begun: list[int] = []

    async def task() -> None:
        begun.append(1)
        if len(begun) == 1:
            raise SystemExit(3)

    assert runs(2, task) == [Lost("exit code 3"), Succeeded("null")]


def test_coroutine_that_raises_cancelled_error_itself_fails() -> None:
    async def task() -> None:
        raise asyncio.CancelledError

    outcome = run(task)
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "CancelledError"


@pytest.mark.parametrize("function", [wait_for_ever, await_for_ever])
def test_out_of_time_ends_task_that_catches_exceptions(function: Callable[..., Any]) -> None:
    def stubborn() -> None:
        while True:
            try:
                wait_for_ever()
            except Exception:
                continue

    async def astubborn() -> None:
        while True:
            try:
                await await_for_ever()
            except Exception:
                continue

    task = stubborn if function is wait_for_ever else astubborn
    keeper = TimeKeeper()
    runner = TaskRunner({"task": TaskDefinition("task", task, TaskOptions())})
    invocation = Invocation(message=Message(task="task", id="1"), time_limit=SOON)
    with pytest.raises(OutOfTime), keeper.deadline(4 * SOON):
        keeper.run(runner, invocation, 60)
    assert run(function, hard=SOON, keeper=keeper) == TimedOut(SOON)  # the next invocation works as usual


def test_out_of_time_interrupts_code_outside_of_tasks() -> None:
    with pytest.raises(OutOfTime), TimeKeeper().deadline(SOON):
        wait_for_ever()


def test_earlier_alarm_handler_and_timer_are_restored() -> None:
    def handler(*_args: object) -> None:
        pass

    before, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        run(lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN) and None, hard=60)
        assert signal.getsignal(signal.SIGALRM) is handler
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)
