"""Sends what a chord's end leads to the way Celery sends everything: through its producers, routes and signals.

The broker is whichever Celery's application has. The other way round, a delivery to a task, is Celery's worker's.
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
from taskq_cloud.core.model.message import Delivery, Outgoing, Refused, Sent, Settlement
from taskq_cloud.core.ports import BrokerCapabilities, Depth, Service
from taskq_cloud.errors import QueueNotFound, Unreachable

_KEPT_PROPERTIES: Final = ("correlation_id", "reply_to", "priority")


class CeleryBroker:
    """A ``Broker`` that sends, and nothing else.

    Args:
        app: Celery's application.
    """

    # What is too large, or due too late, is for the transport to refuse; an eta is waited for by the receiver.
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
        """The queue of a task, as Celery finds it: the task's own, or that of ``task_routes``."""
        own = getattr(self._app.tasks.get(task), "queue", None)
        return str(own or self._app.amqp.router.route({}, task)["queue"].name)

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Publish messages, one by one; Celery's ``task_publish_retry_policy`` says how often."""
        answers: list[Sent | Refused] = []
        for message in messages:
            # Celery's producers block, as its workers do: nothing is left to yield to a driver.
            try:
                answers.append(Sent(self._publish(queue, message)))
            except KombuError as error:
                answers.append(Refused(Unreachable(f"Celery's broker took no message for queue {queue!r}: {error}")))
            except KeyError as error:  # with task_create_missing_queues off
                answers.append(Refused(QueueNotFound(f"Celery's application knows no queue {queue!r}: {error}")))
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
            # Parsed, as those who listen to Celery's signals expect it; written again as the JSON it was.
            body = tuple(json.loads(envelope["body"]))
        if queue.endswith(".fifo"):
            kept |= {"MessageGroupId": message.group or "default", "MessageDeduplicationId": message.deduplication}
        with self._app.producer_or_acquire() as producer:
            self._app.amqp.send_task_message(
                producer, headers["task"], task_message(headers, kept, body, None), queue=queue, serializer="json"
            )
        return str(headers["id"])

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Celery's worker receives."""
        raise NotImplementedError

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Celery's worker settles."""
        raise NotImplementedError

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Celery's worker holds its messages."""
        raise NotImplementedError

    def depth(self, queue: str) -> Flow[Depth | None]:
        """Nobody asks."""
        raise NotImplementedError

    def purge(self, queue: str) -> Flow[int | None]:
        """Celery's own commands purge."""
        raise NotImplementedError
