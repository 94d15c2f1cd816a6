"""The steps of a chain: how ``chain`` joins them, how their ids are fixed, and how they run in place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

from taskq_cloud.celery.canvas import foreign, kinds
from taskq_cloud.celery.canvas.building import maybe_unroll_group
from taskq_cloud.celery.states import IGNORED, REJECTED
from taskq_cloud.celery.utils.abstract import CallableSignature

_RUN_OPTIONS: Final = frozenset(
    {"chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id"}
)
"""The options of a chain that are for other tasks than its first one."""


def options_of_first(chain: Any) -> dict[str, Any]:
    """The options of a chain that its first task gets."""
    return {name: value for name, value in chain.options.items() if name not in _RUN_OPTIONS}


# -- joining


def fold(tasks: Iterable[Any]) -> Any:
    """Join tasks as ``a | b | c`` does, but in time that grows with their number and not with its square.

    ``|`` copies all tasks of the chain at each step. Its rules look at the last step alone, so they are applied to a
    list here. All steps but the last are copies in the end, as with ``|``.
    """
    tasks = [foreign.adopted(task) for task in tasks]
    steps: list[Any] = []
    for place, task in enumerate(tasks):
        joined = _join(steps, task, copies=place != len(tasks) - 1)
        if joined is NotImplemented:
            return reduce(or_, tasks, kinds.make("chain"))
        if joined is not steps:
            return reduce(or_, tasks[place + 1 :], joined)
    return kinds.make("chain", [*(step.clone() for step in steps[:-1]), *steps[-1:]])


def _join(steps: list[Any], other: Any, *, copies: bool) -> Any:
    """Add a signature to the steps of a chain, in place.

    Returns:
        The steps; a group, if the chain had no steps; NotImplemented if the value isn't a signature.
    """
    if kinds.is_group(other):
        if kinds.is_empty_group(other):
            return steps
        member = maybe_unroll_group(other)
        return _join_group(steps, other, copies=copies) if member is other else _join(steps, member, copies=copies)
    if kinds.is_chain(other):
        return _join_chain(steps, other, copies=copies)
    if not isinstance(other, kinds.CLASSES["signature"]):
        return NotImplemented
    last = steps[-1] if steps else None
    if kinds.is_group(last):
        steps[-1] = kinds.make("chord", last, _copied(other, copies))
    elif kinds.is_chord(last) and not kinds.is_chord(other):
        steps[-1].body = steps[-1].body | other
    else:
        steps.append(_copied(other, copies))
    return steps


def _join_group(steps: list[Any], group: Any, *, copies: bool) -> Any:
    if not steps:
        return group
    if kinds.is_chord(steps[-1]):
        steps[-1].body = steps[-1].body | group
    else:
        steps.append(_copied(group, copies))
    return steps


def _join_chain(steps: list[Any], chain: Any, *, copies: bool) -> Any:
    inner = chain.unchain_tasks()
    for place, task in enumerate(inner):
        joined = _join(steps, task, copies=copies or place != len(inner) - 1)
        if joined is NotImplemented:
            return joined
        if joined is not steps:
            return reduce(or_, inner[place + 1 :], joined)
    return steps


def _copied(sig: Any, copies: bool) -> Any:
    return sig.clone() if copies else sig


# -- fixing the ids


class Preparation:
    """Fixes the ids of a chain's tasks, from the last to the first, and joins groups with the tasks after them.

    Args:
        app: the application.
        args: the arguments of the first task.
        kwargs: the keyword arguments of the first task; unless tasks are copied, they have no effect, as in Celery.
        root_id: the id of the workflow's first task.
        errbacks: signatures that each task gets as errbacks.
        last: the arguments with which the last task is frozen.
        clone: whether tasks are copied before they are changed.
        from_dict: makes signatures of dicts.
        use_link: whether each task becomes a callback of the task before it.

    Attributes:
        tasks: the tasks, the last one first.
        results: their results.
    """

    def __init__(
        self,
        *,
        app: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        root_id: Any,
        errbacks: Sequence[Any],
        last: Mapping[str, Any],
        clone: bool,
        from_dict: Any,
        use_link: bool,
    ) -> None:
        self.tasks: list[Any] = []
        self.results: list[Any] = []
        self._app, self._args, self._kwargs, self._root_id = app, args, kwargs, root_id
        self._errbacks, self._last, self._clone = errbacks, last, clone
        self._from_dict, self._use_link = from_dict, use_link
        self._next_task: Any = None
        self._next_result: Any = None
        self._fixed = 0

    def run(self, tasks: Iterable[Any]) -> None:
        """Fix the ids of these tasks."""
        steps = self._with_real_first(deque(tasks))
        while steps:
            task = self._signature(steps.pop())
            if kinds.is_group(task):
                task = maybe_unroll_group(task)
                if kinds.is_empty_group(task) and (steps or self._next_task):
                    continue
            if self._clone and kinds.is_chord(task) and kinds.is_led_by_task(task.body):
                steps.extend(task._unroll_body())
                continue
            task = self._with_arguments(task, first=not steps)
            if kinds.is_chain(task):
                steps.extend(task.tasks)
            else:
                self._add(task)
        if self._clone:
            for task in self.tasks:
                strip_chord_header_links(task)

    def _signature(self, task: Any) -> Any:
        return task if isinstance(task, CallableSignature) else self._from_dict(task, app=self._app)

    def _with_real_first(self, steps: deque[Any]) -> deque[Any]:
        """Take apart chains at the beginning, and leave out empty groups there: a real task gets the arguments.

        If nothing else is left, the last empty group stays.
        """
        left_out = None
        while steps:
            head = steps[0] = self._signature(steps[0])
            if kinds.is_chain(head):
                steps.popleft()
                steps.extendleft(reversed((head.clone() if self._clone else head).tasks))
                continue
            if kinds.is_group(head):
                head = steps[0] = maybe_unroll_group(head)
                if kinds.is_empty_group(head) and len(steps) > 1:
                    left_out = steps.popleft()
                    continue
            break
        if left_out is not None and not steps:
            steps.append(left_out)
        return steps

    def _with_arguments(self, task: Any, *, first: bool) -> Any:
        if self._clone:
            return task.clone(self._args, self._kwargs) if first else task.clone()
        if first:
            task.args = (*self._args, *task.args)
        return task

    def _add(self, task: Any) -> None:
        """Fix the ids of a task, in front of those that are fixed."""
        group = task if kinds.is_group(task) and self._next_task else None
        if group is not None:
            task = self._as_chord(group)
        result = self._frozen(task)
        if group is not None:
            group.note_header(task.tasks)
        if self._next_task:
            if self._use_link:
                task.link(self._next_task)
            if self._next_result and not self._next_result.parent:
                self._next_result.parent = result
        for errback in self._errbacks:
            task.link_error(errback)
            if kinds.is_chord(task) and task.body:
                task.body.link_error(errback)
        self.tasks.append(task)
        self.results.append(result)
        self._next_task, self._next_result = task, result
        if kinds.is_chord(task):
            self._app.backend.ensure_chords_allowed()
            # The task before the chord is the parent of the chord's header.
            self._next_result = _outermost_parent(result)

    def _frozen(self, task: Any) -> Any:
        self._fixed += 1
        return task.freeze(root_id=self._root_id, **(self._last if self._fixed == 1 else {}))

    def _as_chord(self, group: Any) -> Any:
        """Make a chord of a group and the task after it, which is taken out of the tasks and becomes the body."""
        body, body_result = self.tasks.pop(), self.results.pop()
        options = {"root_id": self._root_id, "app": self._app}
        # The result of a group has no task_id, and the chord then gets none.
        if hasattr(self._next_result, "task_id"):
            options["task_id"] = self._next_result.task_id
        chord = kinds.make("chord", group, body=body, **options)
        if group.header is not None:  # the chain was frozen before: someone may hold the results of this header
            chord.tasks = group.header.clone()
        self._next_task = self.tasks[-1] if self.tasks else None
        # The tasks after the body had the body's result as their parent. The chord's own result takes its place.
        node = self.results[-1] if self.results else None
        while node is not None and node.parent is not body_result:
            node = node.parent
        if node is not None:
            node.parent, self._next_result = None, node
        return chord


def _outermost_parent(result: Any) -> Any:
    while result.parent:
        result = result.parent
    return result


def followed_by(rest: list[Any], options: dict[str, Any], *, use_link: bool) -> dict[str, Any]:
    """Add to the options of a chain's first task the tasks that follow it, as the option ``chain``, the last one first.

    Lists among the options are not changed, since the members of a group share their options.
    """
    if use_link:
        return {**options, "chain": None}
    return {**options, "chain": [*(options.get("chain") or ()), *rest]}


# -- what a message carries


def _clear_chord(sig: Any) -> None:
    """Take the body of a chord out of the options of the tasks in which a signature ends."""
    sig.options.pop("chord", None)
    if kinds.is_group(sig):
        for task in sig.tasks:
            _clear_chord(task)
    elif kinds.is_chain(sig) and sig.tasks:
        _clear_chord(sig.tasks[-1])
    elif kinds.is_chord(sig) and sig.body is not None:
        _clear_chord(sig.body)


def strip_chord_header_links(sig: Any) -> None:
    """Take the bodies of chords out of the options of their headers' tasks, in a copy that is about to be sent.

    ``freeze`` puts the body there, and the chord has it as well. Chords inside each other would double the size of a
    message with each level.
    """
    if kinds.is_chord(sig):
        _clear_chord(sig.tasks)
        strip_chord_header_links(sig.tasks)
        if sig.body is not None:
            strip_chord_header_links(sig.body)
    elif kinds.is_group(sig) or kinds.is_chain(sig):
        for task in sig.tasks:
            strip_chord_header_links(task)


# -- running in place


def run_in_place(chain: Any, args: Any, kwargs: Any, options: dict[str, Any]) -> Any:
    """Run the tasks of a chain in place, and return the result of the last one.

    Args:
        chain: the chain.
        args: the arguments of the first task.
        kwargs: the keyword arguments of the first task.
        options: the options of each task; ``link`` is for the last one alone.
    """
    from taskq_cloud.celery.result import EagerResult

    link = options.pop("link", None)
    tasks = [task for task in chain.tasks if not kinds.is_empty_group(task)] or list(chain.tasks)[-1:]
    last: Any = None
    for place, task in enumerate(tasks):
        copy = task.clone()
        if link and place == len(tasks) - 1:
            # A chord runs with the options of its body.
            (copy.body if kinds.is_chord(copy) else copy).extend_list_option("link", link)
        result = copy.apply((last.get(),), None, **options) if last else copy.apply(args, kwargs, **options)
        result.parent, last = last, result
        if isinstance(result, EagerResult) and result.state in (IGNORED, REJECTED):
            break
    return last
