"""A task's result, as its caller sees it: ``AsyncResult``, and ``EagerResult`` for a task that ran in place.

Every method has a synchronous and an asynchronous name over one flow: ``get`` and ``aget``, ``state`` and ``astate``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from taskq_cloud import errors
from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.records import record as records
from taskq_cloud.core.records.record import Record
from taskq_cloud.core.workflows.stages import Stages
from taskq_cloud.results.state import PENDING, InRecord, TaskState
from taskq_cloud.results.waiting import pauses, refuse_inside_a_task, refuse_on_message
from taskq_cloud.results.workflow import InGraph, needed, refuse_without_store, step_of
from taskq_cloud.runtime.protocols import Backend

T = TypeVar("T")


class AsyncResult(InRecord, InGraph, Generic[T]):
    """The result of a task that runs elsewhere.

    Args:
        id: the task's id. An id nobody has heard of is PENDING, as in Celery.
        backend: the application.
        task_name: Celery's, which means nothing there either.
        app: the application, by Celery's other name; one of the two has to be there, as there is no current one.
        parent: the result of what came before it in a workflow.
        ignored: the call said that no result is stored: ``get`` returns None at once.

    Attributes:
        known: the final state, once it has been seen.

    Raises:
        ValueError: ``id`` is None.
        TypeError: there is no application.
    """

    def __init__(
        self,
        id: str,
        backend: Backend | None = None,
        task_name: str | None = None,
        app: Backend | None = None,
        parent: Any = None,
        *,
        ignored: bool = False,
    ) -> None:
        if id is None:
            raise ValueError("AsyncResult() takes a task's id, not None")
        self.id = id
        self.ignored = ignored
        self.parent = parent
        self.known: TaskState | None = None
        self._when_ended: tuple[tuple[Callable[[Any], Any], Callable[[Exception], Any] | None], ...] = ()
        self._app = needed(backend if app is None else app, f"{type(self).__name__}({id!r}")

    @property
    def _backend(self) -> Backend:
        return self._app

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, AsyncResult) else other == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], None] | None = None,
        *,
        on_message: Callable[[Any], None] | None = None,
        on_interval: Callable[[], None] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> T:
        """Wait for the value; arguments stand in Celery's order.

        Args:
            timeout: seconds to wait at most; None: for ever.
            propagate: raise the task's exception; otherwise return it.
            interval: seconds between two looks at the store, reached from shorter ones.
            no_ack: means nothing: results are no messages.
            follow_parents: means nothing: a task that won't run, as what came before it has failed, fails itself.
            callback: called with the id and the value, where nothing is raised.
            on_message: not to be had from a store that is looked at.
            on_interval: called after each look that has not found the end.
            disable_sync_subtasks: refuse to wait inside a task, where it can block every worker for good.

        Raises:
            TimeoutError: the time is over; the task goes on.
            ImproperlyConfigured: the application keeps no results, or there is an ``on_message``.
            RuntimeError: called inside a task.
            Exception: the task's own, where it failed.
        """
        refuse_on_message(on_message)
        if self.ignored:
            return None  # type: ignore[return-value]  # as Celery answers; the task's value was not asked for
        refuse_inside_a_task(disable_sync_subtasks)
        value = self._value(self._backend.run(self._wait(timeout, interval, on_interval)), propagate=propagate)
        if callback is not None:
            callback(self.id, value)
        return value

    def wait(self, *args: Any, **options: Any) -> T:
        """``get``."""
        return self.get(*args, **options)

    def then(
        self,
        callback: Callable[[Any], Any],
        on_error: Callable[[Exception], Any] | None = None,
        weak: bool = False,
    ) -> AsyncResult[T]:
        """Call ``callback`` with this result once it is known here that the task has ended, well or not.

        Nothing looks in the background: that is when ``get``, ``state`` or another read finds it; now, if one has.

        Args:
            callback: what is called.
            on_error: called with what ``callback`` raises.
            weak: means nothing: it is kept until it is called.
        """
        self._when_ended = (*self._when_ended, (callback, on_error))
        if self.known is not None:
            self._tell()
        return self

    def _tell(self) -> None:
        waiting, self._when_ended = self._when_ended, ()
        for callback, on_error in waiting:
            try:
                callback(self)
            except Exception as error:
                if on_error is None:
                    raise
                on_error(error)

    async def aget(self, timeout: float | None = None, *, propagate: bool = True, interval: float = 0.5) -> T:  # noqa: ASYNC109 - Celery's name
        """``get`` on an event loop; it blocks no thread, so it may be awaited inside an ``async def`` task too."""
        if self.ignored:
            return None  # type: ignore[return-value]
        return self._value(await self._backend.arun(self._wait(timeout, interval)), propagate=propagate)

    def load(self) -> TaskState:
        """What the store knows now, in one read."""
        return self._backend.run(self._load())

    async def aload(self) -> TaskState:
        """``load`` on an event loop."""
        return await self._backend.arun(self._load())

    @property
    def task_id(self) -> str:
        """``id``."""
        return self.id

    @property
    def app(self) -> Any:
        """The application."""
        return self._backend

    @property
    def supports_native_join(self) -> bool:
        """True: stores read many records at once."""
        return True

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The tasks that follow from this one."""
        return [AsyncResult(child, self._backend) for child in self.load().children]

    def forget(self) -> None:
        """Remove the result from the store, and those of what came before it, as in Celery."""
        self._backend.run(forget_all(self._backend, self.everyone()))

    async def aforget(self) -> None:
        """``forget`` on an event loop."""
        await self._backend.arun(forget_all(self._backend, self.everyone()))

    def revoke(self) -> bool:
        """Record the task as REVOKED, so that an attempt that asks the store doesn't run; False where it has ended.

        Where the application has a scheduler that holds late tasks, what it holds of the task is removed; without a
        result store, that alone is done, and False means that there was nothing to remove.
        A delayed, retried or redelivered task asks, and any with ``track_started``. One that runs already goes on;
        its result is dropped.
        """
        return self._backend.run(self._revoke())

    async def arevoke(self) -> bool:
        """``revoke`` on an event loop."""
        return await self._backend.arun(self._revoke())

    def leaves(self) -> list[AsyncResult[Any]]:
        """Itself, as a list."""
        return [self]

    def own_stages(self) -> Stages:
        """See ``InWorkflow``."""
        return step_of(self.id, ignored=self.ignored)

    def own_results(self) -> Iterator[AsyncResult[Any]]:
        """See ``InWorkflow``."""
        yield self

    def own_tuples(self) -> None:
        """See ``InWorkflow``: it has no members."""

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], None] | None = None) -> Any:
        """The value or the exception, as far as the store knows now; raises the exception of a task that has failed.

        Args:
            propagate: raise; otherwise return it.
            callback: called with the id and the value.
        """
        state = self.load()
        if propagate and state.state in records.PROPAGATE_STATES:
            raise state.result
        if callback is not None:
            callback(self.id, state.result)
        return state.result

    maybe_reraise = maybe_throw

    def _revoke(self) -> Flow[bool]:
        from taskq_cloud.core.messages.late_delivery import keeper  # see result_tree
        from taskq_cloud.core.workflows.revocation import revoke_tasks  # likewise

        scheduler, expires_at = keeper(self._backend.scheduler), self._backend.result_expires_at()
        if scheduler is None:
            refuse_without_store(self._backend)
        return bool((yield from revoke_tasks(self._backend.store, [self.id], expires_at, scheduler)))

    def _load(self) -> Flow[TaskState]:
        if self.known is not None:
            return self.known
        found = yield from self._backend.store.load([self.id])
        return self.seen(found.get(self.id))

    def seen(self, record: Record | None) -> TaskState:
        """What a record says, or what is known already; a final state is remembered."""
        if self.known is not None or record is None:
            return self.known or PENDING
        state = TaskState.of(record.payload)
        if state.ready:
            self.known = state
            self._tell()
        return state

    def _wait(
        self, timeout: float | None, interval: float, on_interval: Callable[[], None] | None = None
    ) -> Flow[TaskState]:
        refuse_without_store(self._backend)
        deadline = None if timeout is None else time.monotonic() + timeout
        for pause in pauses(interval):
            state = yield from self._load()
            if state.ready:
                return state
            if on_interval is not None:
                on_interval()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise errors.TimeoutError(f"task {self.id} is {state.state} after {timeout} s; it may still end")
            yield Sleep(pause if left is None else min(pause, left))
        raise AssertionError("pauses() has no end")

    def _value(self, state: TaskState, *, propagate: bool) -> T:
        if propagate and state.state in records.PROPAGATE_STATES:
            raise state.result
        value: T = state.result
        return value


class EagerResult(AsyncResult[T]):
    """The result of a task that ran in place (``apply``, or ``task_always_eager``)."""

    def __init__(self, id: str, backend: Backend, state: TaskState) -> None:
        super().__init__(id, backend)
        self.known = state

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], None] | None = None,
        *,
        on_message: Callable[[Any], None] | None = None,
        on_interval: Callable[[], None] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> T:
        """The value, at once."""
        refuse_on_message(on_message)
        value = self._value(self.load(), propagate=propagate)
        if callback is not None:
            callback(self.id, value)
        return value


def forget_all(app: Backend, results: Iterable[AsyncResult[Any]]) -> Flow[None]:
    """Remove the records of results."""
    forgotten = list(results)
    if forgotten:
        yield from app.store.delete([each.id for each in forgotten])
    for each in forgotten:
        each.known = None
