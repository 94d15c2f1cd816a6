"""A run of a task with the hooks around it. ``runner`` runs the function; only applications with hooks import this.

Before the function the hooks are called in their order, the application's before the task's own. After it they are
called in reverse order: first ``on_success``, ``on_retry`` or ``on_failure`` of each of them, then ``after_run`` of
each. They are called in the thread, or on the event loop, and in the context of the function.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from inspect import isawaitable
from typing import Any, Final, TypeAlias

from taskq_cloud.core.execution.retry import Describe
from taskq_cloud.core.execution.run_context import current_invocation, ended_runs
from taskq_cloud.core.model.hook_calls import Complete, guarded, hooks_of
from taskq_cloud.core.model.hooks import INTERRUPTED, REPLACED, Hooks, HookTable, Run
from taskq_cloud.core.model.outcome import (
    ErrorInfo,
    Failed,
    Ignored,
    Invocation,
    Outcome,
    Rejected,
    Replaced,
    Retrying,
    Succeeded,
)
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records.record import FAILURE, IGNORED, REJECTED, RETRY, SUCCESS
from taskq_cloud.errors import SoftTimeLimitExceeded, TaskPredicate, TimeLimitExceeded

Steps: TypeAlias = Generator[Awaitable[Any], Any, Outcome]
"""A run as a generator of what has to be awaited on the way: by an event loop, or to its end in this thread."""

_ENDS_RUN: Final = (TaskPredicate, SoftTimeLimitExceeded)
"""Exceptions of ``before_run`` that end the run, because they ask for it or come from outside."""

_STATES: Final = {
    Succeeded: SUCCESS,
    Failed: FAILURE,
    Retrying: RETRY,
    Ignored: IGNORED,
    Rejected: REJECTED,
    Replaced: REPLACED,
}
_METHODS: Final = {SUCCESS: "on_success", FAILURE: "on_failure", RETRY: "on_retry"}


class HookedRun:
    """One run of a task with hooks.

    Args:
        table: the application's hooks, and those of its tasks.
        definition: the task; None: it is not registered in this process.
        invocation: the run.
        describe: describes the exception that the run ends in.
        ended: makes the outcome of a run that ``before_run`` has ended by an exception.

    Attributes:
        run: the run, as hooks see it.
    """

    def __init__(
        self,
        table: HookTable,
        definition: TaskDefinition | None,
        invocation: Invocation,
        describe: Describe,
        ended: Callable[[Exception, Invocation, Describe, Run], Outcome],
    ) -> None:
        self.run = Run(invocation, definition)
        self._hooks = hooks_of(table, invocation.message.task)
        self._begun: list[Hooks] = []
        self._describe = describe
        self._ended = ended
        self._error: BaseException | None = None

    def describe(self, error: BaseException) -> ErrorInfo:
        """Describe the exception that the run ends in, and keep it for the hooks."""
        self._error = error
        return self._describe(error)

    def carry_out(self, call: Callable[[], Outcome], complete: Complete) -> Outcome:
        """Run the task in this thread.

        Args:
            call: calls the function, and makes the outcome.
            complete: runs what a coroutine function has returned to its end, in this thread and context.
        """
        steps = self._steps(call)
        resume: Callable[[], Awaitable[Any]] = partial(next, steps)
        while True:
            try:
                awaitable = resume()
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            try:
                answer = complete(awaitable)
            except BaseException as error:  # the step decides what it means
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, answer)

    async def acarry_out(self, call: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Run the task on the running event loop; ``call`` calls the function, and makes the outcome."""
        steps = self._steps(call)
        resume: Callable[[], Awaitable[Any]] = partial(next, steps)
        while True:
            try:
                awaitable = resume()
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
            try:
                answer = await awaitable
            except GeneratorExit:
                raise
            except BaseException as error:  # the step decides what it means
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, answer)

    def _steps(self, call: Callable[[], Outcome | Awaitable[Outcome]]) -> Steps:
        token = current_invocation.set(self.run.invocation)
        try:
            try:
                yield from self._before()
            except TimeLimitExceeded:
                raise
            except Exception as error:  # it asks for an end of the run
                outcome = self._ended(error, self.run.invocation, self.describe, self.run)
            else:
                called = call()
                outcome = (yield called) if isawaitable(called) else called
            yield from self._after(outcome)
        except GeneratorExit:
            raise
        except BaseException as error:
            yield from self._interrupted(error)
            raise
        finally:
            ended_runs.pop(id(self.run.invocation), None)
            current_invocation.reset(token)
        return outcome

    def _before(self) -> Generator[Awaitable[Any], Any, None]:
        for hooks in self._hooks:
            self._begun.insert(0, hooks)
            with guarded(hooks, "before_run", self.run.task, self.run.id, through=(*_ENDS_RUN, SystemExit)):
                given = hooks.before_run(self.run)
                if isawaitable(given):
                    yield given

    def _after(self, outcome: Outcome) -> Generator[Awaitable[Any], Any, None]:
        run = self.run
        run.outcome, run.state = outcome, _STATES.get(type(outcome), INTERRUPTED)
        result = run.value if run.state == SUCCESS else self._error or run.exception
        ended_runs[id(run.invocation)] = outcome
        interruption = None
        method = _METHODS.get(run.state)
        if method is not None:
            interruption = yield from self._call_each(method, result)
        interruption = (yield from self._call_each("after_run", run.state, result)) or interruption
        if interruption is not None and not isinstance(interruption, TimeLimitExceeded):
            raise interruption

    def _interrupted(self, error: BaseException) -> Generator[Awaitable[Any], Any, None]:
        if self.run.state:
            return  # the hooks know of the end, and one of them was interrupted
        self.run.state, self.run.exception = INTERRUPTED, error
        yield from self._call_each("after_run", INTERRUPTED, error)

    def _call_each(self, method: str, *args: Any) -> Generator[Awaitable[Any], Any, BaseException | None]:
        """Call a method of all hooks that have begun; returns the hard limit or the cancellation that has come.

        An interruption ends the hook that it comes in. ``after_run``, which cleans up, is still called of the others.
        """
        interruption: BaseException | None = None
        for hooks in self._begun:
            try:
                with guarded(hooks, method, self.run.task, self.run.id):
                    given = getattr(hooks, method)(self.run, *args)
                    if isawaitable(given):
                        yield given
            except SoftTimeLimitExceeded:
                pass  # between two hooks; it is too late to change the outcome
            except (TimeLimitExceeded, asyncio.CancelledError) as error:
                interruption = error
                if method != "after_run":
                    break
        return interruption
