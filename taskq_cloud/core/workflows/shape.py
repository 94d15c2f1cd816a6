"""What a workflow looks like, kept beside its results: whoever has the last task's id can find all its tasks by it.

A record holds the stages and the tasks' names; ids only where they were given, as all others are made from that of the
last (``planner.fix``), and members of a group that are alike once, with their number. It holds no arguments, and the
workflow runs without it. What is done with it is ``workflow_view``'s part.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import chain, groupby
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS, PENDING, Record
from taskq_cloud.core.workflows import planner, signatures
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage
from taskq_cloud.errors import DecodeError, PayloadTooLarge, TaskQError

PAGE_CHARACTERS: Final = 50_000
"""Of one record, where the members of groups differ: at most 350 kB, whatever its characters are."""
MOST_PAGES: Final = 200

logger = logging.getLogger("taskq_cloud.workflows")


def key(workflow_id: str, page: int = 0) -> str:
    """The id of a record.

    Args:
        workflow_id: of the last task, or of the last group.
        page: of a record in several.
    """
    return f"workflow/{workflow_id}" + (f"/{page}" if page else "")


def save(
    store: ResultStore,
    stages: Stages,
    last_id: str,
    ignores: Callable[[TaskStage], bool],
    expires_at: float | None,
) -> Flow[None]:
    """Keep a workflow of more than one task: one write. To be done before its first message is sent.

    Where that fails, a warning says so, and the workflow is sent all the same: it can be watched and revoked by its
    caller's result then, but not by its id.

    Args:
        store: where to.
        stages: the workflow, before ``planner.fix``.
        last_id: what ``planner.fix`` makes ids from.
        ignores: whether a task's result is not stored.
        expires_at: when a result written now ceases to exist, in seconds since the epoch; it is kept longer.
    """
    if not store.capabilities.keeps_records or not stages or (len(stages) == 1 and isinstance(stages[0], TaskStage)):
        return
    workflow_id = stages[-1].id or last_id
    if expires_at is not None:
        # The last of its results is written, and expires, as much later as its messages take.
        expires_at += LONGEST_MESSAGE_SECONDS
    contents = _in_pages(serializers.dumps({"last_id": last_id, "line": to_json(stages, ignores)}))
    try:
        yield from store.save(
            [_record(key(workflow_id, page), content, expires_at) for page, content in enumerate(contents)]
        )
    except TaskQError as error:
        logger.warning(
            "workflow %s can't be watched or revoked by its id, as its record was not saved: %s",
            workflow_id,
            error,
            extra={"action": "workflow.not_recorded", "task_id": workflow_id},
        )


def load(store: ResultStore, workflow_id: str) -> Flow[Stages | None]:
    """A workflow as it was saved, with all ids fixed; None where it was not, or has expired.

    Raises:
        DecodeError: the record is not one of these.
    """
    first = (yield from store.load([key(workflow_id)])).get(key(workflow_id))
    if first is None:
        return None
    return (yield from read(store, workflow_id, first))


def read(store: ResultStore, workflow_id: str, first: Record) -> Flow[Stages | None]:
    """``load``, where the record's first page is loaded already."""
    content = document.decode(first.payload).get("result")
    match content:
        case {"pages": int(pages), "part": str(part)}:
            keys = [key(workflow_id, page) for page in range(1, pages)]
            found = yield from store.load(keys)
            if len(found) < len(keys):
                return None
            parts = [document.decode(found[each].payload)["result"]["part"] for each in keys]
            content = serializers.loads("".join([part, *parts]))
    match content:
        case {"last_id": str(last_id), "line": [*stages]}:
            return planner.fix(from_json(stages), last_id)
    raise DecodeError(f"this is no record of workflow {workflow_id}: {content!r:.200}")


def keys_of(store: ResultStore, workflow_id: str) -> Flow[list[str]]:
    """The ids of all records of a workflow, to delete them."""
    first = (yield from store.load([key(workflow_id)])).get(key(workflow_id))
    if first is None:
        return []
    match document.decode(first.payload).get("result"):
        case {"pages": int(pages)}:
            return [key(workflow_id, page) for page in range(pages)]
    return [key(workflow_id)]


def to_json(stages: Stages, ignores: Callable[[TaskStage], bool], *, counted: bool = False) -> list[Any]:
    """A line's names and given ids, as plain JSON; ``counted``: a chord counts its last task, and needs its result."""
    written: list[Any] = []
    for index, stage in enumerate(stages):
        last = index == len(stages) - 1
        match stage:
            case TaskStage():
                written.append(_step(stage, ignored=ignores(stage) and not (last and counted)))
            case GroupStage():
                # What a member of a chord's header ends in is counted; so is what the members of its last group do.
                members = (to_json(each, ignores, counted=not last) for each in stage.members)
                runs = [[sum(1 for _ in alike), member] for member, alike in groupby(members)]
                written.append({"members": runs, **({"id": stage.id} if stage.id else {})})
    return written


def from_json(stages: list[Any]) -> Stages:
    """The line that ``to_json`` has written; its steps hold names, ids, and whether results are ignored.

    Raises:
        DecodeError: it has not written this.
    """
    return tuple(map(_stage, stages))


def _step(step: TaskStage, *, ignored: bool) -> Any:
    inner = signatures.of_map(step.signature)
    name = step.task if inner is None else f"{step.task}({inner})"
    if not step.id and not ignored:
        return name
    return {"task": name, **({"id": step.id} if step.id else {}), **({"ignored": True} if ignored else {})}


def _stage(written: Any) -> TaskStage | GroupStage:
    match written:
        case str(name):
            return TaskStage(signatures.signature_of(name))
        case {"task": str(name), **others}:
            options = {"task_id": others.get("id"), "ignore_result": others.get("ignored")}
            return TaskStage(signatures.signature_of(name, options={k: value for k, value in options.items() if value}))
        case {"members": [*runs]}:
            return GroupStage(tuple(chain.from_iterable(map(_alike, runs))), written.get("id"))
    raise DecodeError(f"this is no stage of a workflow: {written!r:.200}")


def _alike(run: Any) -> Iterator[Stages]:
    match run:
        case [int(number), [*stages]]:
            member = from_json(stages)
            return (member for _ in range(number))
    raise DecodeError(f"these are no members of a group: {run!r:.200}")


def _in_pages(text: str) -> Iterator[str]:
    """A record's contents: ``text``, or where it is long an object for each part of it."""
    pages = -(-len(text) // PAGE_CHARACTERS)
    if pages > MOST_PAGES:
        raise PayloadTooLarge(f"it would take {len(text)} characters: too many tasks of its groups are not alike")
    if pages == 1:
        yield text
        return
    for begin in range(0, len(text), PAGE_CHARACTERS):
        yield serializers.dumps({"pages": pages, "part": text[begin : begin + PAGE_CHARACTERS]})


def _record(own_key: str, content: str, expires_at: float | None) -> Record:
    payload = document.encode(Message(task="", id=own_key), PENDING, content, now=time.time())
    return Record(own_key, PENDING, 0, payload, expires_at)
