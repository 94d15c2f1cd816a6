"""Sends a workflow: what ``canvas``'s signatures ask of the application. ``in_place`` runs one here and now.

Everything that can be wrong with any of its tasks, as far as it is known here, shows before the first message is sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from taskq_cloud.calling.options import CallOptions
from taskq_cloud.core import serializers
from taskq_cloud.core.execution.context import first, make_paging
from taskq_cloud.core.execution.runner import TaskRunner, current_invocation, note_called
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import sending
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.sending import Addressed
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import Refused, Signature
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.ports import Broker
from taskq_cloud.core.workflows import errbacks, planner, shape, signatures
from taskq_cloud.core.workflows.chord_members import check_store_counts_members
from taskq_cloud.core.workflows.planner import Origin, Successor
from taskq_cloud.core.workflows.stages import (
    GroupStage,
    Stages,
    TaskStage,
    as_list,
    change_every_task,
    check_depth,
    every_task,
    has_chord,
    nests_too_deeply,
)
from taskq_cloud.errors import EncodeError, SendError
from taskq_cloud.results.async_result import AsyncResult, EagerResult
from taskq_cloud.results.group_result import GroupResult
from taskq_cloud.runtime.protocols import Backend
from taskq_cloud.settings import Settings


class Application(Backend, Protocol):
    """What is asked of it."""

    @property
    def conf(self) -> Settings:
        """The settings."""
        ...

    @property
    def broker(self) -> Broker:
        """The message broker."""
        ...

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The tasks that are registered here."""
        ...

    @property
    def runner(self) -> TaskRunner:
        """What runs their functions."""
        ...

    @property
    def codec(self) -> Codec:
        """How messages are written."""
        ...

    def options_of(self, task: str) -> TaskOptions:
        """The options of a task."""
        ...

    def route(self, task: str) -> str:
        """The queue of a task."""
        ...

    def check_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Whether a task that is known here takes these; raises ``TypeError``."""
        ...

    def eager(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: CallOptions
    ) -> EagerResult[Any]:
        """Run one task in place."""
        ...


def send(app: Application, signature: Signature) -> Flow[Any]:
    """Send what a workflow begins with; its result, or None where there is nothing in it."""
    written, last_id = _with_defaults(app, read(signature)), new_id()
    stages = planner.fix(written, last_id)
    if not stages:
        return None
    _check(app, stages, 0)
    within = current_invocation.get()
    parent = within.message if within is not None else None
    paging = make_paging(app.store, app.conf.task_fan_out_members, app.tasks, app.route)
    origin = Origin(now=time.time(), parent_id=parent.id if parent else None, paging=paging)
    first_ones = list(planner.start(stages, (), {}, origin))
    if first_ones:
        if app.conf.task_track_workflows:
            yield from _record(app, written, last_id)
        root_id = (parent.root_id or parent.id) if parent else first_ones[0].ids[0]
        yield from _send(
            app, stages, [replace(each, message=replace(each.message, root_id=root_id)) for each in first_ones]
        )
        note_called(task_id for each in first_ones if _leaves_a_trail(app, each) for task_id in each.ids)
    return result_of(app, stages)


def read(signature: Signature) -> Stages:
    """The line of a workflow.

    Raises:
        InvalidTaskError: it is none, or nests too deeply.
    """
    try:
        stages = signatures.parse(signature)
    except RecursionError:
        raise nests_too_deeply() from None
    check_depth(stages)
    return stages


def _record(app: Application, written: Stages, last_id: str) -> Flow[None]:
    def ignores(step: TaskStage) -> bool:
        return _ignores_result(app, step)

    yield from shape.save(app.store, written, last_id, ignores, app.result_expires_at())


def result_of(app: Application, stages: Stages, *, counted: bool = False) -> Any:
    """The result of a line's last stage, whose parents are those of the stages before.

    Args:
        app: the application.
        stages: with its ids fixed.
        counted: a chord counts its last task, whose result is stored even where results are ignored.
    """
    result: Any = None
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


def _ignores_result(app: Application, step: TaskStage) -> bool:
    """Whether a task's result is not stored: the call, else the task, else the settings; of a chord's member it is."""
    of_task, ignored = app.options_of(step.task).ignore_result, step.options.get("ignore_result")
    return bool(first(ignored, of_task, app.conf.task_ignore_result)) and step.options.get("chord") is None


def _leaves_a_trail(app: Application, successor: Successor) -> bool:
    """Whether the task that sends this is to have it among its children: not where nothing can be read of it."""
    message = successor.message
    wanted = successor.options.get("add_to_parent", True)
    ignored = first(message.ignore_result, app.options_of(message.task).ignore_result, app.conf.task_ignore_result)
    return bool(wanted and (message.embed.chord is not None or not ignored))


def _with_defaults(app: Application, stages: Stages) -> Stages:
    """The options that a task was declared with and that its messages carry."""

    def change(step: TaskStage) -> TaskStage:
        inner = signatures.of_map(step.signature)
        options = app.options_of(inner or step.task)
        wanted: dict[str, Any] = {"expires": options.expires, "priority": options.priority or None}
        if inner is not None:
            wanted["queue"] = app.route(inner)
        missing = {name: value for name, value in wanted.items() if value is not None and name not in step.options}
        return step.with_options(**missing) if missing else step

    return change_every_task(stages, change)


def _check(app: Application, stages: Stages, given: int) -> None:
    """Whether every task that is known here takes what it will be given, those that others are linked to included.

    Raises:
        TypeError: one doesn't.
        ImproperlyConfigured: there is a chord, and a result store that can't count.
    """
    if has_chord(stages):
        check_store_counts_members(app.store)
    for stage in stages:
        match stage:
            case TaskStage(signature=signature):
                came_before = 0 if signature.get("immutable") else given
                args = (*([None] * came_before), *(signature.get("args") or ()))
                app.check_arguments(stage.task, args, signature.get("kwargs") or {})
                _check_inside(app, stage)
            case GroupStage(members=members):
                for member in members:
                    _check(app, member, given)
        given = 1


def _check_inside(app: Application, step: TaskStage) -> None:
    """Likewise what a task is linked to, and what ``map`` and ``starmap`` call for their items."""
    for linked in as_list(step.options.get("link")):
        _check(app, read(linked), 1)
    for linked in as_list(step.options.get("link_error")):
        if not errbacks.takes_failure(linked, app.runner.tasks):
            _check(app, read(linked), 1)
    match step.signature:
        case {"task": signatures.MAP | signatures.STARMAP as kind, "kwargs": {"task": {} as called, "it": [*items]}}:
            own, kwargs = called.get("args") or (), called.get("kwargs") or {}
            for item in items:
                args = item if kind == signatures.STARMAP else (item,)
                app.check_arguments(called["task"], (*args, *own), kwargs)


def _send(app: Application, stages: Stages, messages: Sequence[Successor]) -> Flow[None]:
    addressed = []
    try:
        for each in messages:
            if each.largest is not None:
                largest = _address(app, each.largest)
                sending.check_size(each.largest.message.task, largest, app.broker.capabilities)
            addressed.append(_address(app, each))
    except EncodeError:
        _blame(stages)
        raise
    yield from sending.store_records(app.store, addressed)
    answers = yield from sending.send(app.codec, app.broker, addressed, app.scheduler)
    failures = {i: answer.error for i, answer in enumerate(answers) if isinstance(answer, Refused)}
    if failures:
        error = failures[min(failures)]
        if len(answers) == 1:
            error.add_note(f"the workflow that begins with task {messages[0].message.task} was not sent")
            raise error
        raise SendError(
            f"{len(failures)} of a workflow's first {len(answers)} messages were not accepted: {error}", failures
        )


def _address(app: Application, successor: Successor) -> Addressed:
    message, options, now = successor.message, successor.options, time.time()
    task = app.options_of(message.task)
    transport = sending.Transport(
        group=options.get("MessageGroupId"),
        deduplication=options.get("MessageDeduplicationId"),
        attributes=options.get("message_attributes") or {},
        trace_header=options.get("trace_header"),
        serializer=first(options.get("serializer"), task.serializer),
        compression=first(options.get("compression"), task.compression),
    )
    queue = successor.queue or app.route(message.task)
    schedules = None if app.scheduler is None else app.scheduler.capabilities
    addressed = sending.address(app.codec, message, queue, app.broker.capabilities, now, transport, schedules)
    return replace(addressed, records=[page.record(now) for page in successor.pages])


def _blame(stages: Stages) -> None:
    """Name the task whose arguments can't be written: the message that could not be is often another's."""
    for step in every_task(stages):
        try:
            serializers.dumps([step.signature.get("args"), step.signature.get("kwargs")])
        except EncodeError as error:
            raise EncodeError(f"task {step.task}: its arguments are {error}") from error
