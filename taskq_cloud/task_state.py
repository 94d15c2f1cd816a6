"""What a store knows of a task at one moment, read from its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taskq_cloud.core import records, result_document


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
            result=result_document.exception_of(result) if state in records.EXCEPTION_STATES else result,
            traceback=document.get("traceback"),
            date_done=datetime.fromisoformat(done) if isinstance(done, str) else None,
            children=tuple(result_document.child_ids(document)),
            document=document,
        )

    @property
    def ready(self) -> bool:
        """Whether the state is final."""
        return self.state in records.READY_STATES


PENDING: Final = TaskState(records.PENDING, None, None, None, (), {})
"""Of a task that the store knows nothing of."""
