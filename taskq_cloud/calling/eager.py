"""Running a task in the calling process, with its retries: ``apply``, and every call under ``task_always_eager``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from taskq_cloud.core import serializers
from taskq_cloud.core.execution.runner import TaskRunner
from taskq_cloud.core.model import outcome as outcomes
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.outcome import Invocation, Outcome
from taskq_cloud.core.records import document, record
from taskq_cloud.core.workflows.successors import on_retry
from taskq_cloud.results.state import TaskState


def run_in_place(runner: TaskRunner, message: Message, replace: Callable[[Message, Signature], TaskState]) -> TaskState:
    """Run a task here and now, and return its final state. Arguments and result are serialised, as if they were sent.

    Args:
        runner: runs the task's function.
        message: the message of the call.
        replace: runs the workflow that replaces the task (``self.replace``), and returns its final state.

    Raises:
        EncodeError: the arguments can't be serialised, and so could not be sent either.
    """
    args, kwargs = serializers.loads(serializers.dumps([message.args, message.kwargs]))
    message = Message(task=message.task, id=message.id, args=args, kwargs=kwargs)
    outcome = run_here_and_now(runner, Invocation(message=message))
    while isinstance(outcome, outcomes.Retrying):
        message = on_retry(message, outcome, time.time())
        outcome = run_here_and_now(runner, Invocation(message=message))
    if isinstance(outcome, outcomes.Replaced):
        return replace(message, outcome.signature)
    return TaskState.of(_document(message, outcome))


def run_here_and_now(runner: TaskRunner, invocation: Invocation) -> Outcome:
    """Run a function to its end, whether an event loop runs here or not."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return runner.run(invocation)
    if not runner.is_async(invocation.message.task):
        return runner.run(invocation)
    # A loop that is running already can't run a coroutine to its end, so the coroutine gets a loop in another thread.
    with ThreadPoolExecutor(1, thread_name_prefix="taskq-eager") as thread:
        return thread.submit(runner.run, invocation).result()


def _document(message: Message, outcome: Outcome) -> str:
    match outcome:
        case outcomes.Succeeded():
            state, result, traceback = record.SUCCESS, outcome.payload, None
        case outcomes.Failed():
            state, traceback = record.FAILURE, outcome.error.traceback
            result = document.encode_error(outcome.error)
        case outcomes.Ignored():
            state, result, traceback = record.IGNORED, "null", None
        case outcomes.Rejected():
            state, result, traceback = record.REJECTED, serializers.dumps(outcome.reason), None
        case _:
            raise AssertionError(f"a run in place can't end in {outcome!r}")
    return document.encode(message, state, result, now=time.time(), traceback=traceback)
