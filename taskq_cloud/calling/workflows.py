"""The sending of workflows: the messages that a workflow begins with, and the result that stands for all of it.

All tasks of the workflow are checked, as far as they are known here, before the first message is sent.
``eager_workflows`` runs a workflow in place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from taskq_cloud.calling import defaults
from taskq_cloud.calling.tasks import raise_refusals
from taskq_cloud.core import serializers
from taskq_cloud.core.execution.run_context import current_invocation, note_called
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.messages.sending import Addressed, Transport, store_records
from taskq_cloud.core.model import task_names
from taskq_cloud.core.model.ids import new_call, new_id
from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.options import ignores_result
from taskq_cloud.core.workflows import errbacks, planner, shape, signatures
from taskq_cloud.core.workflows.chord_members import check_store_counts_members
from taskq_cloud.core.workflows.group_pages import Paging
from taskq_cloud.core.workflows.planner import Origin, Successor
from taskq_cloud.core.workflows.stages import (
    GroupStage,
    Stages,
    TaskStage,
    as_list,
    change_every_task,
    every_task,
    has_chord,
    marked_as_call,
    nests_too_deeply,
)
from taskq_cloud.errors import EncodeError
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.group_result import GroupResult
from taskq_cloud.runtime.protocols import Application

WorkflowResult: TypeAlias = AsyncResult[Any] | GroupResult | None
"""The result of a workflow's last task or group; None for an empty chain."""


def send(app: Application, signature: Signature) -> Flow[WorkflowResult]:
    """Send the messages that a workflow begins with.

    Args:
        app: the application.
        signature: the workflow, as plain JSON.

    Returns:
        The result of the last task, or of the last group; ``parent`` leads to the results of what comes before. None
        for an empty chain.

    Raises:
        TypeError: a task that is registered here does not take the arguments that it will get.
        ImproperlyConfigured: there is a chord, and the result store can't count its members.
        EncodeError, PayloadTooLarge, OperationalError: see ``Task.apply_async``.
    """
    written, last_id = _with_declared_options(app, read(signature)), new_id()
    stages = planner.with_ids(marked_as_call(written, new_call()), last_id)
    if not stages:
        return None
    _check(app, stages, 0)
    within = current_invocation.get()
    parent = within.message if within is not None else None
    paging = Paging.of(app.store, app.conf.task_fan_out_members, app.tasks, app.route)
    origin = Origin(now=time.time(), parent_id=parent.id if parent else None, paging=paging)
    first_ones = list(planner.start(stages, (), {}, origin))
    if first_ones:
        if app.conf.task_track_workflows:
            yield from shape.save(
                app.store, written, last_id, lambda stage: _ignores_result(app, stage), app.result_expires_at()
            )
        root_id = (parent.root_id or parent.id) if parent else first_ones[0].ids[0]
        rooted = [replace(each, message=replace(each.message, root_id=root_id)) for each in first_ones]
        yield from _send(app, stages, rooted)
        note_called(_children(app, first_ones))
    return result_of(app, stages)


def read(signature: Signature) -> Stages:
    """Read the stages of a workflow.

    Raises:
        InvalidTaskError: the signature isn't that of a workflow, or nests too deeply.
    """
    try:
        return signatures.parse(signature)
    except RecursionError:
        raise nests_too_deeply() from None


def result_of(app: Application, stages: Stages, *, counted: bool = False) -> WorkflowResult:
    """Make the result of the last stage; its parents are the results of the stages before.

    Args:
        app: the application.
        stages: the workflow, with its ids fixed.
        counted: a chord counts the last task, whose result is then stored even if results are ignored.
    """
    result: WorkflowResult = None
    for index, stage in enumerate(stages):
        last = index == len(stages) - 1
        match stage:
            case TaskStage():
                ignored = _ignores_result(app, stage) and not (last and counted)
                result = AsyncResult(str(stage.id), app, ignored=ignored, parent=result)
            case GroupStage():
                members = [result_of(app, member, counted=not last) for member in stage.members]
                result = GroupResult(str(stage.id), members, result, app)
    return result


def _ignores_result(app: Application, stage: TaskStage) -> bool:
    return ignores_result(
        stage.options.get("ignore_result"),
        app.options_of(stage.task),
        app.conf.task_ignore_result,
        in_chord=stage.options.get("chord") is not None,
    )


def _children(app: Application, sent: Sequence[Successor]) -> Iterator[str]:
    """The ids that the task which sends the workflow has among its children; tasks without a result are left out."""
    for each in sent:
        message = each.message
        ignored = ignores_result(
            message.ignore_result,
            app.options_of(message.task),
            app.conf.task_ignore_result,
            in_chord=message.embed.chord is not None,
        )
        if each.options.get("add_to_parent", True) and not ignored:
            yield from each.ids


def _with_declared_options(app: Application, stages: Stages) -> Stages:
    """Give each task the options of its declaration, and of its route, that its message carries."""
    return change_every_task(stages, lambda stage: defaults.with_defaults(app, stage))


def _check(app: Application, stages: Stages, given: int) -> None:
    """Check the arguments that the tasks registered here will get, linked tasks included.

    Args:
        app: the application.
        stages: the workflow.
        given: the number of values that the first stage gets from what comes before.

    Raises:
        TypeError: a task does not take its arguments.
        OptionError: no worker can obey an option of a task.
        ImproperlyConfigured: there is a chord, and the result store can't count its members.
    """
    if has_chord(stages):
        check_store_counts_members(app.store)
    for stage in stages:
        match stage:
            case TaskStage(signature=signature):
                signatures.checked_options(signature)
                came_before = 0 if signature.get("immutable") else given
                args = (*([None] * came_before), *(signature.get("args") or ()))
                app.check_arguments(stage.task, args, signature.get("kwargs") or {})
                _check_linked(app, stage)
            case GroupStage(members=members):
                for member in members:
                    _check(app, member, given)
        given = 1


def _check_linked(app: Application, stage: TaskStage) -> None:
    """Check the tasks that a task is linked to, and the calls of ``map`` and ``starmap`` for their items."""
    for linked in as_list(stage.options.get("link")):
        _check(app, read(linked), 1)
    for linked in as_list(stage.options.get("link_error")):
        if not errbacks.takes_failure(linked, app.runner.tasks):
            _check(app, read(linked), 1)
    match stage.signature:
        case {"task": task_names.MAP | task_names.STARMAP as kind, "kwargs": {"task": {} as called, "it": [*items]}}:
            own, kwargs = called.get("args") or (), called.get("kwargs") or {}
            for item in items:
                args = item if kind == task_names.STARMAP else (item,)
                app.check_arguments(called["task"], (*args, *own), kwargs)


def _send(app: Application, stages: Stages, messages: Sequence[Successor]) -> Flow[None]:
    outbox, addressed = app.outbox, list[Addressed]()
    try:
        for each in messages:
            if each.largest is not None:
                outbox.check_size(each.largest.message.task, _address(app, each.largest))
            addressed.append(_address(app, each))
    except EncodeError:
        _name_task_not_encoded(stages)
        raise
    yield from store_records(app.store, addressed)
    raise_refusals(
        (yield from outbox.send(addressed)),
        (),
        one=f"the workflow that begins with task {messages[0].message.task}",
        all_of_them=f"the first {len(messages)} messages of a workflow",
    )


def _address(app: Application, successor: Successor) -> Addressed:
    message, now = successor.message, time.time()
    transport = Transport.of(successor.options, app.options_of(message.task))
    addressed = app.outbox.address(message, successor.queue or app.route(message.task), now, transport)
    return replace(addressed, records=[page.record(now) for page in successor.pages])


def _name_task_not_encoded(stages: Stages) -> None:
    """Raise ``EncodeError`` with the name of the task whose arguments can't be encoded.

    The message that could not be encoded is often that of another task, which carries along what follows it.
    """
    for stage in every_task(stages):
        try:
            serializers.dumps([stage.signature.get("args"), stage.signature.get("kwargs")])
        except EncodeError as error:
            raise EncodeError(f"task {stage.task}: its arguments are {error}") from error
