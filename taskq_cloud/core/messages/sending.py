"""The way of a message to the broker: encoding, payload references, delay or schedule, and one batch for each queue.

``Outbox.address`` makes an ``Addressed`` of a message, without any call. ``Outbox.send`` gives addressed messages to
the broker, or to the scheduler where they are due late.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass, field, replace
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.messages.codec import Codec, Packed, utf8_bytes
from taskq_cloud.core.messages.late_delivery import OneOff
from taskq_cloud.core.model.capabilities import BrokerCapabilities
from taskq_cloud.core.model.message import Message, Outgoing, Refused, Sent
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.payload_references import POINTER_ATTRIBUTES, Payload
from taskq_cloud.core.model.priorities import NO_PRIORITIES, PriorityLevels
from taskq_cloud.core.ports import Broker, ResultStore, ScheduleStore
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import DelayTooLong, EncodeError, OperationalError, PayloadTooLarge

if TYPE_CHECKING:  # few applications have hooks
    from taskq_cloud.core.model.hooks import Call, HookTable
    from taskq_cloud.core.records.replies import TakesReplies

RECORDS_AT_ONCE: Final = 10
"""The most records, of up to a quarter of a megabyte each, that are saved in one call."""
LARGEST_SENT_BYTES: Final = 32 * 1024 * 1024
"""The most bytes of messages that one message leads to. Each member of a group carries the value and the body that the
group is given, so a few hundred kilobytes could otherwise become gigabytes."""
UNSENDABLE: Final = (DelayTooLong, EncodeError, PayloadTooLarge)
"""Errors of a message that stay the same however often it is sent."""

TRANSPORT_OPTIONS: Final = (
    "MessageGroupId",
    "MessageDeduplicationId",
    "message_attributes",
    "trace_header",
    "serializer",
    "compression",
)
"""The options of a call that determine how its message is carried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """The options by which a message is carried, besides those that the message itself contains.

    Args:
        group: the message group; on an unordered queue the tenant, where the broker knows tenants.
        deduplication: the deduplication id: of two messages with one id, a queue that deduplicates keeps the first.
            None: the id is made from the task's id and the number of its attempt.
        attributes: the broker's message attributes, as strings.
        trace_header: the provider's trace header.
        serializer: the serializer of the arguments; None: the application's.
        compression: the compression of the arguments; None: the application's.
    """

    group: str | None = None
    deduplication: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    trace_header: str | None = None
    serializer: str | None = None
    compression: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], task: TaskOptions) -> Self:
        """Read the options of a call, and fall back on those of the task's declaration.

        Args:
            options: the call's, by the names that ``apply_async`` gives them.
            task: the options that the task was declared with.
        """
        return cls(
            group=options.get("MessageGroupId"),
            deduplication=options.get("MessageDeduplicationId"),
            attributes=options.get("message_attributes") or {},
            trace_header=options.get("trace_header"),
            serializer=options.get("serializer") or task.serializer,
            compression=options.get("compression") or task.compression,
        )


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message that is ready to be sent.

    Args:
        queue: its queue.
        outgoing: the message as the broker is given it.
        payload: the part that must be in the payload store before the message is sent.
        records: the records that must be in the result store before the message is sent.
        schedule: the schedule that is to send the message later; None: the broker gets it now.
        call: the message as its hooks see it; None: it has no hooks.
    """

    queue: str
    outgoing: Outgoing
    payload: Payload | None = None
    records: Sequence[Record] = ()
    schedule: OneOff | None = None
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Outbox:
    """Sends an application's messages to its broker and its scheduler.

    Args:
        codec: encodes messages, and signs them.
        broker: carries messages.
        scheduler: holds messages that are due later than the broker can delay them; None: they go in hops.
        prefers_parking: whether short delays may be left to the receivers, on brokers that prefer it. The caller of a
            push endpoint can't be told when to push again.
        hooks: the hooks that are called when a message is addressed, and when it was sent.
        priorities: the levels of priority that queues have.
        replies: the result store, if records are sent to this process as replies.
    """

    codec: Codec
    broker: Broker
    scheduler: ScheduleStore | None = None
    prefers_parking: bool = True
    hooks: HookTable | None = field(default=None, compare=False)
    priorities: PriorityLevels = NO_PRIORITIES
    replies: TakesReplies | None = field(default=None, compare=False)

    @property
    def capabilities(self) -> BrokerCapabilities:
        """The broker's capabilities, as far as this outbox uses them."""
        capabilities = self.broker.capabilities
        return capabilities if self.prefers_parking else replace(capabilities, prefers_parking=False)

    def routed_queue(self, queue: str) -> str:
        """The queue that messages of a queue were routed to: the queue of which it is a level."""
        return self.priorities.base(queue)

    def scheduled_at(self, queue: str, due: float | None, now: float) -> int | None:
        """The time at which a schedule sends a message that is due at ``due``; None: no schedule holds it."""
        scheduler = None if self.scheduler is None else self.scheduler.capabilities
        return late_delivery.fires_at(self.capabilities, scheduler, queue, due, now)

    def address(
        self, message: Message, queue: str, now: float, transport: Transport = Transport(), *, again: bool = False
    ) -> Addressed:
        """Encode a message, to be held back until its ``eta`` as far as the broker or the scheduler can do so.

        With levels of priority, the message goes to the queue of its level.

        A message that is due later than the broker's longest delay is scheduled, if there is a scheduler that takes it.
        Otherwise it comes early and is held back once more (``execution.steps.not_due``). Where the broker leaves short
        delays to the receivers, these hold it back from the beginning. A message that expires before it is due is held
        back until it expires.

        A message over the limit of the broker or the scheduler is replaced by a reference to its payload, if the codec
        has a payload store. Without one, a message that is too large for the scheduler goes to the broker.

        No hook is called for a message that was received and is put back (``again``).

        Raises:
            EncodeError: the arguments can't be serialised; the error names the task.
            PayloadTooLarge: the message is too large for the payload store.
            ImproperlyConfigured: the serializer, the compression or a header is wrong.
            DelayTooLong: the message is due later than the broker can hold it back.
        """
        call = None
        if self.hooks and not again:
            message, call = self._prepared(self.hooks, message, queue, transport)
        if self.replies is not None and message.reply_to is None and not again:
            from taskq_cloud.core.messages.replying import with_reply_to  # few applications have replies

            message = with_reply_to(message, self.replies.reply_to)
        queue = self.priorities.queue_for(queue, message.priority)
        attributes = _sent_on(transport.attributes)
        due = late_delivery.due_at(message)
        scheduled_at = self.scheduled_at(queue, due, now)
        largest_bytes = self._largest_bytes(scheduled=scheduled_at is not None) - _attributes_bytes(attributes)
        packed = self._pack(message, queue, largest_bytes, now, transport)
        outgoing = _outgoing(message, packed, transport, attributes)
        if (
            scheduled_at is not None
            and self.scheduler is not None
            and late_delivery.fits(outgoing, self.scheduler.capabilities)
        ):
            at = math.floor(min(scheduled_at, now + self._kept_seconds(packed, message)))
            schedule = late_delivery.one_off(message, queue, at)
            return Addressed(queue, outgoing, packed.payload, schedule=schedule, call=call)
        if due is not None:
            outgoing = replace(outgoing, delay_seconds=self._delay_seconds(message, queue, due, now))
        return Addressed(queue, outgoing, packed.payload, call=call)

    def check_size(self, task: str, addressed: Addressed) -> None:
        """Check a message against the size that the broker takes.

        Raises:
            PayloadTooLarge: the message is too large; the error names the task, the size, the limit and the way out.
        """
        size, largest = size_bytes(addressed.outgoing), self.capabilities.largest_message_bytes
        if size > largest:
            raise PayloadTooLarge(
                f"the message of task {task} is {size} bytes, queue {addressed.queue!r} takes {largest}: set "
                "TASKQ_PAYLOADS to a bucket for larger messages, or store its arguments elsewhere and send their "
                "location"
            )

    def send(self, addressed: Sequence[Addressed]) -> Flow[list[Sent | Refused]]:
        """Send messages to any queues, one batch for each queue, and return one answer for each message, in order.

        All payloads are stored first, together; a message whose payload is refused is not sent. Messages with a
        schedule are given to the scheduler; the name of the schedule stands for the broker's message id.

        Raises:
            OperationalError: all messages go to one queue, and it can't be used. With several queues, the answers of
                its messages contain the error.
        """
        answers: list[Any] = [None] * len(addressed)
        yield from self._prepare_replies()
        if self.codec.payloads is not None:
            large = [position for position, each in enumerate(addressed) if each.payload is not None]
            stored = yield from self.codec.payloads.put(
                [each.payload for each in addressed if each.payload is not None]
            )
            for position, refused in zip(large, stored, strict=True):
                answers[position] = refused
        positions: dict[str, list[int]] = {}
        late: list[int] = []
        for position, each in enumerate(addressed):
            if answers[position] is None:
                (positions.setdefault(each.queue, []) if each.schedule is None else late).append(position)
        if late:  # first, since scheduling a message twice schedules it once
            scheduled = yield from self._schedule([addressed[position] for position in late])
            for position, answer in zip(late, scheduled, strict=True):
                answers[position] = answer
        for queue, of_queue in positions.items():
            alone = len(of_queue) == len(addressed)
            sent = yield from self._send_to(queue, [addressed[position].outgoing for position in of_queue], alone=alone)
            for position, answer in zip(of_queue, sent, strict=True):
                answers[position] = answer
        if self.hooks:
            from taskq_cloud.core.messages import hooked_sending  # few applications have hooks

            hooked_sending.answered(self.hooks, addressed, answers)
        return answers

    def _prepare_replies(self) -> Flow[None]:
        if self.replies is not None:
            yield from self.replies.prepare()

    def _prepared(
        self, hooks: HookTable, message: Message, queue: str, transport: Transport
    ) -> tuple[Message, Call | None]:
        from taskq_cloud.core.messages import hooked_sending  # few applications have hooks

        carried = {"MessageGroupId": transport.group, "MessageDeduplicationId": transport.deduplication}
        carried |= {name: getattr(transport, name) for name in ("trace_header", "serializer", "compression")}
        return hooked_sending.prepared(hooks, message, queue, carried)

    def _largest_bytes(self, *, scheduled: bool) -> int:
        largest_bytes = self.capabilities.largest_message_bytes
        if scheduled and self.scheduler is not None:
            # The quotes of JSON within JSON take about a third of it.
            return min(largest_bytes, self.scheduler.capabilities.largest_body_bytes * 3 // 4)
        return largest_bytes

    def _pack(self, message: Message, queue: str, largest_bytes: int, now: float, transport: Transport) -> Packed:
        try:
            return self.codec.pack(
                message,
                queue,
                largest_bytes,
                now,
                serializer=transport.serializer,
                compression=transport.compression,
            )
        except EncodeError as error:
            raise EncodeError(f"task {message.task}: its arguments are {error}") from error

    def _delay_seconds(self, message: Message, queue: str, due: float, now: float) -> float:
        capabilities = self.capabilities
        delay, longest = max(0.0, due - now), capabilities.longest_eta(queue)
        if delay > longest:
            beyond = capabilities.beyond_parking
            way_out = f"a longer delay needs {beyond}" if beyond else "choose an earlier time"
            raise DelayTooLong(
                f"task {message.task} is due in {delay:.0f} s, and queue {queue!r} holds a message back for at most "
                f"{longest:g} s: {way_out}"
            )
        return 0.0 if capabilities.parks(queue, delay) else min(delay, capabilities.longest_delay(queue))

    def _kept_seconds(self, packed: Packed, message: Message) -> float:
        """How long a message can wait before its payload has to be stored again, which its receiver does."""
        refers = packed.payload is not None or message.payload_reference is not None
        return self.codec.payloads.longest_wait_seconds if refers and self.codec.payloads is not None else math.inf

    def _schedule(self, late: Sequence[Addressed]) -> Flow[list[Sent | Refused]]:
        assert self.scheduler is not None  # no message has a schedule without it
        held = [(each.queue, each.outgoing, each.schedule) for each in late if each.schedule is not None]
        refusals = yield from late_delivery.put(self.scheduler, self.broker, held)
        return [refused or Sent(once.name) for (_, _, once), refused in zip(held, refusals, strict=True)]

    def _send_to(self, queue: str, messages: Sequence[Outgoing], *, alone: bool) -> Flow[Sequence[Sent | Refused]]:
        try:
            return (yield from self.broker.send(queue, messages))
        except OperationalError as error:
            if alone:
                raise
            # The messages to other queues are sent all the same, and the caller is told which were not.
            return [Refused(error)] * len(messages)


def total_bytes(addressed: Addressed) -> int:
    """The bytes of a message and of its payload."""
    return size_bytes(addressed.outgoing) + (len(addressed.payload.data) if addressed.payload is not None else 0)


def size_bytes(message: Outgoing) -> int:
    """The bytes that a broker counts against its largest message: the body and the attributes."""
    return utf8_bytes(message.body) + _attributes_bytes(message.attributes)


def _outgoing(message: Message, packed: Packed, transport: Transport, attributes: Mapping[str, str]) -> Outgoing:
    return Outgoing(
        body=packed.body,
        group=transport.group,
        deduplication=transport.deduplication or f"{message.id}:{message.attempt}",
        attributes={**attributes, **packed.attributes} if packed.attributes else attributes,
        trace_header=transport.trace_header,
    )


def _sent_on(attributes: Mapping[str, str]) -> Mapping[str, str]:
    """Attributes without a pointer's, which describe how the message came and not how it is sent on."""
    if not attributes:
        return attributes
    return {name: value for name, value in attributes.items() if name not in POINTER_ATTRIBUTES}


def _attributes_bytes(attributes: Mapping[str, str]) -> int:
    if not attributes:
        return 0
    # A name, a value, and, on SQS, the type: "String" or "Number" (SQS Developer Guide, "quotas-messages").
    return sum(utf8_bytes(name) + utf8_bytes(value) + len("String") for name, value in attributes.items())


def store_records(store: ResultStore, addressed: Sequence[Addressed]) -> Flow[None]:
    """Save the records that messages need before they are sent; a final record that is there already stays."""
    records = [record for each in addressed for record in each.records]
    for begin in range(0, len(records), RECORDS_AT_ONCE):
        yield from store.save(records[begin : begin + RECORDS_AT_ONCE])
