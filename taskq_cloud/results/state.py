"""What a store knows of a task at one moment, read from its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records import record


@dataclass(frozen=True, slots=True)
class TaskState:
    """What a store knows of a task at one moment.

    Args:
        state: one of Celery's states, PENDING where the store knows nothing, or a custom one.
        result: the value (SUCCESS), the exception (RETRY, FAILURE, REVOKED), or what ``update_state`` was given.
        traceback: of a failure, as text.
        date_done: when it ended.
        children: ids of the tasks that follow from it.
        document: the whole result document, with what ``result_extended`` adds.
    """

    state: str
    result: Any
    traceback: str | None
    date_done: datetime | None
    children: tuple[str, ...]
    document: dict[str, Any]

    @classmethod
    def of(cls, payload: str) -> TaskState:
        """What a record's payload says."""
        document = result_document.decode(payload)
        state, result, done = str(document["status"]), document.get("result"), document.get("date_done")
        return cls(
            state=state,
            result=result_document.exception_of(result) if state in record.EXCEPTION_STATES else result,
            traceback=document.get("traceback"),
            date_done=datetime.fromisoformat(done) if isinstance(done, str) else None,
            children=tuple(result_document.child_ids(document)),
            document=document,
        )

    @property
    def ready(self) -> bool:
        """Whether the state is final."""
        return self.state in record.READY_STATES


PENDING: Final = TaskState(record.PENDING, None, None, None, (), {})
"""Of a task that the store knows nothing of."""


class InRecord:
    """What can be asked of a result that has a record: each is a read until the task has ended."""

    def load(self) -> TaskState:
        """What the store knows now, in one read."""
        raise NotImplementedError

    async def aload(self) -> TaskState:
        """``load`` on an event loop."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """The state now."""
        return self.load().state

    status = state

    async def astate(self) -> str:
        """``state`` on an event loop."""
        return (await self.aload()).state

    @property
    def result(self) -> Any:
        """The value or the exception, as far as the store knows now."""
        return self.load().result

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failure, as text."""
        return self.load().traceback

    @property
    def date_done(self) -> datetime | None:
        """When the task ended."""
        return self.load().date_done

    @property
    def name(self) -> str | None:
        """The task's name, where the record has it (``result_extended``)."""
        said: str | None = self._said("name")
        return said

    @property
    def args(self) -> list[Any] | None:
        """Its positional arguments, likewise."""
        said: list[Any] | None = self._said("args")
        return said

    @property
    def kwargs(self) -> dict[str, Any] | None:
        """Its keyword arguments, likewise."""
        said: dict[str, Any] | None = self._said("kwargs")
        return said

    @property
    def worker(self) -> str | None:
        """Where it ran, likewise."""
        said: str | None = self._said("worker")
        return said

    @property
    def retries(self) -> int | None:
        """The attempts before the last, likewise."""
        said: int | None = self._said("retries")
        return said

    @property
    def queue(self) -> str | None:
        """Where it was received, likewise."""
        said: str | None = self._said("queue")
        return said

    def _said(self, key: str) -> Any:
        return self.load().document.get(key)

    def exists(self) -> bool:
        """Whether the store has a record of the task: PENDING may also be one that nobody has called."""
        return bool(self.load().document)

    async def aexists(self) -> bool:
        """``exists`` on an event loop."""
        return bool((await self.aload()).document)

    def ready(self) -> bool:
        """Whether the task has ended."""
        return self.load().ready

    def successful(self) -> bool:
        """Whether the task has ended well."""
        return self.load().state == record.SUCCESS

    def failed(self) -> bool:
        """Whether the task has failed."""
        return self.load().state == record.FAILURE
