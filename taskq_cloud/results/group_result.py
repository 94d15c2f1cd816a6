"""The result of a group: ``GroupResult``, which ``save`` keeps in the store; and results read from Celery's tuples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.option_values import ID, check
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.result_set import Member, ResultSet
from taskq_cloud.results.waiting import needed
from taskq_cloud.results.workflow import Result, ResultTuple
from taskq_cloud.runtime.protocols import Backend

if TYPE_CHECKING:
    from uuid import UUID

R = TypeVar("R", bound=Result)


class GroupResult(ResultSet):
    """The results of a group.

    Args:
        id: the group's id.
        results: the results of the group's members.
        parent: the result of the task or group before it in a chain.
        app: the application; None: the application of the results.
    """

    def __init__(
        self,
        id: str | UUID,
        results: Iterable[Member | None] | None = None,
        parent: Result | None = None,
        app: Backend | None = None,
    ) -> None:
        super().__init__(results or (), app)
        self.id: str = _text(id)
        self.parent = parent

    def __repr__(self) -> str:
        return f"<GroupResult: {self.id} [{', '.join(str(each.id) for each in self.results)}]>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GroupResult) and self.id == other.id and self.results == other.results

    def __hash__(self) -> int:  # type: ignore[override]  # a group has an id, other sets have none
        return hash(self.id)

    def __bool__(self) -> bool:
        return True

    @property
    def children(self) -> list[Member]:
        """The results of the group's members."""
        return self.results

    def save(self) -> Self:
        """Save the list of the group's tasks in the store, for ``restore``. It is kept for as long as results are."""
        self.app.run(self._save())
        return self

    async def asave(self) -> Self:
        """Save the list of the group's tasks in the store, on an event loop: see ``save``."""
        await self.app.arun(self._save())
        return self

    def delete(self) -> None:
        """Remove the record that ``save`` has written."""
        from taskq_cloud.core.workflows import saved_groups  # few groups are saved

        self.app.run(saved_groups.delete(self.app.store, self.id, len(self.results)))

    @classmethod
    def restore(cls, id: str | UUID, backend: Backend | None = None, app: Backend | None = None) -> GroupResult | None:
        """Read a group that ``save`` has written; None if it was never saved or has expired, as in Celery.

        Args:
            id: the group's id.
            backend: the application.
            app: the application, under Celery's other name. One of the two is needed.

        Raises:
            TypeError: there is no application.
        """
        found = needed(backend if app is None else app, f"GroupResult.restore({id!r}")
        return found.run(_restored(id, found))

    @classmethod
    async def arestore(
        cls, id: str | UUID, backend: Backend | None = None, app: Backend | None = None
    ) -> GroupResult | None:
        """Read a group that ``save`` has written, on an event loop: see ``restore``."""
        found = needed(backend if app is None else app, f"GroupResult.arestore({id!r}")
        return await found.arun(_restored(id, found))

    def _save(self) -> Flow[None]:
        from taskq_cloud.core.workflows import saved_groups  # few groups are saved

        yield from saved_groups.save(self.app.store, self.as_tuple(), self.app.result_expires_at())


def _text(group_id: str | UUID) -> str:
    return group_id if type(group_id) is str else str(check(ID, "the id of a group", group_id))


def _restored(group_id: str | UUID, app: Backend) -> Flow[GroupResult | None]:
    from taskq_cloud.core.workflows import saved_groups  # few groups are saved

    saved = yield from saved_groups.load(app.store, _text(group_id))
    restored = None if saved is None else result_from_tuple(saved, app)
    assert restored is None or isinstance(restored, GroupResult)  # what was saved has members
    return restored


@dataclass(frozen=True, slots=True)
class GroupResults:
    """The results of an application's saved groups: ``app.GroupResult``, which is a class in Celery.

    Args:
        app: the application.
    """

    app: Backend

    def __call__(
        self, id: str | UUID, results: Iterable[Member] | None = None, parent: Result | None = None
    ) -> GroupResult:
        """Make the result of a group; with an id alone, read the group that ``save`` has written.

        Raises:
            KeyError: there is only an id, and the group was never saved or has expired.
        """
        if results is not None:
            return GroupResult(id, results, parent, self.app)
        restored = self.restore(id)
        if restored is None:
            raise KeyError(f"group {id} was not saved, or has expired: call save() on its result")
        return restored

    def restore(self, id: str | UUID) -> GroupResult | None:
        """Read a group that ``save`` has written: see ``GroupResult.restore``."""
        return GroupResult.restore(id, app=self.app)

    async def arestore(self, id: str | UUID) -> GroupResult | None:
        """Read a group that ``save`` has written, on an event loop: see ``GroupResult.restore``."""
        return await GroupResult.arestore(id, app=self.app)


@overload
def result_from_tuple(r: None, app: Backend | None = None) -> None: ...


@overload
def result_from_tuple(r: R, app: Backend | None = None) -> R: ...


@overload
def result_from_tuple(r: ResultTuple | Sequence[Any], app: Backend | None = None) -> AsyncResult[Any] | GroupResult: ...


def result_from_tuple(r: Result | ResultTuple | Sequence[Any] | None, app: Backend | None = None) -> Result | None:
    """Make a result of the tuple that ``as_tuple`` has written; a result stays as it is, and None stays None.

    Args:
        r: the tuple, or the lists that JSON makes of it.
        app: the application, which the tuple doesn't name.

    Raises:
        TypeError: there is no application.
    """
    if isinstance(r, Result):
        return r
    app = needed(app, "result_from_tuple(...")
    parts: list[Sequence[Any]] = []
    part: Sequence[Any] | None = r
    while part is not None:
        parts.append(part)
        head = part[0]
        part = None if isinstance(head, str) else head[1]
    result: AsyncResult[Any] | GroupResult | None = None
    for head, members in reversed(parts):
        result_id = head if isinstance(head, str) else head[0]
        if members is None:
            result = AsyncResult(result_id, app, parent=result)
        else:
            result = GroupResult(result_id, [result_from_tuple(each, app) for each in members], result, app)
    return result
