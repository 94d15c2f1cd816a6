"""The result of a task that ran in the calling process: ``EagerResult``. It keeps the exception that was raised."""

from __future__ import annotations

from typing import Any, ClassVar

from taskq_cloud.celery import states
from taskq_cloud.celery.exceptions import TaskRevokedError
from taskq_cloud.celery.result.async_result import AsyncResult
from taskq_cloud.celery.result.blocking import assert_will_not_block
from taskq_cloud.celery.result.promises import Promise


class EagerResult(AsyncResult):
    """The result of a task that has ended already.

    Args:
        id: the task's id.
        ret_value: the value, or the exception.
        state: the state in which the task has ended.
        traceback: the traceback of a failure.
        name: the task's name.
    """

    in_place: ClassVar[bool] = True

    def __init__(self, id: Any, ret_value: Any, state: str, traceback: Any = None, name: str | None = None) -> None:
        # The base class would look for an application and its backend, which this result has no use for.
        self.id = id
        self._result = ret_value
        self._state = state
        self._traceback = traceback
        self._name = name
        self._followers = ()
        self.on_ready = Promise()
        self.on_ready(self)

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    def __reduce__(self) -> Any:
        return type(self), self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        """The arguments with which the result is made anew."""
        return self.id, self._result, self._state, self._traceback, self._name

    def __copy__(self) -> EagerResult:
        return type(self)(*self.__reduce_args__())

    @property
    def _cache(self) -> Any:
        return {
            "task_id": self.id,
            "result": self._result,
            "status": self._state,
            "traceback": self._traceback,
            "name": self._name,
        }

    def _get_task_meta(self) -> Any:
        return self._cache

    def then(self, callback: Any, on_error: Any = None, weak: bool = False) -> Any:
        """Call a function with this result, now."""
        return self.on_ready.then(callback, on_error)

    def ready(self) -> bool:
        """Whether the task has ended: always."""
        return True

    def get(  # type: ignore[override]  # Celery's signature
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Return the task's value.

        Args:
            timeout: has no effect.
            propagate: raise the exception of a task that has failed; False: return it.
            disable_sync_subtasks: refuse the call inside a task of a worker.
            kwargs: have no effect.

        Raises:
            RuntimeError: called inside a task of a worker.
            Exception: the task's own exception, if it failed.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        if self.successful():
            return self.result
        if self.state not in states.PROPAGATE_STATES:
            return None
        if propagate:
            raise self.result if isinstance(self.result, Exception) else Exception(self.result)
        return self.result

    wait: Any = get

    async def aget(self, timeout: float | None = None, *, propagate: bool = True, interval: float = 0.5) -> Any:  # noqa: ASYNC109 - Celery's name
        """Return the task's value: see ``get``."""
        return self.get(timeout, propagate)

    def forget(self) -> None:
        """Do nothing: the result is not stored."""

    async def aforget(self) -> None:
        """Do nothing: the result is not stored."""

    def revoke(self, *args: Any, **kwargs: Any) -> Any:
        """Let the result be that of a revoked task; its value or exception is lost."""
        self._state = states.REVOKED
        self._result = TaskRevokedError("revoked")
        self._traceback = None

    def _to_remote_traceback(self, tb: str | None) -> Any:
        return None  # the exception was raised in this process

    @property
    def supports_native_join(self) -> bool:
        """False: there is nothing to read."""
        return False

    @property
    def result(self) -> Any:
        """The task's value, or its exception."""
        return self._result

    @property
    def state(self) -> str:
        """The state in which the task has ended."""
        return self._state

    status = state

    @property
    def traceback(self) -> Any:
        """The traceback of a failure."""
        return self._traceback
