"""The results of several tasks as one: ``ResultSet``. That of a group is in ``group_result``.

Reading is one read of many records, however the results are nested; every method has an asynchronous twin over the
same flow, as in ``result``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from taskq_cloud import errors
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.records import record
from taskq_cloud.core.workflows.stages import GroupStage, Stages
from taskq_cloud.results.async_result import AsyncResult, forget_all
from taskq_cloud.results.state import TaskState
from taskq_cloud.results.waiting import pauses, refuse_inside_a_task, refuse_on_message
from taskq_cloud.results.workflow import InWorkflow, NoApplication, refuse_without_store
from taskq_cloud.runtime.protocols import Backend


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

    def own_stages(self) -> Stages:
        """See ``InWorkflow``: its results side by side."""
        return (GroupStage(tuple(each.stages() for each in self.results), self.id or None),)

    def own_results(self) -> Iterator[AsyncResult[Any]]:
        """See ``InWorkflow``."""
        return (result for each in self.results for result in each.everyone())

    def own_tuples(self) -> list[Any]:
        """See ``InWorkflow``."""
        return [each.as_tuple() for each in self.results]

    # -- looking

    def states(self) -> list[str]:
        """The states of all tasks now, in one read."""
        return [each.state for each in self._backend.run(self._states())]

    async def astates(self) -> list[str]:
        """``states`` on an event loop."""
        return [each.state for each in await self._backend.arun(self._states())]

    def completed_count(self) -> int:
        """How many have succeeded."""
        return self.states().count(record.SUCCESS)

    def ready(self) -> bool:
        """Whether all have ended."""
        return all(state in record.READY_STATES for state in self.states())

    def waiting(self) -> bool:
        """Whether some have not."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all have ended well."""
        return all(state == record.SUCCESS for state in self.states())

    def failed(self) -> bool:
        """Whether one has failed."""
        return record.FAILURE in self.states()

    def maybe_throw(self) -> None:
        """Raise the exception of the first that has failed or was revoked, if one has."""
        for state in self._backend.run(self._states()):
            if state.state in record.PROPAGATE_STATES:
                raise state.result

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], None] | None = None,
        no_ack: bool = True,
        on_message: Callable[[Any], None] | None = None,
        *,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], None] | None = None,
    ) -> list[Any]:
        """Wait for all values, in the order of the results, nested as they are; arguments stand in Celery's order.

        Args:
            timeout: seconds to wait at most; None: for ever.
            propagate: raise the exception of a task that fails, soon; otherwise it stands where its value would.
            interval: seconds between two looks at the store, reached from shorter ones; of more than 500 tasks longer
                by the root of their number.
            callback: called with the id and the value of each; the list is empty then.
            no_ack: means nothing: results are no messages.
            on_message: not to be had from a store that is looked at.
            disable_sync_subtasks: refuse to wait inside a task.
            on_interval: called after each look that has not found the end.

        Raises:
            TimeoutError: the time is over; the tasks go on.
            ImproperlyConfigured: the application keeps no results, or there is an ``on_message``.
            RuntimeError: called inside a task.
        """
        refuse_on_message(on_message)
        refuse_inside_a_task(disable_sync_subtasks)
        self._backend.run(self._wait(timeout, interval, propagate=propagate, on_interval=on_interval))
        if callback is None:
            return self._values()
        for each in self.results:
            callback(each.id, _value(each))
        return []

    join = join_native = get

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - Celery's name
        propagate: bool = True,
        interval: float = 0.5,
    ) -> list[Any]:
        """``get`` on an event loop."""
        await self._backend.arun(self._wait(timeout, interval, propagate=propagate))
        return self._values()

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[[Any], None] | None = None,
        on_interval: Callable[[], None] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ids and result documents of the tasks in it, as they are found to have ended; arguments as ``get``'s.

        All that are missing are looked at each time.
        """
        refuse_on_message(on_message)
        refuse_inside_a_task(disable_sync_subtasks=True)
        missing = [leaf for leaf in self._leaves() if not leaf.ignored]
        deadline = None if timeout is None else time.monotonic() + timeout
        for pause in pauses(interval):
            self._backend.run(self._states())
            ended = [leaf for leaf in missing if leaf.known is not None]
            missing = [leaf for leaf in missing if leaf.known is None]
            yield from ((leaf.id, leaf.load().document) for leaf in ended)
            if not missing:
                return
            if on_interval is not None:
                on_interval()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise errors.TimeoutError(f"{len(missing)} tasks have not ended after {timeout} s; they may still end")
            self._backend.run(_sleep(pause if left is None else min(pause, left)))

    def then(
        self,
        callback: Callable[[Any], Any],
        on_error: Callable[[Exception], Any] | None = None,
        weak: bool = False,
    ) -> ResultSet:
        """Call ``callback`` with this set once it is known here that all have ended; see ``AsyncResult.then``."""
        left = sum(leaf.known is None for leaf in self._leaves())

        def one_has_ended(_: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                callback(self)

        for leaf in [leaf for leaf in self._leaves() if leaf.known is None]:
            leaf.then(one_has_ended, on_error, weak)
        if left == 0:
            left = 1
            one_has_ended(None)
        return self

    @property
    def on_ready(self) -> ResultSet:
        """Itself: what Celery's ``then`` is called on."""
        return self

    @property
    def supports_native_join(self) -> bool:
        """True: stores read many records at once."""
        return True

    @property
    def app(self) -> Any:
        """The application."""
        return self._backend

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

    def _wait(
        self,
        timeout: float | None,
        interval: float,
        *,
        propagate: bool,
        on_interval: Callable[[], None] | None = None,
    ) -> Flow[None]:
        from taskq_cloud.results.wait_for_all import wait_for_all  # who only sends groups doesn't wait for them

        leaves = self.leaves()
        return wait_for_all(self._backend, leaves, timeout, interval, propagate=propagate, on_interval=on_interval)

    def _values(self) -> list[Any]:
        return [_value(each) for each in self.results]

    def _forget(self) -> Flow[None]:
        # As in Celery: what came before a member goes with it.
        return forget_all(self._backend, self.own_results())

    def _revoke(self) -> Flow[int]:
        from taskq_cloud.core.messages.late_delivery import keeper  # see result_tree
        from taskq_cloud.core.workflows.revocation import revoke_tasks  # likewise

        leaves = self.leaves()
        if not leaves:
            return 0
        scheduler, expires_at = keeper(self._backend.scheduler), self._backend.result_expires_at()
        if scheduler is None:
            refuse_without_store(self._backend)
        ids = [leaf.id for leaf in leaves]
        return (yield from revoke_tasks(self._backend.store, ids, expires_at, scheduler))


def _value(result: Any) -> Any:
    if isinstance(result, ResultSet):
        return result._values()  # noqa: SLF001 - its own kind
    return result.seen(None).result


def _sleep(seconds: float) -> Flow[None]:
    yield Sleep(seconds)
