"""Signatures that run one after the other: ``chain``."""

from __future__ import annotations

from collections import deque
from functools import reduce
from operator import or_
from typing import Any

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.canvas import chain_steps, foreign, kinds
from taskq_cloud.celery.canvas.building import maybe_signature, maybe_unroll_group
from taskq_cloud.celery.canvas.signatures import Signature
from taskq_cloud.celery.utils.functional import is_list, maybe_list, regen, seq_concat_item
from taskq_cloud.celery.utils.objects import getitem_property
from taskq_cloud.celery.utils.text import remove_repeating_from_task


@Signature.register_type(name="chain")
class _chain(Signature):
    """A chain, as ``|`` makes it; ``chain`` is the class that users call.

    Args:
        tasks: the signatures, or one iterable of them.
        options: as for ``Signature``; ``use_link`` makes each task a callback of the one before it.
    """

    tasks = getitem_property("kwargs.tasks", "The tasks of the chain.")

    @classmethod
    def from_dict(cls, d: dict[str, Any], app: Any = None) -> Any:
        """Make a chain of its dict."""
        tasks = d["kwargs"]["tasks"]
        if tasks:
            if isinstance(tasks, tuple):
                d["kwargs"]["tasks"] = list(tasks)
            tasks = [maybe_signature(task, app=app) for task in tasks]
        return cls(tasks, app=app, **d["options"])

    def __init__(self, *tasks: Any, **options: Any) -> None:
        members = regen(tasks[0]) if len(tasks) == 1 and is_list(tasks[0]) else tasks
        super().__init__("celery.chain", (), {"tasks": members}, **options)
        self._use_link = options.get("use_link")
        self.subtask_type = "chain"
        self._frozen: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Send the chain with these arguments for its first task; a chain without tasks has no result."""
        return self.apply_async(args, kwargs) if self.tasks else None

    # -- composing

    def __or__(self, other: Any) -> Any:
        if kinds.is_empty_group(other):
            return self
        if kinds.is_group(other):
            return self._or_group(maybe_unroll_group(other))
        if kinds.is_chain(other):
            return reduce(or_, other.unchain_tasks(), self)
        if isinstance(other, Signature):
            return self._or_signature(other)
        return self | foreign.adopted(other, self._app) if kinds.is_foreign(other) else NotImplemented

    def _or_group(self, other: Any) -> Any:
        if not kinds.is_group(other):
            return self.__or__(other)
        tasks = self.unchain_tasks()
        if not tasks:
            return other
        if kinds.is_chord(tasks[-1]):
            tasks[-1].body = tasks[-1].body | other
            return type(self)(tasks, app=self.app)
        return type(self)(seq_concat_item(tasks, other), app=self._app)

    def _or_signature(self, other: Any) -> Any:
        """Add a task or a chord. A group at the end becomes the header of a chord; a chord's body takes the task."""
        last = self.tasks[-1] if self.tasks else None
        if kinds.is_group(last):
            joined = self.clone()
            *before, header = joined.tasks
            chord = kinds.make("chord", header, other, app=self._app)
            if before and kinds.is_chord(before[-1]):
                before[-1].body = before[-1].body | chord
                joined.tasks = before
            else:
                joined.tasks[-1] = chord
            return joined
        if kinds.is_chord(last) and not kinds.is_chord(other):
            joined = self.clone()
            joined.tasks[-1].body = joined.tasks[-1].body | other
            return joined
        return type(self)(seq_concat_item(self.unchain_tasks(), other), app=self._app)

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        """Return a copy, as ``Signature.clone`` does, with copies of the tasks."""
        copy = super().clone(*args, **kwargs)
        copy.kwargs["tasks"] = [maybe_signature(task, app=self._app, clone=True) for task in copy.kwargs["tasks"]]
        return copy

    def unchain_tasks(self) -> list[Any]:
        """Return copies of the tasks: the last one with the chain's callbacks, and each one with its errbacks."""
        tasks = [task.clone() for task in self.tasks]
        for callback in maybe_list(self.options.get("link")) or []:
            tasks[-1].link(callback)
        for errback in maybe_list(self.options.get("link_error")) or []:
            for task in tasks:
                task.link_error(errback)
        return tasks

    def _unroll_chords(self, app: Any = None) -> None:
        """Turn each chord whose body is a chain into a chord and the tasks after it; changes this chain."""
        if self._links_tasks(app or self.app):
            return  # a failed header must find the whole body, to tell the last task of it
        pending, tasks = deque(self.tasks), []
        while pending:
            task = pending.popleft()
            if kinds.is_chain(task):
                task = task.clone()
                task._unroll_chords(app or self.app)
            if kinds.is_chord(task) and kinds.is_led_by_task(task.body):
                pending.extendleft(reversed(task._unroll_body()))
            else:
                tasks.append(task)
        self.tasks = tasks

    def _links_tasks(self, app: Any) -> bool:
        """Whether each task becomes a callback of the one before it, as in Celery's protocol 1."""
        if self._use_link is None:
            return bool(app.conf.task_protocol == 1)
        return bool(self._use_link)

    # -- calling

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Send the chain with these arguments for its first task."""
        args, kwargs, app = args or (), kwargs or {}, self.app
        if app.conf.task_always_eager:
            from taskq_cloud.celery.result import allow_join_result

            with allow_join_result():
                return self.apply(args, kwargs, **options)
        return self.run(args, kwargs, app=app, **{**self.options, **options})

    def run(
        self,
        args: Any = None,
        kwargs: Any = None,
        group_id: Any = None,
        chord: Any = None,
        task_id: Any = None,
        link: Any = None,
        link_error: Any = None,
        publisher: Any = None,
        producer: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        app: Any = None,
        group_index: Any = None,
        **options: Any,
    ) -> Any:
        """Send the chain: fix the ids of its tasks, and send the first with the others.

        Returns:
            The result of the last task, whose ``parent`` leads to those before it; None for a chain without tasks.
        """
        app = app or self.app
        args = (*args, *self.args) if args and not self.immutable else self.args
        steps, results = self.prepare_steps(
            args,
            kwargs or {},
            self.tasks,
            root_id,
            parent_id,
            link_error,
            app,
            task_id,
            group_id,
            chord,
            group_index=group_index,
        )
        if not results:
            return None
        if link:
            steps[0].extend_list_option("link", link)
        *rest, first = steps
        following = chain_steps.followed_by(rest, options, use_link=self._links_tasks(app))
        sent = first.apply_async(**following)
        # The group of a chain that is one group has members of its own; a frozen result would not know them.
        return results[0] if rest else sent

    def freeze(
        self,
        _id: Any = None,
        group_id: Any = None,
        chord: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        group_index: Any = None,
    ) -> Any:
        """Fix the ids of all tasks, and return the result of the last one; arguments as for ``Signature.freeze``."""
        _, results = self._frozen = self.prepare_steps(
            self.args,
            self.kwargs,
            self.tasks,
            root_id,
            parent_id,
            None,
            self.app,
            _id,
            group_id,
            chord,
            clone=False,
            group_index=group_index,
        )
        return results[0]

    def prepare_steps(
        self,
        args: Any,
        kwargs: Any,
        tasks: Any,
        root_id: Any = None,
        parent_id: Any = None,
        link_error: Any = None,
        app: Any = None,
        last_task_id: Any = None,
        group_id: Any = None,
        chord_body: Any = None,
        clone: bool = True,
        from_dict: Any = Signature.from_dict,
        group_index: Any = None,
    ) -> Any:
        """Fix the ids of tasks, and join them as they run: see ``chain_steps.Preparation``.

        Args:
            args: the arguments of the first task.
            kwargs: the keyword arguments of the first task.
            tasks: the tasks.
            root_id: the id of the workflow's first task.
            parent_id: taken and not used, as in Celery.
            link_error: errbacks that each task gets.
            app: the application.
            last_task_id: the id of the last task, unless it has one.
            group_id: the id of the group in which the last task counts.
            chord_body: the body that waits for the last task.
            clone: whether the tasks are copied before they are changed.
            from_dict: makes signatures of dicts.
            group_index: the place in the group.

        Returns:
            The tasks and their results, the last one first.
        """
        app = app or self.app
        preparation = chain_steps.Preparation(
            app=app,
            args=args,
            kwargs=kwargs,
            root_id=root_id,
            errbacks=maybe_list(link_error) or [],
            last={"_id": last_task_id, "group_id": group_id, "chord": chord_body, "group_index": group_index},
            clone=clone,
            from_dict=from_dict,
            use_link=self._links_tasks(app),
        )
        preparation.run(tasks)
        results = preparation.results
        self.id = results[0].id if results else last_task_id
        return preparation.tasks, results

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp every task: see ``Signature.stamp``."""
        chosen = None if visitor is None else visitor.on_chain_start(self, **headers) or {}
        stamps = self._stamp_headers(chosen, append_stamps, **headers)
        self.stamp_links(visitor, **stamps)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **stamps)
        if visitor is not None:
            visitor.on_chain_end(self, **stamps)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run the tasks in place, one after the other; the chain's callbacks run after the last one."""
        return chain_steps.run_in_place(self, args or (), kwargs or {}, {**self.options, **options})

    @property
    def app(self) -> Any:
        """The application: the chain's own, that of its first task, or the current one."""
        app = self._app
        if app is None:
            try:
                app = self.tasks[0].app
            except (LookupError, AttributeError):  # no task, or one that is still a dict
                app = None
        return app or current_app

    def __repr__(self) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return remove_repeating_from_task(self.tasks[0]["task"], " | ".join(map(repr, self.tasks)))


class chain(_chain):
    """Signatures that run one after the other, each with the value of the one before.

    ``chain(a, b, c)`` is ``a | b | c``. With options, or one signature alone, the tasks stay as they are.

    Args:
        tasks: the signatures, or one iterable of them.
        options: as for ``Signature``.
    """

    def __new__(cls, *tasks: Any, **kwargs: Any) -> Any:
        """Make a chain of the tasks, joined as ``|`` joins them."""
        if kwargs or not tasks or (len(tasks) == 1 and not is_list(tasks[0])):
            return super().__new__(cls, *tasks, **kwargs)
        folded = chain_steps.fold(tasks[0] if len(tasks) == 1 else tasks)
        if cls is not chain and kinds.is_chain(folded) and not isinstance(folded, cls):
            return super().__new__(cls, folded.tasks, **kwargs)
        return folded


kinds.CLASSES.update({"chain": _chain, "chain_function": chain})
