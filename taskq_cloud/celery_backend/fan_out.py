"""Has Celery's workers send the members of large groups that were started here: the task ``taskq.fan_out``.

A Celery worker drops a message whose task it doesn't know, and with this one's a whole group. So every application that
has the backend has the task.
"""

from __future__ import annotations

from typing import Any, Final

from celery import Celery
from celery.app import trace
from celery.app.registry import TaskRegistry
from celery.exceptions import Reject

from taskq_cloud.core.model.message import DeadLetter, Settlement
from taskq_cloud.core.workflows.group_pages import FAN_OUT

_OPTIONS: Final = {"acks_late": True, "reject_on_worker_lost": True, "ignore_result": True, "track_started": False}
"""Like the tasks of ours that it stands beside: a worker that dies is followed by another that sends the rest."""


def register(app: Celery) -> None:
    """Give an application the task, unless it has one of that name.

    Celery's worker may ask for its backend while it goes through its tasks: what it goes through is not changed then.
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
