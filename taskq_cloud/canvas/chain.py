"""What runs one after the other (``Chain``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from taskq_cloud.calling.options import LINKS
from taskq_cloud.canvas import stamping
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
from taskq_cloud.core.workflows.signatures import CHAIN, signature_of
from taskq_cloud.runtime.protocols import Application


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Chain(Workflow):
    """Run one workflow after the other, each with the value of the one before: ``chain``.

    Args:
        tasks: the workflows, or one iterable of them. A chain among them is part of this one; a group that is followed
            by anything becomes a chord's header; a group of one is its member, and an empty one nothing.
        app: the application, where the tasks know none.
        options: as for ``set``.
    """

    tasks: tuple[Any, ...]

    def __init__(self, *tasks: Any, app: Application | None = None, **options: Any) -> None:
        nodes = [node_of(each, "chain()", app) for each in spread(tasks)]
        fill(self, tasks=tuple(stage for node in nodes for stage in node.stages), app=app)
        if options:
            fill(self, **values_of(self.set(**options)), app=app)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or "chain()"

    def __or__(self, other: Any) -> Any:
        return made(Chain, tasks=(*self.tasks, *other.stages)) if isinstance(other, Workflow) else NotImplemented

    @property
    def stages(self) -> tuple[Any, ...]:
        """See ``Workflow.stages``."""
        return self.tasks

    @property
    def in_chain(self) -> tuple[Any, ...]:
        """See ``Workflow.in_chain``."""
        return tuple(part for each in self.tasks for part in each.in_chain)

    @property
    def inner(self) -> tuple[Any, ...]:
        """See ``Workflow.inner``."""
        return self.tasks

    @property
    def parts(self) -> Mapping[str, Any]:
        """See ``ReadAsDict``."""
        return parts_of(CHAIN, "chain", tasks=self.tasks)

    @property
    def links(self) -> tuple[Any, ...]:
        """See ``Workflow.links``."""
        return tuple(self.tasks[-1].links) if self.tasks else ()

    @property
    def size(self) -> int:
        """See ``Workflow.size``."""
        return next((size for each in reversed(self.tasks) if (size := each.size)), 0)

    def unchain_tasks(self) -> list[Any]:
        """Its parts, each with what is linked to it."""
        return list(self.tasks)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """``delay``, as in Celery."""
        return self.delay(*args, **kwargs)

    def clone(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Chain:
        """See ``Workflow.clone``."""
        cloned = self._with(0, lambda first: first.clone(args, kwargs)) if args or kwargs else self
        return cloned.set(**options) if options else cloned

    def set(self, *, immutable: bool | None = None, **options: Any) -> Chain:
        """See ``Workflow.set``."""
        changed, of_last, links = self, taken(options, "task_id"), taken(options, *LINKS)
        if immutable is not None or options:
            changed = changed._with(0, lambda first: first.set(immutable=immutable, **options))
        if of_last:
            changed = changed._with(-1, lambda last: last.set(**of_last))  # noqa: SLF001
        linked: Self = link_all(changed, links)
        return linked

    def link(self, callback: Any) -> Chain:
        """See ``Workflow.link``."""
        return self._with(-1, lambda last: last.link(callback))

    def link_error(self, errback: Any) -> Chain:
        """See ``Workflow.link_error``: every task of the chain gets it."""
        return altered(self, tasks=tuple(each.link_error(errback) for each in self.tasks))

    def stamp(self, visitor: StampingVisitor | None = None, append_stamps: bool = False, **headers: Any) -> Chain:
        """See ``Workflow.stamp``: a group that is followed by anything is stamped as a chord, which it will be."""
        of_all = None if visitor is None else visitor.on_chain_start(self, **headers) or {}
        stamps = stamping.added(headers, of_all, append=append_stamps)
        tasks = _with_chords(self.in_chain)
        changed = altered(self, tasks=tuple(each.stamp(visitor, append_stamps, **stamps) for each in tasks))
        if visitor is not None:
            visitor.on_chain_end(changed, **stamps)
        return changed

    def _written(self) -> dict[str, Any]:
        return dict(signature_of(CHAIN, kwargs={"tasks": [each.to_dict() for each in self.tasks]}, kind="chain"))

    def _with(self, end: int, change: Any) -> Chain:
        if not self.tasks:
            return self
        tasks = list(self.tasks)
        tasks[end] = change(tasks[end])
        return altered(self, tasks=tuple(tasks))


def _with_chords(tasks: Sequence[Any]) -> list[Any]:
    """A chain's parts, with chords for groups that are followed by anything, as Celery puts them together."""
    parts: list[Any] = []
    for each in tasks:
        both = parts[-1].followed_by(each) if parts else None
        if both is None:
            parts.append(each)
        else:
            parts[-1] = both
    return parts


@reads(CHAIN)
def _read_chain(value: Mapping[str, Any], app: Application | None) -> Any:
    match value:
        case {"kwargs": {"tasks": [*tasks]}}:
            return with_known_options(made(Chain, tasks=tuple(read(each, app) for each in tasks), app=app), value)
    raise invalid(value)
