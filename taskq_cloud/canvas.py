"""Workflows: ``signature``, ``chain``, ``group``, ``chord`` and what they make, by Celery's names and with its meaning.

A workflow is an immutable tree: every method that changes it returns a new one. ``to_dict`` is its plain JSON form,
which is Celery's; ``signature`` reads it back. What it means is decided in ``core.lines`` and ``core.planner``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeAlias

from taskq_cloud.calling import call_options
from taskq_cloud.core import lines
from taskq_cloud.core.lines import CHAIN, CHORD, CHUNKS, GROUP, signature_of
from taskq_cloud.errors import InvalidTaskError

Node: TypeAlias = "Call | Chain | Group | Chord"

_LINKS = ("link", "link_error")


class Applier(Protocol):
    """What a workflow asks of its application."""

    def apply_workflow(self, signature: Mapping[str, Any]) -> Any:
        """Send it."""
        ...

    async def aapply_workflow(self, signature: Mapping[str, Any]) -> Any:
        """``apply_workflow`` on an event loop."""
        ...

    def eager_workflow(self, signature: Mapping[str, Any]) -> Any:
        """Run it in place."""
        ...


@dataclass(frozen=True, slots=True)
class _Workflow:
    """What every node can do.

    Args:
        app: the application; a node without one has that of the tasks in it.
    """

    app: Applier | None = field(default=None, kw_only=True, compare=False, repr=False)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, _Workflow):
            return NotImplemented
        return chain(self, other)

    # -- changing

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
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

    def link(self, callback: Node) -> Any:
        """The same, followed by ``callback``: after a chain's last task, a chord's body, a group's first member."""
        raise NotImplementedError

    def link_error(self, errback: Node) -> Any:
        """The same, with ``errback`` run with the id of a task that fails."""
        raise NotImplementedError

    def on_error(self, errback: Node) -> Any:
        """``link_error``."""
        return self.link_error(errback)

    # -- using

    def to_dict(self) -> dict[str, Any]:
        """Celery's signature, as plain JSON where the arguments are."""
        raise NotImplementedError

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Send it; ``args`` and ``kwargs`` are the first task's."""
        return self.apply_async(args, kwargs)

    async def adelay(self, *args: Any, **kwargs: Any) -> Any:
        """``delay`` on an event loop."""
        return await self.aapply_async(args, kwargs)

    def apply_async(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
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
            ImproperlyConfigured: there is a chord, and a result store that can't count.
            EncodeError, PayloadTooLarge, OperationalError: as for ``Task.apply_async``.
        """
        return self._app().apply_workflow(self.clone(args, kwargs, **options).to_dict())

    async def aapply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """``apply_async`` on an event loop."""
        return await self._app().aapply_workflow(self.clone(args, kwargs, **options).to_dict())

    def apply(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Run it in place, one task after the other; nothing is sent or stored."""
        return self._app().eager_workflow(self.clone(args, kwargs, **options).to_dict())

    def __invert__(self) -> Any:
        """Send it and wait: ``~sig`` is ``sig.apply_async().get()``."""
        return self.apply_async().get()

    def _app(self) -> Applier:
        app = _app_of(self)
        if app is None:
            raise RuntimeError(
                f"{self!r} belongs to no application: make it of tasks' .s(...), or with app.signature(...)"
            )
        return app


@dataclass(frozen=True, slots=True, repr=False)
class Call(_Workflow):
    """One task and what it is to be called with: what ``task.s(...)`` makes.

    Args:
        task: its name.
        args: positional arguments; what comes before it in a workflow is put before them.
        kwargs: keyword arguments.
        options: those of ``apply_async``; ``link`` and ``link_error`` are tuples of workflows.
        immutable: what comes before is not put before its arguments.
    """

    task: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    immutable: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.task, str) or not self.task:
            raise TypeError(f"a signature names a task, not {self.task!r:.100}")
        if not isinstance(self.args, list | tuple):
            raise TypeError(f"task {self.task}: args must be a list or tuple, not {type(self.args).__name__}")
        if not isinstance(self.kwargs, Mapping):
            raise TypeError(f"task {self.task}: kwargs must be a mapping, not {type(self.kwargs).__name__}")
        # Copies: what the caller does to his own afterwards is nothing to a tree that doesn't change.
        object.__setattr__(self, "args", tuple(self.args))
        object.__setattr__(self, "kwargs", dict(self.kwargs))
        object.__setattr__(self, "options", dict(self.options))

    def __repr__(self) -> str:
        called = lines.of_map({"task": self.task, "kwargs": self.kwargs})
        if called is not None:
            return f"{self.task}({called}, {self.kwargs['it']!r:.60})"
        arguments = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.task}({', '.join(arguments)})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task here and now, as calling the task itself does."""
        tasks: Mapping[str, Any] = getattr(self._app(), "tasks", {})
        if self.task not in tasks:
            raise InvalidTaskError(f"task {self.task} is not registered here, so it can't be run here")
        filled = self.clone(args, kwargs)
        return tasks[self.task](*filled.args, **filled.kwargs)

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task

    @property
    def id(self) -> str | None:
        """The id it was given."""
        return self.options.get("task_id")

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Call:
        """See ``_Workflow.clone``."""
        _check_arguments(self, args, kwargs)
        cloned = self
        if not self.immutable and (args or kwargs):
            cloned = replace(self, args=(*args, *self.args), kwargs={**self.kwargs, **(kwargs or {})})
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Call:
        """See ``_Workflow.set``."""
        links = {name: options.pop(name) for name in _LINKS if name in options}
        call_options(self.task, options)
        changed = replace(
            self, options={**self.options, **options}, immutable=self.immutable if immutable is None else immutable
        )
        for name, linked in links.items():
            for each in [linked] if isinstance(linked, _Workflow | Mapping) else linked or ():
                changed = changed._linked(name, each)  # noqa: SLF001 - its own
        return changed

    def link(self, callback: Node) -> Call:
        """See ``_Workflow.link``."""
        return self._linked("link", callback)

    def link_error(self, errback: Node) -> Call:
        """See ``_Workflow.link_error``."""
        return self._linked("link_error", errback)

    def _linked(self, name: str, other: Any) -> Call:
        linked, node = self.options.get(name, ()), _node(other, name)
        # As in Celery, linking the same again is linking it once.
        return self if node in linked else replace(self, options={**self.options, name: (*linked, node)})

    def to_dict(self) -> dict[str, Any]:
        """See ``_Workflow.to_dict``."""
        options = dict(self.options)
        for name in _LINKS:
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


@dataclass(frozen=True, slots=True, repr=False)
class Chain(_Workflow):
    """Workflows that run one after the other, each with the value of the one before: what ``chain(...)`` makes."""

    tasks: tuple[Node, ...] = ()

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or "chain()"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``delay``, as in Celery."""
        return self.delay(*args, **kwargs)

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Chain:
        """See ``_Workflow.clone``."""
        cloned = self._with(0, lambda first: first.clone(args, kwargs)) if args or kwargs else self
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Chain:
        """See ``_Workflow.set``."""
        changed, of_last, links = self, _taken(options, "task_id"), _taken(options, *_LINKS)
        if immutable is not None or options:
            changed = changed._with(0, lambda first: first.set(immutable=immutable, **options))
        if of_last:
            changed = changed._with(-1, lambda last: last.set(**of_last))  # noqa: SLF001
        linked: Self = _link_all(changed, links)
        return linked

    def link(self, callback: Node) -> Chain:
        """See ``_Workflow.link``."""
        return self._with(-1, lambda last: last.link(callback))

    def link_error(self, errback: Node) -> Chain:
        """See ``_Workflow.link_error``: every task of the chain gets it."""
        return replace(self, tasks=tuple(each.link_error(errback) for each in self.tasks))

    def to_dict(self) -> dict[str, Any]:
        """See ``_Workflow.to_dict``."""
        return dict(signature_of(CHAIN, kwargs={"tasks": [each.to_dict() for each in self.tasks]}, kind="chain"))

    def _with(self, end: int, change: Any) -> Chain:
        if not self.tasks:
            return self
        tasks = list(self.tasks)
        tasks[end] = change(tasks[end])
        return replace(self, tasks=tuple(tasks))


@dataclass(frozen=True, slots=True, repr=False)
class Group(_Workflow):
    """Workflows that run side by side: what ``group(...)`` makes. Its value is the list of theirs.

    Args:
        tasks: its members.
        id: the group's; made up where None.
    """

    tasks: tuple[Node, ...] = ()
    id: str | None = None

    def __repr__(self) -> str:
        return f"group([{', '.join(map(repr, self.tasks))}])"

    def __len__(self) -> int:
        return len(self.tasks)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """``apply_async(args)``, as in Celery."""
        return self.apply_async(args, **options)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, _Workflow):
            return NotImplemented
        # As in Celery: written so, a group of one stays a group. In chain(...) it is its one member.
        return self if other == Chain() else Chord(self, _node(other, "|"))

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
        return replace(self, tasks=tuple(tasks))

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Group:
        """See ``_Workflow.clone``."""
        cloned = self
        if args or kwargs:
            cloned = replace(self, tasks=tuple(each.clone(args, kwargs) for each in self.tasks))
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Group:
        """See ``_Workflow.set``."""
        own, links = _taken(options, "task_id"), _taken(options, *_LINKS)
        changed = replace(self, id=own["task_id"]) if own else self
        if immutable is not None or options:
            changed = replace(changed, tasks=tuple(each.set(immutable=immutable, **options) for each in changed.tasks))
        linked: Self = _link_all(changed, links)
        return linked

    def link(self, callback: Node) -> Group:
        """Celery's: the first member is followed by ``callback``, without its value. For all values use a chord."""
        if not self.tasks:
            return self
        first = self.tasks[0].link(_node(callback, "link").set(immutable=True))
        return replace(self, tasks=(first, *self.tasks[1:]))

    def link_error(self, errback: Node) -> Group:
        """See ``_Workflow.link_error``: every member gets it."""
        return replace(self, tasks=tuple(each.link_error(errback) for each in self.tasks))

    def to_dict(self) -> dict[str, Any]:
        """See ``_Workflow.to_dict``."""
        options = {"task_id": self.id} if self.id is not None else {}
        tasks = [each.to_dict() for each in self.tasks]
        return dict(signature_of(GROUP, kwargs={"tasks": tasks}, options=options, kind="group"))


@dataclass(frozen=True, slots=True, repr=False)
class Chord(_Workflow):
    """A group, and a workflow that runs with the list of its values: what ``chord(header, body)`` makes."""

    header: Group
    body: Node | None = None

    def __repr__(self) -> str:
        return f"chord([{', '.join(map(repr, self.header.tasks))}], {self.body!r})"

    def __call__(self, body: Node | None = None, **options: Any) -> Any:
        """Send it: ``chord(header)(body)``."""
        return (self if body is None else replace(self, body=_node(body, "a chord's body"))).apply_async(**options)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, _Workflow):
            return NotImplemented
        return replace(self, body=self._body() | other)

    @property
    def tasks(self) -> tuple[Node, ...]:
        """The header's members."""
        return self.header.tasks

    def clone(self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Chord:
        """See ``_Workflow.clone``: the header's members get the arguments."""
        cloned = replace(self, header=self.header.clone(args, kwargs))
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Chord:
        """See ``_Workflow.set``; ``countdown``, ``eta`` and ``immutable`` are the header's alone."""
        of_body, of_header = _taken(options, "task_id"), _taken(options, "countdown", "eta")
        links = _taken(options, *_LINKS)
        header = self.header.set(immutable=immutable, **options, **of_header)
        body = self._body().set(**options, **of_body) if options or of_body else self.body
        linked: Self = _link_all(replace(self, header=header, body=body), links)
        return linked

    def link(self, callback: Node) -> Chord:
        """See ``_Workflow.link``."""
        return replace(self, body=self._body().link(callback))

    def link_error(self, errback: Node) -> Chord:
        """See ``_Workflow.link_error``: the body gets it, which fails when a member of the header has."""
        return replace(self, body=self._body().link_error(errback))

    def to_dict(self) -> dict[str, Any]:
        """See ``_Workflow.to_dict``."""
        kwargs = {"kwargs": {}, "header": self.header.to_dict(), "body": self._body().to_dict()}
        return dict(signature_of(CHORD, kwargs=kwargs, kind="chord"))

    def _body(self) -> Any:
        if self.body is None:
            raise TypeError(f"{self!r} has no body: chord(header, body), or chord(header)(body)")
        return self.body


def chain(*tasks: Any) -> Any:
    """Run one workflow after the other, each with the value of the one before.

    Args:
        tasks: the workflows, or one iterable of them. A chain among them is part of this one; a group that is followed
            by anything becomes a chord's header; a group of one is its member, and an empty one nothing.
    """
    nodes = [_node(each, "chain()") for each in _spread(tasks)]
    return Chain(tuple(part for node in nodes for part in (node.tasks if isinstance(node, Chain) else (node,))))


def group(*tasks: Any, **options: Any) -> Group:
    """Run workflows side by side.

    Args:
        tasks: the workflows, or one iterable of them. A group among them is part of this one.
        options: as for ``set``.
    """
    made = Group(tuple(_node(each, "group()") for each in _spread(tasks)))
    return made.set(**options) if options else made


def chord(header: Any, body: Any = None, **options: Any) -> Chord:
    """Run workflows side by side, then one with the list of their values.

    Args:
        header: an iterable of workflows, or a group.
        body: what follows; ``chord(header)(body)`` sends it at once.
        options: as for ``set``.
    """
    made = Chord(
        header if isinstance(header, Group) else group(header), None if body is None else _node(body, "chord()")
    )
    return made.set(**options) if options else made


def signature(
    task: Any,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    immutable: bool = False,
    app: Applier | None = None,
    **options: Any,
) -> Any:
    """A workflow of a task's name, of a task, of a workflow, or of the plain JSON that ``to_dict`` has written.

    Args:
        task: one of these.
        args: put before its arguments.
        kwargs: likewise.
        immutable: see ``Call``.
        app: the application, where the workflow knows none.
        options: as for ``set``.

    Raises:
        InvalidTaskError: the JSON is no signature.
        TypeError: it is none of these, or an option is unknown.
    """
    node = Call(task, app=app) if isinstance(task, str) else _node(task, "signature()", app)
    node = node.clone(args, kwargs, **options)
    return node.set(immutable=True) if immutable else node


subtask = maybe_signature = signature


def chunks(task: Call, it: Iterable[Any], n: int) -> Group:
    """Call a task for each of many tuples of arguments, ``n`` of them in one message."""
    if n < 1:
        raise ValueError(f"chunks of {n}: it takes at least one")
    items = [list(each) for each in it]
    return Group(tuple(mapped(task, items[begin : begin + n], star=True) for begin in range(0, len(items), n)))


def mapped(task: Call, it: Iterable[Any], *, star: bool) -> Call:
    """Call a task for each of many arguments, or tuples of them, one after the other in one message."""
    name = lines.STARMAP if star else lines.MAP
    items = [list(each) for each in it] if star else list(it)
    return _call(lines.starmap(task.to_dict(), items, name=name), task.app)


def _node(value: Any, where: str, app: Applier | None = None) -> Any:
    """A node as it is, or of what can be made one."""
    match value:
        case Call() | Chain() | Group() | Chord():
            return value if app is None or value.app is not None else replace(value, app=app)
        case {}:
            try:
                return _from_dict(value, app)
            except RecursionError:
                raise InvalidTaskError(f"{where}: this signature contains itself, or nests too deeply") from None
    of_task = getattr(value, "s", None)
    if callable(of_task):
        return of_task()
    raise TypeError(f"{where} takes signatures, such as task.s(...), not {type(value).__name__}: {value!r:.100}")


def _from_dict(value: Mapping[str, Any], app: Applier | None) -> Any:
    options = dict(value.get("options") or {})
    match value:
        case {"task": "celery.chain", "kwargs": {"tasks": [*tasks]}}:
            made: Any = Chain(tuple(_from_dict(each, app) for each in tasks), app=app)
        case {"task": "celery.group", "kwargs": {"tasks": [*tasks]}}:
            made = Group(tuple(_from_dict(each, app) for each in tasks), app=app)
        case {"task": "celery.chord", "kwargs": {"header": header, "body": {} as body}}:
            made_header = _from_dict(header, app) if isinstance(header, Mapping) else group(header)
            made = Chord(made_header, _from_dict(body, app), app=app)
        case {"task": "celery.chunks", "kwargs": {"task": {} as task, "it": [*items], "n": int(n)}}:
            return chunks(_from_dict(task, app), items, n)
        case {"task": str(task)} if task not in (CHAIN, GROUP, CHORD, CHUNKS):
            return _call(value, app)
        case _:
            raise InvalidTaskError(f"this is no signature: {value!r:.200}")
    known = {name: of for name, of in options.items() if name in ("task_id", *_LINKS)}
    return made.clone(value.get("args") or (), **known)


def _call(value: Mapping[str, Any], app: Applier | None) -> Call:
    options = dict(value.get("options") or {})
    for name in _LINKS:
        if options.get(name):
            options[name] = tuple(_from_dict(each, app) for each in lines.listed(options[name]))
    return Call(
        task=value["task"],
        args=tuple(value.get("args") or ()),
        kwargs=value.get("kwargs") or {},
        options=options,
        immutable=bool(value.get("immutable")),
        app=app,
    )


def _spread(tasks: tuple[Any, ...]) -> Iterable[Any]:
    match tasks:
        case (Call() | Chain() | Group() | Chord() | {},):
            return tasks
        case (only,) if isinstance(only, Iterable) and not isinstance(only, str):
            return only
    return tasks


def _taken(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options.pop(name) for name in names if name in options}


def _link_all(node: Any, links: Mapping[str, Any]) -> Any:
    for name, linked in links.items():
        for each in lines.listed(linked) if not isinstance(linked, _Workflow) else [linked]:
            node = operator.methodcaller(name, _node(each, name))(node)
    return node


def _check_arguments(node: Call, args: Any, kwargs: Any) -> None:
    if not isinstance(args, list | tuple):
        raise TypeError(f"task {node.task}: args must be a list or tuple, not {type(args).__name__}")
    if not isinstance(kwargs, Mapping | None):
        raise TypeError(f"task {node.task}: kwargs must be a mapping, not {type(kwargs).__name__}")


def _app_of(node: Any) -> Applier | None:
    match node:
        case _Workflow(app=app) if app is not None:
            return app
        case Chain() | Group():
            inside: tuple[Any, ...] = node.tasks
        case Chord():
            inside = (*node.header.tasks, node.body)
        case _:
            inside = ()
    return next((app for each in inside if (app := _app_of(each)) is not None), None)
