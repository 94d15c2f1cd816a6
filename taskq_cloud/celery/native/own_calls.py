"""Calls the ``apply_async`` of a task's class for messages that no caller sends: ``OwnCalls``.

Workers send the tasks that follow others, and tickers send periodic ones, without ``apply_async``. Where the class of a
task has its own, which may add headers to each call, it is called with what is about to be sent.
"""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.celery.native import collecting
from taskq_cloud.core.model.hooks import Call, Hooks

_PASSED: Final = ("shadow", "priority", "ignore_result", "time_limit", "soft_time_limit", "argsrepr", "kwargsrepr")
"""Options of the message that ``apply_async`` is called with, besides those that say its place in a workflow."""


class OwnCalls(Hooks):
    """Calls the ``apply_async`` of a task's class, and takes over the headers that it would send.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def before_send(self, call: Call) -> None:
        """Call ``apply_async``, unless the message comes from it."""
        if collecting.is_sent_by_caller(call.message):
            return
        message = call.message
        given = {name: call.options[name] for name in _PASSED if name in call.options}
        place = {"root_id": message.root_id, "parent_id": message.parent_id, "group_id": message.group}
        with collecting.collected([message.id]) as calls:
            self._app._tasks[message.task].apply_async(
                list(message.args),
                dict(message.kwargs),
                task_id=message.id,
                retries=message.retries,
                headers=dict(call.headers),
                add_to_parent=False,
                **place,
                **given,
            )
        for written in calls:
            headers = written["options"].get("headers") or {}
            call.headers.update({name: of for name, of in headers.items() if name != collecting.CALLED})
