"""Runs a workflow in place, one task after the other: ``apply``, and all workflows under ``task_always_eager``.

Nothing is sent or stored. How one task runs in place is ``eager``'s part.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from taskq_cloud.calling.eager import run_here_and_now
from taskq_cloud.calling.options import call_options
from taskq_cloud.calling.workflows import Application, read
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Message, Signature
from taskq_cloud.core.model.outcome import ErrorInfo, FailedCall, Invocation, Succeeded
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, SUCCESS
from taskq_cloud.core.workflows import errbacks, planner, signatures
from taskq_cloud.core.workflows.chord_members import OF_CHORDS
from taskq_cloud.core.workflows.planner import Origin
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage, set_on_last, tasks_told_of_failure
from taskq_cloud.errors import ChordError
from taskq_cloud.results.async_result import EagerResult
from taskq_cloud.results.group_result import GroupResult
from taskq_cloud.results.state import TaskState

logger = logging.getLogger("taskq_cloud.eager")

_LEFT_OUT: Final = ("group_id", "group_index", "chord", *OF_CHORDS)


def run_workflow(app: Application, signature: Signature) -> Any:
    """Run a workflow in place, one task after the other."""
    stages = planner.fix(read(signature), new_id())
    return _run_line(app, stages, ()) if stages else None


def replace_here(app: Application, message: Message, signature: Signature) -> Any:
    """Run in place what replaces a task that ran so; the result of its last task, which has the task's id."""
    stages = planner.ending_in_a_task(signatures.parse(signature))
    return _run_line(app, planner.fix(set_on_last(stages, {"task_id": message.id}), message.id), ())


def _run_line(app: Application, stages: Stages, args: Sequence[Any]) -> Any:
    result: Any = None
    for index, stage in enumerate(stages):
        before = result
        match stage:
            case TaskStage():
                result = _run_step(app, stage, args)
                result.parent = before
                if result.state != SUCCESS:
                    return _fail_line(app, stages[index + 1 :], result, result.load())
                args = (result.result,)
            case GroupStage():
                members = [_run_line(app, member, args) for member in stage.members]
                result = GroupResult(str(stage.id), members, before, app)
                rest = stages[index + 1 :]
                if rest and not result.successful():
                    state = _chord_failed(result)
                    for hearer in tasks_told_of_failure(rest):
                        _tell_errbacks(app, hearer, state)
                    return _fail_line(app, rest, result, state)
                args = (result.get(propagate=False) if rest else None,)
    return result


def _run_step(app: Application, stage: TaskStage, args: Sequence[Any]) -> EagerResult[Any]:
    signature = stage.signature
    given = () if signature.get("immutable") else args
    left_out = (*_LEFT_OUT, "stamped_headers", *(stage.options.get("stamped_headers") or ()))
    options = {name: value for name, value in stage.options.items() if name not in left_out}
    return app.eager(
        stage.task,
        [*given, *(signature.get("args") or ())],
        signature.get("kwargs") or {},
        call_options(stage.task, options),
    )


def follow_here(app: Application, result: EagerResult[Any], message: Message) -> None:
    """Run in place what is linked to a task that ran so."""
    if result.state != SUCCESS:
        _call_errbacks(app, message, result.load())
        return
    for follower in message.embed.callbacks or ():
        _run_line(app, planner.fix(signatures.parse(follower), new_id()), (result.result,))


def _tell_errbacks(app: Application, stage: TaskStage, state: TaskState) -> None:
    """Run the errbacks of a task that doesn't run, as what it waited for has failed."""
    signature = stage.with_options(task_id=str(stage.id)).signature
    _call_errbacks(app, planner.to_message(signature, (), {}, Origin(now=time.time())).message, state)


def _call_errbacks(app: Application, message: Message, state: TaskState) -> None:
    """Run the errbacks of a task that has failed, with its id; call those that take the error itself."""
    here = errbacks.called_here(message, app.runner.tasks)
    for index, errback in enumerate(message.embed.errbacks or ()):
        if index in here:
            _call_errback(app, message, errback, ErrorInfo.of(state.result))
        else:
            _run_line(app, planner.fix(signatures.parse(errback), new_id()), (message.id,))


def _call_errback(app: Application, failed: Message, errback: Signature, error: ErrorInfo) -> None:
    args, kwargs = errback.get("args") or (), errback.get("kwargs") or {}
    message = Message(task=errback["task"], id=new_id(), args=args, kwargs=kwargs)
    outcome = run_here_and_now(app.runner, Invocation(message=message, failed=FailedCall(failed, error)))
    if not isinstance(outcome, Succeeded):
        # As in Celery: what an errback raises is no one's result.
        extra = {"action": "errback.failed", "task": message.task, "task_id": failed.id}
        logger.error("errback %s of task %s[%s] failed: %s", message.task, failed.task, failed.id, outcome, extra=extra)


def _chord_failed(header: GroupResult) -> TaskState:
    failed = next(each for each in header.leaves() if not each.successful())
    return _failure(str(header.id), ChordError(f"Dependency {failed.id} raised {failed.result!r}"))


def _fail_line(app: Application, stages: Stages, before: Any, state: TaskState) -> Any:
    """The tasks that don't run end as the one before."""
    result = before
    for stage in stages:
        match stage:
            case TaskStage():
                ended: Any = EagerResult(str(stage.id), app, state)
            case GroupStage():
                members = [_fail_line(app, member, None, state) for member in stage.members]
                ended = GroupResult(str(stage.id), members, app=app)
        ended.parent = result
        result = ended
    return result


def _failure(task_id: str, error: Exception) -> TaskState:
    text = document.encode_error(ErrorInfo.of(error))
    return TaskState.of(document.encode(Message(task="", id=task_id), FAILURE, text, now=time.time()))
