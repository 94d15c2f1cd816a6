"""Running in place: one task with what follows it, or a whole workflow, one task after the other.

This is ``apply``, and every call under ``task_always_eager``. No message is sent and no result is stored. ``eager``
runs the function of one task.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from taskq_cloud.calling.eager import run_here_and_now, run_in_place
from taskq_cloud.calling.options import CallOptions, call_options, make_message
from taskq_cloud.calling.workflows import WorkflowResult, read
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.outcome import ErrorInfo, FailedCall, Invocation, Succeeded
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, SUCCESS
from taskq_cloud.core.workflows import errbacks, planner, signatures
from taskq_cloud.core.workflows.planner import Origin
from taskq_cloud.core.workflows.signatures import CHORD_OPTIONS
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage, set_on_last, tasks_told_of_failure
from taskq_cloud.errors import ChordError
from taskq_cloud.results.async_result import AsyncResult, EagerResult
from taskq_cloud.results.group_result import GroupResult
from taskq_cloud.results.state import TaskState
from taskq_cloud.runtime.protocols import Application

logger = logging.getLogger("taskq_cloud.eager")

_PLACE_OPTIONS: Final = ("group_id", "group_index", "chord", *CHORD_OPTIONS)
"""Options that say where a task stands in a workflow; ``apply_async`` does not take them."""


def run_task(
    app: Application, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions
) -> EagerResult[Any]:
    """Run a task in place, with its retries, and then what is linked to it.

    Raises:
        EncodeError: the arguments can't be serialised.
        Exception: the task's own exception, with ``task_eager_propagates``.
    """
    message = make_message(task, args, kwargs, options, app.options_of(task))
    state = run_in_place(app.runner, message, partial(_run_replacement, app))
    result: EagerResult[Any] = EagerResult(message.id, app, state)
    _run_linked(app, result, message)
    if app.conf.task_eager_propagates:
        result.get()
    return result


def run_workflow(app: Application, signature: Signature) -> WorkflowResult:
    """Run a workflow in place, one task after the other; the result of its last task or group, None without one."""
    return _run_stages(app, planner.with_ids(read(signature), new_id()), ())


def _run_replacement(app: Application, message: Message, signature: Signature) -> TaskState:
    """Run the workflow that replaces a task; its last task has the task's id."""
    stages = planner.ending_in_a_task(signatures.parse(signature))
    result = _run_stages(app, planner.with_ids(set_on_last(stages, {"task_id": message.id}), message.id), ())
    assert isinstance(result, AsyncResult)  # the stages end in a task
    return result.load()


def _run_stages(app: Application, stages: Stages, args: Sequence[Any]) -> WorkflowResult:
    result: WorkflowResult = None
    for index, stage in enumerate(stages):
        before, rest = result, stages[index + 1 :]
        match stage:
            case TaskStage():
                ended = _run_stage(app, stage, args)
                ended.parent = before
                if ended.state != SUCCESS:
                    return _fail_stages(app, rest, ended, ended.load())
                result, args = ended, (ended.result,)
            case GroupStage():
                members = [_run_stages(app, member, args) for member in stage.members]
                group = GroupResult(str(stage.id), members, before, app)
                if rest and not group.successful():
                    state = _chord_failed(group)
                    for body in tasks_told_of_failure(rest):
                        _call_errbacks_of_task_not_run(app, body, state)
                    return _fail_stages(app, rest, group, state)
                result, args = group, (group.get(propagate=False) if rest else None,)
    return result


def _run_stage(app: Application, stage: TaskStage, args: Sequence[Any]) -> EagerResult[Any]:
    signature = stage.signature
    given = () if signature.get("immutable") else args
    left_out = (*_PLACE_OPTIONS, "stamped_headers", *(stage.options.get("stamped_headers") or ()))
    options = {name: value for name, value in stage.options.items() if name not in left_out}
    return run_task(
        app,
        stage.task,
        [*given, *(signature.get("args") or ())],
        signature.get("kwargs") or {},
        call_options(stage.task, options),
    )


def _run_linked(app: Application, result: EagerResult[Any], message: Message) -> None:
    """Run the callbacks of a task that has succeeded, or the errbacks of one that has not."""
    if result.state != SUCCESS:
        _call_errbacks(app, message, result.load())
        return
    for callback in message.embed.callbacks or ():
        _run_stages(app, planner.with_ids(signatures.parse(callback), new_id()), (result.result,))


def _call_errbacks_of_task_not_run(app: Application, stage: TaskStage, state: TaskState) -> None:
    """Run the errbacks of a task that will not run, since a task before it has failed."""
    signature = stage.with_options(task_id=str(stage.id)).signature
    _call_errbacks(app, planner.to_message(signature, (), {}, Origin(now=time.time())).message, state)


def _call_errbacks(app: Application, message: Message, state: TaskState) -> None:
    """Run the errbacks of a task that has failed: some get the exception, the others the task's id."""
    with_exception = errbacks.called_errbacks(message, app.runner.tasks)
    for index, errback in enumerate(message.embed.errbacks or ()):
        if index in with_exception:
            _call_with_exception(app, message, errback, ErrorInfo.of(state.result))
        else:
            _run_stages(app, planner.with_ids(signatures.parse(errback), new_id()), (message.id,))


def _call_with_exception(app: Application, failed: Message, errback: Signature, error: ErrorInfo) -> None:
    args, kwargs = errback.get("args") or (), errback.get("kwargs") or {}
    message = Message(task=errback["task"], id=new_id(), args=args, kwargs=kwargs)
    outcome = run_here_and_now(app.runner, Invocation(message=message, failed=FailedCall(failed, error)))
    if not isinstance(outcome, Succeeded):
        # As in Celery: an exception that an errback raises is nobody's result.
        extra = {"action": "errback.failed", "task": message.task, "task_id": failed.id}
        logger.error("errback %s of task %s[%s] failed: %s", message.task, failed.task, failed.id, outcome, extra=extra)


def _chord_failed(header: GroupResult) -> TaskState:
    failed = next(each for each in header.leaves() if not each.successful())
    return _failure(str(header.id), ChordError(f"Dependency {failed.id} raised {failed.result!r}"))


def _fail_stages(
    app: Application, stages: Stages, before: WorkflowResult, state: TaskState
) -> AsyncResult[Any] | GroupResult | None:
    """End the tasks that will not run in the state of the task that kept them from it."""
    result = before
    for stage in stages:
        match stage:
            case TaskStage():
                ended: AsyncResult[Any] | GroupResult = EagerResult(str(stage.id), app, state)
            case GroupStage():
                members = [_fail_stages(app, member, None, state) for member in stage.members]
                ended = GroupResult(str(stage.id), members, app=app)
        ended.parent = result
        result = ended
    return result


def _failure(task_id: str, error: Exception) -> TaskState:
    text = document.encode_error(ErrorInfo.of(error))
    return TaskState.of(document.encode(Message(task="", id=task_id), FAILURE, text, now=time.time()))
