"""What every workflow can do, and how one is read from plain JSON: each kind of node says which signatures are its own.

The nodes themselves are in ``call``, ``series`` and ``parallel``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self, TypeAlias, TypeVar, cast

from taskq_cloud.calling.options import LINKS
from taskq_cloud.canvas.copying import altered, caller_of_finalizer, deeply, mark_new, pickled, warn_if_thrown_away
from taskq_cloud.canvas.mapping import ReadAsDict
from taskq_cloud.canvas.stamping import StampingVisitor
from taskq_cloud.core.workflows.stages import as_list, nests_too_deeply
from taskq_cloud.errors import InvalidTaskError
from taskq_cloud.runtime.protocols import Application


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Workflow(ReadAsDict):
    """What every node can do: Celery's ``Signature``, which itself makes that of one task, with ``Call``'s arguments.

    Among a task's arguments, or as its value, it is sent as its ``to_dict``.

    Attributes:
        app: the application; a node without one has that of the tasks in it.
    """

    app: Application | None = field(compare=False)
    _new: bool = field(compare=False)
    _of_one_task: ClassVar[type[Workflow]]

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """A node of the class; of this one, a task's."""
        kind = cast("type[Self]", cls._of_one_task) if cls is Workflow else cls
        return object.__new__(kind)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Application | None = None) -> Self:
        """The node of a signature as plain JSON.

        Args:
            d: what ``to_dict`` has written, here or in Celery.
            app: the application.

        Raises:
            InvalidTaskError: it is no signature, or one of another kind.
        """
        node = node_of(d, f"{cls.__name__}.from_dict()", app)
        if not isinstance(node, cls):
            raise InvalidTaskError(f"this is no signature of a {cls.__name__.lower()}: {d!r:.200}")
        return node

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return deeply(self, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return pickled(self)

    def __del__(self) -> None:
        if getattr(self, "_new", False):
            warn_if_thrown_away(caller_of_finalizer())

    def __or__(self, other: Any) -> Any:
        """``chain(self, other)``."""
        raise NotImplementedError

    # -- looking

    @property
    def stages(self) -> tuple[Workflow, ...]:
        """What it adds to a chain: itself, or the parts of a chain."""
        return (self,)

    @property
    def in_chain(self) -> tuple[Workflow, ...]:
        """What it is in a chain: a group of one is that one there, and an empty group nothing."""
        return self.stages

    def followed_by(self, other: Workflow) -> Workflow | None:
        """The chord that Celery makes of it and what follows it in a chain, or None where they stay two."""
        return None

    @property
    def inner(self) -> tuple[Workflow, ...]:
        """The workflows it is made of."""
        return ()

    @property
    def links(self) -> Sequence[Workflow]:
        """What runs with its value, beside what follows it."""
        return ()

    @property
    def size(self) -> int:
        """How many tasks it ends in: what a chord that it is a member of waits for, as Celery counts."""
        raise NotImplementedError

    def flatten_links(self) -> list[Workflow]:
        """Itself, what is linked to it, and what is linked to that."""
        return [self, *(each for link in self.links for each in link.flatten_links())]

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """What it looks like with more arguments."""
        return repr(self.clone(args, kwargs))

    # -- changing

    def partial(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``clone``."""
        return self.clone(args, kwargs, **options)

    def set_immutable(self, immutable: bool) -> Any:
        """``set(immutable=...)``."""
        return self.set(immutable=immutable)

    def clone(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """The same with more arguments, put before its own, and more options. A group gives them to every member."""
        raise NotImplementedError

    def set(self, *, immutable: bool | None = None, **options: Any) -> Any:
        """The same with more options: those of ``apply_async``.

        A chain gives them to its first task, a group to every member, a chord to header and body; ``task_id`` is the
        id of the last task, or of the group.

        Raises:
            TypeError: an option is unknown, or its value is of the wrong kind.
        """
        raise NotImplementedError

    def link(self, callback: Any) -> Any:
        """The same, followed by ``callback``: after a chain's last task, a chord's body, a group's first member."""
        raise NotImplementedError

    def link_error(self, errback: Any) -> Any:
        """The same, with ``errback`` run with the id of a task that fails."""
        raise NotImplementedError

    def on_error(self, errback: Any) -> Any:
        """``link_error``."""
        return self.link_error(errback)

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Any:
        """The same with stamps: headers that each of its tasks is sent with, and those linked to them.

        Args:
            visitor: says which further ones each part gets.
            append_stamps: of a stamp that a task has already, make a list; otherwise the first given stays.
            headers: stamps, as JSON values.

        Raises:
            ValueError: a stamp has the name of an option, or no value.
            EncodeError: JSON can't say its value.
        """
        raise NotImplementedError

    # -- using

    def to_dict(self) -> dict[str, Any]:
        """Celery's signature, as plain JSON where the arguments are."""
        if self._new:
            mark_new(self, new=False)
        return self._written()

    def _written(self) -> dict[str, Any]:
        raise NotImplementedError

    def __json__(self) -> dict[str, Any]:
        return self.to_dict()

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it; ``args`` and ``kwargs`` are the first task's."""
        return self.apply_async(args, kwargs)

    async def adelay(self, *args: Any, **kwargs: Any) -> Any:
        """``delay`` on an event loop."""
        return await self.aapply_async(args, kwargs)

    def apply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Send it: the messages of what runs first, which carry along what follows.

        Args:
            args: put before the arguments of the first task, or of every task of a first group.
            kwargs: likewise.
            options: as for ``set``; ``link`` and ``link_error`` too.

        Returns:
            The ``AsyncResult`` of the last task, or the ``GroupResult`` of the last group; ``parent`` leads to what
            comes before. None for an empty chain.

        Raises:
            TypeError: arguments don't fit a task that is known here, or an option is unknown.
            InvalidTaskError: groups nest too deeply in it.
            ImproperlyConfigured: there is a chord, and a result store that can't count.
            EncodeError, PayloadTooLarge, OperationalError: as for ``Task.apply_async``.
        """
        from taskq_cloud.calling import workflows  # few processes send workflows

        written = self._filled(args, kwargs, options)
        app = self._known_app()
        if app is None:
            return self._without_application(written)
        if app.conf.task_always_eager:
            return self._run_in_place(app, written)
        return app.run(workflows.send(app, written))

    async def aapply_async(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``apply_async`` on an event loop."""
        from taskq_cloud.calling import workflows

        written = self._filled(args, kwargs, options)
        app = self._known_app()
        if app is None:
            return self._without_application(written)
        if app.conf.task_always_eager:
            return self._run_in_place(app, written)
        return await app.arun(workflows.send(app, written))

    def apply(self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run the workflow in place, one task after the other; nothing is sent or stored."""
        written = self._filled(args, kwargs, options)
        app = self._known_app()
        return self._without_application(written) if app is None else self._run_in_place(app, written)

    def __invert__(self) -> Any:
        """Send it and wait: ``~sig`` is ``sig.apply_async().get()``."""
        return self.apply_async().get()

    def _filled(
        self, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The workflow with further arguments and options, as plain JSON."""
        try:
            written: dict[str, Any] = self.clone(args or (), kwargs, **options).to_dict()
        except RecursionError:
            raise nests_too_deeply() from None
        return written

    def _run_in_place(self, app: Application, written: dict[str, Any]) -> Any:
        from taskq_cloud.calling import eager_workflows  # few processes run anything in place

        return eager_workflows.run_workflow(app, written)

    def _without_application(self, written: dict[str, Any]) -> Any:
        from taskq_cloud.canvas import empty  # few workflows are empty

        if not empty.is_empty(written):
            raise self._no_application()
        return empty.result_of(written)

    def _no_application(self) -> RuntimeError:
        return RuntimeError(
            f"{self!r} belongs to no application: make it of tasks' .s(...), or with app.signature(...)"
        )

    def _app(self) -> Application:
        app = self._known_app()
        if app is None:
            raise self._no_application()
        return app

    def _known_app(self) -> Application | None:
        if self.app is not None:
            return self.app
        return next((app for each in self.inner if (app := each._known_app()) is not None), None)  # noqa: SLF001


Reader: TypeAlias = "Callable[[Mapping[str, Any], Application | None], Any]"

R = TypeVar("R", bound=Reader)

_READERS: Final[dict[str | None, Reader]] = {}


def reads(task: str | None) -> Callable[[R], R]:
    """Decorate what makes a node of the signatures of one kind: those that name ``task``; None: of all others."""

    def register(reader: R) -> R:
        _READERS[task] = reader
        return reader

    return register


def node_of(value: Any, where: str, app: Application | None = None) -> Any:
    """A node as it is, or of what can be made one: a signature as plain JSON, a task.

    Args:
        value: one of these.
        where: begins the message of an error.
        app: the application, where the node knows none.

    Raises:
        InvalidTaskError: the JSON is no signature.
        TypeError: it is none of these.
    """
    match value:
        case Workflow():
            return value if app is None or value.app is not None else altered(value, app=app)
        case {}:
            try:
                return read(value, app)
            except RecursionError:
                raise InvalidTaskError(f"{where}: this signature contains itself, or nests too deeply") from None
    of_task = getattr(value, "s", None)
    if callable(of_task):
        return of_task()
    raise TypeError(f"{where} takes signatures, such as task.s(...), not {type(value).__name__}: {value!r:.100}")


def read(value: Mapping[str, Any] | Workflow, app: Application | None) -> Any:
    """The node of a signature as plain JSON, in which nodes may stand too; raises ``InvalidTaskError``."""
    if isinstance(value, Workflow):
        return value
    task = value.get("task")
    if not isinstance(task, str):
        raise invalid(value)
    return _READERS.get(task, _READERS[None])(value, app)


def invalid(value: Any) -> InvalidTaskError:
    """What is raised for JSON that is no signature."""
    return InvalidTaskError(f"this is no signature: {value!r:.200}")


def with_known_options(node: Any, value: Mapping[str, Any]) -> Any:
    """A composed workflow with what its signature says of the whole: arguments, id, callbacks, errbacks."""
    options = value.get("options") or {}
    known = {name: of for name, of in options.items() if name in ("task_id", *LINKS)}
    return node.clone(value.get("args") or (), **known)


def spread(tasks: tuple[Any, ...]) -> Iterable[Any]:
    """The workflows that a user gives: one after the other, or as one iterable."""
    match tasks:
        case (Workflow() | {},):
            return tasks
        case (only,) if isinstance(only, Iterable) and not isinstance(only, str):
            return only
    return tasks


def taken(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Take options out of others."""
    return {name: options.pop(name) for name in names if name in options}


def link_all(node: Any, links: Mapping[str, Any]) -> Any:
    """A node with the callbacks and errbacks that ``set`` was given."""
    for name, linked in links.items():
        for each in as_list(linked) if not isinstance(linked, Workflow) else [linked]:
            node = operator.methodcaller(name, node_of(each, name))(node)
    return node
