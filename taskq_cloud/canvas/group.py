"""What runs side by side (``Group``), and what then follows with all values (``Chord``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from taskq_cloud.calling.options import LINKS
from taskq_cloud.canvas import stamping
from taskq_cloud.canvas.chain import Chain
from taskq_cloud.canvas.copying import altered, fill, made, values_of
from taskq_cloud.canvas.mapping import parts_of
from taskq_cloud.canvas.stamping import StampingVisitor
from taskq_cloud.canvas.workflow import (
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
from taskq_cloud.core.workflows.signatures import CHORD, GROUP, signature_of
from taskq_cloud.runtime.protocols import Application


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Group(Workflow):
    """Run workflows side by side: ``group``. Its value is the list of theirs.

    Args:
        tasks: the workflows, or one iterable of them. A group among them is part of this one.
        app: the application, where the tasks know none.
        options: as for ``set``; ``task_id`` is the group's id, made up where there is none.
    """

    tasks: tuple[Any, ...]
    id: str | None

    def __init__(self, *tasks: Any, app: Application | None = None, **options: Any) -> None:
        fill(self, tasks=tuple(node_of(each, "group()", app) for each in spread(tasks)), id=None, app=app)
        if options:
            fill(self, **values_of(self.set(**options)), app=app)

    def __repr__(self) -> str:
        return f"group([{', '.join(map(repr, self.tasks))}])"

    def __len__(self) -> int:
        return len(self.tasks)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """``apply_async(args)``, as in Celery."""
        return self.apply_async(args, **options)

    @property
    def parts(self) -> Mapping[str, Any]:
        """See ``ReadAsDict``."""
        return parts_of(GROUP, "group", {} if self.id is None else {"task_id": self.id}, tasks=self.tasks)

    @property
    def size(self) -> int:
        """See ``Workflow.size``."""
        return sum(each.size for each in self.tasks)

    @property
    def inner(self) -> tuple[Any, ...]:
        """See ``Workflow.inner``."""
        return self.tasks

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Workflow):
            return NotImplemented
        # As in Celery: written so, a group of one stays a group. In chain(...) it is its one member.
        return self if other == Chain() else _chord_of(self, other)

    def group(self) -> Group:
        """Itself: Celery's way to make a group of ``task.chunks(...)``."""
        return self

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Group:
        """The same with countdowns that grow by ``step`` from member to member, starting anew after ``stop``."""
        countdown, tasks = start, []
        for each in self.tasks:
            tasks.append(each.set(countdown=countdown))
            countdown += step
            if stop is not None and countdown >= stop:
                countdown = start
        return altered(self, tasks=tuple(tasks))

    def clone(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Group:
        """See ``Workflow.clone``."""
        cloned = self
        if args or kwargs:
            cloned = altered(self, tasks=tuple(each.clone(args, kwargs) for each in self.tasks))
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Group:
        """See ``Workflow.set``."""
        own, links = taken(options, "task_id"), taken(options, *LINKS)
        changed = altered(self, id=own["task_id"]) if own else self
        if immutable is not None or options:
            changed = altered(changed, tasks=tuple(each.set(immutable=immutable, **options) for each in changed.tasks))
        linked: Self = link_all(changed, links)
        return linked

    def link(self, callback: Any) -> Group:
        """Celery's: the first member is followed by ``callback``, without its value. For all values use a chord."""
        if not self.tasks:
            return self
        first = self.tasks[0].link(node_of(callback, "link").set(immutable=True))
        return altered(self, tasks=(first, *self.tasks[1:]))

    def link_error(self, errback: Any) -> Group:
        """See ``Workflow.link_error``: every member gets it."""
        return altered(self, tasks=tuple(each.link_error(errback) for each in self.tasks))

    @property
    def in_chain(self) -> tuple[Workflow, ...]:
        """See ``Workflow.in_chain``."""
        match self.tasks:
            case ():
                return ()
            case (Group() as only,):
                return (only,)
            case (only,):
                inside: tuple[Workflow, ...] = only.in_chain
                return inside
        return (self,)

    def followed_by(self, other: Workflow) -> Chord | None:
        """See ``Workflow.followed_by``."""
        return None if isinstance(other, Group) else _chord_of(self, other)

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Group:
        """See ``Workflow.stamp``."""
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
class Chord(Workflow):
    """Run workflows side by side, then one with the list of their values: ``chord``.

    Args:
        header: an iterable of workflows, or a group.
        body: what follows; ``chord(header)(body)`` sends it at once.
        app: the application, where the tasks know none.
        options: as for ``set``.
    """

    header: Group
    body: Any

    def __init__(self, header: Any, body: Any = None, app: Application | None = None, **options: Any) -> None:
        # A workflow that is none of these, or plain JSON, is a header of one.
        of_it = header if isinstance(header, Group) else Group(header, app=app)
        fill(self, header=of_it, body=None if body is None else node_of(body, "chord()", app), app=app)
        if options:
            fill(self, **values_of(self.set(**options)), app=app)

    @property
    def inner(self) -> tuple[Any, ...]:
        """See ``Workflow.inner``."""
        return self.header.tasks if self.body is None else (*self.header.tasks, self.body)

    def __repr__(self) -> str:
        return f"chord([{', '.join(map(repr, self.header.tasks))}], {self.body!r})"

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it: ``chord(header)(body)``."""
        return (self if body is None else altered(self, body=node_of(body, "a chord's body"))).apply_async(**options)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Workflow):
            return NotImplemented
        return altered(self, body=self._body() | other)

    def __len__(self) -> int:
        return self.header.size

    def __bool__(self) -> bool:
        return True

    @property
    def parts(self) -> Mapping[str, Any]:
        """See ``ReadAsDict``."""
        return parts_of(CHORD, "chord", header=self.header, body=self.body, kwargs={})

    @property
    def links(self) -> tuple[Any, ...]:
        """See ``Workflow.links``."""
        return () if self.body is None else tuple(self.body.links)

    @property
    def size(self) -> int:
        """See ``Workflow.size``."""
        return int(self._body().size)

    @property
    def tasks(self) -> tuple[Any, ...]:
        """The header's members."""
        return self.header.tasks

    def clone(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Chord:
        """See ``Workflow.clone``: the header's members get the arguments."""
        cloned = altered(self, header=self.header.clone(args, kwargs))
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Chord:
        """See ``Workflow.set``; ``countdown``, ``eta`` and ``immutable`` are the header's alone.

        Celery's ``interval`` and ``max_retries`` are how often it looks whether the header has ended: here nobody does.
        """
        taken(options, "interval", "max_retries")
        of_body, of_header = taken(options, "task_id"), taken(options, "countdown", "eta")
        links = taken(options, *LINKS)
        header = self.header.set(immutable=immutable, **options, **of_header)
        body = self._body().set(**options, **of_body) if options or of_body else self.body
        linked: Self = link_all(altered(self, header=header, body=body), links)
        return linked

    def link(self, callback: Any) -> Chord:
        """See ``Workflow.link``."""
        return altered(self, body=self._body().link(callback))

    def link_error(self, errback: Any) -> Chord:
        """See ``Workflow.link_error``: the body gets it, which fails when a member of the header has."""
        return altered(self, body=self._body().link_error(errback))

    def followed_by(self, other: Workflow) -> Chord | None:
        """See ``Workflow.followed_by``."""
        return None if isinstance(other, Chord) else altered(self, body=self._body() | other)

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Chord:
        """See ``Workflow.stamp``. As in Celery, the body gets the header's with a visitor, and none without one."""
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

    def _body(self) -> Any:
        if self.body is None:
            raise TypeError(f"{self!r} has no body: chord(header, body), or chord(header)(body)")
        return self.body


@reads(GROUP)
def _read_group(value: Mapping[str, Any], app: Application | None) -> Any:
    match value:
        case {"kwargs": {"tasks": [*tasks]}}:
            return with_known_options(_group_of(tuple(read(each, app) for each in tasks), app), value)
    raise invalid(value)


@reads(CHORD)
def _read_chord(value: Mapping[str, Any], app: Application | None) -> Any:
    match value:
        case {"kwargs": {"header": ({} | Workflow()) as header, "body": ({} | Workflow()) as body}}:
            return with_known_options(_chord_of(_header(read(header, app)), read(body, app), app), value)
        case {"kwargs": {"header": [*tasks], "body": ({} | Workflow()) as body}}:
            header = _group_of(tuple(read(each, app) for each in tasks))
            return with_known_options(_chord_of(header, read(body, app), app), value)
    raise invalid(value)


def _header(node: Any) -> Group:
    return node if isinstance(node, Group) else _group_of((node,))


def _group_of(tasks: tuple[Any, ...], app: Application | None = None) -> Group:
    return made(Group, tasks=tasks, id=None, app=app)


def _chord_of(header: Group, body: Any, app: Application | None = None) -> Chord:
    return made(Chord, header=header, body=body, app=app)
