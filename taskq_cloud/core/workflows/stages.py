"""A workflow as stages that run one after the other: the values, their changes, and questions about them.

A stage is one task (``TaskStage``) or several workflows side by side (``GroupStage``). A group stage that another stage
follows is the header of a chord, and the stages after it are the chord's body. So a chain that ends in a group, a group
inside a chain and a chord inside a chord all have one representation. ``signatures`` reads and writes it as plain JSON;
``planner`` decides which messages it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.model.message import CALL, Signature
from taskq_cloud.errors import InvalidTaskError

_ADDED_TO_LISTS: Final = ("link", "link_error")
"""Options whose new values are appended to the old ones; every other option is replaced."""

MOST_NESTED: Final = 200
"""Python's own limit of 1,000 nested calls is reached by 300 groups in a row, and by 150 groups inside each other."""

MOST_TASKS: Final = 200_000
"""The most tasks of a workflow that is read from the result store, whose records may be anyone's: they take 100 MB."""


@dataclass(frozen=True, slots=True)
class TaskStage:
    """One task, as its signature."""

    signature: Signature

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.signature["task"])

    @property
    def options(self) -> Mapping[str, Any]:
        """The signature's options."""
        return self.signature.get("options") or {}

    @property
    def id(self) -> str | None:
        """The task's id, once it has one."""
        return self.options.get("task_id")

    def with_options(self, **options: Any) -> TaskStage:
        """Make a stage with further options; an option that is there already gets the new value."""
        return TaskStage({**self.signature, "options": {**self.options, **options}})


@dataclass(frozen=True, slots=True)
class GroupStage:
    """Workflows that run side by side, and the id of the group that they form."""

    members: tuple[Stages, ...]
    id: str | None = None


Stages: TypeAlias = "tuple[TaskStage | GroupStage, ...]"


# -- changes: each one makes new stages


def set_on_first(stages: Stages, options: Mapping[str, Any]) -> Stages:
    """Give options to the first task, or to the first one of each member of a first group; None values are left out."""
    return _change_end(stages, 0, _setter(options)) if _any(options) else stages


def set_on_last(stages: Stages, options: Mapping[str, Any]) -> Stages:
    """Give options to the last task, or to the last one of each member of a last group; None values are left out."""
    return _change_end(stages, -1, _setter(options)) if _any(options) else stages


def set_on_all(stages: Stages, options: Mapping[str, Any]) -> Stages:
    """Give options to every task outside a chord's header.

    A failure in the header becomes the failure of the body. An errback on both would be called twice for one failure.
    """
    if not _any(options):
        return stages
    changed = tuple(_setter(options)(stage) if isinstance(stage, TaskStage) else stage for stage in stages[:-1])
    match stages[-1:]:
        case (TaskStage() as last,):
            return (*changed, _setter(options)(last))
        case (GroupStage() as group,):
            return (*changed, replace(group, members=tuple(set_on_all(each, options) for each in group.members)))
    return stages


def with_arguments(stages: Stages, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Stages:
    """Put arguments before those of the first task, or of each first task of a group, unless it is immutable."""

    def change(stage: TaskStage) -> TaskStage:
        signature = stage.signature
        if signature.get("immutable"):
            return stage
        merged = {
            "args": [*args, *(signature.get("args") or ())],
            "kwargs": {**(signature.get("kwargs") or {}), **kwargs},
        }
        return TaskStage({**signature, **merged})

    return _change_end(stages, 0, change) if args or kwargs else stages


def change_every_task(stages: Stages, change: Callable[[TaskStage], TaskStage]) -> Stages:
    """Change each task, in chords' headers too."""
    return tuple(
        change(stage)
        if isinstance(stage, TaskStage)
        else replace(stage, members=tuple(change_every_task(member, change) for member in stage.members))
        for stage in stages
    )


def marked_as_call(stages: Stages, call: str) -> Stages:
    """Mark the tasks whose ids were given, or follow from a group's that was: see ``message.CALL``.

    Args:
        stages: the workflow, before the other tasks get their ids.
        call: the text that tells this call from others.
    """
    if not any(_given_ids(stages)):
        return stages
    return _marked(stages, call, within=False)


def _given_ids(stages: Stages) -> Iterator[str | None]:
    for stage in stages:
        yield stage.id
        if isinstance(stage, GroupStage):
            for member in stage.members:
                yield from _given_ids(member)


def _marked(stages: Stages, call: str, *, within: bool) -> Stages:
    def marked(stage: TaskStage | GroupStage) -> TaskStage | GroupStage:
        if isinstance(stage, GroupStage):
            given = within or stage.id is not None
            return replace(stage, members=tuple(_marked(member, call, within=given) for member in stage.members))
        if not within and stage.id is None:
            return stage
        return stage.with_options(headers={**(stage.options.get("headers") or {}), CALL: call})

    return tuple(map(marked, stages))


def as_list(value: Any) -> list[Any]:
    """Turn one signature, a list of signatures or nothing into a list."""
    if not value:
        return []
    return [value] if isinstance(value, Mapping) else list(value)


def _any(options: Mapping[str, Any]) -> bool:
    return any(value is not None for value in options.values())


def _setter(options: Mapping[str, Any]) -> Callable[[TaskStage], TaskStage]:
    given = {name: value for name, value in options.items() if value is not None}

    def change(stage: TaskStage) -> TaskStage:
        lists: dict[str, Any] = {
            name: [*as_list(stage.options.get(name)), *as_list(given[name])]
            for name in _ADDED_TO_LISTS
            if name in given
        }
        return stage.with_options(**{**given, **lists})

    return change


def _change_end(stages: Stages, end: int, change: Callable[[TaskStage], TaskStage]) -> Stages:
    """Change the task at one end: ``end`` is 0 or -1. In a group, change the task at that end of every member."""
    match stages[end:][:1]:
        case (TaskStage() as stage,):
            changed: TaskStage | GroupStage = change(stage)
        case (GroupStage() as group,):
            changed = replace(group, members=tuple(_change_end(member, end, change) for member in group.members))
        case _:
            return stages
    return (changed, *stages[1:]) if end == 0 else (*stages[:-1], changed)


# -- questions


def every_task(stages: Stages) -> Iterator[TaskStage]:
    """Every task, in the order in which the workflow was written, chords' headers included."""
    for stage in stages:
        match stage:
            case TaskStage():
                yield stage
            case GroupStage():
                for member in stage.members:
                    yield from every_task(member)


def awaited_tasks(stages: Stages) -> Iterator[TaskStage]:
    """The tasks whose results somebody may wait for, though they will not run because a task before them has failed.

    These are the tasks one after the other, and the last tasks of a last group's members. The members of a chord's
    header are not among them.
    """
    for stage in stages[:-1]:
        if isinstance(stage, TaskStage):
            yield stage
    match stages[-1:]:
        case (TaskStage() as last,):
            yield last
        case (GroupStage() as group,):
            for member in group.members:
                yield from awaited_tasks(member)


def tasks_told_of_failure(body: Stages) -> list[TaskStage]:
    """The tasks of a chord's body whose errbacks are called when the header fails: the first, or all of a group."""
    first = next(awaited_tasks(body), None)
    return [first] if first is not None and first in body else list(awaited_tasks(body))


def has_chord(stages: Stages) -> bool:
    """Whether there is a chord anywhere in the stages; signatures linked to their tasks are not searched."""
    groups = [stage for stage in stages if isinstance(stage, GroupStage)]
    if any(isinstance(stage, GroupStage) for stage in stages[:-1]):
        return True
    return any(has_chord(member) for group in groups for member in group.members)


def check_depth(stages: Stages) -> None:
    """Check that the stages can be written and read as JSON, however deep the calls are that do so.

    Raises:
        InvalidTaskError: the workflow nests too deeply.
    """
    try:
        depth = _depth(stages)
    except RecursionError:
        raise nests_too_deeply() from None
    if depth > MOST_NESTED:
        raise nests_too_deeply()


def nests_too_deeply() -> InvalidTaskError:
    """Make the error of a workflow that nests too deeply."""
    return InvalidTaskError(
        f"this workflow nests too deeply: at most {MOST_NESTED} groups can follow each other, each holding the "
        f"rest, or {MOST_NESTED // 2} stand inside each other; let a task in between start the later ones"
    )


def _depth(stages: Stages) -> int:
    depth = 0
    for stage in reversed(stages):
        if isinstance(stage, GroupStage):
            within = max(map(_depth, stage.members), default=0)
            # A group inside a member is one call deeper than a group in the body.
            depth = 1 + max(depth, within + 1 if within else 0)
    return depth
