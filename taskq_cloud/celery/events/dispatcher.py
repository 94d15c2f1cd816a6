"""``EventDispatcher`` sends the events of a process.

It hands them to a producer. ``Producer``, which each dispatcher makes for itself, writes them to the log: a transport
for events replaces this class and nothing else.
"""

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

from taskq_cloud.celery._state import app_or_default
from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.celery.utils.nodenames import anon_nodename
from taskq_cloud.celery.utils.time import utcoffset

from .event import Event, driver_type, get_exchange, group_from

__all__ = ("EventDispatcher",)

logger = get_logger("taskq_cloud.celery.events")


class Producer:
    """Publishes events to the log, at the level DEBUG.

    Args:
        channel: the connection.
        exchange: the exchange of events.
        kwargs: kombu's other arguments, which have no effect.
    """

    def __init__(self, channel: Any = None, exchange: Any = None, **kwargs: Any) -> None:
        self.channel = channel
        self.exchange = exchange

    def publish(self, body: Any, routing_key: str | None = None, **options: Any) -> None:
        """Write an event, or a list of events, to the log."""
        for event in body if isinstance(body, list) else [body]:
            logger.debug("event %s: %s", event.get("type", routing_key), event)


class EventDispatcher:
    """Sends events. It is to be closed after its use.

    Args:
        connection: the connection to the broker.
        hostname: the name of this process; None: a name made of its id.
        enabled: False: nothing is sent until ``enable`` is called.
        channel: a channel of kombu's to use instead of the connection.
        buffer_while_offline: keep events that can't be sent until ``flush`` is called.
        app: the application.
        serializer: the serializer of events; None: the setting ``event_serializer``.
        groups: the groups of events that are sent, such as ``task``; None: all.
        delivery_mode: is handed to the producer.
        buffer_group: the groups whose events are collected, and sent by ``flush``.
        buffer_limit: the number of collected events at which they are sent.
        on_send_buffered: is called when an event was collected.
    """

    DISABLED_TRANSPORTS: ClassVar[set[str]] = {"sql"}

    app: Any = None
    on_enabled: Any = None
    on_disabled: Any = None

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: Any = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Any = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], Any] | None = None,
    ) -> None:
        self.app = app_or_default(app or self.app)
        self.connection = connection or (channel and channel.connection.client)
        self.channel = channel
        self.hostname = hostname or anon_nodename()
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = buffer_group or frozenset()
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.serializer = serializer or self.app.conf.event_serializer
        self.groups = set(groups or ())
        self.delivery_mode = delivery_mode
        self.clock = self.app.clock
        self.pid = os.getpid()
        self.headers = {"hostname": self.hostname}
        self.tzoffset = [-time.timezone, -time.altzone]
        self.on_enabled, self.on_disabled = set(), set()
        self.mutex = threading.Lock()
        self.producer: Any = None
        self._closed = False
        self._group_buffer: defaultdict[str, list[Any]] = defaultdict(list)
        self._outbound_buffer: deque[tuple[Any, str]] = deque()
        broker = self.connection or self.app.connection_for_write()
        self.exchange = get_exchange(broker, name=self.app.conf.event_exchange)
        self.enabled = enabled and driver_type(broker) not in self.DISABLED_TRANSPORTS
        if self.enabled:
            self.enable()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def enable(self) -> None:
        """Send events from now on, and call the functions in ``on_enabled``."""
        with self.mutex:
            self.producer = Producer(
                self.channel or self.connection,
                exchange=self.exchange,
                serializer=self.serializer,
                auto_declare=False,
            )
            self._closed, self.enabled = False, True
        for callback in self.on_enabled:
            callback()

    def disable(self) -> None:
        """Send no more events, and call the functions in ``on_disabled``, unless nothing is sent anyway."""
        if self.enabled:
            self.enabled = False
            self.close()
            for callback in self.on_disabled:
                callback()

    def close(self) -> None:
        """Wait for an event that is being sent, and give up the producer. ``publish`` can be used afterwards."""
        with self.mutex:
            self._closed, self.producer = True, None

    def publish(
        self,
        type: str,
        fields: Any,
        producer: Any,
        blind: bool = False,
        Event: Callable[..., Any] = Event,
        **kwargs: Any,
    ) -> Any:
        """Send an event by another producer, whatever the groups are, and whether or not events are sent.

        Args:
            type: the type of the event.
            fields: its fields.
            producer: has the method ``publish``.
            blind: the event has no value of the logical clock.
            Event: makes the event.
            kwargs: ``retry`` and ``retry_policy``, for the producer.
        """
        event = self._prepare_event(type, fields, blind=blind, Event=Event)
        with self.mutex:
            return self._publish(event, producer, routing_key=_routing_key(type), **kwargs)

    def send(
        self,
        type: str,
        blind: bool = False,
        utcoffset: Callable[[], float] = utcoffset,
        retry: bool = False,
        retry_policy: Any = None,
        Event: Callable[..., Any] = Event,
        **fields: Any,
    ) -> Any:
        """Send an event, if events of its group are sent.

        Args:
            type: the type of the event.
            blind: the event has no value of the logical clock.
            utcoffset: returns the hours by which local time is behind UTC.
            retry: try again if the connection fails.
            retry_policy: how often, and with which pauses.
            Event: makes the event.
            fields: its fields, which JSON can hold.
        """
        group = group_from(type)
        if not self.enabled or (self.groups and group not in self.groups):
            return None
        if group in self.buffer_group:
            self._collect(group, self._prepare_event(type, fields, Event=Event, utcoffset=utcoffset))
            return None
        event = self._prepare_event(type, fields, blind=blind, Event=Event)
        with self.mutex:
            if self._closed:
                return None
            return self._publish(
                event, self.producer, routing_key=_routing_key(type), retry=retry, retry_policy=retry_policy
            )

    def _prepare_event(
        self,
        type: str,
        fields: Any,
        blind: bool = False,
        Event: Callable[..., Any] = Event,
        utcoffset: Callable[[], float] = utcoffset,
    ) -> Any:
        clock = None if blind else self.clock.forward()
        return Event(type, hostname=self.hostname, utcoffset=utcoffset(), pid=self.pid, clock=clock, **fields)

    def _collect(self, group: str, event: Any) -> None:
        collected = self._group_buffer[group]
        collected.append(event)
        if len(collected) >= self.buffer_limit:
            self.flush()
        elif self.on_send_buffered:
            self.on_send_buffered()

    def _publish(
        self, event: Any, producer: Any, routing_key: str, retry: bool = False, retry_policy: Any = None, **_: Any
    ) -> None:
        """Hand an event to a producer. The lock must be held."""
        if producer is None:
            return
        try:
            producer.publish(
                event,
                routing_key=routing_key,
                exchange=self.exchange.name,
                retry=retry,
                retry_policy=retry_policy,
                declare=[self.exchange],
                serializer=self.serializer,
                headers=self.headers,
                delivery_mode=self.delivery_mode,
            )
        except Exception:
            if not self.buffer_while_offline:
                raise
            self._outbound_buffer.append((event, routing_key))

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what was kept. A closed dispatcher keeps it until it is enabled again.

        Args:
            errors: send the events that could not be sent before.
            groups: send the collected events.
        """
        if errors:
            with self.mutex:
                self._flush_failed()
        if groups:
            with self.mutex:
                self._flush_collected()

    def _flush_failed(self) -> None:
        if self._closed:
            return
        kept, self._outbound_buffer = list(self._outbound_buffer), deque()
        for event, routing_key in kept:
            self._publish(event, self.producer, routing_key)

    def _flush_collected(self) -> None:
        if self._closed:
            return
        for group, collected in self._group_buffer.items():
            # A copy, because a list that can't be sent is kept as it is, while other threads go on collecting.
            batch = collected.copy()
            if batch:
                self._publish(batch, self.producer, f"{group}.multi")
                del collected[: len(batch)]

    def extend_buffer(self, other: Any) -> None:
        """Take over the events that another dispatcher could not send."""
        self._outbound_buffer.extend(other._outbound_buffer)

    @property
    def publisher(self) -> Any:
        """The producer, by its old name."""
        return self.producer

    @publisher.setter
    def publisher(self, producer: Any) -> None:
        self.producer = producer


def _routing_key(type: str) -> str:
    return type.replace("-", ".")
