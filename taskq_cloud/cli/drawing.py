"""A workflow's tree as it is drawn: what is shown of it, as text, as DOT and as JSON. ``drawing_svg`` has the picture.

Of a large group only the members that went wrong are shown one by one; the others are counted by state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from taskq_cloud.core import serializers
from taskq_cloud.core.records import record
from taskq_cloud.core.workflows.progress import NO_RECORD, NOT_STORED, Branch, GroupNode, TaskNode, View, tasks
from taskq_cloud.results.graph import quoted

MOST_MEMBERS: Final = 20
"""A larger group is summarised."""
MOST_LISTED: Final = 20
"""Members that went wrong, of a summarised group."""

COLOURS: Final = {
    record.SUCCESS: ("green", "#1b7f3b"),
    record.FAILURE: ("red", "#b3261e"),
    record.REVOKED: ("magenta", "#8e3a9d"),
    record.STARTED: ("blue", "#1a5fb4"),
    record.RETRY: ("yellow", "#8a6100"),
}
"""State -> its colour in a terminal, and elsewhere. The state is always written beside it."""
OTHER_COLOUR: Final = "#5f6368"
_LINES: Final = ("├─ ", "└─ ", "│  ", "   ")
_ASCII_LINES: Final = ("|- ", "`- ", "|  ", "   ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a drawing.

    Args:
        label: a task's name, or what stands for several tasks.
        state: the state; None for what has several.
        id: of a task or a group.
        note: times, and an error.
        stages: what it is made of runs one after the other, not side by side.
        children: what it is made of.
    """

    label: str
    state: str | None = None
    id: str = ""
    note: str = ""
    stages: bool = False
    children: tuple[Item, ...] = ()


def item_of(workflow_id: str, view: View) -> Item:
    """What is shown of a workflow."""
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
    numbered = list(enumerate(members))
    if len(members) > MOST_MEMBERS:
        wrong = [each for each in numbered if _state(each[1]) in record.PROPAGATE_STATES]
        listed, left_out = wrong[:MOST_LISTED], wrong[MOST_LISTED:]
        others = Counter((_name(member), _state(member)) for _, member in numbered)
        others.subtract((_name(member), _state(member)) for _, member in listed)
        more = {(_name(member), _state(member)) for _, member in left_out}
        for (name, state), number in others.items():
            if number:
                yield Item(label=f"{number:,} {'more ' if (name, state) in more else ''}x {name}", state=state)
        numbered = listed
    for index, member in numbered:
        items = tuple(_stages(member))
        if len(items) == 1:
            yield items[0]
        else:
            yield Item(label=f"chain, member {index}", stages=True, children=items)


def _state(member: Branch) -> str:
    """The state of a member: that of the first of its tasks that has not succeeded."""
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
        parts.append(f"began {_shown(task.started_at)}")
    if task.ended_at is not None and task.state in record.READY_STATES:
        parts.append(f"ended {_shown(task.ended_at)}")
        if task.started_at is not None:
            parts.append(f"took {(task.ended_at - task.started_at).total_seconds():.2f} s")
    if task.error is not None:
        parts.append(task.error)
    return ", ".join(parts)


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


# -- text


def as_text(item: Item, *, width: int | None = None, encoding: str = "utf-8") -> list[str]:
    """The lines of a drawing, coloured.

    Args:
        item: what to draw.
        width: how many characters fit on a line; None: any number.
        encoding: of the terminal; one that has no lines to draw with gets hyphens.
    """
    try:
        "".join(_LINES).encode(encoding)
        lines = _LINES
    except (UnicodeError, LookupError):
        lines = _ASCII_LINES
    return [_line(each, before, width) for before, each in _rows(item, lines)]


def _rows(item: Item, lines: Sequence[str], before: str = "", after: str = "") -> Iterator[tuple[str, Item]]:
    yield before, item
    tee, corner, bar, blank = lines
    for child in item.children:
        last = child is item.children[-1]
        yield from _rows(child, lines, after + (corner if last else tee), after + (blank if last else bar))


def _line(item: Item, before: str, width: int | None) -> str:
    rest = "  ".join(part for part in (item.label, item.id, item.note) if part)
    # One line, whatever an exception says; and nothing in a name or a text moves the terminal's cursor.
    rest = "".join(c if c.isprintable() else " " for c in rest)
    if item.state is None:
        return f"{before}{rest}"[:width]
    room = None if width is None else max(width - len(before) - len(item.state) - 2, 0)
    colour = COLOURS.get(item.state, (None,))[0]
    return f"{before}{click.style(item.state, fg=colour, bold=True)}  {rest[:room]}"


# -- DOT


def as_dot(item: Item) -> str:
    """A drawing in DOT, the language of Graphviz."""
    written = ["digraph workflow {", '  rankdir="LR"', '  node [shape="box", fontname="Helvetica"]']
    _Dot(written).draw_stages(item.children, [])
    return "\n".join([*written, "}"])


class _Dot:
    """Writes nodes and edges, with names of its own: one id may be drawn twice."""

    def __init__(self, written: list[str]) -> None:
        self._written = written
        self._number = 0

    def draw_stages(self, items: Iterable[Item], before: list[str]) -> list[str]:
        """Draw what runs one after the other, after the nodes ``before``; the nodes it ends in."""
        for item in items:
            before = self._draw(item, before)
        return before

    def _draw(self, item: Item, before: list[str]) -> list[str]:
        if item.stages:
            return self.draw_stages(item.children, before)
        node = f"n{self._number}"
        self._number += 1
        label = "\n".join(part for part in (item.label, item.state, item.note) if part)
        colour = quoted(COLOURS.get(item.state or "", ("", OTHER_COLOUR))[1])
        shape = "" if item.state else ', style="dashed"'
        attributes = f"label={quoted(label)}, tooltip={quoted(item.id)}, color={colour}, fontcolor={colour}{shape}"
        self._written.append(f"  {node} [{attributes}]")
        self._written += [f"  {each} -> {node}" for each in before]
        if item.state is not None:
            # What has started inside a task runs beside what follows it.
            for child in item.children:
                self._draw(child, [node])
            return [node]
        ends = [end for child in item.children for end in self._draw(child, [node])]
        return ends or [node]


# -- JSON


def as_json(workflow_id: str, view: View) -> str:
    """All of a workflow, nothing summarised."""
    progress = view.progress
    return serializers.dumps(
        {
            "id": workflow_id,
            "ended": view.ended,
            "progress": {
                "states": dict(progress.states),
                "total": progress.total,
                "completed": progress.completed,
                "failed": progress.failed,
                "fraction": progress.fraction,
                "not_stored": progress.not_stored,
            },
            "stages": [_node(each) for each in view.branch],
        }
    )


def _node(node: TaskNode | GroupNode) -> dict[str, Any]:
    if isinstance(node, GroupNode):
        return {"group_id": node.id, "members": [[_node(each) for each in member] for member in node.members]}
    return {
        "task_id": node.id,
        "name": node.name,
        "state": None if node.state in (NO_RECORD, NOT_STORED) else node.state,
        "note": node.state if node.state in (NO_RECORD, NOT_STORED) else None,
        "date_started": node.started_at.isoformat() if node.started_at else None,
        "date_done": node.ended_at.isoformat() if node.ended_at else None,
        "error": node.error,
        "inside": [_node(each) for each in node.inside],
    }
