"""What a Celery worker does for a workflow when one of its tasks has ended: what ``core.joins`` does in ours.

Here a request of Celery's becomes a message, and the errbacks of a chord are called as Celery calls them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from celery import Celery
from celery.app.task import Context
from celery.exceptions import ChordError as CeleryChordError

from taskq_cloud.celery_backend.broker import CeleryBroker
from taskq_cloud.core.execution.context import DeliveryContext, Environment
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.sending import Outbox
from taskq_cloud.core.model.message import Delivery, Embed, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.errors import ChordError


def _call_errbacks(app: Celery, failed: Message, error: Exception) -> None:
    """By Celery's rule: ``(request, exc, traceback)`` at once where one takes these, a message otherwise."""
    request = Context(id=failed.id, task=failed.task, root_id=failed.root_id, delivery_info={})
    request.errbacks = list(failed.embed.errbacks or ())
    if request.errbacks:
        shown = CeleryChordError(*error.args) if isinstance(error, ChordError) else error
        app.backend._call_task_errbacks(request, shown, None)


def effects_of(app: Celery, store: ResultStore, policy: Policy, request: Context) -> DeliveryContext:
    """The effects of a task.

    Args:
        app: Celery's application.
        store: its backend's.
        policy: what its settings say of every task.
        request: the task's request, or a step of its chain that Celery has made one of.
    """
    info = request.delivery_info or {}
    message, broker = message_of(request), CeleryBroker(app)
    environment = Environment(
        outbox=Outbox(Codec(), broker),
        store=store,
        tasks={},
        policy=policy,
        route=broker.route,
        hostname=str(request.hostname),
        clock=time.time,
        call_errbacks=partial(_call_errbacks, app),
    )
    delivery = Delivery(
        queue=str(info.get("routing_key")),
        message_id=message.id,
        receipt=message.id,
        body="",
        group=(request.properties or {}).get("MessageGroupId"),
        receive_count=2 if info.get("redelivered") else 1,
    )
    return DeliveryContext(environment, delivery, message, TaskOptions())


def message_of(request: Context) -> Message:
    """A request as the message that it was."""
    return Message(
        task=str(request.get("task")),
        id=str(request.id),
        args=request.args or (),
        kwargs=request.kwargs or {},
        embed=Embed(errbacks=_listed(request.errbacks), chain=_listed(request.chain), chord=request.chord),
        retries=request.retries or 0,
        root_id=request.root_id,
        parent_id=request.parent_id,
        group=request.group,
        group_index=request.group_index,
        headers=request.headers or {},
    )


def _listed(value: Any) -> Sequence[Any] | None:
    return list(value) if isinstance(value, list | tuple) else None
