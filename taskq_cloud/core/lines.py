"""A workflow as stages that run one after the other: read from a signature, which is plain JSON, and written to one.

A stage is a task (``Step``) or tasks side by side (``Fan``), whose members are lines again. A fan that is followed by
anything is a chord's header, and what follows is its body; so chains that end in groups, groups in chains and chords in
chords are one thing. How users write workflows down is ``taskq_cloud.canvas``'s part, what is sent is ``planner``'s.

Source: Celery 5.7, "Canvas: Designing Work-flows", and its signatures on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from taskq_cloud.core.message import Signature
from taskq_cloud.errors import InvalidTaskError

CHAIN: Final = "celery.chain"
GROUP: Final = "celery.group"
CHORD: Final = "celery.chord"
CHUNKS: Final = "celery.chunks"
MAP: Final = "celery.map"
STARMAP: Final = "celery.starmap"
ACCUMULATE: Final = "celery.accumulate"

_COMPOSED: Final = frozenset({CHAIN, GROUP, CHORD, CHUNKS})
_OF_THE_LAST: Final = ("link", "task_id")
_OF_A_HEADER: Final = ("countdown", "eta")


@dataclass(frozen=True, slots=True)
class Step:
    """One task, as its signature."""

    signature: Signature

    @property
    def task(self) -> str:
        """Its name."""
        return str(self.signature["task"])

    @property
    def options(self) -> Mapping[str, Any]:
        """Its options."""
        return self.signature.get("options") or {}

    @property
    def id(self) -> str | None:
        """Its id, where that is fixed."""
        return self.options.get("task_id")

    def with_options(self, **options: Any) -> Step:
        """The same with more options."""
        return Step({**self.signature, "options": {**self.options, **options}})


@dataclass(frozen=True, slots=True)
class Fan:
    """Lines that run side by side, and the id of the group they are."""

    members: tuple[Line, ...]
    id: str | None = None


Line: TypeAlias = "tuple[Step | Fan, ...]"


# -- reading


def is_composed(signature: Signature) -> bool:
    """Whether a signature is a workflow's, not a single task's."""
    return signature["task"] in _COMPOSED


def parse(signature: Signature) -> Line:
    """Read a signature.

    Raises:
        InvalidTaskError: it isn't one; says where.
    """
    options = signature.get("options") or {}
    match signature:
        case {"task": "celery.chain", "kwargs": {"tasks": [*tasks]}}:
            line = _in_chain(parse(each) for each in tasks)
            first = {name: value for name, value in options.items() if name not in (*_OF_THE_LAST, "link_error")}
            line = _of_all(line, {"link_error": options.get("link_error")})
            line = of_last(_of_first(line, first), {name: options.get(name) for name in _OF_THE_LAST})
        case {"task": "celery.group", "kwargs": {"tasks": [*tasks]}}:
            others = {name: value for name, value in options.items() if name not in ("task_id", "link")}
            line = (Fan(tuple(_side_by_side(tasks, others)), options.get("task_id")),)
        case {"task": "celery.chord", "kwargs": {"header": header, "body": {} as body}}:
            line = _chord(header, parse(body), options)
        case {"task": "celery.chunks", "kwargs": {"task": {} as task, "it": [*items], "n": int(n)}} if n > 0:
            parts = [starmap(task, items[begin : begin + n]) for begin in range(0, len(items), n)]
            return (Fan(tuple((Step(part),) for part in parts), options.get("task_id")),)
        case {"task": str(name)} if name and name not in _COMPOSED:
            return (Step(signature),)
        case _:
            raise InvalidTaskError(f"this is no signature: {signature!r:.200}")
    return with_arguments(line, signature.get("args") or (), {})


def parse_all(signatures: Iterable[Signature]) -> Line:
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


def _in_chain(parts: Iterable[Line]) -> Line:
    """One after the other. In a chain a group of one is that one, and an empty group nothing."""
    stages: list[Step | Fan] = []
    empty: Line = ()
    for part in parts:
        match part:
            case (Fan(members=()),):
                empty = part
            case (Fan(members=(only,)),):
                stages += only
            case _:
                stages += part
    return tuple(stages) or empty


def _side_by_side(tasks: Iterable[Signature], options: Mapping[str, Any]) -> Iterator[Line]:
    """A group in a group is part of it, and an empty chain nothing. A chain that ends in a group is one member."""
    for task in tasks:
        line = _of_first(parse(task), options)
        match line:
            case ():
                pass
            case (Fan(members=members),) if task["task"] == GROUP:
                yield from members
            case _:
                yield line


def _chord(header: Any, body: Line, options: Mapping[str, Any]) -> Line:
    group = header if isinstance(header, Mapping) else signature_of(GROUP, kwargs={"tasks": list(header)})
    fan = parse(group)
    if len(fan) != 1 or isinstance(fan[0], Step):
        fan = (Fan((fan,)),)
    if not body:
        raise InvalidTaskError("a chord's body is an empty chain")
    last = {name: value for name in _OF_THE_LAST if (value := options.get(name)) and not _has(body, name)}
    both = {name: value for name, value in options.items() if name not in (*_OF_THE_LAST, *_OF_A_HEADER, "link_error")}
    body = _of_all(of_last(_of_first(body, both), last), {"link_error": options.get("link_error")})
    return _of_first(fan, {**both, **{name: options.get(name) for name in _OF_A_HEADER}}) + body


def _has(line: Line, name: str) -> bool:
    """Whether the end of a line has an id already: Celery writes the header's beside the body's."""
    last = line[-1]
    return name == "task_id" and (isinstance(last, Fan) or last.id is not None)


# -- changing: a change is a new line


def _of_first(line: Line, options: Mapping[str, Any]) -> Line:
    return _change(line, 0, _set(options))


def of_last(line: Line, options: Mapping[str, Any]) -> Line:
    """A line whose last task has more options; None is none."""
    return _change(line, -1, _set(options))


def _of_all(line: Line, options: Mapping[str, Any]) -> Line:
    """Change all but headers: a chord's error is its body's, so that an errback hears of it once."""
    changed = tuple(_set(options)(stage) if isinstance(stage, Step) else stage for stage in line[:-1])
    match line[-1:]:
        case (Step() as last,):
            return (*changed, _set(options)(last))
        case (Fan() as fan,):
            return (*changed, replace(fan, members=tuple(_of_all(member, options) for member in fan.members)))
    return line


def with_arguments(line: Line, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Line:
    """A line whose first task, or tasks, are given arguments before their own, unless they are immutable."""

    def change(step: Step) -> Step:
        signature = step.signature
        if signature.get("immutable"):
            return step
        merged = {
            "args": [*args, *(signature.get("args") or ())],
            "kwargs": {**(signature.get("kwargs") or {}), **kwargs},
        }
        return Step({**signature, **merged})

    return _change(line, 0, change) if args or kwargs else line


def _set(options: Mapping[str, Any]) -> Callable[[Step], Step]:
    given = {name: value for name, value in options.items() if value is not None}

    def change(step: Step) -> Step:
        if not given:
            return step
        lists: dict[str, Any] = {
            name: [*listed(step.options.get(name)), *listed(given[name])] for name in _LISTS if name in given
        }
        return step.with_options(**{**given, **lists})

    return change


_LISTS: Final = ("link", "link_error")


def listed(value: Any) -> list[Any]:
    """What may be one signature, a list of them, or nothing, as a list."""
    if not value:
        return []
    return [value] if isinstance(value, Mapping) else list(value)


def _change(line: Line, end: int, change: Callable[[Step], Step]) -> Line:
    """Change the first stage (``end`` is 0) or the last (-1): the step, or the same end of every member of a fan."""
    match line[end:][:1]:
        case (Step() as step,):
            changed: Step | Fan = change(step)
        case (Fan() as fan,):
            changed = replace(fan, members=tuple(_change(member, end, change) for member in fan.members))
        case _:
            return line
    return (changed, *line[1:]) if end == 0 else (*line[:-1], changed)


# -- looking


def steps(line: Line) -> Iterator[Step]:
    """Every task of a line, in the order they are written."""
    for stage in line:
        match stage:
            case Step():
                yield stage
            case Fan():
                for member in stage.members:
                    yield from steps(member)


def each(line: Line, change: Callable[[Step], Step]) -> Line:
    """A line with every one of its tasks changed."""
    return tuple(
        change(stage)
        if isinstance(stage, Step)
        else replace(stage, members=tuple(each(m, change) for m in stage.members))
        for stage in line
    )


def of_map(signature: Signature) -> str | None:
    """The task that a ``map`` or ``starmap`` calls, or None for any other signature."""
    match signature:
        case {"task": "celery.map" | "celery.starmap", "kwargs": {"task": {"task": str(task)}}}:
            return task
    return None


def spine(line: Line) -> Iterator[Step]:
    """The tasks that will not run when what comes before the line has failed, as far as someone may wait for them.

    These are its tasks one after the other, and those in which the members of a last group end; a header's are not.
    """
    for stage in line[:-1]:
        if isinstance(stage, Step):
            yield stage
    match line[-1:]:
        case (Step() as last,):
            yield last
        case (Fan() as fan,):
            for member in fan.members:
                yield from spine(member)


def joins(line: Line) -> bool:
    """Whether a chord is anywhere in a line."""
    fans = [stage for stage in line if isinstance(stage, Fan)]
    return any(isinstance(stage, Fan) for stage in line[:-1]) or any(joins(m) for fan in fans for m in fan.members)


# -- writing


def signatures(line: Line) -> list[Signature]:
    """A line as Celery writes what is left of a chain, first things first: a fan takes what follows into its body."""
    written: list[Signature] = []
    for index, stage in enumerate(line):
        match stage:
            case Step():
                written.append(stage.signature)
            case Fan():
                group = _group(stage)
                rest = line[index + 1 :]
                if rest:
                    kwargs = {"kwargs": {}, "header": group, "body": one(rest)}
                    group = signature_of(CHORD, kwargs=kwargs, kind="chord")
                return [*written, group]
    return written


def _group(fan: Fan) -> Signature:
    options = {"task_id": fan.id} if fan.id else {}
    return signature_of(GROUP, kwargs={"tasks": [one(each) for each in fan.members]}, options=options, kind="group")


def one(line: Line) -> Signature:
    """A line as one signature."""
    written = signatures(line)
    return written[0] if len(written) == 1 else signature_of(CHAIN, kwargs={"tasks": written}, kind="chain")
