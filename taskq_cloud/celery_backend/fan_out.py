"""The task ``taskq.fan_out`` for Celery's workers: sends the members of large groups that a taskq application started.

A Celery worker drops a message whose task it doesn't know, and dropping this task's message would lose a whole group.
So the backend registers the task in every Celery application that uses the backend.
"""

from __future__ import annotations

from typing import Any, Final

from celery import Celery
from celery.app import trace
from celery.app.registry import TaskRegistry
from celery.exceptions import Reject

from taskq_cloud.core.model.message import DeadLetter, Settlement
from taskq_cloud.core.model.task_names import FAN_OUT

_OPTIONS: Final = {"acks_late": True, "reject_on_worker_lost": True, "ignore_result": True, "track_started": False}
"""The task's options in Celery. If a worker dies, another one receives the message and sends the remaining members."""


def register(app: Celery) -> None:
    """Register the task in a Celery application, unless the application has a task of that name.

    Celery's worker may open its backend while it iterates over its tasks. So a finalized application gets a new
    registry; the registry that the worker iterates over is not changed.
    """
    if FAN_OUT in app._tasks:
        return
    if app.finalized:
        before = app._tasks
        app._tasks = TaskRegistry(before)
        vars(app).pop("tasks", None)  # cached
        if trace._localized and trace._localized[0] is before:
            trace._localized[0] = app._tasks

    def fan_out(self: Any, **_: Any) -> None:
        _settle(self.app.backend.fan_out(self.request))

    app.task(fan_out, name=FAN_OUT, bind=True, shared=False, **_OPTIONS)


def _settle(settlement: Settlement) -> None:
    if isinstance(settlement, DeadLetter):
        raise Reject(settlement.reason, requeue=False)
