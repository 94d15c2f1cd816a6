"""Reads stages from Celery's signatures, which are plain JSON, and writes stages as signatures.

Users write their workflows with ``taskq_cloud.canvas``.

Source: Celery 5.7, "Canvas: Designing Work-flows", and its signatures on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.option_values import SIGNATURE, check_all
from taskq_cloud.core.model.task_names import CHAIN, CHORD, CHUNKS, GROUP, STARMAP
from taskq_cloud.core.workflows.chord_life import CHORD_DUE
from taskq_cloud.core.workflows.stages import (
    MOST_NESTED,
    GroupStage,
    Stages,
    TaskStage,
    check_depth,
    nests_too_deeply,
    set_on_all,
    set_on_first,
    set_on_last,
    with_arguments,
)
from taskq_cloud.errors import InvalidTaskError, OptionError

_COMPOSED: Final = frozenset({CHAIN, GROUP, CHORD, CHUNKS})
_LAST_TASK_OPTIONS: Final = ("link", "task_id")
"""Options of a chain or a chord that its last task gets."""
_PLACE_OPTIONS: Final = ("chord", "group_id", "group_index")
"""Options that give a chain or a chord a place in another chord: its last task counts there."""
_HEADER_OPTIONS: Final = ("countdown", "eta")
"""Options of a chord that only the header gets."""
_NOT_COPIED: Final = (*_LAST_TASK_OPTIONS, *_HEADER_OPTIONS, "link_error")
"""Options of a chord that header and body don't both get."""

_MOST_LEVELS: Final = 2 * MOST_NESTED
"""The most signatures inside each other: a group and the chain around it are two. The calls that read them are as many,
and Python's own limit is 1,000."""

SAVED_CHORD: Final = "chord_group"
"""The option of a chord's body that names the header's group, if the result store has the list of its members."""
CHORD_PLACES: Final = "chord_places"
"""An option of the chord's body in the message of a task that was added to the chord: the joins in which that task
counts before it counts in the header."""
CHORD_OPTIONS: Final = ("chord_size", CHORD_DUE, "chord_ids", SAVED_CHORD, CHORD_PLACES)
"""The options of a chord's body by which the members of its header are counted."""


def is_composed(signature: Signature) -> bool:
    """Whether a signature is that of a chain, a group, a chord or chunks, and not of a single task."""
    return signature["task"] in _COMPOSED


def is_joined(signature: Signature) -> bool:
    """Whether a signature holds others that it runs: it is composed, or others follow it in its option ``chain``."""
    return is_composed(signature) or bool((signature.get("options") or {}).get("chain"))


def parse(signature: Signature) -> Stages:
    """Read a signature.

    Signatures that follow it may be in its option ``chain``: Celery puts the rest of a chain there if the first part of
    the chain is a chord's body.

    Raises:
        InvalidTaskError: the value, or a part of it, isn't a signature, and the error quotes that part; or the value
            nests too deeply.
    """
    stages = _parse(signature, 0)
    if len(stages) > 1 or isinstance(stages[0] if stages else None, GroupStage):
        check_depth(stages)
    return stages


def parse_all(signatures: Iterable[Signature]) -> Stages:
    """Read signatures that run one after the other."""
    return tuple(stage for each in signatures for stage in parse(each))


def _parse(signature: Signature, level: int) -> Stages:
    """Read a signature; ``level`` counts the signatures around it, each of which takes one nested call or two."""
    if level > _MOST_LEVELS:
        raise nests_too_deeply()
    options = dict(signature.get("options") or {})
    follows: list[TaskStage | GroupStage] = []
    for each in reversed(options.pop("chain", None) or ()):
        follows += _parse(each, level + 1)
    if follows:
        signature = {**signature, "options": options}
    stages: Stages
    match signature:
        case {"task": "celery.chain" | "celery.group" as kind, "kwargs": {"tasks": [*tasks]}}:
            parts: list[Stages] = []
            for each in tasks:  # not a comprehension, which would be one more nested call
                parts.append(_parse(each, level + 1))  # noqa: PERF401
            stages = _chain(parts, options) if kind == CHAIN else _group_of(tasks, parts, options)
        case {"task": "celery.chord", "kwargs": {"header": header, "body": {} as body}}:
            group = header if isinstance(header, Mapping) else signature_of(GROUP, kwargs={"tasks": list(header)})
            stages = _chord(_parse(group, level + 1), _parse(body, level + 1), options)
        case {"task": "celery.chunks", "kwargs": {"task": {} as task, "it": [*items], "n": int(n)}} if n > 0:
            pieces = [starmap(task, items[begin : begin + n]) for begin in range(0, len(items), n)]
            return (GroupStage(tuple((TaskStage(piece),) for piece in pieces), options.get("task_id")), *follows)
        case {"task": str(name)} if name and name not in _COMPOSED:
            return (TaskStage(signature), *follows)
        case _:
            raise InvalidTaskError(f"this isn't a signature: {signature!r:.200}")
    return (*with_arguments(stages, signature.get("args") or (), {}), *follows)


def starmap(task: Signature, items: Sequence[Any], *, name: str = STARMAP) -> Signature:
    """Make the signature of one message that calls a task for each item, one call after the other.

    Args:
        task: the signature of the task.
        items: the arguments of each call; with ``map`` the one argument.
        name: the built-in task: ``MAP`` or ``STARMAP``.
    """
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
    """Make a signature with Celery's keys."""
    return {
        "task": task,
        "args": list(args),
        "kwargs": dict(kwargs or {}),
        "options": dict(options or {}),
        "subtask_type": kind,
        "immutable": immutable,
    }


def _chain(parts: Iterable[Stages], options: Mapping[str, Any]) -> Stages:
    """Put workflows one after the other. A group of one member becomes that member, and an empty group is left out."""
    joined: list[TaskStage | GroupStage] = []
    empty: Stages = ()
    for part in parts:
        match part:
            case (GroupStage(members=()),):
                empty = part
            case (GroupStage(members=(only,)),):
                joined += only
            case _:
                joined += part
    last = (*_LAST_TASK_OPTIONS, *_PLACE_OPTIONS)
    first = {name: value for name, value in options.items() if name not in (*last, "link_error")}
    stages = set_on_all(tuple(joined) or empty, {"link_error": options.get("link_error")})
    return set_on_last(set_on_first(stages, first), {name: options.get(name) for name in last})


def _group_of(tasks: Iterable[Signature], parts: Iterable[Stages], options: Mapping[str, Any]) -> Stages:
    """Put workflows side by side.

    Members of a group inside it become its own, and empty chains are left out. A chain that ends in a group stays one
    member.
    """
    others = {name: value for name, value in options.items() if name not in ("task_id", "link")}
    members: list[Stages] = []
    for task, part in zip(tasks, parts, strict=True):
        stages = set_on_first(part, others)
        match stages:
            case ():
                pass
            case (GroupStage(members=inner),) if task["task"] == GROUP:
                members += inner
            case _:
                members.append(stages)
    return (GroupStage(tuple(members), options.get("task_id")),)


def _chord(header: Stages, body: Stages, options: Mapping[str, Any]) -> Stages:
    if len(header) != 1 or isinstance(header[0], TaskStage):
        header = (GroupStage((header,)),)
    if not body:
        raise InvalidTaskError("a chord's body is an empty chain")
    last = {name: value for name in _LAST_TASK_OPTIONS if (value := options.get(name)) and not _has(body, name)}
    last |= {name: options[name] for name in _PLACE_OPTIONS if name in options}
    both = {name: value for name, value in options.items() if name not in (*last, *_NOT_COPIED)}
    body = set_on_all(set_on_last(set_on_first(body, both), last), {"link_error": options.get("link_error")})
    return set_on_first(header, {**both, **{name: options.get(name) for name in _HEADER_OPTIONS}}) + body


def _has(body: Stages, name: str) -> bool:
    """Whether a body has the option ``task_id`` already: the id that Celery sets on a chord may be its header's."""
    last = body[-1]
    return name == "task_id" and (isinstance(last, GroupStage) or last.id is not None)


def checked_options(signature: Signature) -> Mapping[str, Any]:
    """Check the options of a signature, which may be from elsewhere, as those of a call are checked.

    Raises:
        OptionError: no worker can obey an option's value; names the task and the option.
    """
    try:
        return check_all(SIGNATURE, signature.get("options") or {})
    except OptionError as error:
        raise OptionError(f"task {signature['task']}: {error}") from None


def mapped_task(signature: Signature) -> str | None:
    """The name of the task that a ``map`` or ``starmap`` calls; None for any other signature."""
    match signature:
        case {"task": "celery.map" | "celery.starmap", "kwargs": {"task": {"task": str(task)}}}:
            return task
    return None


def to_signatures(stages: Stages) -> list[Signature]:
    """Write stages as the signatures of a chain, in order. A group and the stages that follow it become a chord."""
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


def _group(stage: GroupStage) -> Signature:
    options = {"task_id": stage.id} if stage.id else {}
    return signature_of(
        GROUP, kwargs={"tasks": [to_signature(each) for each in stage.members]}, options=options, kind="group"
    )


def to_signature(stages: Stages) -> Signature:
    """Write stages as one signature."""
    written = to_signatures(stages)
    return written[0] if len(written) == 1 else signature_of(CHAIN, kwargs={"tasks": written}, kind="chain")
