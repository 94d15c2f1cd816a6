"""Makes the context in which ``core.execution.consequences`` ends a task of a workflow in a Celery worker.

Celery's request becomes a message, and the errbacks of a chord are called as Celery calls them.
"""

from __future__ import annotations

import time
from functools import partial

from celery import Celery
from celery.app.task import Context
from celery.exceptions import ChordError as CeleryChordError

from taskq_cloud.celery_backend.broker import CeleryBroker
from taskq_cloud.core.execution.context import DeliveryContext, Environment
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.messages.requests import message_of
from taskq_cloud.core.messages.sending import Outbox
from taskq_cloud.core.model.message import Delivery, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.errors import ChordError


def _call_errbacks(app: Celery, failed: Message, error: Exception) -> None:
    """Call the errbacks that take ``(request, exc, traceback)``, and send the others as messages, as Celery does."""
    request = Context(id=failed.id, task=failed.task, root_id=failed.root_id, delivery_info={})
    request.errbacks = list(failed.embed.errbacks or ())
    if request.errbacks:
        shown = CeleryChordError(*error.args) if isinstance(error, ChordError) else error
        app.backend._call_task_errbacks(request, shown, None)


def context_of(app: Celery, store: ResultStore, policy: Policy, request: Context) -> DeliveryContext:
    """Make the context of a task that runs in a Celery worker.

    Args:
        app: Celery's application.
        store: the store of the application's backend.
        policy: the settings of the application that hold for all tasks.
        request: the task's request, or a request that Celery has made of a later task of its chain.
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
