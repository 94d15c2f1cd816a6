"""The state of a task at one moment, read from its record in the result store."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.records import record


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of a task at one moment, as the result store knows it.

    Args:
        state: one of Celery's states, or a custom one; PENDING if the store has no record of the task.
        result: the value (SUCCESS), the exception (RETRY, FAILURE, REVOKED), or the data given to ``update_state``.
        traceback: the traceback of a failure, as text.
        date_done: the time when the task ended.
        children: ids of the tasks that follow from the task.
        document: the whole result document, with the keys that ``result_extended`` adds.
    """

    state: str
    result: Any
    traceback: str | None
    date_done: datetime | None
    children: tuple[str, ...]
    document: dict[str, Any]

    @classmethod
    def of(cls, payload: str) -> TaskState:
        """Read the state from the payload of a record.

        Raises:
            DecodeError: the payload isn't a result document.
        """
        from taskq_cloud.core.records import document as result_document  # many processes read no results

        document = result_document.decode(payload)
        state, result = str(document["status"]), document.get("result")
        return cls(
            state=state,
            result=result_document.exception_in(document) if state in record.EXCEPTION_STATES else result,
            traceback=document.get("traceback"),
            date_done=result_document.date_done(document),
            children=tuple(result_document.child_ids(document)),
            document=document,
        )

    @property
    def ready(self) -> bool:
        """Whether the state is final."""
        return self.state in record.READY_STATES


PENDING: Final = TaskState(record.PENDING, None, None, None, (), {})
"""The state of a task that the store has no record of."""


class StoredState:
    """Access to the record of a task, one part at a time. Each access reads the store until the task has ended.

    The name, the arguments, the worker, the retries and the queue are None unless the setting ``result_extended`` is
    on.
    """

    def load(self) -> TaskState:
        """Read the state that the store has now, in one read."""
        raise NotImplementedError

    async def aload(self) -> TaskState:
        """Read the state that the store has now, on an event loop."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """The name of the state: ``"SUCCESS"``."""
        return self.load().state

    status = state

    async def astate(self) -> str:
        """Read the name of the state, on an event loop."""
        return (await self.aload()).state

    @property
    def result(self) -> Any:
        """The value of a task that succeeded, or the exception of one that failed."""
        return self.load().result

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failure, as text."""
        return self.load().traceback

    @property
    def date_done(self) -> datetime | None:
        """The time when the task ended."""
        return self.load().date_done

    @property
    def name(self) -> str | None:
        """The task's name."""
        name: str | None = self._part("name")
        return name

    @property
    def args(self) -> list[Any] | None:
        """The task's positional arguments."""
        args: list[Any] | None = self._part("args")
        return args

    @property
    def kwargs(self) -> dict[str, Any] | None:
        """The task's keyword arguments."""
        kwargs: dict[str, Any] | None = self._part("kwargs")
        return kwargs

    @property
    def worker(self) -> str | None:
        """The name of the worker that ran the task."""
        worker: str | None = self._part("worker")
        return worker

    @property
    def retries(self) -> int | None:
        """The number of attempts before the last one."""
        retries: int | None = self._part("retries")
        return retries

    @property
    def queue(self) -> str | None:
        """The queue that the task was received from."""
        queue: str | None = self._part("queue")
        return queue

    def _part(self, key: str) -> Any:
        return self.load().document.get(key)

    def exists(self) -> bool:
        """Whether the store has a record of the task. A PENDING task without one may never have been called."""
        return bool(self.load().document)

    async def aexists(self) -> bool:
        """Whether the store has a record of the task, asked on an event loop."""
        return bool((await self.aload()).document)

    def ready(self) -> bool:
        """Whether the task has ended, in whatever way."""
        return self.load().ready

    def successful(self) -> bool:
        """Whether the task has succeeded."""
        return self.load().state == record.SUCCESS

    def failed(self) -> bool:
        """Whether the task has failed."""
        return self.load().state == record.FAILURE
