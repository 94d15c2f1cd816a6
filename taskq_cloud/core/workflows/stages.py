"""A workflow as stages that run one after the other, how a change makes a new one, and what can be asked of it.

A stage is a task (``Step``) or tasks side by side (``Fan``), whose members are lines again. A fan that is followed by
anything is a chord's header, and what follows is its body; so chains that end in groups, groups in chains and chords in
chords are one thing. How lines are written as plain JSON is ``signatures``'s part, what is sent is ``planner``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from taskq_cloud.core.model.message import Signature
from taskq_cloud.errors import InvalidTaskError


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


MOST_NESTED: Final = 200
"""Python's own limit, 1,000 calls, is reached at 300 groups that follow each other, and at 150 in one another."""

Line: TypeAlias = "tuple[Step | Fan, ...]"


# -- changing: a change is a new line


def of_first(line: Line, options: Mapping[str, Any]) -> Line:
    """A line whose first task, or tasks, have more options; None is none."""
    return _change(line, 0, _set(options)) if _any(options) else line


def of_last(line: Line, options: Mapping[str, Any]) -> Line:
    """A line whose last task has more options; None is none."""
    return _change(line, -1, _set(options)) if _any(options) else line


def of_all(line: Line, options: Mapping[str, Any]) -> Line:
    """Change all but headers: a chord's error is its body's, so that an errback hears of it once."""
    if not _any(options):
        return line
    changed = tuple(_set(options)(stage) if isinstance(stage, Step) else stage for stage in line[:-1])
    match line[-1:]:
        case (Step() as last,):
            return (*changed, _set(options)(last))
        case (Fan() as fan,):
            return (*changed, replace(fan, members=tuple(of_all(member, options) for member in fan.members)))
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


def _any(options: Mapping[str, Any]) -> bool:
    return any(value is not None for value in options.values())


def _set(options: Mapping[str, Any]) -> Callable[[Step], Step]:
    given = {name: value for name, value in options.items() if value is not None}

    def change(step: Step) -> Step:
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


def hearers(line: Line) -> list[Step]:
    """The tasks of a chord's body whose errbacks hear that its header has failed: the first, or all of a group."""
    first = next(spine(line), None)
    return [first] if first is not None and first in line else list(spine(line))


def check_depth(line: Line) -> None:
    """Whether a line can be written and read as JSON, in whatever calls that.

    Raises:
        InvalidTaskError: it nests too deeply.
    """
    try:
        depth = _depth(line)
    except RecursionError:
        raise too_deep() from None
    if depth > MOST_NESTED:
        raise too_deep()


def too_deep() -> InvalidTaskError:
    """What is raised for a workflow that nests too deeply."""
    return InvalidTaskError(
        f"this workflow nests too deeply: at most {MOST_NESTED} groups may follow each other in one, each holding what "
        f"comes after it, or {MOST_NESTED // 2} stand in one another; have a task in between start the rest"
    )


def _depth(line: Line) -> int:
    depth = 0
    for stage in reversed(line):
        if isinstance(stage, Fan):
            within = max(map(_depth, stage.members), default=0)
            # A group in a member is further in than one in the body, by the member's own call.
            depth = 1 + max(depth, within + 1 if within else 0)
    return depth


def joins(line: Line) -> bool:
    """Whether a chord is anywhere in a line; what its tasks are linked to is not looked at."""
    fans = [stage for stage in line if isinstance(stage, Fan)]
    return any(isinstance(stage, Fan) for stage in line[:-1]) or any(joins(m) for fan in fans for m in fan.members)
