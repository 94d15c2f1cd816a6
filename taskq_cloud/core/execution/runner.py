"""Runs a task's function in the calling thread or on the running event loop, and returns the outcome.

The caller enforces time limits: a pool or a handler raises ``SoftTimeLimitExceeded`` or ``TimeLimitExceeded`` in the
running function. What the running function can learn of its run is in ``run_context``.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from taskq_cloud.core import serializers
from taskq_cloud.core.execution import retry
from taskq_cloud.core.execution.conversion import Conversion, Conversions, is_wanted
from taskq_cloud.core.execution.retry import Describe
from taskq_cloud.core.execution.run_context import (
    added_to_chord,
    called_within,
    changed_embed,
    current_invocation,
)
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Invocation, Outcome, Retrying, RunTimes, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import ArgumentsInvalid, EncodeError, NotRegistered, TaskQError, TimeLimitExceeded

if TYPE_CHECKING:  # few applications have hooks
    from taskq_cloud.core.execution.hooked_runs import HookedRun
    from taskq_cloud.core.model.hooks import HookTable, Run

_THIS_PACKAGE: Final = __name__.partition(".")[0]

Encode: TypeAlias = Callable[[Any], str]
"""Writes the value of a task as text; a run in place may keep the value itself."""


_UNSET: Final = object()
"""Stands for the value of a context variable that has none."""


class _ThreadLoop:
    """The event loop of a thread. It is closed when the thread ends and its thread-local values are deleted.

    A ``__del__`` would come too late where the garbage collector deletes the loop, too: it may begin with the loop.
    """

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        weakref.finalize(self, _close, self.runner).atexit = False


def _close(runner: asyncio.Runner) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        runner.close()
    else:
        # While another loop runs in this thread, this one can't run its tasks to their end.
        runner.get_loop().close()


class TaskRunner:
    """Runs invocations of registered tasks.

    Args:
        tasks: name -> definition; looked up at each run, so that later registrations count.
        clock: seconds since the epoch, for the beginning of a run.
        timer: seconds from any beginning, for its length.
        hooks: the hooks that are called around each run; looked up at each run, too.

    Attributes:
        hooks: the argument.
    """

    def __init__(
        self,
        tasks: Mapping[str, TaskDefinition],
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
        hooks: HookTable | None = None,
    ) -> None:
        self.hooks: HookTable = {} if hooks is None else hooks
        self._tasks = tasks
        self._clock = clock
        self._timer = timer
        self._loops = threading.local()
        self._wrapped_coroutines: set[str] = set()
        self._conversions = Conversions()

    @property
    def tasks(self) -> Mapping[str, TaskDefinition]:
        """The registered tasks, by name."""
        return self._tasks

    @property
    def packages(self) -> frozenset[str]:
        """The top-level packages and modules that declare tasks, except this package and the standard library."""
        modules = (str(getattr(each.function, "__module__", "")) for each in list(self._tasks.values()))
        return frozenset(module.partition(".")[0] for module in modules) - sys.stdlib_module_names - {_THIS_PACKAGE}

    def is_async(self, task: str) -> bool:
        """Whether the task's function is a coroutine function, or has returned a coroutine before.

        A plain function that wraps a coroutine function isn't known as such before its first run.
        """
        definition = self._tasks.get(task)
        return definition is not None and (definition.is_async or task in self._wrapped_coroutines)

    def run(
        self,
        invocation: Invocation,
        describe: Describe = ErrorInfo.of,
        encode: Encode = serializers.dumps,
        run: Run | None = None,
    ) -> Outcome:
        """Run the function in this thread; a coroutine function runs on an event loop that the thread keeps.

        Args:
            invocation: the run.
            describe: describes the exception that the run ends in.
            encode: writes the value as text.
            run: the run as its hooks see it, if they have been called; None: they are called here.

        Raises:
            TimeLimitExceeded: the caller raised it in the function.
            BaseException: the function raised an error that isn't an ``Exception``, such as ``SystemExit``.
        """
        if self.is_async(invocation.message.task):
            return self._loop_of_this_thread().run(self.arun(invocation, describe, encode))
        if self.hooks and run is None:
            hooked = self._hooked(invocation, describe)
            return hooked.carry_out(lambda: self.run(invocation, hooked.describe, encode, hooked.run), self.complete)
        token, adding = current_invocation.set(invocation), added_to_chord.set([])
        calling = called_within.set([] if self._has_trail(invocation) else None)
        started_at, began = self._clock(), self._timer()
        try:
            definition = self._definition(invocation)
            conversion = self._conversions.of(definition)
            args, kwargs = _arguments(definition, invocation, conversion)
            value = (definition if run is None else run).function(*args, **kwargs)
            if isinstance(value, CoroutineType):
                if run is None or run.function is definition.function:
                    self._wrapped_coroutines.add(definition.name)
                value = self._run_to_end(value, copy_context())
            if run is not None:
                run.value = value
            times = RunTimes(started_at, self._timer() - began)
            ended = self._succeeded(definition, value, times, describe, encode, conversion)
            return _with_changes(ended, invocation)
        except TimeLimitExceeded:
            raise
        except Exception as error:  # every error of a task has an outcome
            ended = self._ended(error, invocation, describe, run)
            return _with_changes(replace(ended, times=RunTimes(started_at, self._timer() - began)), invocation)
        finally:
            called_within.reset(calling)
            added_to_chord.reset(adding)
            current_invocation.reset(token)

    async def arun(
        self,
        invocation: Invocation,
        describe: Describe = ErrorInfo.of,
        encode: Encode = serializers.dumps,
        run: Run | None = None,
    ) -> Outcome:
        """Run the coroutine function on the running loop: see ``run``. Cancelling this coroutine cancels the task."""
        if self.hooks and run is None:
            hooked = self._hooked(invocation, describe)
            return await hooked.acarry_out(lambda: self.arun(invocation, hooked.describe, encode, hooked.run))
        token, adding = current_invocation.set(invocation), added_to_chord.set([])
        calling = called_within.set([] if self._has_trail(invocation) else None)
        started_at, began = self._clock(), self._timer()
        try:
            definition = self._definition(invocation)
            conversion = self._conversions.of(definition)
            args, kwargs = _arguments(definition, invocation, conversion)
            value = (definition if run is None else run).function(*args, **kwargs)
            if isawaitable(value):
                value = await value
            if run is not None:
                run.value = value
            times = RunTimes(started_at, self._timer() - began)
            ended = self._succeeded(definition, value, times, describe, encode, conversion)
            return _with_changes(ended, invocation)
        except TimeLimitExceeded:
            raise
        except Exception as error:  # every error of a task has an outcome
            ended = self._ended(error, invocation, describe, run)
            return _with_changes(replace(ended, times=RunTimes(started_at, self._timer() - began)), invocation)
        finally:
            called_within.reset(calling)
            added_to_chord.reset(adding)
            current_invocation.reset(token)

    def complete(self, awaitable: Awaitable[Any]) -> Any:
        """Await what a hook has returned, on the event loop that this thread keeps.

        The context variables that it sets are set for its caller, too.
        """
        context = copy_context()
        value = self._run_to_end(_awaited(awaitable), context)
        for variable, of in context.items():
            if variable.get(_UNSET) is not of:
                variable.set(of)
        return value

    def _hooked(self, invocation: Invocation, describe: Describe) -> HookedRun:
        from taskq_cloud.core.execution.hooked_runs import HookedRun  # few applications have hooks

        definition = self._tasks.get(invocation.message.task)
        return HookedRun(self.hooks, definition, invocation, describe, self._ended)

    def _loop_of_this_thread(self) -> asyncio.Runner:
        loop: _ThreadLoop | None = getattr(self._loops, "of_this_thread", None)
        if loop is None:
            loop = self._loops.of_this_thread = _ThreadLoop()
        return loop.runner

    def _run_to_end(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
        """Run the coroutine that a plain function has returned, in a copy of the context of this run."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._loop_of_this_thread().run(coroutine, context=context)
        # The loop of an eager call can't run it to its end, so the coroutine gets a loop in another thread.
        with ThreadPoolExecutor(1, thread_name_prefix="taskq-coroutine") as thread:
            return thread.submit(_run_in_new_loop, coroutine, context).result()

    def _definition(self, invocation: Invocation) -> TaskDefinition:
        try:
            return self._tasks[invocation.message.task]
        except KeyError:
            task = invocation.message.task
            raise NotRegistered(f"task {task!r} is not registered in this process: import its module") from None

    @staticmethod
    def _succeeded(
        definition: TaskDefinition,
        value: Any,
        times: RunTimes,
        describe: Describe,
        encode: Encode,
        conversion: Conversion | None,
    ) -> Outcome:
        try:
            value = value if conversion is None else conversion.dump_value(value)
        except EncodeError as error:  # another attempt would do the work again, for another such value
            return Failed(describe(error), called=_called(), times=times)
        try:
            return Succeeded(encode(value), tuple(added_to_chord.get() or ()), _called(), times=times)
        except EncodeError as error:
            unfit = EncodeError(f"the result of task {definition.name} is {error}")
            return Failed(describe(unfit), called=_called(), times=times)

    def _ended(self, error: Exception, invocation: Invocation, describe: Describe, run: Run | None = None) -> Outcome:
        message = invocation.message
        definition = self._tasks.get(message.task)
        options = definition.options if definition else TaskOptions()
        if definition is not None and isinstance(error, TypeError) and not isinstance(error, TaskQError):
            from taskq_cloud.core.execution import mismatch  # few runs end so

            error = mismatch.explained(error, definition, *_arguments(definition, invocation))
        if run is not None:
            run.exception = error
        if isinstance(error, ArgumentsInvalid) and error.received_by == message.id:
            options = replace(options, autoretry_for=())  # another attempt would have the same arguments
        outcome = retry.decide(error, message.task, message.id, message.retries, options, describe=describe)
        if isinstance(outcome, Retrying) and definition is not None:
            outcome = self._plain_retry(outcome, definition)
            outcome = retry.with_arguments(outcome, definition, message, error, describe)
        return replace(outcome, called=_called()) if isinstance(outcome, Failed) else outcome

    def _plain_retry(self, outcome: Retrying, definition: TaskDefinition) -> Retrying:
        """Write the new arguments of a retry as plain values."""
        if (outcome.args is None and outcome.kwargs is None) or not is_wanted(definition.options):
            return outcome
        conversion = self._conversions.of(definition)
        assert conversion is not None  # it is wanted
        args, kwargs = conversion.dump_part(outcome.args or (), outcome.kwargs or {})
        new_args, new_kwargs = outcome.args is not None, outcome.kwargs is not None
        return replace(outcome, args=args if new_args else None, kwargs=kwargs if new_kwargs else None)

    def _has_trail(self, invocation: Invocation) -> bool:
        definition = self._tasks.get(invocation.message.task)
        return definition is None or definition.options.trail


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _run_in_new_loop(coroutine: Coroutine[Any, Any, Any], context: Context) -> Any:
    with asyncio.Runner() as runner:
        return runner.run(coroutine, context=context)


def _with_changes(outcome: Outcome, invocation: Invocation) -> Outcome:
    """Add to an outcome what follows the task, if the run has changed it."""
    changed = changed_embed.get()
    if changed is None or changed[0] is not invocation:
        return outcome
    return replace(outcome, embed=changed[1])


def _called() -> tuple[str, ...]:
    return tuple(called_within.get() or ())


def _arguments(
    definition: TaskDefinition, invocation: Invocation, conversion: Conversion | None = None
) -> tuple[list[Any], dict[str, Any]]:
    args, kwargs = list(invocation.message.args), dict(invocation.message.kwargs)
    if conversion is not None and invocation.failed is None:
        try:
            loaded, named = conversion.load(args, kwargs)
        except ArgumentsInvalid as invalid:
            invalid.received_by = invocation.message.id
            raise
        args, kwargs = list(loaded), dict(named)
    if invocation.failed is not None:
        from taskq_cloud.core.records.exceptions import rebuild  # few tasks are errbacks

        failed, error = invocation.failed.message, invocation.failed.error
        request = definition.request(replace(invocation, message=failed, failed=None))
        exception = rebuild(error) if invocation.failed.exception is None else invocation.failed.exception
        args[:0] = [request, exception, error.traceback]
    elif definition.bind is not None:
        args.insert(0, definition.bind(invocation))
    return args, kwargs
