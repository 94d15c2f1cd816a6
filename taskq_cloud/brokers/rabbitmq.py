"""The RabbitMQ broker, whose queues and messages are those of Celery, so that workers of either share a queue.

The server hands messages over for as long as the connection lives, and the client limits this to the lease (see
``clients.rabbitmq_consuming``). A message that is given back for later is published anew, with its number of receives
in a header, and then acknowledged: a crash in between leaves it twice, and never not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import SplitResult

from taskq_cloud.brokers import _rabbitmq_layout as layout
from taskq_cloud.brokers._local import refusal, send_in_batches
from taskq_cloud.brokers._rabbitmq_messages import Received, again, dead_letter, delivery_of, to_amqp
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.capabilities import BrokerCapabilities, dead_letter_queue
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import (
    Acknowledge,
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
    Settlement,
)
from taskq_cloud.core.ports import Service
from taskq_cloud.core.servers.rabbitmq import RabbitMQOptions, operational_error, read_options
from taskq_cloud.errors import OperationalError, QueueNotFound, TaskQError

BATCH: Final = 1000
"""How many messages are sent before their confirms are waited for, and how many are received at a time."""
LONGEST_WAIT_SECONDS: Final = 20.0
_LEASED_PART: Final = 0.9
"""The part of ``consumer_timeout`` that a message can be leased for. The server closes the channel of a delivery that
exceeds it, with all other deliveries; it looks once a minute."""
_SETTLE_SECONDS: Final = 60.0
"""The lease of a message while it is published anew."""

_Publishing = tuple[str, str, Mapping[str, Any], bytes]


class RabbitMQBroker:
    """The broker of ``amqp://`` and ``amqps://`` URLs.

    Args:
        options: the broker's settings.
        clock: returns the time, in seconds since the epoch.
    """

    def __init__(self, options: RabbitMQOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._service = options.service_name
        self.capabilities = BrokerCapabilities(
            largest_message_bytes=options.largest_message_bytes,
            send_batch=BATCH,
            receive_batch=BATCH,
            longest_wait_seconds=LONGEST_WAIT_SECONDS,
            longest_delay_seconds=layout.LONGEST_DELAY_SECONDS,
            longest_ordered_delay_seconds=layout.LONGEST_DELAY_SECONDS,
            longest_lease_seconds=options.consumer_timeout * _LEASED_PART,
            longest_release_seconds=layout.LONGEST_DELAY_SECONDS,
            ordering=False,
            deduplicates=False,
            shared_between_processes=True,
            durable=True,
            queues_must_exist=not options.create_missing_queues,
            counts_messages=False,
            takes_back_receives=True,
            dead_letters_by_count=options.delivery_limit is not None and options.queue_type == "quorum",
        )

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """Make the broker of ``amqp://user:password@host:port/vhost``.

        Raises:
            ImproperlyConfigured: the URL or an option is wrong; the error says which.
        """
        return cls.from_urls([url], options)

    @classmethod
    def from_urls(cls, urls: Sequence[SplitResult], options: Mapping[str, Any]) -> Self:
        """Make the broker of several servers that share their queues: the next one is used if one can't be reached.

        Raises:
            ImproperlyConfigured: a URL or an option is wrong; the error says which.
        """
        return cls(read_options(urls, options))

    @property
    def services(self) -> Mapping[str, Service]:
        """RabbitMQ, at the configured servers."""
        return {self._service: self._options.service}

    def declarations(self, queue: str) -> tuple[layout.Method, layout.Method]:
        """Return the method that asks whether a queue exists, and the method that declares it with its arguments."""
        return layout.passive(queue), layout.declaration(self._options, queue, dead=_is_dead(queue))

    def provision(self, queue: str) -> Flow[None]:
        """Create a queue with its exchange and binding, and what messages for it need to be delayed."""
        needs = layout.declared_needs(self._options, queue, dead=_is_dead(queue))
        yield from self._call(queue, "ask", needs=needs, methods=[layout.passive(queue)])

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages, up to ``send_batch`` before their confirms are waited for; see ``Broker.send``."""

        def send_batch(batch: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
            numbered = [(each, new_id(), 0) for each in batch]
            return self._send_batch(queue, numbered, confirm=self._options.confirm_publish)

        return (yield from send_in_batches(messages, BATCH, send_batch))

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive messages; see ``Broker.receive``.

        A classic queue says only that it has handed a message over before. Such a message is published anew with its
        count, and received then.
        """
        ends_at = time.monotonic() + min(wait_seconds, LONGEST_WAIT_SECONDS)
        needs = [layout.queue_need(self._options, queue)]
        while True:
            now = self._clock()
            answer = yield from self._call(
                queue,
                "receive",
                needs=needs,
                queue=queue,
                limit=min(limit, BATCH),
                wait_seconds=max(0.0, min(wait_seconds, ends_at - time.monotonic())),
                now=now,
                until=now + lease_seconds,
            )
            received = [Received(*each) for each in answer]
            uncounted = [each for each in received if each.receives is None]
            if uncounted:
                try:
                    yield from self._count(queue, uncounted)
                except TaskQError:  # such as while the server's memory is full; they come again after their lease
                    if len(uncounted) == len(received):
                        raise
            now = self._clock()
            deliveries = [
                delivery_of(queue, each, now, lease_seconds) for each in received if each.receives is not None
            ]
            if deliveries or not uncounted:
                return deliveries

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries: acknowledgements with few frames, and what is published anew before that.

        The server doesn't confirm an acknowledgement. One that is lost with the connection leads to another delivery.
        """
        answers: list[Refused | None] = [None] * len(settlements)
        acknowledged = [each.delivery.receipt for each in settlements if isinstance(each, Acknowledge)]
        given_back = [each.delivery.receipt for each in settlements if _is_given_back(each)]
        moved = [place for place, each in enumerate(settlements) if _is_moved(each)]
        if moved:
            by_place = yield from self._move([(place, settlements[place]) for place in moved])
            for place, answer in by_place.items():
                answers[place] = answer
                if answer is None:
                    acknowledged.append(settlements[place].delivery.receipt)
        if acknowledged or given_back:
            about = settlements[0].delivery.queue
            yield from self._call(about, "settle", acknowledge=acknowledged, give_back=given_back)
        return answers

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend leases, which ends in this process; a delivery of a lost connection has lost its lease."""
        if not deliveries:
            return []
        held = yield from self._extend(deliveries, lease_seconds)
        return [None if each else _lost(delivery) for each, delivery in zip(held, deliveries, strict=True)]

    def depth(self, queue: str) -> Flow[None]:
        """Return None: AMQP tells how many messages wait, and not how many are delayed or in flight.

        Raises:
            QueueNotFound: the queue doesn't exist, and isn't to be created.
        """
        if not self._options.create_missing_queues:
            yield from self._ask(queue, layout.passive(queue))

    def waiting(self, queue: str) -> Flow[int]:
        """Count the messages that wait: see ``CountsWaiting.waiting``."""
        [(_, messages, _)] = yield from self._ask(queue, layout.passive(queue))
        count: int = messages
        return count

    def purge(self, queue: str) -> Flow[None]:
        """Remove the messages that wait in a queue. Their number is that of the waiting ones alone, so it is None."""
        yield from self._ask(queue, ("queue.purge", 0, queue, False))

    def _send_batch(
        self, queue: str, messages: Sequence[tuple[Outgoing, str, int]], *, confirm: bool = True, new: bool = True
    ) -> Flow[list[Sent | Refused]]:
        """Send messages, each with its id and how often it was received before.

        Messages that aren't ``new`` are taken at any size: the server has had them already.
        """
        answers: list[Sent | Refused | None] = [
            refusal(queue, each, self.capabilities) if new else None for each, _, _ in messages
        ]
        places = [place for place, answer in enumerate(answers) if answer is None]
        now = self._clock()
        needs = {need[0]: need for need in [self._need(queue)]}
        publishings: list[_Publishing] = []
        for place in places:
            message, message_id, receives = messages[place]
            exchange, routing_key = "", queue
            if message.delay_seconds > 0:
                exchange, routing_key = layout.delayed(self._options, queue, message.delay_seconds)
                needs |= {need[0]: need for need in layout.delay_needs(self._options, queue)}
            publishings.append((exchange, routing_key, *to_amqp(message, message_id, now, receives)))
        if publishings:
            said = yield from self._publish(queue, [*needs.values()], publishings, confirm=confirm)
            for place, text in zip(places, said, strict=True):
                answers[place] = Sent(messages[place][1]) if not text else _refused(queue, text)
        return [answer for answer in answers if answer is not None]

    def _publish(
        self, queue: str, needs: Sequence[layout.Need], messages: Sequence[_Publishing], *, confirm: bool = True
    ) -> Flow[Sequence[str]]:
        parameters = {"needs": needs, "messages": messages, "confirm": confirm}
        answers: Sequence[str] = yield from self._call(queue, "publish", **parameters)
        return answers

    def _count(self, queue: str, uncounted: Sequence[Received]) -> Flow[None]:
        """Publish messages anew with one more receive, and acknowledge them."""
        copies: list[_Publishing] = [("", queue, *again(each)) for each in uncounted]
        said = yield from self._publish(queue, [self._need(queue)], copies)
        done = [each.receipt for each, text in zip(uncounted, said, strict=True) if not text]
        failed = [each.receipt for each, text in zip(uncounted, said, strict=True) if text]
        yield from self._call(queue, "settle", acknowledge=done, give_back=failed)

    def _move(self, settlements: Sequence[tuple[int, Settlement]]) -> Flow[dict[int, Refused | None]]:
        """Publish messages for later or to their dead-letter queues, unless their leases are lost.

        Returns:
            The answers by place; those whose leases are lost, and that count as settled, are left out.
        """
        held = yield from self._extend([each.delivery for _, each in settlements], _SETTLE_SECONDS)
        by_queue: dict[str, list[tuple[int, tuple[Outgoing, str, int]]]] = {}
        for (place, settlement), is_held in zip(settlements, held, strict=True):
            if is_held:
                queue, message = self._moved(settlement)
                by_queue.setdefault(queue, []).append((place, message))
        answers: dict[int, Refused | None] = {}
        for queue, messages in by_queue.items():
            try:
                moved = [each for _, each in messages]
                sent: Sequence[Sent | Refused] = yield from self._send_batch(queue, moved, new=False)
            except TaskQError as error:
                sent = [Refused(error)] * len(messages)
            for (place, _), answer in zip(messages, sent, strict=True):
                answers[place] = answer if isinstance(answer, Refused) else None
        return answers

    def _moved(self, settlement: Settlement) -> tuple[str, tuple[Outgoing, str, int]]:
        """The queue of a message that is published anew, the message, its id, and its receives before."""
        delivery = settlement.delivery
        if isinstance(settlement, DeadLetter):
            return dead_letter_queue(delivery.queue), (dead_letter(delivery, settlement.reason), new_id(), 0)
        assert isinstance(settlement, Release)
        delay_seconds = min(settlement.after_seconds, layout.LONGEST_DELAY_SECONDS)
        message = Outgoing(body=delivery.body, attributes=delivery.attributes, delay_seconds=delay_seconds)
        return delivery.queue, (message, delivery.message_id, delivery.receive_count - (not settlement.counts))

    def _need(self, queue: str) -> layout.Need:
        return layout.queue_need(self._options, queue, dead=_is_dead(queue))

    def _extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[Sequence[bool]]:
        receipts = [each.receipt for each in deliveries]
        now = self._clock()
        held: Sequence[bool] = yield from self._call(
            deliveries[0].queue, "extend", receipts=receipts, now=now, until=now + lease_seconds
        )
        return held

    def _ask(self, queue: str, method: layout.Method) -> Flow[Any]:
        return (yield from self._call(queue, "ask", needs=[self._need(queue)], methods=[method]))

    def _call(self, about: str, operation: str, **parameters: Any) -> Flow[Any]:
        try:
            return (yield Call(self._service, operation, parameters))
        except CallError as error:
            raise operational_error(f"queue {about!r}", error) from error


def _is_given_back(settlement: Settlement) -> bool:
    """Whether the server itself gives the message to the next receiver, and counts that."""
    return isinstance(settlement, Release) and settlement.counts and settlement.after_seconds <= 0


def _is_moved(settlement: Settlement) -> bool:
    return not isinstance(settlement, Acknowledge) and not _is_given_back(settlement)


def _is_dead(queue: str) -> bool:
    return queue.removesuffix(".fifo").endswith("-dead")


def _lost(delivery: Delivery) -> Refused:
    return Refused(
        OperationalError(
            f"queue {delivery.queue!r}: the lease of message {delivery.message_id} is lost: it ran out, the message is "
            "settled, or the connection to RabbitMQ was lost"
        )
    )


def _refused(queue: str, text: str) -> Refused:
    if text.startswith("unroutable"):
        return Refused(QueueNotFound(f"queue {queue!r}: RabbitMQ has no queue for the message: {text}"))
    if text == "rejected":
        return Refused(OperationalError(f"queue {queue!r}: the queue has refused the message: its length is limited"))
    return Refused(OperationalError(f"queue {queue!r}: the message can't be sent: {text}"))
