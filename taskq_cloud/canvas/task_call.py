"""One task and what it is to be called with: what the other workflows are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskq_cloud.calling.options import LINKS, call_options
from taskq_cloud.canvas import stamping
from taskq_cloud.canvas.chain import Chain
from taskq_cloud.canvas.copying import altered, fill, made, values_of
from taskq_cloud.canvas.stamping import StampingVisitor
from taskq_cloud.canvas.workflow import Workflow, invalid, node_of, read, reads
from taskq_cloud.core.workflows import signatures
from taskq_cloud.core.workflows.signatures import signature_of
from taskq_cloud.core.workflows.stages import as_list
from taskq_cloud.errors import InvalidTaskError, NotRegistered
from taskq_cloud.runtime.protocols import Application


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Call(Workflow):
    """One task and what it is to be called with: what ``task.s(...)`` makes.

    Args:
        task: its name.
        args: positional arguments; what comes before it in a workflow is put before them.
        kwargs: keyword arguments.
        options: those of ``apply_async``; ``link`` and ``link_error`` are tuples of workflows.
        immutable: what comes before is not put before its arguments.
        app: the application.
        more: options by name, which are checked.
    """

    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    immutable: bool

    def __init__(
        self,
        task: str,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        immutable: bool = False,
        app: Application | None = None,
        **more: Any,
    ) -> None:
        if not isinstance(task, str) or not task:
            raise TypeError(f"a signature names a task, not {task!r:.100}")
        _check_arguments(task, args, kwargs)
        # Copies: what the caller does to his own afterwards is nothing to a tree that doesn't change.
        own = {"args": tuple(args or ()), "kwargs": kwargs or {}, "options": options or {}}
        fill(self, task=task, **own, immutable=immutable, app=app)
        if more:
            fill(self, **values_of(self.set(**more)), app=app)

    def __repr__(self) -> str:
        called = signatures.of_map({"task": self.task, "kwargs": self.kwargs})
        if called is not None:
            return f"{self.task}({called}, {self.kwargs['it']!r:.60})"
        arguments = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.task}({', '.join(arguments)})"

    def __or__(self, other: Any) -> Any:
        return made(Chain, tasks=(self, *other.stages)) if isinstance(other, Workflow) else NotImplemented

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task here and now, as calling the task itself does."""
        tasks = self._app().tasks
        if self.task not in tasks:
            raise InvalidTaskError(f"task {self.task} is not registered here, so it can't be run here")
        filled = self.clone(args, kwargs)
        return tasks[self.task](*filled.args, **filled.kwargs)

    @property
    def parts(self) -> Mapping[str, Any]:
        """See ``ReadAsDict``."""
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
        """The task itself.

        Raises:
            NotRegistered: it isn't registered in the application.
        """
        tasks = self._app().tasks
        if self.task not in tasks:
            raise NotRegistered(self.task)
        return tasks[self.task]

    @property
    def links(self) -> tuple[Any, ...]:
        """See ``Workflow.links``."""
        return tuple(self.options.get("link", ()))

    @property
    def size(self) -> int:
        """See ``Workflow.size``."""
        return 1

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """See ``Workflow.reprcall``; an immutable one is shown with them too, as in Celery."""
        return repr(altered(self, immutable=False).clone(args, kwargs))

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Call:
        """The same with other arguments and options in place of its own; None leaves them."""
        _check_arguments(self.task, args, kwargs)
        changed = altered(
            self,
            args=self.args if args is None else tuple(args),
            kwargs=self.kwargs if kwargs is None else dict(kwargs),
        )
        return changed if options is None else altered(changed, options={}).set(**options)

    @property
    def id(self) -> str | None:
        """The id it was given."""
        return self.options.get("task_id")

    def clone(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Call:
        """See ``Workflow.clone``."""
        _check_arguments(self.task, args, kwargs)
        cloned = self
        if not self.immutable and (args or kwargs):
            cloned = altered(self, args=(*(args or ()), *self.args), kwargs={**self.kwargs, **(kwargs or {})})
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Call:
        """See ``Workflow.set``."""
        links = {name: options.pop(name) for name in LINKS if name in options}
        call_options(self.task, options)
        changed = altered(
            self, options={**self.options, **options}, immutable=self.immutable if immutable is None else immutable
        )
        for name, linked in links.items():
            for each in [linked] if isinstance(linked, Workflow | Mapping) else linked or ():
                changed = changed._linked(name, each)  # noqa: SLF001 - its own
        return changed

    def link(self, callback: Any) -> Call:
        """See ``Workflow.link``."""
        return self._linked("link", callback)

    def link_error(self, errback: Any) -> Call:
        """See ``Workflow.link_error``."""
        return self._linked("link_error", errback)

    def _linked(self, name: str, other: Any) -> Call:
        linked, node = self.options.get(name, ()), node_of(other, name)
        # As in Celery, linking the same again is linking it once.
        return self if node in linked else altered(self, options={**self.options, name: (*linked, node)})

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Call:
        """See ``Workflow.stamp``."""
        linked = self.stamp_links(visitor, append_stamps, **headers)
        own = None if visitor is None else visitor.on_signature(self, **headers) or {}
        stamps = stamping.with_own(
            stamping.added(headers, own, append=append_stamps), self.options, append=append_stamps
        )
        options, others = stamping.stamped(linked.options, stamps, self.task)
        changed = altered(linked, options=options)
        return changed.set(**others) if others else changed

    def stamp_links(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Call:
        """The same with stamps for what is linked to it, and none of its own; arguments as ``stamp``'s."""
        linked = {name: self._stamped_links(name, visitor, append_stamps, headers) for name in LINKS}
        return altered(self, options={**self.options, **{name: links for name, links in linked.items() if links}})

    def _stamped_links(
        self, name: str, visitor: StampingVisitor | None, append: bool, headers: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        stamped: list[Any] = []
        for each in self.options.get(name, ()):
            more = None
            if visitor is not None:
                more = (visitor.on_callback if name == "link" else visitor.on_errback)(each, **headers) or {}
            # As in Celery, those of one link go on to the next.
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


@reads(None)
def read_call(value: Mapping[str, Any], app: Application | None) -> Call:
    """A task's signature."""
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


def _check_arguments(task: str, args: Any, kwargs: Any) -> None:
    if not isinstance(args, list | tuple | None):
        raise TypeError(f"task {task}: args must be a list or tuple, not {type(args).__name__}")
    if not isinstance(kwargs, Mapping | None):
        raise TypeError(f"task {task}: kwargs must be a mapping, not {type(kwargs).__name__}")


Workflow._of_one_task = Call  # noqa: SLF001 - Celery's Signature(...) makes one
