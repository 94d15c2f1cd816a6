"""The state of a workflow as a tree, read from the result store: for progress, drawings, and revocation.

Records are read in pages. Tasks that started inside others, such as callbacks and errbacks, are found by the children
that the records list. ``shape`` knows which tasks a workflow was sent with.
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
from taskq_cloud.core.records.record import FAILURE, PENDING, READY_STATES, REVOKED, SUCCESS
from taskq_cloud.core.workflows.stages import MOST_TASKS, GroupStage, Stages, TaskStage, every_task

NO_RECORD: Final = "no record"
"""The state of a task without a record, if a task after it has one: the task has ended, or will not run."""
NOT_STORED: Final = "not stored"
"""The state of a task whose result is ignored."""

PAGE_RECORDS: Final = 500
"""Records read or written at a time."""
DEEPEST: Final = 100
"""The depth to which tasks that start inside other tasks are followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskNode:
    """A task of a workflow.

    Args:
        id: the task's id.
        name: the task's name, if it is known.
        state: the task's state, or ``NO_RECORD`` or ``NOT_STORED``.
        open: whether the task may still run, or is running.
        started_at: when the task began, if its record says so.
        ended_at: when the task ended.
        error: the error that the task raised, as text.
        inside: the tasks that follow from this one without being part of the workflow as it was sent.
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
    """Branches that run side by side."""

    id: str
    members: tuple[Branch, ...]


Branch: TypeAlias = "tuple[TaskNode | GroupNode, ...]"
"""Tasks and groups that run one after the other."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of a workflow's tasks in each state.

    Args:
        states: state -> number of tasks. The state ``"no record"`` counts tasks without a record that are followed by a
            task with one: the record has expired or was forgotten, the task raised ``Ignore``, or it will not run.
        not_stored: the number of tasks whose results are ignored; ``states`` and the totals don't include them.
    """

    states: Mapping[str, int]
    not_stored: int = 0

    @property
    def total(self) -> int:
        """The number of tasks; it grows when tasks that start inside others become known."""
        return sum(self.states.values())

    @property
    def completed(self) -> int:
        """The number of tasks that have succeeded, as in ``GroupResult.completed_count``."""
        return self.states.get(SUCCESS, 0)

    @property
    def failed(self) -> int:
        """The number of tasks that have failed."""
        return self.states.get(FAILURE, 0)

    @property
    def revoked(self) -> int:
        """The number of tasks that were revoked."""
        return self.states.get(REVOKED, 0)

    @property
    def ended(self) -> int:
        """The number of tasks that will not run any more, however they have ended."""
        return sum(number for state, number in self.states.items() if state in READY_STATES or state == NO_RECORD)

    @property
    def fraction(self) -> float:
        """The ended part of all tasks, from 0 to 1; 1 without tasks."""
        return self.ended / self.total if self.total else 1.0

    def __str__(self) -> str:
        counted = ", ".join(f"{state} {number:,}" for state, number in sorted(self.states.items(), key=_order))
        without = f"; {self.not_stored:,} not stored" if self.not_stored else ""
        percent = int(self.fraction * 100)  # rounded down, so that 100 % means all
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
    """The state of a workflow at one moment.

    Args:
        branch: the workflow's stages.
        known: whether the store has a record of at least one task.
    """

    branch: Branch
    known: bool

    def tasks(self) -> Iterator[TaskNode]:
        """All tasks of the workflow, including the tasks that started inside others."""
        return tasks(self.branch)

    @property
    def progress(self) -> Progress:
        """The number of tasks in each state."""
        # Each id counts once: sets of results may overlap.
        states = Counter({task.id: task.state for task in self.tasks()}.values())
        not_stored = states.pop(NOT_STORED, 0)
        return Progress(dict(states), not_stored)

    @property
    def ended(self) -> bool:
        """Whether the workflow's result is complete: all tasks in which its last stage ends have ended.

        If none of these tasks stores its result, all other tasks have to have ended.
        """
        return all(task.state in READY_STATES or not task.open for task in self._awaited())

    @property
    def successful(self) -> bool:
        """Whether all tasks that the result consists of have succeeded."""
        return all(task.state == SUCCESS for task in self._awaited())

    def _awaited(self) -> list[TaskNode]:
        last = [task for task in _last(self.branch) if task.state != NOT_STORED]
        return last or [task for task in self.tasks() if task.state != NOT_STORED]


def tasks(branch: Branch) -> Iterator[TaskNode]:
    """All tasks of a branch, including the tasks that started inside others."""
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
class _Summary:
    """The parts of a record that the tree shows; the task's value is not among them."""

    state: str
    name: str | None
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    children: tuple[str, ...]

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> _Summary:
        error = result_document.error_of(document)
        return cls(
            state=str(document["status"]),
            name=name if isinstance(name := document.get("name"), str) else None,
            started_at=result_document.time_in(document, result_document.STARTED_AT),
            ended_at=result_document.date_done(document),
            error=None if error is None else error.summary,
            children=tuple(result_document.child_ids(document)),
        )


_NOTHING: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


@dataclass(slots=True)
class _Findings:
    """The records that were read for a tree.

    Args:
        summaries: task id -> summary of its record.
        own: the ids of the tasks that the workflow was sent with.
        placed: the ids of other tasks that have a place in the tree already.
    """

    summaries: dict[str, _Summary]
    own: frozenset[str]
    placed: set[str] = field(default_factory=set)


def load_view(store: ResultStore, stages: Stages, known: Mapping[str, Mapping[str, Any]] = _NOTHING) -> Flow[View]:
    """Read the state of a workflow, with one ``load`` for every 500 tasks.

    Args:
        store: the result store.
        stages: the workflow, with the ids of all tasks.
        known: task id -> result document, for tasks that need not be read.
    """
    ids = [str(task.id) for task in every_task(stages)]
    summaries = {task_id: _Summary.read(document) for task_id, document in known.items()}
    asked: set[str] = set()
    for _ in range(DEEPEST):
        new_ids = [task_id for task_id in dict.fromkeys(ids) if task_id not in asked]
        if asked:  # the workflow's own tasks are all read
            new_ids = new_ids[: max(0, MOST_TASKS - len(asked))]
        if not new_ids:
            break
        asked.update(new_ids)
        for page in _pages(task_id for task_id in new_ids if task_id not in known):
            for task_id, record in (yield from store.load(page)).items():
                summaries[task_id] = _Summary.read(result_document.decode(record.payload))
        ids = [child for task_id in new_ids if task_id in summaries for child in summaries[task_id].children]
    findings = _Findings(summaries, frozenset(str(task.id) for task in every_task(stages)))
    return View(_branch(stages, findings, later=False)[0], known=bool(summaries))


def _branch(stages: Sequence[TaskStage | GroupStage], findings: _Findings, *, later: bool) -> tuple[Branch, bool]:
    """The nodes of some stages, and whether a record shows that the stages before them have ended.

    Args:
        stages: the stages.
        findings: the records.
        later: whether a record of a task after these stages shows that they have ended.
    """
    nodes: list[TaskNode | GroupNode] = []
    for stage in reversed(stages):
        match stage:
            case TaskStage():
                nodes.append(_task(str(stage.id), stage, findings, later=later))
                began = _began(findings, str(stage.id))
            case GroupStage():
                members = [_branch(member, findings, later=later) for member in stage.members]
                nodes.append(GroupNode(str(stage.id), tuple(member for member, _ in members)))
                began = any(member_began for _, member_began in members)
        later = later or began
    return tuple(reversed(nodes)), later


def _began(findings: _Findings, task_id: str) -> bool:
    """Whether a task's record shows that the task before it has ended. A revoked task need not have begun."""
    summary = findings.summaries.get(task_id)
    return summary is not None and summary.state != REVOKED


def _task(task_id: str, stage: TaskStage | None, findings: _Findings, *, later: bool) -> TaskNode:
    summary, name = findings.summaries.get(task_id), stage.task if stage is not None and stage.task else None
    if summary is None:
        ignored = stage is not None and bool(stage.options.get("ignore_result"))
        state = NOT_STORED if ignored else NO_RECORD if later else PENDING
        return TaskNode(id=task_id, name=name, state=state, open=not later)
    inside = [child for child in summary.children if child not in findings.own and child not in findings.placed]
    findings.placed.update(inside)
    return TaskNode(
        id=task_id,
        name=name or summary.name,
        state=summary.state,
        open=summary.state not in READY_STATES,
        started_at=summary.started_at,
        ended_at=summary.ended_at,
        error=summary.error,
        inside=tuple(_task(child, None, findings, later=False) for child in inside),
    )


def _pages(ids: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(ids)
    while page := list(islice(iterator, PAGE_RECORDS)):
        yield page
