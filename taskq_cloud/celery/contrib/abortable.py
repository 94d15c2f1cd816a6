"""Tasks that their callers can ask to stop.

Nobody stops such a task. It looks from time to time whether it was aborted, and returns if it was::

    @app.task(bind=True, base=AbortableTask)
    def count(self, numbers):
        for number in numbers:
            if self.is_aborted():
                return "aborted"
            ...

    count.delay(numbers).abort()

Each look reads the result store.
"""

from typing import Any

from taskq_cloud.celery import Task
from taskq_cloud.celery.result import AsyncResult

__all__ = ("AbortableAsyncResult", "AbortableTask")

ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult):
    """The result of a task that can be aborted."""

    def is_aborted(self) -> bool:
        """Tell whether the task was aborted."""
        return bool(self.state == ABORTED)

    def abort(self) -> Any:
        """Ask the task to stop, by storing the state ``ABORTED``; the task stops when it looks, if it does."""
        return self.backend.store_result(self.id, result=None, state=ABORTED, traceback=None)


class AbortableTask(Task):  # type: ignore[misc]  # looked up when it is used
    """The base class of tasks that can be aborted."""

    abstract = True

    def AsyncResult(self, task_id: Any) -> AbortableAsyncResult:
        """Return the result of a call of this task."""
        return AbortableAsyncResult(task_id, backend=self.backend)

    def is_aborted(self, **kwargs: Any) -> bool:
        """Tell whether the running call was aborted, or the call with the id ``task_id``."""
        result: Any = self.AsyncResult(kwargs.get("task_id", self.request.id))
        return isinstance(result, AbortableAsyncResult) and result.is_aborted()
