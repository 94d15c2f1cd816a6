"""The result of one task, for its caller: ``AsyncResult``, and ``EagerResult`` for a task that ran in place.

Methods come in pairs, a synchronous and an asynchronous one over the same flow: ``get`` and ``aget``, ``state`` and
``astate``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.option_values import ID, check
from taskq_cloud.core.records import record as records
from taskq_cloud.core.records.record import Record
from taskq_cloud.results import waiting
from taskq_cloud.results.removal import forget_all, revoke_all
from taskq_cloud.results.state import PENDING, TaskState
from taskq_cloud.results.workflow import Result, TaskResult
from taskq_cloud.runtime.protocols import Backend

if TYPE_CHECKING:
    from uuid import UUID

    from taskq_cloud.core.workflows.stages import Stages

T_co = TypeVar("T_co", covariant=True)

Follower: TypeAlias = tuple[Callable[[Any], object], Callable[[Exception], object] | None]
"""A callback that ``then`` was given, and the function that gets what the callback raises."""


class AsyncResult(TaskResult, Generic[T_co]):
    """The result of a task that runs elsewhere.

    Args:
        id: the task's id. The state of an unknown id is PENDING, as in Celery.
        backend: the application.
        task_name: accepted for Celery's sake, and not used.
        app: the application, under Celery's other name. One of the two is needed: there is no current application.
        parent: the result of the task or group before it in a workflow.
        ignored: the call said that no result is stored: ``get`` returns None at once.

    Raises:
        TypeError: there is no application.
        OptionError: ``id`` is neither a text nor a UUID.
    """

    def __init__(
        self,
        id: str | UUID,
        backend: Backend | None = None,
        task_name: str | None = None,
        app: Backend | None = None,
        parent: Result | None = None,
        *,
        ignored: bool = False,
    ) -> None:
        self.id: str = id if type(id) is str else check(ID, "the id of a result", id)
        self.ignored = ignored
        self.parent = parent
        self.known: TaskState | None = None
        self._followers: tuple[Follower, ...] = ()
        self._app = waiting.needed(backend if app is None else app, f"{type(self).__name__}({id!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __str__(self) -> str:
        return self.id

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, AsyncResult) else other == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def app(self) -> Backend:
        """The application."""
        return self._app

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.id

    @property
    def supports_native_join(self) -> bool:
        """Whether many results are read at once: True with every store."""
        return True

    @property
    def children(self) -> list[AsyncResult[Any]]:
        """The results of the tasks that follow from the task."""
        return [AsyncResult(child, self.app) for child in self.load().children]

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, T_co], object] | None = None,
        *,
        on_message: Callable[..., object] | None = None,
        on_interval: Callable[[], object] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> T_co:
        """Wait for the task's value. The arguments have Celery's order.

        Args:
            timeout: the longest time to wait, in seconds; None: without end.
            propagate: raise the task's exception if it fails; False: return the exception.
            interval: the longest pause between two polls of the store, in seconds; the first pauses are shorter.
            no_ack: has no effect: results are not messages.
            follow_parents: has no effect: a task that can't run because a task before it has failed fails too.
            callback: called with the task's id and its value, unless the exception is raised.
            on_message: not supported: stores are polled, and send no messages.
            on_interval: called after each poll that finds the task still running.
            disable_sync_subtasks: refuse to wait inside a task, where waiting can block every worker for good.

        Raises:
            TimeoutError: the time is over; the task goes on.
            ImproperlyConfigured: the application keeps no results, or ``on_message`` was given.
            RuntimeError: called inside a task.
            Exception: the task's own exception, if it failed.
        """
        waiting.refuse_on_message(on_message)
        if self.ignored:
            return self._value(PENDING, propagate=False)  # None, as in Celery
        value = self._value(self._wait_here(timeout, interval, on_interval, disable_sync_subtasks), propagate=propagate)
        if callback is not None:
            callback(self.id, value)
        return value

    def wait(self, *args: Any, **options: Any) -> T_co:
        """Wait for the task's value: see ``get``."""
        return self.get(*args, **options)

    async def aget(self, timeout: float | None = None, *, propagate: bool = True, interval: float = 0.5) -> T_co:  # noqa: ASYNC109 - Celery's name
        """Wait for the task's value, on an event loop.

        Waiting blocks no thread, so an ``async def`` task may wait here too. Arguments and errors are those of ``get``.
        """
        if self.ignored:
            return self._value(PENDING, propagate=False)
        return self._value(await self.app.arun(self._wait(timeout, interval)), propagate=propagate)

    def then(
        self,
        callback: Callable[[Self], object],
        on_error: Callable[[Exception], object] | None = None,
        weak: bool = False,
    ) -> Self:
        """Call a function with this result as soon as this process learns that the task has ended, in whatever way.

        Nothing polls the store in the background. The process learns it when ``get``, ``state`` or another method reads
        the final state; if one has done so already, the function is called now.

        Args:
            callback: the function.
            on_error: called with an exception that ``callback`` raises.
            weak: has no effect: the function is kept until it is called.
        """
        self._followers = (*self._followers, (callback, on_error))
        if self.known is not None:
            self._call_followers()
        return self

    def _call_followers(self) -> None:
        followers, self._followers = self._followers, ()
        for callback, on_error in followers:
            try:
                callback(self)
            except Exception as error:
                if on_error is None:
                    raise
                on_error(error)

    # -- asking

    def load(self) -> TaskState:
        """Read the state that the store has now, in one read."""
        return self.app.run(self._load())

    async def aload(self) -> TaskState:
        """Read the state that the store has now, on an event loop."""
        return await self.app.arun(self._load())

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], object] | None = None) -> Any:
        """Return the value or the exception that the store has now, without waiting.

        Args:
            propagate: raise the exception of a task that has failed; False: return it.
            callback: called with the task's id and what is returned.

        Raises:
            Exception: the task's own exception, if it failed.
        """
        state = self.load()
        if propagate and state.state in records.PROPAGATE_STATES:
            raise state.result
        if callback is not None:
            callback(self.id, state.result)
        return state.result

    maybe_reraise = maybe_throw

    def leaves(self) -> list[AsyncResult[Any]]:
        """List the results of single tasks in this result: the result itself."""
        return [self]

    def own_stages(self) -> Stages:
        """The task as a stage, of which the id is all that is known."""
        from taskq_cloud.core.workflows import signatures  # few processes read workflows
        from taskq_cloud.core.workflows.stages import TaskStage

        options = {"task_id": self.id, **({"ignore_result": True} if self.ignored else {})}
        return (TaskStage(signatures.signature_of("", options=options)),)

    def own_results(self) -> Iterator[AsyncResult[Any]]:
        """The result itself."""
        yield self

    def own_tuples(self) -> None:
        """None, since a task has no members."""

    # -- ending

    def forget(self) -> None:
        """Remove the result from the store, and the results of everything before it in a chain, as in Celery."""
        self.app.run(forget_all(self.app, self.everyone()))

    async def aforget(self) -> None:
        """Remove the result from the store, on an event loop: see ``forget``."""
        await self.app.arun(forget_all(self.app, self.everyone()))

    def revoke(self) -> bool:
        """Record the task as REVOKED, so that it doesn't run any more; False if it has ended already.

        A delayed, retried or redelivered task asks the store before it runs, and so does every task with
        ``track_started``. Another task may still run, and a running task goes on; its result is dropped.

        If the application has a scheduler that holds messages which are due late, the task's message is removed from
        it. Without a result store that is all that happens, and False means that the scheduler held no message.

        Raises:
            ImproperlyConfigured: the application keeps no results, and has no such scheduler.
        """
        return bool(self.app.run(revoke_all(self.app, [self])))

    async def arevoke(self) -> bool:
        """Record the task as REVOKED, on an event loop: see ``revoke``."""
        return bool(await self.app.arun(revoke_all(self.app, [self])))

    # -- flows

    def _load(self) -> Flow[TaskState]:
        if self.known is not None:
            return self.known
        found = yield from self.app.store.load([self.id])
        return self.seen(found.get(self.id))

    def seen(self, record: Record | None) -> TaskState:
        """Take note of the task's record as it was read; a final state is remembered, and stays."""
        if self.known is not None or record is None:
            return self.known or PENDING
        state = TaskState.of(record.payload)
        if state.ready:
            self.known = state
            self._call_followers()
        return state

    def _wait_here(
        self,
        timeout: float | None,
        interval: float,
        on_interval: Callable[[], object] | None,
        disable_sync_subtasks: bool,
        /,
    ) -> TaskState:
        waiting.refuse_inside_a_task(disable_sync_subtasks)
        return self.app.run(self._wait(timeout, interval, on_interval))

    def _wait(
        self, timeout: float | None, interval: float, on_interval: Callable[[], object] | None = None
    ) -> Flow[TaskState]:
        if self.known is not None:
            return self.known
        waiting.refuse_without_store(self.app)
        from taskq_cloud.results.looks import wait_for_one  # a process that only sends doesn't wait

        return (yield from wait_for_one(self.app, self.id, self.seen, timeout, interval, on_interval))

    def _value(self, state: TaskState, *, propagate: bool) -> T_co:
        if propagate and state.state in records.PROPAGATE_STATES:
            raise state.result
        value: T_co = state.result
        return value


class EagerResult(AsyncResult[T_co]):
    """The result of a task that ran in place, by ``apply`` or with the setting ``task_always_eager``: it isn't stored.

    Args:
        id: the task's id.
        backend: the application.
        state: the state in which the task has ended.
    """

    in_place = True

    def __init__(self, id: str, backend: Backend, state: TaskState) -> None:
        super().__init__(id, backend)
        self.known = state

    def _wait_here(self, *_: object) -> TaskState:
        return self.load()  # known already
