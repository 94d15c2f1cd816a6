"""The results of several tasks as one: ``ResultSet``, and ``GroupResult`` for a group's.

Reading is one read of many records, however the results are nested; every method has an asynchronous twin over the
same flow, as in ``result``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from taskq_cloud import errors
from taskq_cloud.core import records, saved_groups
from taskq_cloud.core.calls import Flow, Sleep
from taskq_cloud.core.lines import Fan, Line
from taskq_cloud.result import AsyncResult
from taskq_cloud.result_tree import Backend, InWorkflow, NoApplication, needed, refuse_without_store
from taskq_cloud.task_state import TaskState
from taskq_cloud.waiting import pauses, refuse_inside_a_task


class ResultSet(InWorkflow):
    """Results, in an order.

    Args:
        results: ``AsyncResult``s and other sets.
        app: the application; that of the results where None.
    """

    def __init__(self, results: Iterable[Any] = (), app: Backend | None = None) -> None:
        self.id = ""
        self.parent: Any = None
        self.results: list[Any] = list(results)
        self._app = app

    @property
    def _backend(self) -> Backend:
        if self._app is None:
            first = next(self._leaves(), None)
            return NoApplication() if first is None else first._backend  # noqa: SLF001 - a result too
        return self._app

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(each.id or each) for each in self.results)}]>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.results == getattr(other, "results", None)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Any:
        return self.results[index]

    # -- as a set

    def add(self, result: Any) -> None:
        """Add a result, unless it is there."""
        if result not in self.results:
            self.results.append(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add several."""
        for each in results:
            self.add(each)

    def remove(self, result: Any) -> None:
        """Remove one; ``KeyError`` where it isn't there."""
        if result not in self.results:
            raise KeyError(result)
        self.results.remove(result)

    def discard(self, result: Any) -> None:
        """Remove one, if it is there."""
        if result in self.results:
            self.results.remove(result)

    def clear(self) -> None:
        """Remove all."""
        self.results.clear()

    def leaves(self) -> list[AsyncResult[Any]]:
        """The tasks' results, those of nested sets too."""
        return list(self._leaves())

    def _leaves(self) -> Iterator[AsyncResult[Any]]:
        for each in self.results:
            if isinstance(each, ResultSet):
                yield from each._leaves()  # noqa: SLF001 - its own kind
            else:
                yield each

    def stages(self) -> Line:
        """The tasks that came before, and its own side by side."""
        before = () if self.parent is None else self.parent.stages()
        return (*before, Fan(tuple(each.stages() for each in self.results), self.id or None))

    def everyone(self) -> Iterator[AsyncResult[Any]]:
        """The results of these."""
        for each in ([] if self.parent is None else [self.parent]) + self.results:
            yield from each.everyone()

    # -- looking

    def states(self) -> list[str]:
        """The states of all tasks now, in one read."""
        return [each.state for each in self._backend.run(self._states())]

    async def astates(self) -> list[str]:
        """``states`` on an event loop."""
        return [each.state for each in await self._backend.arun(self._states())]

    def completed_count(self) -> int:
        """How many have succeeded."""
        return self.states().count(records.SUCCESS)

    def ready(self) -> bool:
        """Whether all have ended."""
        return all(state in records.READY_STATES for state in self.states())

    def waiting(self) -> bool:
        """Whether some have not."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all have ended well."""
        return all(state == records.SUCCESS for state in self.states())

    def failed(self) -> bool:
        """Whether one has failed."""
        return records.FAILURE in self.states()

    def maybe_throw(self) -> None:
        """Raise the exception of the first that has failed or was revoked, if one has."""
        for state in self._backend.run(self._states()):
            if state.state in records.PROPAGATE_STATES:
                raise state.result

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        *,
        propagate: bool = True,
        interval: float = 0.5,
        disable_sync_subtasks: bool = True,
    ) -> list[Any]:
        """Wait for all values, in the order of the results; nested as they are.

        Args:
            timeout: seconds to wait at most; None: for ever.
            propagate: raise the exception of the first that fails, at once; otherwise it stands where its value would.
            interval: seconds between two looks at the store, reached from shorter ones.
            disable_sync_subtasks: refuse to wait inside a task.

        Raises:
            TimeoutError: the time is over; the tasks go on.
            ImproperlyConfigured: the application keeps no results.
            RuntimeError: called inside a task.
        """
        refuse_inside_a_task(disable_sync_subtasks)
        self._backend.run(self._wait(timeout, interval, propagate))
        return self._values()

    join = get

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - Celery's name
        *,
        propagate: bool = True,
        interval: float = 0.5,
    ) -> list[Any]:
        """``get`` on an event loop."""
        await self._backend.arun(self._wait(timeout, interval, propagate))
        return self._values()

    # -- ending

    def forget(self) -> None:
        """Remove all results from the store."""
        self._backend.run(self._forget())

    async def aforget(self) -> None:
        """``forget`` on an event loop."""
        await self._backend.arun(self._forget())

    def revoke(self) -> int:
        """Record those that have not ended as REVOKED, as ``AsyncResult.revoke`` does; how many.

        A member that is a chain is its last task here, as in Celery; ``revoke_workflow`` is for all tasks of it.
        """
        return self._backend.run(self._revoke())

    async def arevoke(self) -> int:
        """``revoke`` on an event loop."""
        return await self._backend.arun(self._revoke())

    def _states(self) -> Flow[list[TaskState]]:
        leaves = self.leaves()
        unknown = [leaf for leaf in leaves if leaf.known is None and not leaf.ignored]
        found = (yield from self._backend.store.load([leaf.id for leaf in unknown])) if unknown else {}
        now = {leaf.id: leaf.seen(found.get(leaf.id)) for leaf in unknown}
        return [now.get(leaf.id) or leaf.seen(None) for leaf in leaves]

    def _wait(self, timeout: float | None, interval: float, propagate: bool) -> Flow[None]:
        leaves = self.leaves()
        if any(leaf.known is None for leaf in leaves):
            refuse_without_store(self._backend)
        deadline = None if timeout is None else time.monotonic() + timeout
        for pause in pauses(interval):
            states = yield from self._states()
            failed = next((each for each in states if each.state in records.PROPAGATE_STATES), None)
            if propagate and failed is not None:
                raise failed.result
            missing = [leaf.id for leaf, state in zip(leaves, states, strict=True) if not (state.ready or leaf.ignored)]
            if not missing:
                return
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise errors.TimeoutError(
                    f"{len(missing)} of {len(leaves)} tasks have not ended after {timeout} s, {missing[0]} for one; "
                    "they may still end"
                )
            yield Sleep(pause if left is None else min(pause, left))

    def _values(self) -> list[Any]:
        return [
            each._values() if isinstance(each, ResultSet) else each.seen(None).result  # noqa: SLF001 - its own kind
            for each in self.results
        ]

    def _forget(self) -> Flow[None]:
        leaves = self.leaves()
        if leaves:
            yield from self._backend.store.delete([leaf.id for leaf in leaves])
        for leaf in leaves:
            leaf.known = None

    def _revoke(self) -> Flow[int]:
        from taskq_cloud.core.one_off import keeper  # noqa: PLC0415 - see result_tree
        from taskq_cloud.core.workflow_ending import revoke_tasks  # noqa: PLC0415 - likewise

        leaves = self.leaves()
        if not leaves:
            return 0
        scheduler, expires_at = keeper(self._backend.scheduler), self._backend.result_expires_at()
        if scheduler is None:
            refuse_without_store(self._backend)
        ids = [leaf.id for leaf in leaves]
        return (yield from revoke_tasks(self._backend.store, ids, expires_at, scheduler))


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
        id: str,  # noqa: A002 - Celery's name
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

    __hash__ = None

    def __bool__(self) -> bool:
        return True

    @property
    def children(self) -> list[Any]:
        """The members' results."""
        return self.results

    def as_tuple(self) -> Any:
        """As plain JSON, Celery's."""
        parent = None if self.parent is None else self.parent.as_tuple()
        return [[self.id, parent], [each.as_tuple() for each in self.results]]

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
        self._backend.run(saved_groups.delete(self._backend.store, self.id, len(self.results)))

    @classmethod
    def restore(cls, id: str, backend: Backend | None = None, app: Backend | None = None) -> GroupResult | None:  # noqa: A002 - Celery's name
        """What ``save`` has kept; None where nothing was, or it has expired, as in Celery.

        Args:
            id: the group's id.
            backend: the application.
            app: likewise; one of the two has to be there.
        """
        found = needed(backend if app is None else app, f"GroupResult.restore({id!r}")
        return found.run(_restored(id, found))

    @classmethod
    async def arestore(cls, id: str, backend: Backend | None = None, app: Backend | None = None) -> GroupResult | None:  # noqa: A002
        """``restore`` on an event loop."""
        found = needed(backend if app is None else app, f"GroupResult.arestore({id!r}")
        return await found.arun(_restored(id, found))

    def _save(self) -> Flow[None]:
        yield from saved_groups.save(self._backend.store, self.as_tuple(), self._backend.result_expires_at())


def _restored(group_id: str, app: Backend) -> Flow[GroupResult | None]:
    saved = yield from saved_groups.load(app.store, group_id)
    return None if saved is None else result_from_tuple(saved, app)


@dataclass(frozen=True, slots=True)
class GroupResults:
    """``app.GroupResult``: Celery's class of an application.

    Args:
        app: the application.
    """

    app: Backend

    def __call__(self, id: str, results: Iterable[Any] | None = None, parent: Any = None) -> GroupResult:  # noqa: A002 - Celery's name
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

    def restore(self, id: str) -> GroupResult | None:  # noqa: A002 - likewise
        """See ``GroupResult.restore``."""
        return GroupResult.restore(id, app=self.app)

    async def arestore(self, id: str) -> GroupResult | None:  # noqa: A002 - likewise
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
