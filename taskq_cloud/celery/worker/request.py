"""``Request``, from which projects derive their own class of requests.

The native pipeline handles messages, so a derived class has no effect: a worker says so at its start.
"""

from __future__ import annotations

from typing import Any

__all__ = ("Request",)


class Request:
    """A message of a task in a worker, with the methods that projects override.

    Args:
        message: the message.
        app: the application.
        hostname: the worker's name.
        task: the task.
        kwargs: further arguments of Celery's class.
    """

    acknowledged = False
    time_start = None
    worker_pid = None

    def __init__(
        self, message: Any, app: Any = None, hostname: str | None = None, task: Any = None, **kwargs: Any
    ) -> None:
        self.message, self.app, self.hostname, self.task = message, app, hostname, task
        headers = getattr(message, "headers", None) or {}
        self.request_dict = headers
        self.id = self.task_id = headers.get("id")
        self.name = self.task_name = headers.get("task")
        self.root_id, self.parent_id = headers.get("root_id"), headers.get("parent_id")
        self.delivery_info = getattr(message, "delivery_info", None) or {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}[{self.id}]>"

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A time limit is over."""

    def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> None:
        """The task has ended."""

    def on_retry(self, exc_info: Any) -> None:
        """The task will be retried."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """The task has failed."""

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        """The task is about to run."""
