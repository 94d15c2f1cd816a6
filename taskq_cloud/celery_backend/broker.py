"""Sends the messages that follow from a chord's end as Celery sends its own: by Celery's producers, routes and signals.

The messages go to the broker of Celery's application. Celery's worker receives messages and runs their tasks.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from celery import Celery
from celery.app.amqp import task_message
from kombu.exceptions import OperationalError as KombuError

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.capabilities import BrokerCapabilities
from taskq_cloud.core.model.message import Delivery, Outgoing, Refused, Sent, Settlement
from taskq_cloud.core.ports import Depth, Service
from taskq_cloud.errors import QueueNotFound, Unreachable

_KEPT_PROPERTIES: Final = ("correlation_id", "reply_to", "priority")


class CeleryBroker:
    """A ``Broker`` that only sends.

    Args:
        app: Celery's application.
    """

    # Celery's transport refuses messages that are too large or due too late, and the receiver waits for an eta.
    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        largest_message_bytes=sys.maxsize,
        send_batch=1,
        receive_batch=0,
        longest_wait_seconds=0,
        longest_delay_seconds=0,
        longest_ordered_delay_seconds=0,
        longest_lease_seconds=0,
        ordering=True,
        deduplicates=False,
        shared_between_processes=True,
        durable=True,
    )
    services: ClassVar[Mapping[str, Service]] = {}

    def __init__(self, app: Celery) -> None:
        self._app = app

    def route(self, task: str) -> str:
        """Find the queue of a task as Celery does: the task's own queue, or the queue in ``task_routes``."""
        own = getattr(self._app.tasks.get(task), "queue", None)
        return str(own or self._app.amqp.router.route({}, task)["queue"].name)

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Publish messages one by one; Celery's ``task_publish_retry_policy`` determines the retries."""
        answers: list[Sent | Refused] = []
        for message in messages:
            # Celery's producers block, as Celery's workers do, so this flow yields nothing to its driver.
            try:
                answers.append(Sent(self._publish(queue, message)))
            except KombuError as error:
                unreachable = f"queue {queue!r}: Celery's broker did not accept the message: {error}"
                answers.append(Refused(Unreachable(unreachable)))
            except KeyError as error:  # with task_create_missing_queues off
                missing = f"queue {queue!r} is not in Celery's task_queues (KeyError: {error})"
                answers.append(Refused(QueueNotFound(f"{missing}; add it, or set task_create_missing_queues")))
        yield from ()
        return answers

    def _publish(self, queue: str, message: Outgoing) -> str:
        envelope = json.loads(message.body)
        headers, properties = envelope["headers"], envelope["properties"]
        kept = {name: properties[name] for name in _KEPT_PROPERTIES}
        if properties.get("body_encoding") == "base64":
            body: Any = base64.b64decode(envelope["body"])
            kept |= {"content_type": envelope["content-type"], "content_encoding": envelope["content-encoding"]}
        else:
            # Listeners to Celery's signals expect a parsed body; Celery writes it as JSON again.
            body = tuple(json.loads(envelope["body"]))
        if queue.endswith(".fifo"):
            kept |= {"MessageGroupId": message.group or "default", "MessageDeduplicationId": message.deduplication}
        with self._app.producer_or_acquire() as producer:
            self._app.amqp.send_task_message(
                producer, headers["task"], task_message(headers, kept, body, None), queue=queue, serializer="json"
            )
        return str(headers["id"])

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Not implemented: Celery's worker receives messages."""
        raise NotImplementedError

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Not implemented: Celery's worker acknowledges messages."""
        raise NotImplementedError

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Not implemented: Celery's worker extends its own leases."""
        raise NotImplementedError

    def depth(self, queue: str) -> Flow[Depth | None]:
        """Not implemented: no part of the backend counts messages."""
        raise NotImplementedError

    def purge(self, queue: str) -> Flow[int | None]:
        """Not implemented: Celery's own commands purge queues."""
        raise NotImplementedError
