"""Signatures that run side by side: ``group``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import tee
from typing import Any

from taskq_cloud.celery.canvas import kinds, native_form, stamping
from taskq_cloud.celery.canvas.building import maybe_signature
from taskq_cloud.celery.canvas.group_parts import GroupParts
from taskq_cloud.celery.canvas.member_ids import MemberIds
from taskq_cloud.celery.canvas.signatures import Signature
from taskq_cloud.celery.native import collecting
from taskq_cloud.celery.utils import abstract, uuid
from taskq_cloud.celery.utils._regen import _regen, regen


@Signature.register_type()
class group(GroupParts):
    """Signatures that run side by side.

    Args:
        tasks: the signatures, or one iterable of them; a generator is read when its tasks are needed.
        options: as for ``Signature``; every task gets them when the group is sent.
    """

    @classmethod
    def from_dict(cls, d: dict[str, Any], app: Any = None) -> Any:
        """Make a group of its dict, in which the tasks become signatures too."""
        tasks = d["kwargs"]["tasks"]
        made = type(tasks)(maybe_signature(task, app=app) for task in tasks)
        d["kwargs"]["tasks"] = made
        return cls(made, app=app, **d["options"])

    def __init__(self, *tasks: Any, **options: Any) -> None:
        members: Any = tasks
        if len(tasks) == 1:
            members = tasks[0].tasks if isinstance(tasks[0], group) else tasks[0]
            if isinstance(members, abstract.CallableSignature):
                members = [members.clone()]
            members = regen(members)
        super().__init__("celery.group", (), {"tasks": members}, **options)
        self.subtask_type = "group"

    def __call__(self, *partial_args: Any, **options: Any) -> Any:
        """Send the group with these arguments for each task."""
        return self.apply_async(partial_args, **options)

    def __or__(self, other: Any) -> Any:
        return self if kinds.is_empty_group(other) else kinds.make("chord", self, body=other, app=self._app)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Any:
        """Give each task a longer countdown than the one before, and return this group.

        Args:
            start: the countdown of the first task, in seconds.
            stop: the longest countdown; None: there is none.
            step: the seconds between two tasks.
        """
        countdown = start * 1.0
        for task in self.tasks:
            within = not stop or countdown <= stop
            task.set(countdown=countdown if within else countdown - step)
            countdown += step if within else 0
        return self

    # -- calling

    def apply_async(  # type: ignore[override]
        self,
        args: Any = None,
        kwargs: Any = None,
        add_to_parent: bool = True,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        **options: Any,
    ) -> Any:
        """Send all tasks of the group, each with these arguments and options, and return its ``GroupResult``.

        Raises:
            TypeError: a callback or an errback is given.
        """
        from taskq_cloud.celery.result import GroupResult

        if link is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if link_error is not None:
            raise TypeError("Cannot add link to group: do that on individual tasks")
        args, app = args or (), self.app
        if app.conf.task_always_eager:
            return self.apply(args, kwargs, **options)
        if not self.tasks:
            return self.freeze()
        is_new = not any("task_id" in each for each in (self.options, options))
        options, group_id, root_id = self._freeze_gid(options)
        ids = MemberIds(group_id, is_new=is_new or self._new_id == group_id)
        frozen = list(self._prepared(self.tasks, [], group_id, root_id, app, ids=ids))
        with collecting.collected(kinds.ids_of(task for task, _, _ in frozen)) as calls:
            self._apply_tasks([task for task, _, _ in frozen], app, args=args, kwargs=kwargs, **options)
        collecting.send(app, native_form.group_form(group_id, calls, add_to_parent=add_to_parent))
        results = [each for _, each, _ in frozen]
        result = app.GroupResult(group_id, results)
        if len(results) == 1 and isinstance(results[0], GroupResult):
            result = results[0]  # the group at the end of a chain that is the only task
        parent = app.current_worker_task
        if add_to_parent and parent:
            parent.add_trail(result)
        return result

    def _apply_tasks(self, tasks: list[Any], app: Any, chord: Any = None, group_index: Any = None, **call: Any) -> None:
        """Call each task, and tell the backend of the size of the chord that waits for them.

        Args:
            tasks: the tasks, whose ids are fixed.
            app: the application.
            chord: the body that waits for the tasks; None: the one that they have among their options.
            group_index: taken and not used: each task has a place of its own.
            call: the arguments and the options of each call.
        """
        for index, task in enumerate(tasks):
            body = task.options.get("chord") if chord is None else chord
            if body is not None and index == len(tasks) - 1:
                app.backend.set_chord_size(call["group_id"], sum(map(kinds.CLASSES["chord"]._descend, tasks)))
            task.apply_async(add_to_parent=False, chord=body, **call)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run the tasks in place, one after the other."""
        if not self.tasks:
            return self.freeze()
        app = self.app
        options, group_id, root_id = self._freeze_gid(options)
        tasks = self._prepared(self.tasks, [], group_id, root_id, app, freeze=False)
        results = [task.apply(args=args or (), kwargs=kwargs or {}, **options) for task, _, _ in tasks]
        return app.GroupResult(group_id, results)

    def _prepared(
        self,
        tasks: Iterable[Any],
        partial_args: Any,
        group_id: Any,
        root_id: Any,
        app: Any,
        CallableSignature: Any = abstract.CallableSignature,
        from_dict: Any = Signature.from_dict,
        *,
        freeze: bool = True,
        ids: MemberIds | None = None,
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Yield copies of the tasks, those of groups inside among them, with their results and the group's id.

        Args:
            tasks: the tasks.
            partial_args: put before the arguments of each task that isn't immutable.
            group_id: the id of the group.
            root_id: the id of the workflow's first task.
            app: the application.
            CallableSignature: the class of what needs not be made a signature.
            from_dict: makes signatures of dicts.
            freeze: whether the copies are frozen; their result is None otherwise.
            ids: gives ids to the copies that have none.
        """
        for index, each in enumerate(tasks):
            task = each.clone() if isinstance(each, CallableSignature) else from_dict(each, app=app)
            if isinstance(task, group):
                yield from task._prepared(task.tasks, partial_args, group_id, root_id, app, freeze=freeze, ids=ids)
            elif not kinds.is_empty_chain(task):
                if partial_args and not task.immutable:
                    task.args = (*partial_args, *task.args)
                place = {
                    "group_id": group_id,
                    "root_id": root_id,
                    "group_index": index,
                    **(ids.of(task) if ids else {}),
                }
                yield task, task.freeze(**place) if freeze else None, group_id

    # -- fixing ids

    def _freeze_gid(self, options: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
        """Return the options of the group's tasks, the group's id and the id of the workflow's first task."""
        fixed = self._IMMUTABLE_OPTIONS & self.options.keys()
        merged = {**self.options, **{name: value for name, value in options.items() if name not in fixed}}
        merged["group_id"] = group_id = merged.pop("task_id") if "task_id" in merged else uuid()
        return merged, group_id, merged.get("root_id")

    def freeze(
        self,
        _id: Any = None,
        group_id: Any = None,
        chord: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        group_index: Any = None,
    ) -> Any:
        """Fix the ids of all tasks, and return the ``GroupResult``; arguments as for ``Signature.freeze``."""
        own_id, results = self._freeze_group_tasks(_id, group_id, chord, root_id, parent_id, group_index)
        len(results)  # reads a generator to its end, so that all its tasks have their ids
        return self.app.GroupResult(own_id, results)

    _freeze = freeze

    def _freeze_group_tasks(
        self,
        _id: Any = None,
        group_id: Any = None,
        chord: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        group_index: Any = None,
    ) -> tuple[Any, Any]:
        """Fix the ids of all tasks, and return the group's id and the tasks' results.

        The tasks of a generator are frozen as they are read; the group keeps them for the next reader.
        """
        options = self.options
        if "task_id" not in options:
            options["task_id"] = self._new_id = uuid()
        ids = MemberIds(options["task_id"], is_new=self._new_id == options["task_id"])
        if not isinstance(self.tasks, _regen):  # whose tasks may get their ids in ``apply_async``, too
            self._new_id = None
        options.update({k: v for k, v in (("group_id", group_id), ("chord", chord)) if v})
        if group_index is not None:
            options["group_index"] = group_index
        root_id = options.setdefault("root_id", root_id)
        parent_id = options.setdefault("parent_id", parent_id)
        results: Any
        if isinstance(self.tasks, _regen):
            to_freeze, kept = tee(self._unroll_tasks(self.tasks))
            results = regen(self._freeze_tasks(to_freeze, group_id, chord, root_id, parent_id, ids))
            self.tasks = regen(kept)
        else:
            tasks: list[Any] = []
            results = list(self._freeze_unroll(tasks, group_id, chord, root_id, parent_id, ids))
            self._set_tasks(tasks)
        return options["task_id"], results

    def _freeze_tasks(
        self, tasks: Any, group_id: Any, chord: Any, root_id: Any, parent_id: Any, ids: MemberIds | None = None
    ) -> Iterator[Any]:
        """Freeze tasks as their results are asked for; empty chains have none."""
        for index, task in enumerate(tasks):
            if not kinds.is_empty_chain(task):
                place = {"root_id": root_id, "parent_id": parent_id, "group_index": index}
                yield task.freeze(group_id=group_id, chord=chord, **place, **(ids.of(task) if ids else {}))

    def _freeze_unroll(
        self,
        new_tasks: list[Any],
        group_id: Any,
        chord: Any,
        root_id: Any,
        parent_id: Any,
        ids: MemberIds | None = None,
    ) -> Iterator[Any]:
        """Freeze copies of the tasks, those of groups inside among them, and yield their results.

        Args:
            new_tasks: the list that the copies are appended to.
            group_id: the id of the group.
            chord: the body that waits for the tasks.
            root_id: the id of the workflow's first task.
            parent_id: the id of the task before.
            ids: gives ids to the copies that have none.
        """
        stack = deque(self.tasks)
        while stack:
            task = maybe_signature(stack.popleft(), app=self._app).clone()
            if isinstance(task, group):
                stack.extendleft(task.tasks)
            elif not kinds.is_empty_chain(task):
                index = len(new_tasks)
                new_tasks.append(task)
                place = {"root_id": root_id, "parent_id": parent_id, "group_index": index}
                yield task.freeze(group_id=group_id, chord=chord, **place, **(ids.of(task) if ids else {}))

    # -- changing

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        """Return a copy, as ``Signature.clone`` does, with the tasks of this group."""
        copy = super().clone(*args, **kwargs)
        copy._header = self._header
        return copy

    def set_immutable(self, immutable: bool) -> None:
        """Set whether the tasks take no value from the task before the group."""
        for task in self.tasks:
            task.set_immutable(immutable)

    def stamp(self, visitor: Any = None, append_stamps: bool = False, **headers: Any) -> None:
        """Stamp every task: see ``Signature.stamp``."""
        chosen = None if visitor is None else visitor.on_group_start(self, **headers) or {}
        stamps = self._stamp_headers(chosen, append_stamps, **headers)
        self.stamp_links(visitor, append_stamps, **stamps)
        if isinstance(self.tasks, _regen):
            self.tasks.map(partial(stamping.stamp_member, visitor=visitor, append_stamps=append_stamps, **stamps))
        else:
            tasks = []
            for each in self.tasks:
                task = maybe_signature(each, app=self.app)
                task.stamp(visitor, append_stamps, **stamps)
                tasks.append(task)
            self._set_tasks(tasks)
        if visitor is not None:
            visitor.on_group_end(self, **stamps)

    def link(self, sig: Any) -> Any:
        """Add a callback to the first task, and return it: a copy, which takes no value, as it can't get all values."""
        return self.tasks[0].link(sig.clone().set(immutable=True))

    def link_error(self, sig: Any) -> tuple[Any, ...]:
        """Add copies of an errback to every task, and return them."""
        errback = maybe_signature(sig)
        return tuple(task.link_error(errback.clone()) for task in self.tasks)


kinds.CLASSES["group"] = group
