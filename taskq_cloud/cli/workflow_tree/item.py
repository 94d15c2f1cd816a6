"""The lines of a workflow's drawing, which the formats ``text``, ``dot`` and ``svg`` share.

Of a large group, only the members that failed or were revoked are drawn one by one; the others are counted by state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from taskq_cloud.core.records import record
from taskq_cloud.core.workflows.progress import Branch, GroupNode, TaskNode, View, tasks

MOST_MEMBERS: Final = 20
"""Groups with more members are summarised."""
MOST_LISTED: Final = 20
"""The most failed or revoked members of a summarised group that get a line each."""

COLOURS: Final = {
    record.SUCCESS: ("green", "#1b7f3b"),
    record.FAILURE: ("red", "#b3261e"),
    record.REVOKED: ("magenta", "#8e3a9d"),
    record.STARTED: ("blue", "#1a5fb4"),
    record.RETRY: ("yellow", "#8a6100"),
}
"""State -> its colour in a terminal, and in pictures. The state is always written too, so colour is never needed."""
OTHER_COLOUR: Final = "#5f6368"
"""The colour of all other states in pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a drawing, and the lines below it.

    Args:
        label: a task's name, or a description of several tasks.
        state: the state; None for several tasks with different states.
        id: the id of the task or the group.
        note: the task's times and its error.
        stages: whether the children run one after the other; otherwise they run side by side.
        children: the parts of this item.
    """

    label: str
    state: str | None = None
    id: str = ""
    note: str = ""
    stages: bool = False
    children: tuple[Item, ...] = ()


def item_of(workflow_id: str, view: View) -> Item:
    """Return the drawing of a workflow: its first line, with the other lines as its children."""
    return Item(
        label="workflow", id=workflow_id, note=str(view.progress), stages=True, children=tuple(_stages(view.branch))
    )


def _stages(branch: Branch) -> Iterator[Item]:
    for node in branch:
        match node:
            case TaskNode():
                inside = tuple(_stages(node.inside))
                label = node.name or "a task"
                yield Item(label=label, state=node.state, id=node.id, note=_note(node), children=inside)
            case GroupNode():
                yield Item(
                    label=f"group of {len(node.members):,}",
                    id=node.id,
                    note=_counted(map(_state, node.members)),
                    children=tuple(_members(node.members)),
                )


def _members(members: Sequence[Branch]) -> Iterator[Item]:
    listed = list(enumerate(members))
    if len(members) > MOST_MEMBERS:
        unsuccessful = [each for each in listed if _state(each[1]) in record.PROPAGATE_STATES]
        listed, left_out = unsuccessful[:MOST_LISTED], unsuccessful[MOST_LISTED:]
        yield from _summary(members, [member for _, member in listed], [member for _, member in left_out])
    for index, member in listed:
        items = tuple(_stages(member))
        if len(items) == 1:
            yield items[0]
        else:
            yield Item(label=f"chain, member {index}", stages=True, children=items)


def _summary(members: Sequence[Branch], listed: Sequence[Branch], left_out: Sequence[Branch]) -> Iterator[Item]:
    """Count the members that are not listed, by name and state.

    Args:
        members: all members of a group.
        listed: the members that have lines of their own.
        left_out: failed or revoked members that get no line because there are too many; their count says "more".
    """
    counts = Counter((_name(member), _state(member)) for member in members)
    counts.subtract((_name(member), _state(member)) for member in listed)
    more = {(_name(member), _state(member)) for member in left_out}
    for (name, state), number in counts.items():
        if number:
            yield Item(label=f"{number:,} {'more ' if (name, state) in more else ''}x {name}", state=state)


def _state(member: Branch) -> str:
    """Return the state of a group's member: the state of its first task that has not succeeded."""
    return next((task.state for task in tasks(member) if task.state != record.SUCCESS), record.SUCCESS)


def _name(member: Branch) -> str:
    return " | ".join(
        (node.name or "a task") if isinstance(node, TaskNode) else f"group of {len(node.members):,}" for node in member
    )


def _counted(states: Iterable[str]) -> str:
    return ", ".join(f"{state} {number:,}" for state, number in Counter(states).items())


def _note(task: TaskNode) -> str:
    parts = []
    if task.started_at is not None:
        parts.append(f"began {_time(task.started_at)}")
    if task.ended_at is not None and task.state in record.READY_STATES:
        parts.append(f"ended {_time(task.ended_at)}")
        if task.started_at is not None:
            parts.append(f"took {(task.ended_at - task.started_at).total_seconds():.2f} s")
    if task.error is not None:
        parts.append(task.error)
    return ", ".join(parts)


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
