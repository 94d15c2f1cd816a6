"""The result of a group: ``GroupResult``, kept in the store by ``save``; and results out of Celery's tuples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from taskq_cloud.core.flows import Flow
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.result_set import ResultSet
from taskq_cloud.results.workflow import InWorkflow, needed
from taskq_cloud.runtime.protocols import Backend


class GroupResult(ResultSet):
    """The results of a group.

    Args:
        id: the group's id.
        results: its members'.
        parent: the result of what came before it in a chain.
        app: the application; that of the results where None.
    """

    def __init__(
        self,
        id: str,
        results: Iterable[Any] | None = None,
        parent: Any = None,
        app: Backend | None = None,
    ) -> None:
        super().__init__(results or (), app)
        self.id = id
        self.parent = parent

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(str(each.id) for each in self.results)}]>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and self.id == other.id and self.results == other.results

    def __hash__(self) -> int:  # type: ignore[override]  # another set has no id
        return hash(self.id)

    def __bool__(self) -> bool:
        return True

    @property
    def children(self) -> list[Any]:
        """The members' results."""
        return self.results

    def save(self) -> GroupResult:
        """Keep in the store which tasks these are, for ``restore``; as long as results are kept."""
        self._backend.run(self._save())
        return self

    async def asave(self) -> GroupResult:
        """``save`` on an event loop."""
        await self._backend.arun(self._save())
        return self

    def delete(self) -> None:
        """Remove what ``save`` has kept."""
        from taskq_cloud.core.workflows import saved_groups  # few groups are saved

        self._backend.run(saved_groups.delete(self._backend.store, self.id, len(self.results)))

    @classmethod
    def restore(cls, id: str, backend: Backend | None = None, app: Backend | None = None) -> GroupResult | None:
        """What ``save`` has kept; None where nothing was, or it has expired, as in Celery.

        Args:
            id: the group's id.
            backend: the application.
            app: likewise; one of the two has to be there.
        """
        found = needed(backend if app is None else app, f"GroupResult.restore({id!r}")
        return found.run(_restored(id, found))

    @classmethod
    async def arestore(cls, id: str, backend: Backend | None = None, app: Backend | None = None) -> GroupResult | None:
        """``restore`` on an event loop."""
        found = needed(backend if app is None else app, f"GroupResult.arestore({id!r}")
        return await found.arun(_restored(id, found))

    def _save(self) -> Flow[None]:
        from taskq_cloud.core.workflows import saved_groups  # few groups are saved

        yield from saved_groups.save(self._backend.store, self.as_tuple(), self._backend.result_expires_at())


def _restored(group_id: str, app: Backend) -> Flow[GroupResult | None]:
    from taskq_cloud.core.workflows import saved_groups  # few groups are saved

    saved = yield from saved_groups.load(app.store, group_id)
    return None if saved is None else result_from_tuple(saved, app)


@dataclass(frozen=True, slots=True)
class GroupResults:
    """``app.GroupResult``: Celery's class of an application.

    Args:
        app: the application.
    """

    app: Backend

    def __call__(self, id: str, results: Iterable[Any] | None = None, parent: Any = None) -> GroupResult:
        """A group's result; of an id alone what ``save`` has kept.

        Raises:
            KeyError: there is only an id, and nothing of it was saved, or it has expired.
        """
        if results is not None:
            return GroupResult(id, results, parent, self.app)
        restored = self.restore(id)
        if restored is None:
            raise KeyError(f"no group {id} was saved, or it has expired")
        return restored

    def restore(self, id: str) -> GroupResult | None:
        """See ``GroupResult.restore``."""
        return GroupResult.restore(id, app=self.app)

    async def arestore(self, id: str) -> GroupResult | None:
        """See ``GroupResult.arestore``."""
        return await GroupResult.arestore(id, app=self.app)


def result_from_tuple(r: Any, app: Backend | None = None) -> Any:
    """A result of what ``as_tuple`` has made of it; a result is itself.

    Args:
        r: such a tuple, as it is or as JSON has it.
        app: the application; there is no other that a tuple could have.

    Raises:
        TypeError: there is no application.
    """
    if isinstance(r, InWorkflow):
        return r
    app = needed(app, "result_from_tuple(...")
    before: list[Any] = []
    while r is not None:
        before.append(r)
        head = r[0]
        r = None if isinstance(head, str) else head[1]
    result: Any = None
    for head, members in reversed(before):
        result_id = head if isinstance(head, str) else head[0]
        if members is None:
            result = AsyncResult(result_id, app, parent=result)
        else:
            result = GroupResult(result_id, [result_from_tuple(each, app) for each in members], result, app)
    return result
