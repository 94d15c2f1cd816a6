"""What a store knows of a workflow's tasks at one moment, as a tree: for progress, drawings, and for ending it early.

Records are read in pages. Tasks that started inside others (callbacks, errbacks) are found
by the children in the records of these. Which tasks a workflow has is ``workflow_record``'s part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import EXCEPTION_STATES, FAILURE, PENDING, READY_STATES, REVOKED, SUCCESS
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage, every_task

NO_RECORD: Final = "no record"
"""In place of a state: what follows the task has one, so this one has ended, or will not run."""
NOT_STORED: Final = "not stored"
"""In place of a state: the task's result is ignored."""

PAGE_RECORDS: Final = 500
DEEPEST: Final = 100
"""How many tasks, one started inside the other, are followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNode:
    """A task.

    Args:
        id: its id.
        name: its name, where that is known.
        state: its state, or ``NO_RECORD`` or ``NOT_STORED``.
        open: it may still run, or go on running.
        started_at: when it began, where its record says so.
        ended_at: when it ended.
        error: what it raised, as text.
        inside: tasks that follow from it and are no part of the workflow as it was sent.
    """

    id: str
    name: str | None
    state: str
    open: bool
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None
    inside: tuple[TaskNode, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupNode:
    """Tasks side by side: each member is a branch."""

    id: str
    members: tuple[Branch, ...]


Branch: TypeAlias = "tuple[TaskNode | GroupNode, ...]"
"""What runs one after the other."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a workflow has come.

    Args:
        states: state -> how many tasks are in it; ``"no record"`` among them: what follows the task has a record and it
            has none, as it has expired, was forgotten, ignored by the task itself, or will not run.
        not_stored: how many tasks' results are ignored; they are not counted otherwise.
    """

    states: Mapping[str, int]
    not_stored: int = 0

    @property
    def total(self) -> int:
        """How many tasks there are; more, once tasks that start inside others are known."""
        return sum(self.states.values())

    @property
    def completed(self) -> int:
        """How many have succeeded, as ``completed_count`` has it."""
        return self.states.get(SUCCESS, 0)

    @property
    def failed(self) -> int:
        """How many have failed."""
        return self.states.get(FAILURE, 0)

    @property
    def revoked(self) -> int:
        """How many were revoked."""
        return self.states.get(REVOKED, 0)

    @property
    def ended(self) -> int:
        """How many will not run any more, however they have ended."""
        return sum(number for state, number in self.states.items() if state in READY_STATES or state == NO_RECORD)

    @property
    def fraction(self) -> float:
        """``ended`` of ``total``, from 0 to 1."""
        return self.ended / self.total if self.total else 1.0

    def __str__(self) -> str:
        counted = ", ".join(f"{state} {number:,}" for state, number in sorted(self.states.items(), key=_order))
        without = f"; {self.not_stored:,} not stored" if self.not_stored else ""
        percent = int(self.fraction * 100)  # rounded down: 100 is all
        return f"{self.ended:,} of {self.total:,} ended ({percent} %): {counted or 'no tasks'}{without}"

    def __repr__(self) -> str:
        return f"<Progress: {self}>"


_ORDER: Final = (SUCCESS, FAILURE, REVOKED, NO_RECORD)


def _order(counted: tuple[str, int]) -> tuple[int, str]:
    state = counted[0]
    if state == PENDING:
        return len(_ORDER) + 1, state
    return _ORDER.index(state) if state in _ORDER else len(_ORDER), state


@dataclass(frozen=True, slots=True)
class View:
    """A workflow at one moment.

    Args:
        branch: its stages.
        known: the store has a record of one of its tasks at least.
    """

    branch: Branch
    known: bool

    def tasks(self) -> Iterator[TaskNode]:
        """All its tasks, those that started inside others too."""
        return tasks(self.branch)

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        # By id: sets of results may overlap.
        states = Counter({task.id: task.state for task in self.tasks()}.values())
        not_stored = states.pop(NOT_STORED, 0)
        return Progress(dict(states), not_stored)

    @property
    def ended(self) -> bool:
        """Whether its result is there: all tasks in which its last stage ends have ended.

        Where none of these stores its result, it is the others that count.
        """
        return all(task.state in READY_STATES or not task.open for task in self._awaited())

    @property
    def successful(self) -> bool:
        """Whether it has ended well."""
        return all(task.state == SUCCESS for task in self._awaited())

    def _awaited(self) -> list[TaskNode]:
        of_last = [task for task in _last(self.branch) if task.state != NOT_STORED]
        return of_last or [task for task in self.tasks() if task.state != NOT_STORED]


def tasks(branch: Branch) -> Iterator[TaskNode]:
    """All tasks of a branch, those that started inside others too."""
    for node in branch:
        match node:
            case TaskNode():
                yield node
                yield from tasks(node.inside)
            case GroupNode():
                for member in node.members:
                    yield from tasks(member)


def _last(branch: Branch) -> Iterator[TaskNode]:
    match branch[-1:]:
        case (TaskNode() as task,):
            yield task
        case (GroupNode() as group,):
            for member in group.members:
                yield from _last(member)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of a record: not its value."""

    state: str
    name: str | None
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    children: tuple[str, ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> _Seen:
        state, error = str(document["status"]), None
        if state in EXCEPTION_STATES:
            raised = result_document.exception_of(document.get("result"))
            error = f"{type(raised).__name__}: {raised}"
        return cls(
            state=state,
            name=document.get("name"),
            started_at=_moment(document.get(result_document.STARTED_AT)),
            ended_at=_moment(document.get("date_done")),
            error=error,
            children=tuple(result_document.child_ids(document)),
        )


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(slots=True)
class _Shelf:
    """What was read, by task; the workflow's own tasks; and which of the others have a place in the tree."""

    seen: dict[str, _Seen]
    own: frozenset[str]
    drawn: set[str] = field(default_factory=set)


def look(store: ResultStore, stages: Stages, known: Mapping[str, Mapping[str, Any]] = _NOTHING) -> Flow[View]:
    """Read what the store knows of a workflow: one ``load`` for every 500 tasks.

    Args:
        store: where its results are.
        stages: the workflow, with all ids fixed.
        known: result documents of tasks that need not be read, by id.
    """
    ids = [str(step.id) for step in every_task(stages)]
    shelf = _Shelf({task_id: _Seen.of(document) for task_id, document in known.items()}, frozenset(ids))
    asked: set[str] = set()
    for _ in range(DEEPEST):
        ids = [each for each in dict.fromkeys(ids) if each not in asked]
        if not ids:
            break
        asked.update(ids)
        for page in _pages(each for each in ids if each not in known):
            for task_id, record in (yield from store.load(page)).items():
                shelf.seen[task_id] = _Seen.of(result_document.decode(record.payload))
        ids = [child for each in ids if each in shelf.seen for child in shelf.seen[each].children]
    return View(_branch(stages, shelf, later=False)[0], known=bool(shelf.seen))


def _branch(stages: Sequence[TaskStage | GroupStage], shelf: _Shelf, *, later: bool) -> tuple[Branch, bool]:
    """The nodes of a line, and whether one of its tasks has a record that says that what came before has ended.

    Args:
        stages: the line.
        shelf: the records.
        later: something that runs after the line has such a record.
    """
    nodes: list[TaskNode | GroupNode] = []
    for stage in reversed(stages):
        match stage:
            case TaskStage():
                nodes.append(_task(str(stage.id), stage, shelf, later=later))
                began = _began(shelf, str(stage.id))
            case GroupStage():
                members = [_branch(member, shelf, later=later) for member in stage.members]
                nodes.append(GroupNode(str(stage.id), tuple(member for member, _ in members)))
                began = any(member_began for _, member_began in members)
        later = later or began
    return tuple(reversed(nodes)), later


def _began(shelf: _Shelf, task_id: str) -> bool:
    """Whether a task's record says that what came before it has ended; a revocation doesn't."""
    seen = shelf.seen.get(task_id)
    return seen is not None and seen.state != REVOKED


def _task(task_id: str, step: TaskStage | None, shelf: _Shelf, *, later: bool) -> TaskNode:
    seen, name = shelf.seen.get(task_id), step.task if step is not None and step.task else None
    if seen is None:
        ignored = step is not None and bool(step.options.get("ignore_result"))
        state = NOT_STORED if ignored else NO_RECORD if later else PENDING
        return TaskNode(id=task_id, name=name, state=state, open=not later)
    fresh = [child for child in seen.children if child not in shelf.own and child not in shelf.drawn]
    shelf.drawn.update(fresh)
    return TaskNode(
        id=task_id,
        name=name or seen.name,
        state=seen.state,
        open=seen.state not in READY_STATES,
        started_at=seen.started_at,
        ended_at=seen.ended_at,
        error=seen.error,
        inside=tuple(_task(child, None, shelf, later=False) for child in fresh),
    )


def _pages(ids: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(ids)
    while page := list(islice(iterator, PAGE_RECORDS)):
        yield page


def _moment(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None
