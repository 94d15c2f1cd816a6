"""The results of several tasks as one: ``ResultSet``. The result of a group is in ``group_result``.

Many records are read at once, however the results are nested. Methods come in pairs, a synchronous and an asynchronous
one over the same flow, as in ``async_result``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Self, TypeAlias

from taskq_cloud import errors
from taskq_cloud.core.flows import CanWait, Flow, Sleep
from taskq_cloud.core.records import record
from taskq_cloud.core.workflows.stages import GroupStage, Stages
from taskq_cloud.results.async_result import AsyncResult
from taskq_cloud.results.removal import forget_all, revoke_all
from taskq_cloud.results.state import TaskState
from taskq_cloud.results.waiting import NoApplication, deadline_after, pauses, refuse_inside_a_task, refuse_on_message
from taskq_cloud.results.workflow import Result, ResultTuple, TaskResult
from taskq_cloud.runtime.protocols import Backend

Member: TypeAlias = "AsyncResult[Any] | ResultSet"
"""A result in a set: of a task, or a set itself, such as the result of a chain that ends in a group."""


class ResultSet(Result):
    """Results, in an order.

    Args:
        results: results of tasks, and other sets. None, which an empty chain has as its result, is left out.
        app: the application; None: the application of the results.
    """

    def __init__(self, results: Iterable[Member | None] = (), app: Backend | None = None) -> None:
        self.id = ""
        self.parent: Result | None = None
        self.results: list[Member] = [each for each in results if each is not None]
        self._app = app

    @property
    def app(self) -> Backend:
        """The application."""
        if self._app is not None:
            return self._app
        first = next(self._leaves(), None)
        return NoApplication() if first is None else first.app

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(each.id or each) for each in self.results)}]>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultSet) and type(other) is type(self) and self.results == other.results

    __hash__ = None  # type: ignore[assignment]  # a set changes; typeshed's lists and sets say it this way too

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Member:
        return self.results[index]

    # -- as a set

    def add(self, result: Member) -> None:
        """Add a result, unless the set has it already."""
        if result not in self.results:
            self.results.append(result)

    def update(self, results: Iterable[Member]) -> None:
        """Add several results, unless the set has them already."""
        for each in results:
            self.add(each)

    def remove(self, result: Member) -> None:
        """Remove a result.

        Raises:
            KeyError: the set doesn't have it.
        """
        if result not in self.results:
            raise KeyError(result)
        self.results.remove(result)

    def discard(self, result: Member) -> None:
        """Remove a result, if the set has it."""
        if result in self.results:
            self.results.remove(result)

    def clear(self) -> None:
        """Remove all results."""
        self.results.clear()

    def leaves(self) -> list[AsyncResult[Any]]:
        """List the results of single tasks in the set, and in the sets in it."""
        return list(self._leaves())

    def _leaves(self) -> Iterator[AsyncResult[Any]]:
        return (leaf for each in self.results for leaf in each.leaves())

    def own_stages(self) -> Stages:
        """The set as one stage, with the workflows of its results side by side."""
        return (GroupStage(tuple(each.stages() for each in self.results), self.id or None),)

    def own_results(self) -> Iterator[TaskResult]:
        """The results of all tasks in the workflows of the set's results."""
        return (result for each in self.results for result in each.everyone())

    def own_tuples(self) -> list[ResultTuple]:
        """The set's results, each as a tuple."""
        return [each.as_tuple() for each in self.results]

    # -- asking

    def states(self) -> list[str]:
        """Read the states of all tasks, in one read."""
        return [each.state for each in self.app.run(self._states())]

    async def astates(self) -> list[str]:
        """Read the states of all tasks, on an event loop."""
        return [each.state for each in await self.app.arun(self._states())]

    def completed_count(self) -> int:
        """Count the tasks that have succeeded."""
        return self.states().count(record.SUCCESS)

    def ready(self) -> bool:
        """Whether all tasks have ended, in whatever way."""
        return all(state in record.READY_STATES for state in self.states())

    def waiting(self) -> bool:
        """Whether a task has not ended."""
        return not self.ready()

    def successful(self) -> bool:
        """Whether all tasks have succeeded."""
        return all(state == record.SUCCESS for state in self.states())

    def failed(self) -> bool:
        """Whether a task has failed."""
        return record.FAILURE in self.states()

    def maybe_throw(self) -> None:
        """Raise the exception of the first task that has failed or was revoked, if there is one."""
        for state in self.app.run(self._states()):
            if state.state in record.PROPAGATE_STATES:
                raise state.result

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callable[[str, Any], object] | None = None,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        *,
        disable_sync_subtasks: bool = True,
        on_interval: Callable[[], object] | None = None,
    ) -> list[Any]:
        """Wait for all values, in the order of the results and nested as they are. The arguments have Celery's order.

        Args:
            timeout: the longest time to wait, in seconds; None: without end.
            propagate: raise the exception of a task that fails, soon after it has failed; False: the exception stands
                in place of the value.
            interval: the longest pause between two polls of the store, in seconds. The first pauses are shorter. For
                more than 500 tasks, pauses grow with the square root of the number of tasks that are missing.
            callback: called with the id and the value of each result; the returned list is empty then.
            no_ack: has no effect: results are not messages.
            on_message: not supported: stores are polled, and send no messages.
            disable_sync_subtasks: refuse to wait inside a task, where waiting can block every worker for good.
            on_interval: called after each poll that finds a task still running.

        Raises:
            TimeoutError: the time is over; the tasks go on.
            ImproperlyConfigured: the application keeps no results, or ``on_message`` was given.
            RuntimeError: called inside a task.
            Exception: the exception of a task that failed.
        """
        refuse_on_message(on_message)
        refuse_inside_a_task(disable_sync_subtasks and self._waits())
        self.app.run(self._wait(timeout, interval, propagate=propagate, on_interval=on_interval))
        if callback is None:
            return _values(self.results)
        for each, value in zip(self.results, _values(self.results), strict=True):
            callback(each.id, value)
        return []

    join = join_native = get

    async def aget(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - Celery's name
        propagate: bool = True,
        interval: float = 0.5,
    ) -> list[Any]:
        """Wait for all values, on an event loop; arguments and errors are those of ``get``."""
        await self.app.arun(self._wait(timeout, interval, propagate=propagate))
        return _values(self.results)

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the ids and result documents of the tasks, each as soon as the task is found to have ended.

        Every poll reads the records of all tasks that are missing, or of those whose ends the store has told of.
        Arguments and errors are those of ``get``.
        """
        from taskq_cloud.core.model.announcements import Listener  # a process that only sends groups doesn't wait
        from taskq_cloud.results.looks import listening
        from taskq_cloud.results.waiting import in_time

        refuse_on_message(on_message)
        refuse_inside_a_task(self._waits())
        missing = [leaf for leaf in self._leaves() if not leaf.ignored]
        deadline = deadline_after(timeout)
        with closing(Listener()) as listener:
            ids, heard = [leaf.id for leaf in missing], list[str]()
            told = bool(ids) and self.app.run(listening(self.app.store, ids, listener, timeout, deadline))
            for pause in pauses(interval, interval if told else None):
                about = missing[0].id if missing else ""
                self.app.run(in_time(self._states(heard), about, timeout, deadline))
                ended = [leaf for leaf in missing if leaf.known is not None]
                missing = [leaf for leaf in missing if leaf.known is None]
                yield from ((leaf.id, leaf.load().document) for leaf in ended)
                if not missing:
                    return
                if on_interval is not None:
                    on_interval()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise errors.TimeoutError(
                        f"{len(missing)} tasks have not ended after {timeout} s; they may still end"
                    )
                self.app.run(_sleep(min(pause, left), listener))
                heard = listener.take()

    def then(
        self,
        callback: Callable[[Self], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,
    ) -> Self:
        """Call a function with this set as soon as this process learns that all tasks have ended.

        Arguments are those of ``AsyncResult.then``, which also says when the process learns it.
        """
        unknown = [leaf for leaf in self._leaves() if leaf.known is None]
        left = len(unknown)

        def note_end(_: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                callback(self)

        for leaf in unknown:
            leaf.then(note_end, on_error, weak)
        if not unknown:
            callback(self)
        return self

    @property
    def on_ready(self) -> Self:
        """The set itself: in Celery, ``then`` is a method of this attribute."""
        return self

    @property
    def supports_native_join(self) -> bool:
        """Whether many results are read at once: True with every store."""
        return True

    # -- ending

    def forget(self) -> None:
        """Remove all results from the store, and the results of everything before them in a chain, as in Celery."""
        self.app.run(forget_all(self.app, self.own_results()))

    async def aforget(self) -> None:
        """Remove all results from the store, on an event loop: see ``forget``."""
        await self.app.arun(forget_all(self.app, self.own_results()))

    def revoke(self) -> int:
        """Record the tasks that have not ended as REVOKED, as ``AsyncResult.revoke`` does, and return their number.

        Of a member that is a chain, only the last task is revoked, as in Celery. ``revoke_workflow`` revokes all tasks
        of the chain.
        """
        return self.app.run(self._revoke())

    async def arevoke(self) -> int:
        """Record the tasks that have not ended as REVOKED, on an event loop: see ``revoke``."""
        return await self.app.arun(self._revoke())

    def _waits(self) -> bool:
        """Whether there is a task that runs elsewhere, and so may have to be waited for."""
        return not all(leaf.in_place for leaf in self._leaves())

    # -- flows

    def _states(self, only: Sequence[str] = ()) -> Flow[list[TaskState]]:
        """Read the states of all tasks, or of those with the given ids, if there are any."""
        leaves = self.leaves()
        unknown = [leaf for leaf in leaves if leaf.known is None and not leaf.ignored]
        if only:
            wanted = set(only)
            unknown = [leaf for leaf in unknown if leaf.id in wanted]
        found = (yield from self.app.store.load([leaf.id for leaf in unknown])) if unknown else {}
        now = {leaf.id: leaf.seen(found.get(leaf.id)) for leaf in unknown}
        return [now.get(leaf.id) or leaf.seen(None) for leaf in leaves]

    def _wait(
        self,
        timeout: float | None,
        interval: float,
        *,
        propagate: bool,
        on_interval: Callable[[], object] | None = None,
    ) -> Flow[None]:
        from taskq_cloud.results.wait_for_all import wait_for_all  # a process that only sends groups doesn't wait

        leaves = self.leaves()
        return wait_for_all(self.app, leaves, timeout, interval, propagate=propagate, on_interval=on_interval)

    def _revoke(self) -> Flow[int]:
        leaves = self.leaves()
        return (yield from revoke_all(self.app, leaves)) if leaves else 0


def _values(results: Iterable[Member]) -> list[Any]:
    return [_values(each.results) if isinstance(each, ResultSet) else each.seen(None).result for each in results]


def _sleep(seconds: float, listener: CanWait) -> Flow[None]:
    yield Sleep(seconds, listener)
