"""Workflows that run one after the other: ``chain``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar, Unpack

from taskq_cloud.calling.options import LINKS, CallKeywords
from taskq_cloud.canvas import stamping
from taskq_cloud.canvas.node import altered, fill, made, parts_of, values_of
from taskq_cloud.canvas.sending import AnyResult
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
from taskq_cloud.core.model.task_names import CHAIN
from taskq_cloud.core.workflows.signatures import signature_of
from taskq_cloud.runtime.protocols import Application


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Chain(Workflow[AnyResult]):
    """Workflows that run one after the other, each with the value of the one before: ``chain``.

    Args:
        tasks: the workflows, or one iterable of them. A chain among them becomes part of this one. A group that another
            workflow follows becomes the header of a chord; a group of one becomes its member, and an empty group is
            left out.
        app: the application, for tasks that have none.
        options: as for ``set``.
    """

    tasks: tuple[Workflow, ...]

    def __init__(
        self,
        *tasks: SignatureLike | Iterable[SignatureLike],
        app: Application | None = None,
        **options: Unpack[CallKeywords],
    ) -> None:
        nodes = [node_of(each, "chain()", app) for each in spread(tasks)]
        fill(self, tasks=tuple(stage for node in nodes for stage in node.stages), app=app)
        if options:
            fill(self, **values_of(self.with_options(options)), app=app)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or "chain()"

    def __or__(self, other: Workflow) -> Chain:
        return made(Chain, tasks=(*self.tasks, *other.stages)) if isinstance(other, Workflow) else NotImplemented

    def __call__(self, *args: object, **kwargs: object) -> AnyResult:
        """Send the chain with these arguments for its first task: ``delay``, as in Celery."""
        return self.delay(*args, **kwargs)

    @property
    def stages(self) -> tuple[Workflow, ...]:
        """The chain's parts, which another chain takes over."""
        return self.tasks

    @property
    def in_chain(self) -> tuple[Workflow, ...]:
        """The parts as they run: without groups of one around them, and without empty groups."""
        return tuple(part for each in self.tasks for part in each.in_chain)

    @property
    def empty(self) -> bool:
        """Whether the chain is empty."""
        return all(each.empty for each in self.tasks)

    @property
    def inner(self) -> tuple[Workflow, ...]:
        """The chain's parts."""
        return self.tasks

    @property
    def parts(self) -> Mapping[str, Any]:
        """The parts of Celery's signature, by name."""
        return parts_of(CHAIN, "chain", tasks=self.tasks)

    @property
    def links(self) -> Sequence[Workflow]:
        """The callbacks of the last part."""
        return self.tasks[-1].links if self.tasks else ()

    @property
    def size(self) -> int:
        """The size of the last part that isn't empty."""
        return next((size for each in reversed(self.tasks) if (size := each.size)), 0)

    def unchain_tasks(self) -> list[Workflow]:
        """List the chain's parts, each with its callbacks and errbacks."""
        return list(self.tasks)

    def with_arguments(self, args: Args, kwargs: Kwargs) -> Self:
        """Return a copy with further arguments for the first part."""
        if not args and not kwargs:
            return self
        return _change_end(self, 0, lambda first: first.with_arguments(args, kwargs))

    def with_options(self, options: Options) -> Self:
        """Return a copy with further options; ``set`` says which part gets which option."""
        of_first = dict(options)
        of_last, links, changed = taken(of_first, "task_id"), taken(of_first, *LINKS), self
        if of_first:
            changed = _change_end(changed, 0, lambda first: first.with_options(of_first))
        if of_last:
            changed = _change_end(changed, -1, lambda last: last.with_options(of_last))
        return link_all(changed, links)

    def link(self, callback: SignatureLike) -> Self:
        """Return a copy with a callback for the last part."""
        return _change_end(self, -1, lambda last: last.link(callback))

    def link_error(self, errback: SignatureLike) -> Self:
        """Return a copy with an errback for every part."""
        return altered(self, tasks=tuple(each.link_error(errback) for each in self.tasks))

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: object) -> Self:
        """Return a copy with stamps. A group that another workflow follows is stamped as the chord that it becomes."""
        of_all = None if visitor is None else visitor.on_chain_start(self, **headers) or {}
        stamps = stamping.added(headers, of_all, append=append_stamps)
        parts = (each.stamp(visitor, append_stamps, **stamps) for each in _with_chords(self.in_chain))
        changed = altered(self, tasks=tuple(map(_kept_in_chain, parts)))
        if visitor is not None:
            visitor.on_chain_end(changed, **stamps)
        return changed

    def _written(self) -> dict[str, Any]:
        return dict(signature_of(CHAIN, kwargs={"tasks": [each.to_dict() for each in self.tasks]}, kind="chain"))


C = TypeVar("C", bound=Chain)


def _change_end(chain: C, end: int, change: Callable[[Workflow], Workflow]) -> C:
    """Return a copy of a chain whose first part (``end`` 0) or last part (-1) is changed; an empty chain stays.

    Empty groups and chains don't count as parts, because they are left out when the chain is sent.
    """
    places = [place for place, each in enumerate(chain.tasks) if not each.empty] or list(range(len(chain.tasks)))
    if not places:
        return chain
    tasks = list(chain.tasks)
    tasks[places[end]] = change(tasks[places[end]])
    return altered(chain, tasks=tuple(tasks))


def _with_chords(tasks: Sequence[Workflow]) -> list[Workflow]:
    """Join the parts of a chain: a group and the part after it become a chord, as in Celery."""
    parts: list[Workflow] = []
    for each in tasks:
        both = parts[-1].followed_by(each) if parts else None
        if both is None:
            parts.append(each)
        else:
            parts[-1] = both
    return parts


def _kept_in_chain(part: Workflow) -> Workflow:
    """Wrap a part that ``in_chain`` has unwrapped, if another ``in_chain`` would unwrap it further.

    Celery unwraps a group of one once, when the chain is made. Here ``in_chain`` does so each time that it is asked.
    So a chain that is stamped twice would lose a group of one that stood in another.
    """
    return part if part.in_chain == (part,) else altered(part, tasks=(part,))


@reads(CHAIN)
def _read_chain(value: Signature, app: Application | None) -> Chain:
    match value:
        case {"kwargs": {"tasks": [*tasks]}}:
            return with_known_options(made(Chain, tasks=tuple(read(each, app) for each in tasks), app=app), value)
    raise invalid(value)
