"""The signature of a call (``Signature``): Celery's dict of a task's name, arguments and options, changed in place.

The kinds of signatures that hold others are in ``chains``, ``groups``, ``chords`` and ``maps``. ``native_form`` writes
them for the native planner, which sends them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any, ClassVar, TypeAlias

from taskq_cloud.celery._state import current_app
from taskq_cloud.celery.canvas import foreign, kinds, stamping
from taskq_cloud.celery.canvas.building import maybe_unroll_group, signature
from taskq_cloud.celery.canvas.links import Linking
from taskq_cloud.celery.canvas.reprs import reprcall
from taskq_cloud.celery.utils import abstract, cached_property, uuid
from taskq_cloud.celery.utils.functional import seq_concat_seq
from taskq_cloud.celery.utils.objects import getitem_property

SignatureClass: TypeAlias = "type[Signature]"


@abstract.CallableSignature.register
class Signature(Linking, dict[str, Any]):
    """The signature of a call of a task: a dict in Celery's format, which is also its form on the wire.

    Args:
        task: the task, its name, or the dict of a signature; with a dict, the arguments after it have no effect.
        args: the positional arguments.
        kwargs: the keyword arguments.
        options: the options of the call.
        type: taken and not used, as in Celery.
        subtask_type: the kind of the signature; None for a single task.
        immutable: whether the call takes no value from the task before it.
        app: the application; None: that of the task, or the current one.
        ex: further options; they win over ``options``.
    """

    TYPES: ClassVar[dict[str, Any]] = {}
    _app: Any = None
    _type: Any = None
    # A group's members must stay members of that group, or its chord would wait for ever.
    _IMMUTABLE_OPTIONS: ClassVar[set[str]] = {"group_id", stamping.STAMPED_HEADERS}

    __class_getitem__: Any = classmethod(types.GenericAlias)

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[Any], Any]:
        """Return a decorator that registers a class as a kind of signature, by this name or its own."""

        def register(subclass: Any) -> Any:
            cls.TYPES[name or subclass.__name__] = subclass
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: dict[str, Any], app: Any = None) -> Any:
        """Make a signature of a dict, in the class that is registered for its ``subtask_type``."""
        kind = d.get("subtask_type")
        found = cls.TYPES[kind] if kind else cls
        return Signature(d, app=app) if found is cls else found.from_dict(d, app=app)

    def __init__(
        self,
        task: Any = None,
        args: Any = None,
        kwargs: Any = None,
        options: Any = None,
        type: Any = None,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Any = None,
        **ex: Any,
    ) -> None:
        self._app = app
        if isinstance(task, dict):
            super().__init__(task)
            return
        if hasattr(task, "name"):
            self._type, task = task, task.name
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=kwargs or {},
            options={**(options or {}), **ex},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    # -- calling

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Call the task's function here, with these arguments before the signature's own."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs)
        return self.type(*args, **kwargs)

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> Any:
        """Send the call with further arguments: see ``apply_async``."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run the task in place, with further arguments and options; options that are None don't count."""
        args, kwargs, options = self._merge(args, kwargs, _given(options))
        return self.type.apply(args, kwargs, **options)

    def apply_async(self, args: Any = None, kwargs: Any = None, route_name: Any = None, **options: Any) -> Any:
        """Send the call.

        Args:
            args: put before the arguments that the signature has.
            kwargs: added to the keyword arguments that the signature has.
            route_name: taken and not used, as in Celery.
            options: added to the options that the signature has; options that are None don't count.
        """
        given = _given(options)
        try:
            send = self._apply_async
        except IndexError:  # a subclass whose task depends on tasks that it doesn't have
            return None
        if args or kwargs or given:
            args, kwargs, given = self._merge(args, kwargs, given)
        else:
            args, kwargs, given = self.args, self.kwargs, self.options
        return send(args, kwargs, **given)

    def __invert__(self) -> Any:
        return self.apply_async().get()

    def election(self) -> Any:
        """Ask the control for an election of the worker that runs the task, and return the task's result."""
        task = self.type
        task_id = self.options.get("task_id") or uuid()
        task.app.control.election(task_id, "task", self.clone(task_id=task_id), connection=None)
        return task.AsyncResult(task_id)

    # -- copying and changing

    def _merge(self, args: Any = None, kwargs: Any = None, options: Any = None, force: bool = False) -> Any:
        """Return this signature's arguments and options together with further ones.

        Args:
            args: put before the signature's arguments.
            kwargs: added to the keyword arguments.
            options: added to the options. A stamp and a group's id that the signature has already stay.
            force: whether an immutable signature takes the arguments too.
        """
        merged = self.options
        if options is not None:
            fixed = self._IMMUTABLE_OPTIONS.union(self.options.get(stamping.STAMPED_HEADERS, ()))
            merged = {**merged, **{k: v for k, v in options.items() if k not in fixed or k not in self.options}}
        if self.immutable and not force:
            return self.args, self.kwargs, merged
        return (
            (*args, *self.args) if args else self.args,
            {**self.kwargs, **kwargs} if kwargs else self.kwargs,
            merged,
        )

    def clone(self, args: Any = None, kwargs: Any = None, **opts: Any) -> Any:
        """Return a copy with further arguments and options.

        The options are copied deeply, since links in them are changed in place. Arguments are not copied, since they
        may be of any kind.
        """
        if args or kwargs or opts:
            args, kwargs, opts = self._merge(args, kwargs, opts)
        else:
            args, kwargs, opts = self.args, self.kwargs, self.options
        copy = Signature.from_dict(
            {
                "task": self.task,
                "args": tuple(args),
                "kwargs": {**kwargs},
                "options": deepcopy(opts),
                "subtask_type": self.subtask_type,
                "immutable": self.immutable,
            },
            app=self._app,
        )
        copy._type = self._type
        return copy

    partial = clone

    def freeze(
        self,
        _id: Any = None,
        group_id: Any = None,
        chord: Any = None,
        root_id: Any = None,
        parent_id: Any = None,
        group_index: Any = None,
    ) -> Any:
        """Fix the id of the call, and return the result that the call will have.

        Args:
            _id: the id, unless the signature has one; None: a new one.
            group_id: the id of the group, unless the signature has one.
            chord: the body that waits for the task.
            root_id: the id of the workflow's first task.
            parent_id: the id of the task before.
            group_index: the place in the group.
        """
        options = self.options
        if "task_id" not in options:
            options["task_id"] = _id or uuid()
        options.update({k: v for k, v in (("root_id", root_id), ("parent_id", parent_id)) if v})
        if "reply_to" not in options:
            options["reply_to"] = self.app.thread_oid
        if group_id:
            options.setdefault("group_id", group_id)
        if chord:
            options["chord"] = chord
        if group_index is not None:
            options["group_index"] = group_index
        return self.AsyncResult(options["task_id"])

    _freeze = freeze

    def replace(self, args: Any = None, kwargs: Any = None, options: Any = None) -> Any:
        """Return a copy with other arguments or other options; None leaves a part as it is."""
        copy = self.clone()
        for name, value in (("args", args), ("kwargs", kwargs), ("options", options)):
            if value is not None:
                copy[name] = value
        return copy

    def set(self, immutable: bool | None = None, **options: Any) -> Any:
        """Change options, and return this signature."""
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Set whether the call takes no value from the task before it."""
        self.immutable = immutable

    # -- composing

    def __or__(self, other: Any) -> Any:
        if kinds.is_chain(other):
            return kinds.make("chain", seq_concat_seq((self,), other.unchain_tasks()), app=self._app)
        if kinds.is_group(other):
            return kinds.make("chain", self, maybe_unroll_group(other), app=self.app)
        if isinstance(other, Signature):
            return kinds.make("chain", self, other, app=self._app)
        return self | foreign.adopted(other, self._app) if kinds.is_foreign(other) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return other | foreign.returned(self, other) if kinds.is_foreign(other) else NotImplemented

    def __ior__(self, other: Any) -> Any:  # a dict would be updated
        return self.__or__(other)

    # -- as a value

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """Show the call as it would be with further arguments."""
        args, kwargs, _ = self._merge(args, kwargs, {}, force=True)
        return reprcall(self["task"], args, kwargs)

    def __repr__(self) -> str:
        return self.reprcall()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        # Celery's copy is a plain dict. Arguments are not copied: they may be generators.
        copy = memo[id(self)] = dict(self)
        copy["options"] = deepcopy(self.options, memo)
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]  # an iterator, as in Celery
        """Yield the keys, as text, and their values."""
        for key, value in super().items():
            yield key.decode() if isinstance(key, bytes) else key, value

    @property
    def name(self) -> Any:
        """The task's name."""
        return self.task

    @cached_property
    def type(self) -> Any:
        """The task."""
        return self._type or self.app.tasks[self["task"]]

    @cached_property
    def app(self) -> Any:
        """The application."""
        return self._app or current_app

    @cached_property
    def AsyncResult(self) -> Any:
        """The function that makes the result of the task: the task's own, if it is registered."""
        try:
            return self.type.AsyncResult
        except KeyError:
            return self.app.AsyncResult

    @cached_property
    def _apply_async(self) -> Any:
        """The function that sends the call: the task's own, if it is registered."""
        try:
            return self.type.apply_async
        except KeyError:
            return partial(self.app.send_task, self["task"])

    id = getitem_property("options.task_id", "The id of the call.")
    parent_id = getitem_property("options.parent_id", "The id of the task before.")
    root_id = getitem_property("options.root_id", "The id of the workflow's first task.")
    task = getitem_property("task", "The task's name.")
    args = getitem_property("args", "The positional arguments.")
    kwargs = getitem_property("kwargs", "The keyword arguments.")
    options = getitem_property("options", "The options of the call.")
    subtask_type = getitem_property("subtask_type", "The kind of the signature.")
    immutable = getitem_property("immutable", "Whether the call takes no value from the task before it.")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


kinds.CLASSES["signature"] = Signature
