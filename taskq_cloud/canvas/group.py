"""Workflows that run side by side (``group``), also with one more workflow that gets all their values (``chord``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, Unpack

from taskq_cloud.calling.options import LINKS, CallKeywords, checked_options
from taskq_cloud.canvas import stamping
from taskq_cloud.canvas.chain import Chain
from taskq_cloud.canvas.node import altered, fill, made, parts_of, values_of
from taskq_cloud.canvas.stamping import StampingVisitor
from taskq_cloud.canvas.workflow import (
    SignatureLike,
    Workflow,
    invalid,
    link_all,
    node_of,
    read,
    reads,
    spread,
    taken,
    with_known_options,
)
from taskq_cloud.core.model.message import Args, Kwargs, Options, Signature
from taskq_cloud.core.model.task_names import CHORD, GROUP
from taskq_cloud.core.workflows.signatures import signature_of
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.group_result import GroupResult
from taskq_cloud.runtime.protocols import Application

ChordResult: TypeAlias = AsyncResult[Any] | GroupResult
"""The result of a chord's body, which may end in a group."""


class ChordKeywords(CallKeywords, total=False):
    """The options of a chord as keyword arguments."""

    interval: float | None
    """The pause between two polls of the header in Celery; it has no effect here."""
    max_retries: int | None
    """The number of polls of the header in Celery; it has no effect here."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Group(Workflow[GroupResult]):
    """Workflows that run side by side: ``group``. Its value is the list of their values.

    Args:
        tasks: the workflows, or one iterable of them. The members of a group among them become members of this one.
        app: the application, for tasks that have none.
        options: as for ``set``; ``task_id`` is the group's id, which is made up if it isn't given.
    """

    tasks: tuple[Workflow, ...]
    id: str | None

    def __init__(
        self,
        *tasks: SignatureLike | Iterable[SignatureLike],
        app: Application | None = None,
        **options: Unpack[CallKeywords],
    ) -> None:
        fill(self, tasks=tuple(node_of(each, "group()", app) for each in spread(tasks)), id=None, app=app)
        if options:
            fill(self, **values_of(self.with_options(options)), app=app)

    def __repr__(self) -> str:
        return f"group([{', '.join(map(repr, self.tasks))}])"

    def __len__(self) -> int:
        return len(self.tasks)

    def __call__(self, *args: object, **options: Unpack[CallKeywords]) -> GroupResult:
        """Send the group with these arguments for every member: ``apply_async(args, **options)``, as in Celery."""
        return self.apply_async(args, **options)

    def __or__(self, other: Workflow) -> Group | Chord | Chain:
        if not isinstance(other, Workflow):
            return NotImplemented
        if self.empty and not other.empty:
            return Chain(self, other)  # which leaves it out, so that the arguments go past it
        # As in Celery: written so, a group of one stays a group. In chain(...) it becomes its one member.
        return self if other == Chain() else _chord_of(self, other)

    @property
    def parts(self) -> Mapping[str, Any]:
        """The parts of Celery's signature, by name."""
        return parts_of(GROUP, "group", {} if self.id is None else {"task_id": self.id}, tasks=self.tasks)

    @property
    def size(self) -> int:
        """The sum of the sizes of all members."""
        return sum(each.size for each in self.tasks)

    @property
    def empty(self) -> bool:
        """Whether the group is empty."""
        return all(each.empty for each in self.tasks)

    @property
    def inner(self) -> tuple[Workflow, ...]:
        """The group's members."""
        return self.tasks

    @property
    def in_chain(self) -> tuple[Workflow, ...]:
        """The workflows that run when the group is part of a chain: only its member for a group of one."""
        match self.tasks:
            case ():
                return ()
            case (Group() as only,):
                return (only,)
            case (only,):
                return only.in_chain
        return (self,)

    def followed_by(self, other: Workflow) -> Chord | None:
        """Make a chord of the group and the workflow after it in a chain; None if that is a group too."""
        return None if isinstance(other, Group) else _chord_of(self, other)

    def group(self) -> Self:
        """Return the group itself: with Celery, ``task.chunks(...)`` has this method."""
        return self

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Return a copy with countdowns that grow from member to member.

        Args:
            start: the first member's countdown, in seconds.
            stop: at this countdown, the next member begins at ``start`` again; None: never.
            step: the seconds from one member to the next.
        """
        countdown, tasks = start, []
        for each in self.tasks:
            tasks.append(each.set(countdown=countdown))
            countdown += step
            if stop is not None and countdown >= stop:
                countdown = start
        return altered(self, tasks=tuple(tasks))

    def with_arguments(self, args: Args, kwargs: Kwargs) -> Self:
        """Return a copy with further arguments for every member."""
        if not args and not kwargs:
            return self
        return altered(self, tasks=tuple(each.with_arguments(args, kwargs) for each in self.tasks))

    def with_options(self, options: Options) -> Self:
        """Return a copy with further options: ``task_id`` for the group itself, the others for every member."""
        of_members = dict(options)
        own, links = taken(of_members, "task_id"), taken(of_members, *LINKS)
        changed = altered(self, id=checked_options("group()", own)["task_id"]) if own else self
        if of_members:
            changed = altered(changed, tasks=tuple(each.with_options(of_members) for each in changed.tasks))
        return link_all(changed, links)

    def link(self, callback: SignatureLike) -> Self:
        """Return a copy with a callback for the first member, as in Celery; it doesn't get the member's value.

        To have a task run with the values of all members, make it the body of a chord.
        """
        if not self.tasks:
            return self
        first = self.tasks[0].link(node_of(callback, "link").set(immutable=True))
        return altered(self, tasks=(first, *self.tasks[1:]))

    def link_error(self, errback: SignatureLike) -> Self:
        """Return a copy with an errback for every member."""
        return altered(self, tasks=tuple(each.link_error(errback) for each in self.tasks))

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: object) -> Self:
        """Return a copy with stamps for every member."""
        of_all = None if visitor is None else visitor.on_group_start(self, **headers) or {}
        stamps = stamping.added(headers, of_all, append=append_stamps)
        changed = altered(self, tasks=tuple(each.stamp(visitor, append_stamps, **stamps) for each in self.tasks))
        if visitor is not None:
            visitor.on_group_end(changed, **stamps)
        return changed

    def _written(self) -> dict[str, Any]:
        options = {"task_id": self.id} if self.id is not None else {}
        tasks = [each.to_dict() for each in self.tasks]
        return dict(signature_of(GROUP, kwargs={"tasks": tasks}, options=options, kind="group"))


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Chord(Workflow[ChordResult]):
    """Workflows that run side by side, and then one more with the list of their values: ``chord``.

    Args:
        header: the workflows that run side by side: an iterable of them, or a group.
        body: the workflow that gets their values; ``chord(header)(body)`` sends the chord at once.
        app: the application, for tasks that have none.
        options: as for ``set``.
    """

    header: Group
    body: Workflow | None

    def __init__(
        self,
        header: SignatureLike | Iterable[SignatureLike],
        body: SignatureLike | None = None,
        app: Application | None = None,
        **options: Unpack[ChordKeywords],
    ) -> None:
        # A single workflow that isn't a group, or the plain JSON of one, is a header with one member.
        group = header if isinstance(header, Group) else Group(header, app=app)
        fill(self, header=group, body=None if body is None else node_of(body, "chord()", app), app=app)
        if options:
            fill(self, **values_of(self.with_options(options)), app=app)

    def __repr__(self) -> str:
        return f"chord([{', '.join(map(repr, self.header.tasks))}], {self.body!r})"

    def __call__(self, body: SignatureLike | None = None, **options: Unpack[ChordKeywords]) -> ChordResult:
        """Send the chord, as ``chord(header)(body)``; None keeps the body that it has."""
        chord = self if body is None else altered(self, body=node_of(body, "a chord's body"))
        return (chord.with_options(options) if options else chord).apply_async()

    def __or__(self, other: Workflow) -> Chord:
        if not isinstance(other, Workflow):
            return NotImplemented
        return altered(self, body=self._body() | other)

    def __len__(self) -> int:
        return self.header.size

    def __bool__(self) -> bool:
        return True

    @property
    def parts(self) -> Mapping[str, Any]:
        """The parts of Celery's signature, by name."""
        return parts_of(CHORD, "chord", header=self.header, body=self.body, kwargs={})

    @property
    def inner(self) -> tuple[Workflow, ...]:
        """The members of the header, and the body."""
        return self.header.tasks if self.body is None else (*self.header.tasks, self.body)

    @property
    def links(self) -> Sequence[Workflow]:
        """The callbacks of the body."""
        return () if self.body is None else self.body.links

    @property
    def size(self) -> int:
        """The size of the body."""
        return self._body().size

    @property
    def tasks(self) -> tuple[Workflow, ...]:
        """The members of the header."""
        return self.header.tasks

    def followed_by(self, other: Workflow) -> Chord | None:
        """Make a chord whose body goes on with the workflow after it in a chain; None if that is a chord too."""
        return None if isinstance(other, Chord) else altered(self, body=self._body() | other)

    def with_arguments(self, args: Args, kwargs: Kwargs) -> Self:
        """Return a copy with further arguments for every member of the header."""
        return altered(self, header=self.header.with_arguments(args, kwargs))

    def with_options(self, options: Options) -> Self:
        """Return a copy with further options; ``set`` says which of header and body gets which option."""
        of_both = dict(options)
        taken(of_both, "interval", "max_retries")  # how often Celery polls the header
        of_body, links = taken(of_both, "task_id"), taken(of_both, *LINKS)
        of_header = taken(of_both, "countdown", "eta", "immutable")
        header = self.header.with_options({**of_both, **of_header})
        body = self._body().with_options({**of_both, **of_body}) if of_both or of_body else self.body
        return link_all(altered(self, header=header, body=body), links)

    def link(self, callback: SignatureLike) -> Self:
        """Return a copy with a callback for the body."""
        return altered(self, body=self._body().link(callback))

    def link_error(self, errback: SignatureLike) -> Self:
        """Return a copy with an errback for the body, which fails too if a member of the header fails."""
        return altered(self, body=self._body().link_error(errback))

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: object) -> Self:
        """Return a copy with stamps for the header, and with a visitor for the body too, as in Celery."""
        of_all = None if visitor is None else visitor.on_chord_header_start(self, **headers) or {}
        stamps = stamping.added(headers, of_all, append=append_stamps)
        tasks = tuple(each.stamp(visitor, append_stamps, **stamps) for each in self.header.tasks)
        changed = altered(self, header=altered(self.header, tasks=tasks))
        if visitor is None:
            return changed
        visitor.on_chord_header_end(changed, **stamps)
        if self.body is None:
            return changed
        stamps = stamping.added(stamps, visitor.on_chord_body(changed, **stamps) or {}, append=append_stamps)
        return altered(changed, body=self.body.stamp(visitor, append_stamps, **stamps))

    def _written(self) -> dict[str, Any]:
        kwargs = {"kwargs": {}, "header": self.header.to_dict(), "body": self._body().to_dict()}
        return dict(signature_of(CHORD, kwargs=kwargs, kind="chord"))

    def _body(self) -> Workflow:
        if self.body is None:
            raise TypeError(f"{self!r} has no body: write chord(header, body), or chord(header)(body)")
        return self.body


@reads(GROUP)
def _read_group(value: Signature, app: Application | None) -> Group:
    match value:
        case {"kwargs": {"tasks": [*tasks]}}:
            return with_known_options(_group_of(tuple(read(each, app) for each in tasks), app), value)
    raise invalid(value)


@reads(CHORD)
def _read_chord(value: Signature, app: Application | None) -> Chord:
    match value:
        case {"kwargs": {"header": ({} | Workflow()) as header, "body": ({} | Workflow()) as body}}:
            return with_known_options(_chord_of(_header(read(header, app)), read(body, app), app), value)
        case {"kwargs": {"header": [*tasks], "body": ({} | Workflow()) as body}}:
            header = _group_of(tuple(read(each, app) for each in tasks))
            return with_known_options(_chord_of(header, read(body, app), app), value)
    raise invalid(value)


def _header(node: Workflow) -> Group:
    return node if isinstance(node, Group) else _group_of((node,))


def _group_of(tasks: tuple[Workflow, ...], app: Application | None = None) -> Group:
    return made(Group, tasks=tasks, id=None, app=app)


def _chord_of(header: Group, body: Workflow, app: Application | None = None) -> Chord:
    return made(Chord, header=header, body=body, app=app)
