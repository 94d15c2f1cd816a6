"""Runs with hooks that are ended from outside, and hooks that end in odd ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from taskq_cloud.core.execution import hooked_runs
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.model.hooks import Hooks, Run
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import Failed, Invocation, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.model.task_names import EVERY_TASK
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded


class Ends(Hooks):
    """Records the ends of runs."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, Any]] = []

    async def after_run(self, run: Run, state: str, result: Any) -> None:
        await asyncio.sleep(0)
        self.ends.append((state, result))


def runner_of(function: Callable[..., Any], *hooks: Hooks) -> TaskRunner:
    return TaskRunner({"t": TaskDefinition("t", function, TaskOptions())}, hooks={EVERY_TASK: hooks})


def invocation(task: str = "t") -> Invocation:
    return Invocation(message=Message(task=task, id="id1"))


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


@pytest.mark.parametrize("error", [TimeLimitExceeded(3), SystemExit(3), KeyboardInterrupt()])
def test_run_that_leaves_the_runner_is_told_as_interrupted(error: BaseException) -> None:
    ends = Ends()
    with pytest.raises(type(error)) as raised:
        runner_of(raising(error), ends).run(invocation())
    assert raised.value is error
    assert ends.ends == [("INTERRUPTED", error)]


async def test_cancelled_run_is_told_as_interrupted() -> None:
    ends, begun = Ends(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    run = asyncio.create_task(runner_of(wait, ends).arun(invocation()))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    ((state, error),) = ends.ends
    assert state == "INTERRUPTED"
    assert isinstance(error, asyncio.CancelledError)


async def test_cancellation_during_a_hook_leaves_the_hook() -> None:
    begun = asyncio.Event()

    class Waiting(Hooks):
        async def after_run(self, run: Run, state: str, result: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

    async def add() -> int:
        return 1

    ends = Ends()
    run = asyncio.create_task(runner_of(add, ends, Waiting()).arun(invocation()))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ends.ends == [("SUCCESS", 1)]


@pytest.mark.parametrize("coroutine", [False, True])
def test_hook_that_raises_a_cancellation_of_its_own_has_failed(
    coroutine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(Hooks):
        async def before_run(self, run: Run) -> None:
            raise asyncio.CancelledError

        def after_run(self, run: Run, state: str, result: Any) -> None:
            raise asyncio.CancelledError

    async def waits() -> int:
        return 1

    outcome = runner_of(waits if coroutine else lambda: 1, Wrong()).run(invocation())
    assert outcome == Succeeded("1")
    assert [vars(each)["action"] for each in caplog.records] == ["hook.failed", "hook.failed"]


@pytest.mark.parametrize("method", ["on_success", "after_run"])
def test_hard_limit_in_a_hook_after_the_function_ends_the_hook_alone(method: str) -> None:
    def slow(*_: Any) -> None:
        raise TimeLimitExceeded(1)

    ends, hooks = Ends(), Hooks()
    setattr(hooks, method, slow)
    assert runner_of(lambda: 1, ends, hooks).run(invocation()) == Succeeded("1")
    assert ends.ends == [("SUCCESS", 1)]


def test_hard_limit_in_a_hook_before_the_function_leaves_the_run() -> None:
    class Slow(Hooks):
        def before_run(self, run: Run) -> None:
            raise TimeLimitExceeded(1)

    ends = Ends()
    with pytest.raises(TimeLimitExceeded):
        runner_of(lambda: 1, ends, Slow()).run(invocation())
    assert [state for state, _ in ends.ends] == ["INTERRUPTED"]


def test_hard_limit_in_a_hook_of_an_interrupted_run_keeps_no_other_hook() -> None:
    class Slow(Hooks):
        def after_run(self, run: Run, state: str, result: Any) -> None:
            raise TimeLimitExceeded(1)

    ends, error = Ends(), TimeLimitExceeded(3)
    with pytest.raises(TimeLimitExceeded) as raised:
        runner_of(raising(error), ends, Slow()).run(invocation())
    assert raised.value is error
    assert ends.ends == [("INTERRUPTED", error)]


@pytest.mark.parametrize("coroutine", [False, True])
def test_exit_in_a_hook_after_the_function_changes_nothing(coroutine: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Wrong(Hooks):
        async def on_success(self, run: Run, value: Any) -> None:
            raise SystemExit(3)

        def after_run(self, run: Run, state: str, result: Any) -> None:
            raise SystemExit(4)

    async def waits() -> int:
        return 1

    ends = Ends()
    outcome = runner_of(waits if coroutine else lambda: 1, ends, Wrong()).run(invocation())
    assert outcome == Succeeded("1")
    assert ends.ends == [("SUCCESS", 1)]
    assert [vars(each)["action"] for each in caplog.records] == ["hook.failed", "hook.failed"]


def test_exit_in_a_hook_before_the_function_leaves_the_run() -> None:
    class Exits(Hooks):
        def before_run(self, run: Run) -> None:
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        runner_of(lambda: pytest.fail("called"), Exits()).run(invocation())


def test_soft_limit_between_two_hooks_changes_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise SoftTimeLimitExceeded

    class Late(Hooks):
        def before_run(self, run: Run) -> None:
            monkeypatch.setattr(hooked_runs, "guarded", interrupted)

    assert runner_of(lambda: 1, Hooks(), Late()).run(invocation()) == Succeeded("1")


def test_task_that_is_not_registered_fails_and_its_hooks_are_told() -> None:
    failures: list[BaseException] = []

    class Failures(Hooks):
        def on_failure(self, run: Run, error: BaseException) -> None:
            assert run.request is None
            failures.append(error)

    outcome = runner_of(lambda: 1, Failures()).run(invocation("gone"))
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "NotRegistered"
    assert [type(each).__name__ for each in failures] == ["NotRegistered"]


def test_times_of_a_run_are_those_of_its_function() -> None:
    now = [100.0]

    class Slow(Hooks):
        def before_run(self, run: Run) -> None:
            now[0] += 10

        def after_run(self, run: Run, state: str, result: Any) -> None:
            now[0] += 20

    def function() -> int:
        now[0] += 5
        return 1

    tasks = {"t": TaskDefinition("t", function, TaskOptions())}
    runner = TaskRunner(tasks, lambda: now[0], lambda: now[0], {EVERY_TASK: (Slow(),)})
    times = runner.run(invocation()).times
    assert times is not None
    assert (times.started_at, times.seconds) == (110, 5)
