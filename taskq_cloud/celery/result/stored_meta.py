"""The parts of a task's record, one property each: Celery's names over the document that the backend returns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from taskq_cloud.core.records import document
from taskq_cloud.results.state import TaskState
from taskq_cloud.results.workflow import Result


def to_state(meta: Mapping[str, Any]) -> TaskState:
    """Make the native form of the state that a backend's document describes."""
    children = meta.get("children") or ()
    return TaskState(
        state=meta["status"],
        result=meta["result"],
        traceback=meta.get("traceback"),
        date_done=document.date_done(meta),
        children=tuple(each.id if isinstance(each, Result) else each[0][0] for each in children),
        document=dict(meta),
    )


def to_meta(state: TaskState) -> dict[str, Any]:
    """Make a backend's document of a state in the native form."""
    return {"traceback": state.traceback, **state.document, "status": state.state, "result": state.result}


class StoredMeta:
    """Access to the record of a task. Each access asks the backend until the task has ended."""

    id: Any

    def _get_task_meta(self) -> Any:
        raise NotImplementedError

    @property
    def result(self) -> Any:
        """The value of a task that succeeded, or the exception of one that failed."""
        return self._get_task_meta()["result"]

    info = result

    @property
    def state(self) -> Any:
        """The name of the state: ``"SUCCESS"``."""
        return self._get_task_meta()["status"]

    status = state

    @property
    def traceback(self) -> Any:
        """The traceback of a failure, as text."""
        return self._get_task_meta().get("traceback")

    @property
    def task_id(self) -> Any:
        """The task's id."""
        return self.id

    @task_id.setter
    def task_id(self, id: Any) -> None:
        self.id = id

    @property
    def name(self) -> Any:
        """The task's name; this and the following are stored with ``result_extended``."""
        return self._get_task_meta().get("name")

    @property
    def args(self) -> Any:
        """The task's positional arguments."""
        return self._get_task_meta().get("args")

    @property
    def kwargs(self) -> Any:
        """The task's keyword arguments."""
        return self._get_task_meta().get("kwargs")

    @property
    def worker(self) -> Any:
        """The name of the worker that ran the task."""
        return self._get_task_meta().get("worker")

    @property
    def retries(self) -> Any:
        """The number of attempts before the last one."""
        return self._get_task_meta().get("retries")

    @property
    def queue(self) -> Any:
        """The queue that the task was received from."""
        return self._get_task_meta().get("queue")

    @property
    def date_done(self) -> datetime | None:
        """The time when the task ended."""
        done: Any = self._get_task_meta().get("date_done")
        return datetime.fromisoformat(done) if done and not isinstance(done, datetime) else done
