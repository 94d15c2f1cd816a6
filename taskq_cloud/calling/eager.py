"""Running a task in the calling process, with its retries: ``apply``, and every call under ``task_always_eager``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskq_cloud.core import serializers
from taskq_cloud.core.execution.retry import Describe
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model import outcome as outcomes
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.outcome import ErrorInfo, Invocation, Outcome
from taskq_cloud.core.records import document, record
from taskq_cloud.core.records.document import RunDetails
from taskq_cloud.core.workflows.successors import on_retry
from taskq_cloud.results.state import TaskState


class _Raised:
    """Keeps the exception that a run has ended in, beside its description."""

    def __init__(self) -> None:
        self.exception: BaseException | None = None
        self._description: ErrorInfo | None = None

    def describe(self, error: BaseException) -> ErrorInfo:
        self.exception, self._description = error, ErrorInfo.of(error)
        return self._description

    def is_end_of(self, outcome: Outcome) -> bool:
        return isinstance(outcome, outcomes.Failed) and outcome.error is self._description


class _Returned:
    """Keeps the value that a run has returned, which is not serialised."""

    def __init__(self) -> None:
        self.value: Any = None

    def keep(self, value: Any) -> str:
        self.value = value
        return "null"


def run_in_place(
    runner: TaskRunner,
    message: Message,
    run_replacement: Callable[[Message, Signature], TaskState],
    details: RunDetails = RunDetails(),
    *,
    by_reference: bool = False,
) -> TaskState:
    """Run a task here and now, and return its final state. Arguments and result are serialised, as if they were sent.

    The state of a failed task has the exception that was raised, and not one that was made anew.

    Args:
        runner: runs the task's function.
        message: the message of the call.
        run_replacement: runs the workflow that replaces the task (``self.replace``), and returns its final state.
        details: the parts of the result document that only the run of the task knows.
        by_reference: the task gets its arguments as they are, and its value stays as it is: nothing is serialised.

    Raises:
        EncodeError: the arguments can't be serialised, and so could not be sent either.
    """
    if not by_reference:
        args, kwargs = serializers.loads(serializers.dumps([message.args, message.kwargs]))
        message = _bare(replace(message, args=args, kwargs=kwargs))
    message = replace(message, root_id=message.root_id or message.id)
    raised, returned = _Raised(), _Returned()
    encode = returned.keep if by_reference else serializers.dumps
    outcome = run_here_and_now(runner, Invocation(message=message), raised.describe, encode)
    while isinstance(outcome, outcomes.Retrying):
        message = on_retry(message, outcome, time.time())
        outcome = run_here_and_now(runner, Invocation(message=message), raised.describe, encode)
    if isinstance(outcome, outcomes.Replaced):
        return run_replacement(message, outcome.signature)
    state = TaskState.of(_document(message, outcome, details))
    if by_reference and isinstance(outcome, outcomes.Succeeded):
        return replace(state, result=returned.value)
    return replace(state, result=raised.exception) if raised.is_end_of(outcome) else state


def _bare(message: Message) -> Message:
    """The message as a run in place sees it: without the options that only matter to a worker."""
    return Message(
        task=message.task,
        id=message.id,
        args=message.args,
        kwargs=message.kwargs,
        root_id=message.root_id,
        parent_id=message.parent_id,
        group=message.group,
        group_index=message.group_index,
    )


def run_here_and_now(
    runner: TaskRunner,
    invocation: Invocation,
    describe: Describe = ErrorInfo.of,
    encode: Callable[[Any], str] = serializers.dumps,
) -> Outcome:
    """Run a function to its end, whether an event loop runs here or not."""
    if not _loop_runs_here() or not runner.is_async(invocation.message.task):
        return runner.run(invocation, describe, encode)
    # A loop that is running already can't run a coroutine to its end, so the coroutine gets a loop in another thread.
    # That loop is closed at once: an exception that is kept would keep it open with its frames.
    with ThreadPoolExecutor(1, thread_name_prefix="taskq-eager") as thread:
        return thread.submit(asyncio.run, runner.arun(invocation, describe, encode)).result()


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False  # and the task runs outside of this, or its exception would have this one as its context
    return True


def _document(message: Message, outcome: Outcome, details: RunDetails) -> str:
    match outcome:
        case outcomes.Succeeded():
            state, result = record.SUCCESS, outcome.payload
        case outcomes.Failed():
            return document.encode(message, record.FAILURE, outcome.error, now=time.time(), run=details)
        case outcomes.Ignored():
            state, result = record.IGNORED, "null"
        case outcomes.Rejected():
            state, result = record.REJECTED, serializers.dumps(outcome.reason)
        case _:
            raise AssertionError(f"a run in place can't end in {outcome!r}")
    return document.encode(message, state, result, now=time.time(), run=details)
