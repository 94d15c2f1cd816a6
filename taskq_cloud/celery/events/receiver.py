"""``EventReceiver`` hands events to functions.

There is no transport for events yet, so ``capture`` says so. A program that gets events in another way gives them to
``_receive``, or to ``process``.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from taskq_cloud.celery._state import app_or_default
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.messaging import Queue
from taskq_cloud.celery.utils import uuid
from taskq_cloud.celery.utils.time import adjust_timestamp

from .event import get_exchange

__all__ = ("EventReceiver",)

CLIENT_CLOCK_SKEW = -1
"""What is added to the own clock's value for an event of a client, whose clock is never adjusted."""

_of_time = itemgetter("utcoffset", "timestamp")


class EventReceiver:
    """Receives events.

    Args:
        channel: the connection, or a channel of kombu's.
        handlers: the functions that are called with events, by type; ``*`` is called with all others.
        routing_key: the events that are received.
        node_id: the name of this receiver; None: a new one.
        app: the application.
        queue_prefix: the beginning of the queue's name; None: the setting ``event_queue_prefix``.
        accept: the serializers of events; None: that of the settings, and JSON.
        queue_ttl: how long an event waits; None: the setting ``event_queue_ttl``.
        queue_expires: how long the queue is kept; None: the setting ``event_queue_expires``.
        queue_exclusive: nobody else reads the queue; None: the setting ``event_queue_exclusive``.
        queue_durable: the queue is kept when the broker restarts; None: the setting ``event_queue_durable``.

    Raises:
        ImproperlyConfigured: the queue can't be both exclusive and durable.
    """

    app: Any = None

    def __init__(
        self,
        channel: Any,
        handlers: Mapping[str, Callable[[Any], Any]] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Any = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
    ) -> None:
        self.app = app_or_default(app or self.app)
        conf = self.app.conf
        self.channel = getattr(channel, "default_channel", channel)
        self.handlers = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id or uuid()
        self.queue_prefix = queue_prefix or conf.event_queue_prefix
        connection = self.connection or self.app.connection_for_write()
        self.exchange = get_exchange(connection, name=conf.event_exchange)
        exclusive = conf.event_queue_exclusive if queue_exclusive is None else queue_exclusive
        durable = conf.event_queue_durable if queue_durable is None else queue_durable
        if exclusive and durable:
            raise ImproperlyConfigured("Queue cannot be both exclusive and durable, choose one or the other.")
        self.queue = Queue(
            f"{self.queue_prefix}.{self.node_id}",
            exchange=self.exchange,
            routing_key=routing_key,
            auto_delete=not durable,
            durable=durable,
            exclusive=exclusive,
            message_ttl=conf.event_queue_ttl if queue_ttl is None else queue_ttl,
            expires=conf.event_queue_expires if queue_expires is None else queue_expires,
        )
        self.clock = self.app.clock
        self.adjust_clock, self.forward_clock = self.clock.adjust, self.clock.forward
        self.accept = {conf.event_serializer, "json"} if accept is None else accept
        self.should_stop = False

    @property
    def connection(self) -> Any:
        """The connection to the broker; None without one."""
        if not self.channel:
            return None
        connection = getattr(self.channel, "connection", None)
        return self.channel if connection is None else connection.client

    def process(self, type: str, event: Any) -> None:
        """Call the function for the events of a type."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler:
            handler(event)

    def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:
        """Return the consumers of a transport: one, of this receiver's queue."""
        return [Consumer(queues=[self.queue], callbacks=[self._receive], no_ack=True, accept=self.accept)]

    def on_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, wakeup: bool = True, **kwargs: Any
    ) -> None:
        """Ask all workers for a heartbeat, before the first event is received."""
        if wakeup:
            self.wakeup_workers(channel=channel)

    def consume(
        self, limit: int | None = None, timeout: float | None = None, safety_interval: float = 1, **kwargs: Any
    ) -> Iterator[Any]:
        """Receive events, and hand them to their functions.

        Args:
            limit: the number of messages after which it ends; None: it doesn't.
            timeout: the seconds without a message after which it ends with an error.
            safety_interval: the seconds between two checks whether it is to end.
            kwargs: is handed to ``on_consume_ready``.

        Raises:
            NotImplementedError: always: there is no transport for events yet.
        """
        raise NotImplementedError(
            "events are not received yet: use the log records of workers, `taskq queues` and /healthz of a worker"
        )

    def itercapture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> Iterator[Any]:
        """Receive events, one with each step of the iterator."""
        return self.consume(limit=limit, timeout=timeout, wakeup=wakeup)

    def capture(self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True) -> None:
        """Receive events until the limit or the timeout is reached, or ``should_stop`` is set."""
        for _ in self.consume(limit=limit, timeout=timeout, wakeup=wakeup):
            pass

    def wakeup_workers(self, channel: Any = None) -> None:
        """Ask all workers for a heartbeat."""
        self.app.control.broadcast("heartbeat", connection=self.connection, channel=channel)

    def event_from_message(
        self,
        body: Any,
        localize: bool = True,
        now: Callable[[], float] = time.time,
        tzfields: Callable[[Any], Any] = _of_time,
        adjust_timestamp: Callable[[float, float], float] = adjust_timestamp,
        CLIENT_CLOCK_SKEW: int = CLIENT_CLOCK_SKEW,
    ) -> tuple[str, Any]:
        """Return the type of an event, and the event with its place in time.

        Args:
            body: the event, which is changed.
            localize: turn the timestamp into one of this machine's zone.
            now: returns the time at which the event was received.
            tzfields: returns the offset and the timestamp of an event.
            adjust_timestamp: turns a timestamp and an offset into a timestamp of this machine's zone.
            CLIENT_CLOCK_SKEW: what is added to the own clock's value for an event of a client.
        """
        kind = body["type"]
        if kind == "task-sent":
            body["clock"] = (self.clock.value or 1) + CLIENT_CLOCK_SKEW
            self.adjust_clock(body["clock"])
        elif "clock" in body:
            self.adjust_clock(body["clock"])
        else:
            body["clock"] = self.forward_clock()
        if localize and {"utcoffset", "timestamp"} <= body.keys():
            offset, timestamp = tzfields(body)
            body["timestamp"] = adjust_timestamp(timestamp, offset)
        body["local_received"] = now()
        return kind, body

    def _receive(self, body: Any, message: Any) -> None:
        """Handle an event, or a list of events."""
        for event in body if isinstance(body, list) else [body]:
            self.process(*self.event_from_message(event))
