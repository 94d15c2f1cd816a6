"""The shape of a workflow, stored with its results, so that the id of its last task leads to all its tasks.

A record holds the stages and the names of tasks. It holds an id only if it was given, and is not the one that would be
derived from the id of the group or of the last task (``planner.with_ids``). Equal members of a group are stored once,
with their number. It holds no arguments, and the workflow runs without it. ``progress`` and ``revocation`` use it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS, PENDING, Record
from taskq_cloud.core.workflows import planner, signatures
from taskq_cloud.core.workflows.stages import (
    MOST_NESTED,
    MOST_TASKS,
    GroupStage,
    Stages,
    TaskStage,
    check_depth,
    every_task,
    nests_too_deeply,
)
from taskq_cloud.errors import DecodeError, PayloadTooLarge, TaskQError

PAGE_CHARACTERS: Final = 50_000
"""The length of one record's part of a shape: at most 350 kB, whatever the characters are."""
MOST_PAGES: Final = 200
"""The most records of one shape."""

logger = logging.getLogger("taskq_cloud.workflows")


def key(workflow_id: str, page: int = 0) -> str:
    """The id of a record.

    Args:
        workflow_id: the id of the last task, or of the last group.
        page: the number of the record, from 0, if the shape takes several.
    """
    return f"workflow/{workflow_id}" + (f"/{page}" if page else "")


def save(
    store: ResultStore,
    stages: Stages,
    last_id: str,
    ignores: Callable[[TaskStage], bool],
    expires_at: float | None,
) -> Flow[None]:
    """Save the shape of a workflow of more than one task, in one write, before its first message is sent.

    If the store fails, a warning is logged, and the workflow can be sent all the same: it can then be watched and
    revoked by its caller's result, but not by its id.

    Args:
        store: the result store.
        stages: the workflow, before ``planner.with_ids``.
        last_id: the id that ``planner.with_ids`` derives the other ids from.
        ignores: whether a task's result is not stored.
        expires_at: when a result that is written now expires, in seconds since the epoch; None: never. The shape is
            kept longer.
    """
    if not store.capabilities.keeps_records or not stages or (len(stages) == 1 and isinstance(stages[0], TaskStage)):
        return
    workflow_id = stages[-1].id or last_id
    if expires_at is not None:
        # The workflow's last result is written, and expires, later by as long as its messages take.
        expires_at += LONGEST_MESSAGE_SECONDS
    if sum(1 for _ in every_task(stages)) > MOST_TASKS:
        _warn(workflow_id, f"it has more than {MOST_TASKS} tasks")
        return
    contents = _in_pages(serializers.dumps({"last_id": last_id, "line": to_json(stages, ignores)}))
    try:
        yield from store.save(
            [_record(key(workflow_id, page), content, expires_at) for page, content in enumerate(contents)]
        )
    except TaskQError as error:
        _warn(workflow_id, error)


def _warn(workflow_id: str, reason: object) -> None:
    extra = {"action": "workflow.not_recorded", "task_id": workflow_id}
    text = "workflow %s can't be watched or revoked by its id, as its record was not saved: %s"
    logger.warning(text, workflow_id, reason, extra=extra)


def load(store: ResultStore, workflow_id: str) -> Flow[Stages | None]:
    """Read the shape of a workflow, with the ids of all tasks; None if it was not saved, or has expired.

    Raises:
        DecodeError: the record isn't a workflow's shape.
    """
    first = (yield from store.load([key(workflow_id)])).get(key(workflow_id))
    if first is None:
        return None
    return (yield from read(store, workflow_id, first))


def read(store: ResultStore, workflow_id: str, first: Record) -> Flow[Stages | None]:
    """Read the shape of a workflow from its first record, which is loaded already, and the other records.

    Returns:
        The workflow, with the ids of all tasks; None if a record has expired.

    Raises:
        DecodeError: the record isn't a workflow's shape.
    """
    content = document.decode(first.payload).get("result")
    match content:
        case {"pages": int(pages), "part": str(part)} if 1 <= pages <= MOST_PAGES:
            keys = [key(workflow_id, page) for page in range(1, pages)]
            found = yield from store.load(keys)
            if len(found) < len(keys):
                return None
            parts = [_part_of(document.decode(found[each].payload)) for each in keys]
            content = serializers.loads("".join([part, *parts]))
    match content:
        case {"last_id": str(last_id), "line": [*stages]}:
            return planner.with_ids(from_json(stages), last_id)
    raise DecodeError(f"this isn't the record of workflow {workflow_id}: {content!r:.200}")


def keys_of(store: ResultStore, workflow_id: str) -> Flow[list[str]]:
    """The ids of all records of a workflow's shape, for deleting them."""
    first = (yield from store.load([key(workflow_id)])).get(key(workflow_id))
    if first is None:
        return []
    match document.decode(first.payload).get("result"):
        case {"pages": int(pages)} if 1 <= pages <= MOST_PAGES:
            return [key(workflow_id, page) for page in range(pages)]
    return [key(workflow_id)]


def _part_of(result: Mapping[str, Any]) -> str:
    match result.get("result"):
        case {"part": str(part)}:
            return part
    raise DecodeError(f"this isn't a part of a workflow's record: {result!r:.200}")


def to_json(stages: Stages, ignores: Callable[[TaskStage], bool], *, counted: bool = False) -> list[Any]:
    """Write the names and given ids of some stages as plain JSON.

    Args:
        stages: the stages.
        ignores: whether a task's result is not stored.
        counted: whether a chord counts the last task, and so needs its result.
    """
    written: list[Any] = []
    for index, stage in enumerate(stages):
        last = index == len(stages) - 1
        match stage:
            case TaskStage():
                written.append(_task_to_json(stage, ignored=ignores(stage) and not (last and counted)))
            case GroupStage():
                # The last task of each member is counted, if the group is a chord's header or ends a counted workflow.
                kept = (_without_derived_id(stage, index, each) for index, each in enumerate(stage.members))
                members = (to_json(each, ignores, counted=not last) for each in kept)
                runs = [[sum(1 for _ in equal), member] for member, equal in groupby(members)]
                written.append({"members": runs, **({"id": stage.id} if stage.id else {})})
    return written


def _without_derived_id(group: GroupStage, index: int, member: Stages) -> Stages:
    """Take the id out of the task in which a member ends, if ``planner.with_ids`` gives it that one again."""
    match member:
        case (*before, TaskStage(id=str(own_id)) as task) if group.id and own_id == planner.member_id(group.id, index):
            options = {name: value for name, value in task.options.items() if name != "task_id"}
            return (*before, TaskStage({**task.signature, "options": options}))
    return member


def from_json(stages: list[Any]) -> Stages:
    """Read the stages that ``to_json`` has written; they hold names, ids, and whether results are ignored.

    Raises:
        DecodeError: the JSON isn't in the form that ``to_json`` writes, has more than ``MOST_TASKS`` tasks, or nests
            too deeply.
    """
    if _count(stages) > MOST_TASKS:
        raise DecodeError(f"the record of a workflow has more than {MOST_TASKS} tasks")
    read = tuple(map(_stage_from_json, stages))
    check_depth(read)
    return read


def _count(stages: Any, depth: int = 0) -> int:
    """Count the tasks, and the members without tasks, before any of them is made; more than enough is not counted."""
    if depth > MOST_NESTED:
        raise nests_too_deeply()
    total = 0
    for stage in stages if isinstance(stages, list) else ():
        match stage:
            case {"members": [*runs]}:
                for run in runs:
                    match run:
                        case [int(number), inner] if number >= 0:
                            total += number * max(1, _count(inner, depth + 1))
            case _:
                total += 1
        if total > MOST_TASKS:
            break
    return total


def _task_to_json(task: TaskStage, *, ignored: bool) -> str | dict[str, Any]:
    inner = signatures.mapped_task(task.signature)
    name = task.task if inner is None else f"{task.task}({inner})"
    if not task.id and not ignored:
        return name
    return {"task": name, **({"id": task.id} if task.id else {}), **({"ignored": True} if ignored else {})}


def _stage_from_json(written: Any) -> TaskStage | GroupStage:
    match written:
        case str(name):
            return TaskStage(signatures.signature_of(name))
        case {"task": str(name), **others} if isinstance(others.get("id"), str | None):
            options = {"task_id": others.get("id"), "ignore_result": others.get("ignored")}
            return TaskStage(signatures.signature_of(name, options={k: value for k, value in options.items() if value}))
        case {"members": [*runs]} if isinstance(group_id := written.get("id"), str | None):
            members: list[Stages] = []
            for run in runs:
                members += _equal_members(run)
            return GroupStage(tuple(members), group_id)
    raise DecodeError(f"this isn't a stage of a workflow: {written!r:.200}")


def _equal_members(run: Any) -> list[Stages]:
    match run:
        case [int(number), [*stages]] if number >= 0:
            return [tuple(map(_stage_from_json, stages))] * number
    raise DecodeError(f"these aren't members of a group: {run!r:.200}")


def _in_pages(text: str) -> Iterator[str]:
    """The contents of the records of a shape: the text itself, or an object for each part of a long text."""
    pages = -(-len(text) // PAGE_CHARACTERS)
    if pages > MOST_PAGES:
        raise PayloadTooLarge(f"it has {len(text)} characters: too many members of its groups differ from each other")
    if pages == 1:
        yield text
        return
    for begin in range(0, len(text), PAGE_CHARACTERS):
        yield serializers.dumps({"pages": pages, "part": text[begin : begin + PAGE_CHARACTERS]})


def _record(own_key: str, content: str, expires_at: float | None) -> Record:
    payload = document.encode(Message(task="", id=own_key), PENDING, content, now=time.time())
    return Record(own_key, PENDING, 0, payload, expires_at)
