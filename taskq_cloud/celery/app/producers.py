"""The sending of messages that a program has made itself (``app.amqp.send_task_message``), and producers.

Calls of tasks don't come this way: ``Task.apply_async`` and the canvas use the native application. A program that
makes a message with ``app.amqp.create_task_message`` sends it here, through a producer of
``app.producer_or_acquire()``, which is the native outbox, or through one of its own, such as kombu's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from taskq_cloud.celery import signals
from taskq_cloud.celery.app.queue_table import native_queue
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.core.messages import protocol
from taskq_cloud.core.messages.sending import Transport
from taskq_cloud.core.model.message import Refused

__all__ = ("Destination", "Producer", "ProducerPool", "send_signals_and_publish")


class Destination:
    """Where a message goes, in AMQP's terms.

    A message for a queue of a direct exchange goes to the exchange without a name, whose routing keys are names of
    queues. Otherwise the exchange and the key are those that are given, or the queue's.

    Args:
        amqp: ``app.amqp``.
        queue: the queue, or its name.
        exchange: the exchange, or its name.
        routing_key: the key.
        exchange_type: the type of the exchange; None: that of the queue's.
    """

    def __init__(self, amqp: Any, queue: Any, exchange: Any, routing_key: Any, exchange_type: Any) -> None:
        self.queue_name = getattr(queue, "name", queue)
        if queue is None and exchange is None:
            queue = amqp.default_queue
            self.queue_name = queue.name
        elif isinstance(queue, str):
            queue = amqp.queues[queue]
        self.queue = queue
        bound = getattr(queue, "exchange", None)
        if exchange_type is None:
            exchange_type = getattr(bound, "type", "direct")
        if (not exchange or not routing_key) and exchange_type == "direct":
            exchange, routing_key = "", self.queue_name
        elif exchange is None:
            exchange = queue.exchange.name or amqp.default_exchange
            routing_key = routing_key or queue.routing_key or amqp.app.conf.task_default_routing_key
        self.exchange, self.routing_key = exchange, routing_key
        self.delivery_mode = getattr(bound, "delivery_mode", None) or amqp.app.conf.task_default_delivery_mode

    @property
    def declarations(self) -> list[Any] | None:
        """The queues that a producer declares before it publishes; nobody declares a broadcast's queues."""
        return [self.queue] if self.queue and type(self.queue).__name__ != "Broadcast" else None


def send_signals_and_publish(
    producer: Any, name: str, message: Any, to: Destination, declare: Any, options: dict[str, Any]
) -> Any:
    """Publish a message between the signals ``before_task_publish`` and ``after_task_publish``.

    Args:
        producer: has the method ``publish``.
        name: the task's name.
        message: the message.
        to: where it goes.
        declare: the queues that the producer declares.
        options: more arguments of ``publish``.
    """
    headers, properties, body, _ = message
    signals.before_task_publish.send(
        sender=name,
        body=body,
        exchange=to.exchange,
        routing_key=to.routing_key,
        declare=declare,
        headers=headers,
        properties=properties,
        retry_policy=options["retry_policy"],
    )
    published = producer.publish(
        body,
        exchange=to.exchange,
        routing_key=to.routing_key,
        declare=declare,
        headers=headers,
        **options,
        **properties,
    )
    signals.after_task_publish.send(
        sender=name, body=body, headers=headers, exchange=to.exchange, routing_key=to.routing_key
    )
    if signals.task_sent.receivers:
        _send_task_sent(name, headers, body)
    return published


def _send_task_sent(name: str, headers: Mapping[str, Any], body: Any) -> None:
    """Send the signal that Celery 3 had."""
    if isinstance(body, tuple):
        task_id, args, kwargs, eta, group = headers["id"], body[0], body[1], headers["eta"], headers["group"]
    else:
        task_id, args, kwargs, eta, group = (body[field] for field in ("id", "args", "kwargs", "eta", "taskset"))
    signals.task_sent.send(sender=name, task_id=task_id, task=name, args=args, kwargs=kwargs, eta=eta, taskset=group)


class Producer:
    """Publishes messages of tasks through the native outbox.

    Args:
        channel: a connection of the application.
        kwargs: kombu's other arguments, which have no effect.
    """

    def __init__(self, channel: Any, **kwargs: Any) -> None:
        self.connection = self.channel = channel
        self.app = channel.app

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def publish(
        self,
        body: Any,
        routing_key: Any = None,
        headers: Mapping[str, Any] | None = None,
        exchange: Any = None,
        serializer: str | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> None:
        """Publish the message of a task.

        Args:
            body: the message's body: ``(args, kwargs, embed)``, or a mapping in protocol 1.
            routing_key: the key; with the exchange without a name, the name of the queue.
            headers: the message's headers.
            exchange: the exchange.
            serializer: the serializer of the arguments.
            compression: the compression of the arguments.
            options: ``priority``, and properties of the message; kombu's other options have no effect.

        Raises:
            ImproperlyConfigured: the message isn't a task's.
            OperationalError: the broker did not accept the message.
        """
        given = dict(headers or {})
        if "task" not in (given or body):
            raise ImproperlyConfigured("only messages of tasks can be published: the message names no task")
        native, task_id = self.app.native, given.get("id") or dict(body)["id"]
        document = {"body": body, "headers": given, "properties": options}
        message = protocol.decode({**document, "body": _as_json(body)}, task_id)
        if not exchange:
            queue = native_queue(self.app, {"queue": routing_key})
        else:
            queue = native_queue(self.app, {"exchange": exchange, "routing_key": routing_key})
        transport = Transport(serializer=serializer, compression=compression)
        (answer,) = native.run(native.outbox.send([native.outbox.address(message, queue, time.time(), transport)]))
        if isinstance(answer, Refused):
            raise answer.error

    def revive(self, channel: Any) -> None:
        """Use another connection."""
        self.connection = self.channel = channel

    def release(self) -> None:
        """Do nothing: the native application keeps its connections."""

    close = release


def _as_json(body: Any) -> Any:
    """Return a body as JSON holds it: with lists for tuples."""
    return [list(body[0]), *body[1:]] if isinstance(body, tuple) else body


class ProducerPool:
    """Producers for code that acquires one; there is no limit, as all use the native application's connections.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.limit = app.conf.broker_pool_limit

    @contextmanager
    def acquire(self, block: bool = False, timeout: float | None = None) -> Iterator[Producer]:
        """Give a producer for a ``with`` statement."""
        yield Producer(self.app.connection_for_write())

    def force_close_all(self) -> None:
        """Close the native application's connections."""
        self.app.native.close()
