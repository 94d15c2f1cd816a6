"""Running in place: one task with what follows it, or a whole workflow, one task after the other.

This is ``apply``, and every call under ``task_always_eager``. No message is sent. ``eager`` runs the function of one
task, and ``eager_results`` stores its result if a setting asks for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from taskq_cloud.calling import eager_results
from taskq_cloud.calling.eager import run_here_and_now, run_in_place
from taskq_cloud.calling.options import CallOptions, call_options, make_message
from taskq_cloud.calling.workflows import WorkflowResult, read
from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.outcome import ErrorInfo, FailedCall, Invocation, Succeeded
from taskq_cloud.core.records import document
from taskq_cloud.core.records.document import RunDetails
from taskq_cloud.core.records.record import FAILURE, SUCCESS
from taskq_cloud.core.workflows import errbacks, planner, signatures, successors
from taskq_cloud.core.workflows.planner import Origin
from taskq_cloud.core.workflows.signatures import CHORD_OPTIONS
from taskq_cloud.core.workflows.stages import (
    GroupStage,
    Stages,
    TaskStage,
    every_task,
    set_on_last,
    tasks_told_of_failure,
)
from taskq_cloud.errors import ChordError, shown
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
    return run_message(app, make_message(task, args, kwargs, options, app.options_of(task)))


def run_message(app: Application, message: Message) -> EagerResult[Any]:
    """Run the task of a message in place, with its retries, and then what is linked to it; errors as ``run_task``."""
    stores, replacement = eager_results.is_stored(app, message), partial(_run_replacement, app)
    details = eager_results.details(app) if stores else RunDetails()
    by_reference = not app.serializes_in_place
    state = run_in_place(app.runner, message, replacement, details, by_reference=by_reference)
    if stores:
        eager_results.store(app, message, state)
    result: EagerResult[Any] = EagerResult(message.id, app, state)
    _run_linked(app, result, message)
    if app.conf.task_eager_propagates:
        result.get()
    return result


def run_workflow(app: Application, signature: Signature) -> WorkflowResult:
    """Run a workflow in place, one task after the other; the result of its last task or group, None without one."""
    return _run_stages(app, planner.with_ids(read(signature), new_id()), (), _origin_here())


def _origin_here() -> Origin:
    """The origin of a workflow that is called here, which may be inside a task."""
    within = current_invocation.get()
    return Origin(now=time.time()) if within is None else _origin_after(within.message)


def _origin_after(message: Message) -> Origin:
    """The origin of the tasks that follow from a task."""
    return successors.origin_of(message, time.time(), None, resent=False)


def _run_replacement(app: Application, message: Message, signature: Signature) -> TaskState:
    """Run the workflow that replaces a task; its last task has the task's id, and its first one the task's parent."""
    stages = planner.ending_in_a_task(signatures.parse(signature))
    place = {"task_id": message.id, "group_id": message.group, "group_index": message.group_index}
    origin = replace(_origin_after(message), parent_id=message.parent_id)
    result = _run_stages(app, planner.with_ids(set_on_last(stages, place), message.id), (), origin)
    assert isinstance(result, AsyncResult)  # the stages end in a task
    return result.load()


def _run_stages(app: Application, stages: Stages, args: Sequence[Any], origin: Origin) -> WorkflowResult:
    result: WorkflowResult = None
    for index, stage in enumerate(stages):
        before, rest = result, stages[index + 1 :]
        # Where a group begins the workflow, its first task is the root of all.
        origin = replace(origin, root_id=origin.root_id or _first_id(stages))
        match stage:
            case TaskStage():
                ended = _run_stage(app, stage, args, origin)
                ended.parent = before
                if ended.state != SUCCESS:
                    return _fail_stages(app, rest, ended, ended.load())
                result, args = ended, (ended.result,)
                origin = replace(origin, parent_id=ended.id)
            case GroupStage():
                group = _run_group(app, stage, args, origin)
                group.parent = before
                if rest and not group.successful():
                    state = _chord_failed(group)
                    for body in tasks_told_of_failure(rest):
                        _call_errbacks_of_task_not_run(app, body, state)
                    return _fail_stages(app, rest, group, state)
                # The values are here: a group that was run in place, perhaps inside a task, is not waited for.
                values = group.get(propagate=False, disable_sync_subtasks=False) if rest else None
                result, args = group, (values,)
                last = next(reversed(group.leaves()), None)
                origin = origin if last is None else replace(origin, parent_id=last.id)
    return result


def _run_group(app: Application, group: GroupStage, args: Sequence[Any], origin: Origin) -> GroupResult:
    results = []
    for index, member in enumerate(group.members):
        place = {"group_id": str(group.id), "group_index": index}
        placed = member if isinstance(member[-1], GroupStage) else set_on_last(member, place)
        results.append(_run_stages(app, placed, args, origin))
    return GroupResult(str(group.id), results, app=app)


def _first_id(stages: Stages) -> str | None:
    return next((str(task.id) for task in every_task(stages)), None)


def _run_stage(app: Application, stage: TaskStage, args: Sequence[Any], origin: Origin) -> EagerResult[Any]:
    signature = stage.signature
    given = () if signature.get("immutable") else args
    left_out = (*_PLACE_OPTIONS, "stamped_headers", *(stage.options.get("stamped_headers") or ()))
    options = {name: value for name, value in stage.options.items() if name not in left_out}
    message = make_message(
        stage.task,
        [*given, *(signature.get("args") or ())],
        signature.get("kwargs") or {},
        call_options(stage.task, options),
        app.options_of(stage.task),
    )
    group, index = stage.options.get("group_id"), stage.options.get("group_index")
    placed = replace(message, root_id=origin.root_id, parent_id=origin.parent_id, group=group, group_index=index)
    return run_message(app, placed)


def _run_linked(app: Application, result: EagerResult[Any], message: Message) -> None:
    """Run the callbacks of a task that has succeeded, or the errbacks of one that has not."""
    if result.state == FAILURE:
        _call_errbacks(app, message, result.load())
    for callback in message.embed.callbacks or () if result.state == SUCCESS else ():
        stages = planner.with_ids(signatures.parse(callback), new_id())
        _run_stages(app, stages, (result.result,), _origin_after(message))


def _call_errbacks_of_task_not_run(app: Application, stage: TaskStage, state: TaskState) -> None:
    """Run the errbacks of a task that will not run, since a task before it has failed."""
    signature = stage.with_options(task_id=str(stage.id)).signature
    _call_errbacks(app, planner.to_message(signature, (), {}, Origin(now=time.time())).message, state)


def _call_errbacks(app: Application, message: Message, state: TaskState) -> None:
    """Run the errbacks of a task that has failed: some get the exception, the others the task's id."""
    with_exception = errbacks.called_errbacks(message, app.runner.tasks)
    for index, errback in enumerate(message.embed.errbacks or ()):
        if index in with_exception:
            _call_with_exception(app, message, errback, state.result)
        else:
            stages = planner.with_ids(signatures.parse(errback), new_id())
            _run_stages(app, stages, (message.id,), _origin_after(message))


def _call_with_exception(app: Application, failed: Message, errback: Signature, error: Exception) -> None:
    args, kwargs = errback.get("args") or (), errback.get("kwargs") or {}
    message = Message(task=errback["task"], id=new_id(), args=args, kwargs=kwargs)
    call = FailedCall(failed, ErrorInfo.of(error), error)
    outcome = run_here_and_now(app.runner, Invocation(message=message, failed=call))
    if not isinstance(outcome, Succeeded):
        # As in Celery: an exception that an errback raises is nobody's result.
        extra = {"action": "errback.failed", "task": message.task, "task_id": failed.id}
        logger.error("errback %s of task %s[%s] failed: %s", message.task, failed.task, failed.id, outcome, extra=extra)


def _chord_failed(header: GroupResult) -> TaskState:
    failed = next(each for each in header.leaves() if not each.successful())
    error = ChordError(f"Dependency {failed.id} raised {shown(failed.result)}")
    error.__cause__ = failed.result if isinstance(failed.result, BaseException) else None
    return _failure(str(header.id), error)


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
    described = document.encode(Message(task="", id=task_id), FAILURE, ErrorInfo.of(error), now=time.time())
    return replace(TaskState.of(described), result=error)
