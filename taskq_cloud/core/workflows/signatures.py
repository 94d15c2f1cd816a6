"""Workflows as plain JSON: lines read from Celery's signatures, and written to them.

How users write workflows down is ``taskq_cloud.canvas``'s part.

Source: Celery 5.7, "Canvas: Designing Work-flows", and its signatures on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.workflows.stages import (
    GroupStage,
    Stages,
    TaskStage,
    set_on_all,
    set_on_first,
    set_on_last,
    with_arguments,
)
from taskq_cloud.errors import InvalidTaskError

CHAIN: Final = "celery.chain"
GROUP: Final = "celery.group"
CHORD: Final = "celery.chord"
CHUNKS: Final = "celery.chunks"
MAP: Final = "celery.map"
STARMAP: Final = "celery.starmap"
ACCUMULATE: Final = "celery.accumulate"

FAN_OUT: Final = "taskq.fan_out"
"""The built-in task that sends the members of a large group: a message for each page, then the members of a page."""

_COMPOSED: Final = frozenset({CHAIN, GROUP, CHORD, CHUNKS})
_OF_THE_LAST: Final = ("link", "task_id")
_OF_A_HEADER: Final = ("countdown", "eta")
_NOT_OF_BOTH: Final = (*_OF_THE_LAST, *_OF_A_HEADER, "link_error")
_OF_THE_END: Final = ("chord", "group_id", "group_index")
"""A place in a chord: whoever counts there is the last of all that the options are given to."""

SAVED_CHORD: Final = "chord_group"
"""The option of a chord's body that names the header's group, if the store has the list of its members."""
CHORD_PLACES: Final = "chord_places"
"""The option of the body that an added task carries: the places where it counts before its place in the header."""
CHORD_OPTIONS: Final = ("chord_size", "chord_ids", SAVED_CHORD, CHORD_PLACES)
"""The options of a chord's body by which the members of its header are counted."""


def is_composed(signature: Signature) -> bool:
    """Whether a signature is a workflow's, not a single task's."""
    return signature["task"] in _COMPOSED


def parse(signature: Signature) -> Stages:
    """Read a signature.

    What is to follow it may stand in its options, as Celery writes a chord's body that is the first of a chain.

    Raises:
        InvalidTaskError: it isn't one; says where.
    """
    options = dict(signature.get("options") or {})
    follows = parse_all(reversed(options.pop("chain", None) or ()))
    return _parse({**signature, "options": options} if follows else signature, options) + follows


def _parse(signature: Signature, options: Mapping[str, Any]) -> Stages:
    match signature:
        case {"task": "celery.chain", "kwargs": {"tasks": [*tasks]}}:
            stages = _in_chain(parse(each) for each in tasks)
            last = (*_OF_THE_LAST, *_OF_THE_END)
            first = {name: value for name, value in options.items() if name not in (*last, "link_error")}
            stages = set_on_all(stages, {"link_error": options.get("link_error")})
            stages = set_on_last(set_on_first(stages, first), {name: options.get(name) for name in last})
        case {"task": "celery.group", "kwargs": {"tasks": [*tasks]}}:
            others = {name: value for name, value in options.items() if name not in ("task_id", "link")}
            stages = (GroupStage(tuple(_side_by_side(tasks, others)), options.get("task_id")),)
        case {"task": "celery.chord", "kwargs": {"header": header, "body": {} as body}}:
            stages = _chord(header, parse(body), options)
        case {"task": "celery.chunks", "kwargs": {"task": {} as task, "it": [*items], "n": int(n)}} if n > 0:
            parts = [starmap(task, items[begin : begin + n]) for begin in range(0, len(items), n)]
            return (GroupStage(tuple((TaskStage(part),) for part in parts), options.get("task_id")),)
        case {"task": str(name)} if name and name not in _COMPOSED:
            return (TaskStage(signature),)
        case _:
            raise InvalidTaskError(f"this isn't a signature: {signature!r:.200}")
    return with_arguments(stages, signature.get("args") or (), {})


def parse_all(signatures: Iterable[Signature]) -> Stages:
    """Read signatures that run one after the other."""
    return tuple(stage for each in signatures for stage in parse(each))


def starmap(task: Signature, items: Sequence[Any], *, name: str = STARMAP) -> Signature:
    """The signature of one message that calls a task once for each item."""
    options = task.get("options") or {}
    kept = {option: options[option] for option in ("queue",) if options.get(option)}
    return signature_of(name, kwargs={"task": task, "it": list(items)}, options=kept, immutable=True)


def signature_of(
    task: str,
    *,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    kind: str | None = None,
    immutable: bool = False,
) -> Signature:
    """A signature as Celery writes it, key for key."""
    return {
        "task": task,
        "args": list(args),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": kind,
        "immutable": immutable,
    }


def _in_chain(parts: Iterable[Stages]) -> Stages:
    """One after the other. In a chain a group of one is that one, and an empty group nothing."""
    stages: list[TaskStage | GroupStage] = []
    empty: Stages = ()
    for part in parts:
        match part:
            case (GroupStage(members=()),):
                empty = part
            case (GroupStage(members=(only,)),):
                stages += only
            case _:
                stages += part
    return tuple(stages) or empty


def _side_by_side(tasks: Iterable[Signature], options: Mapping[str, Any]) -> Iterator[Stages]:
    """A group in a group is part of it, and an empty chain nothing. A chain that ends in a group is one member."""
    for task in tasks:
        stages = set_on_first(parse(task), options)
        match stages:
            case ():
                pass
            case (GroupStage(members=members),) if task["task"] == GROUP:
                yield from members
            case _:
                yield stages


def _chord(header: Any, body: Stages, options: Mapping[str, Any]) -> Stages:
    group = header if isinstance(header, Mapping) else signature_of(GROUP, kwargs={"tasks": list(header)})
    fan = parse(group)
    if len(fan) != 1 or isinstance(fan[0], TaskStage):
        fan = (GroupStage((fan,)),)
    if not body:
        raise InvalidTaskError("a chord's body is an empty chain")
    last = {name: value for name in _OF_THE_LAST if (value := options.get(name)) and not _has(body, name)}
    last |= {name: options[name] for name in _OF_THE_END if name in options}
    both = {name: value for name, value in options.items() if name not in (*last, *_NOT_OF_BOTH)}
    body = set_on_all(set_on_last(set_on_first(body, both), last), {"link_error": options.get("link_error")})
    return set_on_first(fan, {**both, **{name: options.get(name) for name in _OF_A_HEADER}}) + body


def _has(stages: Stages, name: str) -> bool:
    """Whether the end of a line has an id already: Celery writes the header's beside the body's."""
    last = stages[-1]
    return name == "task_id" and (isinstance(last, GroupStage) or last.id is not None)


def of_map(signature: Signature) -> str | None:
    """The task that a ``map`` or ``starmap`` calls, or None for any other signature."""
    match signature:
        case {"task": "celery.map" | "celery.starmap", "kwargs": {"task": {"task": str(task)}}}:
            return task
    return None


def to_signatures(stages: Stages) -> list[Signature]:
    """A line as Celery writes what is left of a chain, first things first: a fan takes what follows into its body."""
    written: list[Signature] = []
    for index, stage in enumerate(stages):
        match stage:
            case TaskStage():
                written.append(stage.signature)
            case GroupStage():
                group = _group(stage)
                rest = stages[index + 1 :]
                if rest:
                    kwargs = {"kwargs": {}, "header": group, "body": to_signature(rest)}
                    group = signature_of(CHORD, kwargs=kwargs, kind="chord")
                return [*written, group]
    return written


def _group(fan: GroupStage) -> Signature:
    options = {"task_id": fan.id} if fan.id else {}
    return signature_of(
        GROUP, kwargs={"tasks": [to_signature(each) for each in fan.members]}, options=options, kind="group"
    )


def to_signature(stages: Stages) -> Signature:
    """A line as one signature."""
    written = to_signatures(stages)
    return written[0] if len(written) == 1 else signature_of(CHAIN, kwargs={"tasks": written}, kind="chain")
