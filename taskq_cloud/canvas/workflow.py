"""The base class of all workflows (``Workflow``), and the readers that make a workflow of plain JSON.

The kinds of workflow are in ``task_call`` (one task), ``chain`` and ``group`` (groups and chords). Each kind registers
the reader of its own signatures with ``reads``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol, Self, TypeAlias, TypeVar, Unpack

from taskq_cloud.calling.options import LINKS, CallKeywords
from taskq_cloud.canvas.node import (
    ReadAsDict,
    altered,
    caller_of_finalizer,
    deeply,
    mark_new,
    pickled,
    warn_if_thrown_away,
)
from taskq_cloud.canvas.sending import R_co, Sendable
from taskq_cloud.canvas.stamping import StampingVisitor
from taskq_cloud.core.model.message import Args, Kwargs, Options, Signature
from taskq_cloud.core.workflows.stages import as_list, nests_too_deeply
from taskq_cloud.errors import InvalidTaskError
from taskq_cloud.runtime.protocols import Application


class TaskLike(Protocol):
    """A task, as far as workflows need one: ``s`` makes its signature."""

    def s(self) -> Workflow:
        """Make the signature of a call without arguments."""
        ...


SignatureLike: TypeAlias = "Workflow | Signature | TaskLike"
"""A value that can stand for a workflow: a workflow itself, its plain JSON, or a task."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Workflow(ReadAsDict, Sendable[R_co]):
    """The base class of all workflows: Celery's ``Signature``. Calling the class makes a ``Call``, as in Celery.

    A workflow doesn't change: a method that changes something returns a new workflow. As an argument of a task, or as
    the value of one, a workflow is sent in the form that ``to_dict`` writes.

    Attributes:
        app: the application; a workflow without one has the application of the tasks in it.
    """

    app: Application | None = field(compare=False)
    _new: bool = field(compare=False)
    call_class: ClassVar[type[Workflow]]

    def __new__(cls, *_: object, **__: object) -> Self:
        """Make a workflow of this class; the class ``Workflow`` itself makes a ``Call``."""
        node = _new_object(cls.call_class if cls is Workflow else cls)
        assert isinstance(node, cls)  # a Call is a Workflow
        return node

    @classmethod
    def from_dict(cls, d: Signature, app: Application | None = None) -> Self:
        """Make a workflow of this class from its plain JSON.

        Args:
            d: the signature that ``to_dict`` has written, here or in Celery.
            app: the application.

        Raises:
            InvalidTaskError: ``d`` isn't a signature, or is one of another kind.
        """
        node = node_of(d, f"{cls.__name__}.from_dict()", app)
        if not isinstance(node, cls):
            raise InvalidTaskError(f"this isn't a signature of a {cls.__name__.lower()}: {d!r:.200}")
        return node

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return deeply(self, memo)

    def __reduce__(self) -> tuple[object, ...]:
        return pickled(self)

    def __del__(self) -> None:
        if getattr(self, "_new", False):
            warn_if_thrown_away(caller_of_finalizer())

    def __or__(self, other: Workflow) -> Workflow:
        """Make ``chain(self, other)``."""
        raise NotImplementedError

    # -- asking

    @property
    def stages(self) -> tuple[Workflow, ...]:
        """The parts that a chain gets from this workflow: the workflow itself, or the parts of a chain."""
        return (self,)

    @property
    def in_chain(self) -> tuple[Workflow, ...]:
        """The workflows that run when this one is part of a chain: only its member for a group of one."""
        return self.stages

    def followed_by(self, other: Workflow) -> Workflow | None:
        """Make the chord that a chain makes of this workflow and the one after it; None if they stay two parts."""
        return None

    @property
    def empty(self) -> bool:
        """Whether the workflow is empty."""
        return False

    @property
    def inner(self) -> tuple[Workflow, ...]:
        """The workflows inside this one."""
        return ()

    @property
    def links(self) -> Sequence[Workflow]:
        """The callbacks that run with the workflow's value."""
        return ()

    @property
    def size(self) -> int:
        """The number of tasks that the workflow ends in, as Celery counts the members of a chord's header."""
        raise NotImplementedError

    def flatten_links(self) -> list[Workflow]:
        """List the workflow itself, its callbacks, their callbacks, and so on."""
        return [self, *(each for link in self.links for each in link.flatten_links())]

    def reprcall(self, *args: object, **kwargs: object) -> str:
        """Show the workflow as it would look with further arguments."""
        return repr(self.clone(args, kwargs))

    # -- changing: each method makes a new workflow

    def partial(self, args: Args | None = None, kwargs: Kwargs | None = None, **options: Unpack[CallKeywords]) -> Self:
        """Return a copy with further arguments and options: see ``clone``."""
        return self.clone(args, kwargs, **options)

    def clone(self, args: Args | None = None, kwargs: Kwargs | None = None, **options: Unpack[CallKeywords]) -> Self:
        """Return a copy with further arguments and options.

        Args:
            args: put before the positional arguments that the workflow has.
            kwargs: added to the keyword arguments that the workflow has; of equal names, these win.
            options: as for ``set``.
        """
        return self.filled(args, kwargs, options)

    def filled(self, args: Args | None, kwargs: Kwargs | None, options: Options) -> Self:
        """Return a copy as ``clone`` does, with the options as a mapping."""
        copy = self.with_arguments(() if args is None else args, {} if kwargs is None else kwargs)
        return copy.with_options(options) if options else copy

    def with_arguments(self, args: Args, kwargs: Kwargs) -> Self:
        """Return a copy with further arguments for the first task, or for every member of a group or of a header."""
        raise NotImplementedError

    def set(self, *, immutable: bool | None = None, **options: Unpack[CallKeywords]) -> Self:
        """Return a copy with further options.

        A chain gives them to its first task, a group to every member, a chord to header and body. ``task_id`` is the
        id of the last task, or of a group itself. A chord's ``countdown``, ``eta`` and ``immutable`` are for its
        header alone. ``interval`` and ``max_retries``, which say how often Celery polls the header, have no effect.

        Args:
            immutable: whether the task takes no value from the task before it; None: as it is.
            options: the options of ``apply_async``.

        Raises:
            TypeError: an option is unknown, or its value has the wrong type.
        """
        return self.with_options(options if immutable is None else {**options, "immutable": immutable})

    def with_options(self, options: Options) -> Self:
        """Return a copy with further options, as ``set`` does; ``immutable`` may be among them."""
        raise NotImplementedError

    def set_immutable(self, immutable: bool) -> Self:
        """Return a copy that is immutable or not: ``set(immutable=...)``."""
        return self.set(immutable=immutable)

    def link(self, callback: SignatureLike) -> Self:
        """Return a copy with a callback, which runs with the value of a chain's last task or of a chord's body.

        The callback of a group runs after the first member, and doesn't get the member's value.
        """
        raise NotImplementedError

    def link_error(self, errback: SignatureLike) -> Self:
        """Return a copy with an errback for every task of a chain, every member of a group, or the body of a chord.

        An errback runs when its task has failed. It gets the task's id, or the request and the exception.
        """
        raise NotImplementedError

    def on_error(self, errback: SignatureLike) -> Self:
        """Return a copy with an errback: see ``link_error``."""
        return self.link_error(errback)

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: object) -> Self:
        """Return a copy with stamps: headers of every task in the workflow, and of the tasks linked to them.

        Args:
            visitor: chooses further stamps for each part.
            append_stamps: a stamp that a task has already becomes a list of its values; otherwise the first value
                stays.
            headers: the stamps, as JSON values.

        Raises:
            ValueError: a stamp has the name of an option, or has no value.
            EncodeError: the value of a stamp can't be written as JSON.
        """
        raise NotImplementedError

    # -- using

    def to_dict(self) -> dict[str, Any]:
        """Write the workflow as Celery's signature, which is plain JSON if the arguments are JSON values."""
        if self._new:
            mark_new(self, new=False)
        return self._written()

    def _written(self) -> dict[str, Any]:
        raise NotImplementedError

    def __json__(self) -> dict[str, Any]:
        return self.to_dict()

    def find_app(self) -> Application | None:
        """Find the application: the workflow's own, or else that of a workflow inside it; None if there is none."""
        if self.app is not None:
            return self.app
        return next((app for each in self.inner if (app := each.find_app()) is not None), None)

    def _written_with(self, args: Args | None, kwargs: Kwargs | None, options: Options) -> Signature:
        try:
            return self.filled(args or (), kwargs, options).to_dict()
        except RecursionError:
            raise nests_too_deeply() from None


def _new_object(kind: type[object]) -> object:
    return object.__new__(kind)


W = TypeVar("W", bound=Workflow)
Reader: TypeAlias = Callable[[Signature, Application | None], Workflow]
R = TypeVar("R", bound=Reader)

_READERS: Final[dict[str | None, Reader]] = {}


def reads(task: str | None) -> Callable[[R], R]:
    """Register the decorated function as the reader of the signatures that name ``task``; None: of all others."""

    def register(reader: R) -> R:
        _READERS[task] = reader
        return reader

    return register


def node_of(value: object, where: str, app: Application | None = None) -> Workflow:
    """Turn a workflow, the plain JSON of one, or a task into a workflow.

    Args:
        value: the value that a user has given.
        where: the beginning of an error's message: ``"chain()"``.
        app: the application, for a workflow that has none.

    Raises:
        InvalidTaskError: the JSON isn't a signature.
        TypeError: the value can't stand for a workflow.
    """
    if isinstance(value, Workflow):
        return value if app is None or value.app is not None else altered(value, app=app)
    if isinstance(value, Mapping):
        try:
            return read(value, app)
        except RecursionError:
            raise InvalidTaskError(f"{where}: this signature contains itself, or nests too deeply") from None
    signature_of_task: Callable[[], Workflow] | None = getattr(value, "s", None)
    if callable(signature_of_task):
        return signature_of_task()
    raise TypeError(f"{where} takes signatures, such as task.s(...), not {type(value).__name__}: {value!r:.100}")


def read(value: Signature | Workflow, app: Application | None) -> Workflow:
    """Make a workflow of plain JSON, in which workflows may stand too.

    Raises:
        InvalidTaskError: the JSON isn't a signature.
    """
    if isinstance(value, Workflow):
        return value
    task = value.get("task")
    if not isinstance(task, str):
        raise invalid(value)
    return _READERS.get(task, _READERS[None])(value, app)


def invalid(value: object) -> InvalidTaskError:
    """Make the error that is raised for a value that isn't a signature."""
    return InvalidTaskError(f"this isn't a signature: {value!r:.200}")


# -- for workflows that are composed of others


def spread(tasks: tuple[object, ...]) -> Iterable[object]:
    """Read the parts of a workflow as a user gives them: one by one, or as one iterable."""
    match tasks:
        case (Workflow() | {},):
            return tasks
        case (only,) if isinstance(only, Iterable) and not isinstance(only, str):
            return only
    return tasks


def taken(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Take options of these names out of a dict, and return them."""
    return {name: options.pop(name) for name in names if name in options}


def link_all(node: W, links: Options) -> W:
    """Return a copy of a workflow with callbacks and errbacks, given as the options ``link`` and ``link_error``."""
    for name, linked in links.items():
        for each in (
            [linked] if isinstance(linked, Workflow) or not isinstance(linked, Iterable | None) else as_list(linked)
        ):
            other = node_of(each, name)
            node = node.link(other) if name == "link" else node.link_error(other)
    return node


def with_known_options(node: W, value: Signature) -> W:
    """Return a copy of a composed workflow with the arguments, the id and the links that its JSON has for the whole."""
    options = value.get("options") or {}
    known = {name: of for name, of in options.items() if name in ("task_id", *LINKS)}
    return node.filled(value.get("args") or (), None, known)
