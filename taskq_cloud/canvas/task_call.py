"""One task with the arguments and options that it will be called with; all other workflows are made of such calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, Unpack

from taskq_cloud.calling.options import LINKS, CallKeywords, check_arguments, checked_options
from taskq_cloud.canvas import stamping
from taskq_cloud.canvas.chain import Chain
from taskq_cloud.canvas.node import altered, fill, made, values_of
from taskq_cloud.canvas.stamping import StampingVisitor, Stamps
from taskq_cloud.canvas.workflow import SignatureLike, Workflow, invalid, link_all, node_of, read, reads, taken
from taskq_cloud.core.model.message import Args, Kwargs, Options, Signature
from taskq_cloud.core.model.option_values import NAME, check
from taskq_cloud.core.workflows import signatures
from taskq_cloud.core.workflows.signatures import signature_of
from taskq_cloud.core.workflows.stages import as_list
from taskq_cloud.errors import InvalidTaskError, NotRegistered
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.runtime.protocols import Application


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Call(Workflow[AsyncResult[Any]]):
    """One task with the arguments and options that it will be called with; ``task.s(...)`` makes one.

    Args:
        task: the task's name.
        args: positional arguments; the value of the task before it in a workflow is put before them.
        kwargs: keyword arguments.
        options: the options of ``apply_async``; ``link`` and ``link_error`` are tuples of workflows.
        immutable: the task takes no value from the task before it.
        app: the application.
        more: further options by name, whose names and types are checked.

    Raises:
        TypeError: the name or the arguments have the wrong type, or one of ``more`` is not an option.
    """

    task: str
    args: tuple[Any, ...]
    kwargs: Kwargs
    options: Options
    immutable: bool

    def __init__(
        self,
        task: str,
        args: Args | None = None,
        kwargs: Kwargs | None = None,
        options: Options | None = None,
        *,
        immutable: bool = False,
        app: Application | None = None,
        **more: Unpack[CallKeywords],
    ) -> None:
        if not isinstance(task, str) or not task:
            raise TypeError(f"a signature takes the name of a task, not {task!r:.100}")
        check(NAME, "the name of a task", task)
        _check_arguments(task, args, kwargs)
        # The arguments are copied: a caller may change the lists and dicts afterwards, but a signature doesn't change.
        own = {"args": tuple(args or ()), "kwargs": kwargs or {}, "options": options or {}}
        fill(self, task=task, **own, immutable=immutable, app=app)
        if more:
            fill(self, **values_of(self.with_options(more)), app=app)

    def __repr__(self) -> str:
        called = signatures.mapped_task({"task": self.task, "kwargs": self.kwargs})
        if called is not None:
            return f"{self.task}({called}, {self.kwargs['it']!r:.60})"
        arguments = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.task}({', '.join(arguments)})"

    def __or__(self, other: Workflow) -> Chain:
        return made(Chain, tasks=(self, *other.stages)) if isinstance(other, Workflow) else NotImplemented

    def __call__(self, *args: object, **kwargs: object) -> Any:
        """Run the task's function here and now, as calling the task itself does.

        Raises:
            InvalidTaskError: the task isn't registered in the application.
        """
        tasks = self._tasks()
        if self.task not in tasks:
            raise InvalidTaskError(
                f"task {self.task} is not registered here, so it can't be run here: import its module"
            )
        filled = self.clone(args, kwargs)
        return tasks[self.task](*filled.args, **filled.kwargs)

    @property
    def parts(self) -> Mapping[str, Any]:
        """The parts of Celery's signature, by name."""
        return {
            "task": self.task,
            "args": self.args,
            "kwargs": self.kwargs,
            "options": self.options,
            "subtask_type": None,
            "immutable": self.immutable,
        }

    @property
    def type(self) -> Any:
        """The task itself, as it was declared.

        Raises:
            NotRegistered: the task isn't registered in the application.
        """
        tasks = self._tasks()
        if self.task not in tasks:
            raise NotRegistered(self.task)
        return tasks[self.task]

    @property
    def id(self) -> str | None:
        """The task's id, if the options have one."""
        return self.options.get("task_id")

    @property
    def links(self) -> tuple[Workflow, ...]:
        """The callbacks of the task."""
        return tuple(self.options.get("link", ()))

    @property
    def size(self) -> int:
        """The number of tasks that the call ends in: one."""
        return 1

    def reprcall(self, *args: object, **kwargs: object) -> str:
        """Show the call with further arguments, even if it is immutable, as in Celery."""
        return repr(altered(self, immutable=False).clone(args, kwargs))

    def replace(self, args: Args | None = None, kwargs: Kwargs | None = None, options: Options | None = None) -> Self:
        """Return a copy with other arguments and options in place of the call's own; None keeps them."""
        _check_arguments(self.task, args, kwargs)
        own_args, own_kwargs = self._plain(args or (), kwargs or {})
        changed = altered(
            self,
            args=self.args if args is None else tuple(own_args),
            kwargs=self.kwargs if kwargs is None else dict(own_kwargs),
        )
        return changed if options is None else altered(changed, options={}).with_options(options)

    def with_arguments(self, args: Args, kwargs: Kwargs) -> Self:
        """Return a copy with further arguments; an immutable call stays as it is."""
        _check_arguments(self.task, args, kwargs)
        if self.immutable or not (args or kwargs):
            return self
        args, kwargs = self._plain(args, kwargs)
        return altered(self, args=(*args, *self.args), kwargs={**self.kwargs, **kwargs})

    def plain_items(self, items: Sequence[Any], *, star: bool) -> list[Any]:
        """Write the items of ``map`` as plain values; with ``star``, each item is the arguments of one call."""
        return [list(self._plain(each, {})[0]) for each in items] if star else list(self._plain(items, {})[0])

    def _plain(self, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
        return (args, kwargs) if self.app is None else self.app.plain_arguments(self.task, args, kwargs)

    def with_options(self, options: Options) -> Self:
        """Return a copy with further options, whose names and types are checked."""
        own = dict(options)
        links, immutable = taken(own, *LINKS), own.pop("immutable", None)
        own = checked_options(self.task, own)
        changed = altered(
            self, options={**self.options, **own}, immutable=self.immutable if immutable is None else immutable
        )
        return link_all(changed, links)

    def link(self, callback: SignatureLike) -> Self:
        """Return a copy with a callback for the task."""
        return self._linked("link", callback)

    def link_error(self, errback: SignatureLike) -> Self:
        """Return a copy with an errback for the task."""
        return self._linked("link_error", errback)

    def _linked(self, name: str, other: SignatureLike) -> Self:
        linked, node = self.options.get(name, ()), node_of(other, name)
        # As in Celery, a signature that is linked twice is linked once.
        return self if node in linked else altered(self, options={**self.options, name: (*linked, node)})

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: object) -> Self:
        """Return a copy with stamps for the task and the tasks linked to it."""
        linked = self.stamp_links(visitor, append_stamps, **headers)
        own = None if visitor is None else visitor.on_signature(self, **headers) or {}
        stamps = stamping.with_own(
            stamping.added(headers, own, append=append_stamps), self.options, append=append_stamps
        )
        options, others = stamping.stamped(linked.options, stamps, self.task)
        changed = altered(linked, options=options)
        return changed.with_options(others) if others else changed

    def stamp_links(
        self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: object
    ) -> Self:
        """Return a copy with stamps for the tasks linked to it alone; arguments as for ``stamp``."""
        linked = {name: self._stamped_links(name, visitor, headers, append=append_stamps) for name in LINKS}
        return altered(self, options={**self.options, **{name: links for name, links in linked.items() if links}})

    def _stamped_links(
        self, name: str, visitor: StampingVisitor | None, headers: Stamps, *, append: bool
    ) -> tuple[Workflow, ...]:
        links: tuple[Workflow, ...] = self.options.get(name, ())
        stamped: list[Workflow] = []
        for each in links:
            more = None
            if visitor is not None:
                more = (visitor.on_callback if name == "link" else visitor.on_errback)(each, **headers) or {}
            # As in Celery, the stamps of one link go on to the next.
            headers = stamping.added(headers, more, append=append)
            stamped.append(each.stamp(visitor, append, **headers))
        return tuple(stamped)

    def _written(self) -> dict[str, Any]:
        options = dict(self.options)
        for name in LINKS:
            if name in options:
                options[name] = [each.to_dict() for each in options[name]]
        written = signature_of(
            self.task,
            args=self.args,
            kwargs=self.kwargs,
            options=options,
            immutable=self.immutable,
        )
        return dict(written)

    def _tasks(self) -> Mapping[str, Any]:
        app = self.find_app()
        if app is None:
            raise self._no_application()
        return app.tasks


@reads(None)
def read_call(value: Signature, app: Application | None) -> Call:
    """Make a call of the signature of a single task."""
    options = dict(value.get("options") or {})
    for name in LINKS:
        if options.get(name):
            options[name] = tuple(read(each, app) for each in as_list(options[name]))
    if not value["task"]:
        raise invalid(value)
    return Call(
        task=value["task"],
        args=tuple(value.get("args") or ()),
        kwargs=value.get("kwargs") or {},
        options=options,
        immutable=bool(value.get("immutable")),
        app=app,
    )


def _check_arguments(task: str, args: object, kwargs: object) -> None:
    check_arguments(task, () if args is None else args, {} if kwargs is None else kwargs)


Workflow.call_class = Call  # Celery's Signature(...) makes the signature of one task
