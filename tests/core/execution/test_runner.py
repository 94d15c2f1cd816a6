"""Running a task's function, and the outcome of the run."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.options import TaskOptions, task_options
from taskq_cloud.core.model.outcome import Failed, Ignored, Invocation, Outcome, Rejected, Retrying, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import (
    ArgumentsMismatch,
    Ignore,
    ImproperlyConfigured,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
)


def runner_of(function: Callable[..., Any], *, bind: Any = None, **options: Any) -> TaskRunner:
    return TaskRunner({"t": TaskDefinition("t", function, TaskOptions(**options), bind)})


def invoke(function: Callable[..., Any], *args: Any, bind: Any = None, retries: int = 0, **options: Any) -> Outcome:
    message = Message(task="t", id="id1", args=args, retries=retries)
    return runner_of(function, bind=bind, **options).run(Invocation(message=message))


def raising(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def coroutine_raising(error: BaseException) -> Callable[[], Any]:
    async def function() -> None:
        raise error

    return function


BOTH = pytest.mark.parametrize("make", [raising, coroutine_raising])


def test_value_of_a_success_is_json() -> None:
    assert invoke(lambda a, b: a + b, 1, 2) == Succeeded("3")
    assert invoke(lambda: None) == Succeeded("null")


def test_coroutine_function_runs_on_a_loop_that_the_thread_keeps() -> None:
    async def which() -> int:
        await asyncio.sleep(0)
        return id(asyncio.get_running_loop())

    runner = runner_of(which)
    invocation = Invocation(message=Message(task="t", id="1"))
    first, second = runner.run(invocation), runner.run(invocation)
    assert first == second
    assert isinstance(first, Succeeded)


def test_loop_of_a_thread_is_closed_when_the_thread_ends() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def which() -> None:
        loops.append(asyncio.get_running_loop())

    runner = runner_of(which)
    thread = threading.Thread(target=runner.run, args=(Invocation(message=Message(task="t", id="1")),))
    thread.start()
    thread.join(10)
    assert loops[0].is_closed()


def test_loop_is_closed_with_its_runner_while_another_loop_runs() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def which() -> None:
        loops.append(asyncio.get_running_loop())

    runners = [runner_of(which)]
    runners[0].run(Invocation(message=Message(task="t", id="1")))

    async def drops() -> None:
        runners.clear()
        gc.collect()
        assert loops[0].is_closed()

    asyncio.run(drops())


async def test_coroutine_function_runs_on_the_running_loop() -> None:
    async def which() -> int:
        return id(asyncio.get_running_loop())

    outcome = await runner_of(which).arun(Invocation(message=Message(task="t", id="1")))
    assert outcome == Succeeded(str(id(asyncio.get_running_loop())))


async def test_cancelled_run_cancels_the_task() -> None:
    started = asyncio.Event()

    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(runner_of(waits).arun(Invocation(message=Message(task="t", id="1"))))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert current_invocation.get() is None


@BOTH
@pytest.mark.parametrize(
    ("error", "options", "kind"),
    [
        (ValueError("x"), {}, Failed),
        (ValueError("x"), {"autoretry_for": (ValueError,)}, Retrying),
        (SoftTimeLimitExceeded(), {}, Failed),
        (SoftTimeLimitExceeded(), {"autoretry_for": (Exception,)}, Retrying),
        (Retry(), {}, Retrying),
        (Ignore(), {}, Ignored),
        (Reject("x"), {}, Rejected),
    ],
    ids=repr,
)
def test_exception_of_a_task_is_its_outcome(make: Any, error: Exception, options: Any, kind: type) -> None:
    async def on_a_loop() -> Outcome:
        runner = runner_of(make(error), **options)
        return await runner.arun(Invocation(message=Message(task="t", id="1")))

    outcome = asyncio.run(on_a_loop()) if make is coroutine_raising else invoke(make(error), **options)
    assert isinstance(outcome, kind)


@pytest.mark.parametrize("error", [TimeLimitExceeded(3), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_exception_that_is_not_an_outcome_is_raised(error: BaseException) -> None:
    with pytest.raises(type(error)):
        invoke(raising(error))
    assert current_invocation.get() is None


def test_failure_has_a_traceback() -> None:
    outcome = invoke(raising(KeyError("k")))
    assert isinstance(outcome, Failed)
    assert (outcome.error.exc_type, outcome.error.exc_message) == ("KeyError", ("k",))
    assert outcome.error.traceback is not None
    assert "in function" in outcome.error.traceback


@pytest.mark.parametrize(
    "value", [object(), {1}, {"__type__": "money", "__value__": 1}], ids=["object", "set", "unknown type"]
)
def test_unserialisable_value_is_a_failure_that_names_the_task(value: Any) -> None:
    outcome = invoke(lambda: value)
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "EncodeError"
    assert outcome.error.exc_message[0].startswith("the result of task t is not serialisable as JSON")


def test_unregistered_task_is_a_failure() -> None:
    outcome = TaskRunner({}).run(Invocation(message=Message(task="gone", id="1")))
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "NotRegistered"
    assert "'gone'" in outcome.error.exc_message[0]


def test_task_registered_later_is_run() -> None:
    tasks: dict[str, TaskDefinition] = {}
    runner = TaskRunner(tasks)
    tasks["t"] = TaskDefinition("t", lambda: 1, TaskOptions())
    assert runner.run(Invocation(message=Message(task="t", id="1"))) == Succeeded("1")
    assert not runner.is_async("t")
    assert not runner.is_async("gone")


def test_bound_task_gets_self_of_its_run() -> None:
    selves: list[Any] = []

    def bound(self: Any, x: int) -> int:
        selves.append(self)
        return x

    def bind(invocation: Invocation) -> Any:
        return f"self of {invocation.message.id}"

    assert invoke(bound, 5, bind=bind) == Succeeded("5")
    assert selves == ["self of id1"]


def test_runs_in_threads_have_their_own_invocation() -> None:
    barrier = threading.Barrier(4)

    def which() -> str:
        barrier.wait(10)
        invocation = current_invocation.get()
        assert invocation is not None
        return invocation.message.id

    runner, outcomes = runner_of(which), {}

    def work(name: str) -> None:
        outcomes[name] = runner.run(Invocation(message=Message(task="t", id=name)))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert outcomes == {name: Succeeded(f'"{name}"') for name in "abcd"}


def test_run_leaves_the_arguments_of_its_message() -> None:
    message = Message(task="t", id="1", args=[[1]], kwargs={})

    def changes(values: list[int]) -> None:
        values.append(2)

    before = replace(message, args=[[1]])
    runner_of(changes).run(Invocation(message=message))
    assert message.args[0] == [1, 2], "a task may change its own argument"
    assert len(message.args) == len(before.args)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_retry": 3}, "unknown option 'max_retry'; known: .*max_retries"),
        ({"acks_late": "no"}, "acks_late must be True or False"),
        ({"once": True}, "once=True needs a time_limit"),
        ({"time_limit": 5, "soft_time_limit": 6}, r"soft_time_limit \(6 s\) is over time_limit \(5 s\)"),
    ],
)
def test_unsupported_option_is_refused(options: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"task t: {words}"):
        task_options("t", options)


def test_celerys_option_values_are_accepted() -> None:
    assert task_options("t", {"acks_late": True, "throws": [KeyError]}).throws == (KeyError,)


def resize(key: str, width: int) -> str:
    return key * width


async def aresize(key: str, width: int) -> str:
    return key * width


@pytest.mark.parametrize("function", [resize, aresize])
def test_arguments_that_a_task_does_not_take_are_told_from_its_bugs(function: Callable[..., Any]) -> None:
    for args in [("a.png",), ("a.png", 1, 2)]:
        outcome = invoke(function, *args)
        assert isinstance(outcome, Failed)
        assert outcome.error.exc_type == "ArgumentsMismatch"
        assert f"does not take the arguments of its message ({len(args)} positional): " in str(
            outcome.error.exc_message
        )
    bug = invoke(function, {}, 2)
    assert isinstance(bug, Failed)
    assert bug.error.exc_type == "TypeError"


def test_bound_task_with_other_arguments_does_not_count_self() -> None:
    outcome = invoke(lambda self, a: a, bind=lambda invocation: invocation)
    assert isinstance(outcome, Failed)
    assert "task t(a) does not take the arguments of its message (0 positional)" in str(outcome.error.exc_message)


def test_type_error_of_a_function_without_signature_stays_as_it_is() -> None:
    outcome = invoke(max)
    assert isinstance(outcome, Failed)
    assert outcome.error.exc_type == "TypeError"


def test_arguments_that_do_not_fit_yet_can_wait_for_another_version() -> None:
    outcome = invoke(resize, "a.png", autoretry_for=(ArgumentsMismatch,), default_retry_delay=60.0)
    assert isinstance(outcome, Retrying)
    assert (outcome.after_seconds, outcome.args) == (60.0, None)
