"""From messages to what a broker or a scheduler is given: encoding, claims, delay, and one batch a queue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.messages.codec import Codec, Packed, utf8_bytes
from taskq_cloud.core.messages.late_delivery import OneOff
from taskq_cloud.core.model.message import Message, Outgoing, Refused, Sent
from taskq_cloud.core.model.payload_references import POINTER_ATTRIBUTES, Payload
from taskq_cloud.core.model.platform_schedule import ScheduleCapabilities
from taskq_cloud.core.ports import Broker, BrokerCapabilities, ResultStore, ScheduleStore
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import DelayTooLong, EncodeError, OperationalError, PayloadTooLarge

RECORDS_AT_ONCE: Final = 10
"""Of a quarter of a megabyte each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How a call wants its message carried, beside what the message says.

    Args:
        group: the message group; on an unordered queue the tenant, where the broker knows tenants.
        deduplication: two sends with the same one are one, where the queue deduplicates; None: made from the task's id
            and how often it was run.
        attributes: the broker's message attributes, as strings.
        trace_header: the provider's trace header.
        serializer: of the arguments; None: the application's.
        compression: likewise.
    """

    group: str | None = None
    deduplication: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    trace_header: str | None = None
    serializer: str | None = None
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message ready to be sent, its queue, what has to be checked in, or stored as results are, before.

    With a schedule, that is to send it; without one, the message goes to the broker now.
    """

    queue: str
    outgoing: Outgoing
    payload: Payload | None = None
    records: Sequence[Record] = ()
    schedule: OneOff | None = None


def address(
    codec: Codec,
    message: Message,
    queue: str,
    capabilities: BrokerCapabilities,
    now: float,
    transport: Transport = Transport(),
    scheduler: ScheduleCapabilities | None = None,
) -> Addressed:
    """Encode a message, held back by the broker for as long as its ``eta`` and the broker allow.

    What is due later than the broker's longest delay is scheduled, if there is a scheduler that takes it; otherwise it
    is parked again when it arrives (``core.execution``, step 4). Where the broker leaves short delays to the receivers,
    those park it from the beginning. What expires before it is due is held back until it expires.

    Where it is over the broker's or the scheduler's limit, it is claimed, if the codec has payloads. Otherwise what the
    scheduler doesn't take goes without it, and what the broker doesn't take is refused by it.

    Raises:
        EncodeError: its arguments can't be serialised; names the task.
        PayloadTooLarge: it is too large to be claimed.
        ImproperlyConfigured: the serializer, the compression or a header is wrong.
        DelayTooLong: it is due later than the broker can have it.
    """
    # Those of a pointer that the message came with say nothing of how it is sent on.
    attributes = {name: value for name, value in transport.attributes.items() if name not in POINTER_ATTRIBUTES}
    due = late_delivery.due_at(message)
    at = late_delivery.fires_at(capabilities, scheduler, queue, due, now)
    largest_bytes = capabilities.largest_message_bytes
    if at is not None and scheduler is not None:
        # The quotes of JSON within JSON take about a third of it.
        largest_bytes = min(largest_bytes, scheduler.largest_body_bytes * 3 // 4)
    try:
        packed = codec.pack(
            message,
            queue,
            largest_bytes - _attributes_bytes(attributes),
            now,
            serializer=transport.serializer,
            compression=transport.compression,
        )
    except EncodeError as error:
        raise EncodeError(f"task {message.task}: its arguments are {error}") from error
    outgoing = Outgoing(
        body=packed.body,
        group=transport.group,
        deduplication=transport.deduplication or f"{message.id}:{message.attempt}",
        attributes={**attributes, **packed.attributes},
        trace_header=transport.trace_header,
    )
    if at is not None and scheduler is not None and late_delivery.fits(outgoing, scheduler):
        at = math.floor(min(at, now + _kept_seconds(codec, packed, message)))
        return Addressed(queue, outgoing, packed.payload, schedule=late_delivery.one_off(message, queue, at))
    delay = 0.0 if due is None else max(0.0, due - now)
    longest = capabilities.longest_eta(queue)
    if delay > longest:
        raise DelayTooLong(
            f"task {message.task} is due in {delay:.0f} s, and queue {queue!r} holds a message back for at most "
            f"{longest:g} s" + (f": longer takes {capabilities.beyond_parking}" if capabilities.beyond_parking else "")
        )
    if capabilities.parks(queue, delay):
        delay = 0.0
    return Addressed(
        queue, replace(outgoing, delay_seconds=min(delay, capabilities.longest_delay(queue))), packed.payload
    )


def _kept_seconds(codec: Codec, packed: Packed, message: Message) -> float:
    """How long a message can wait before what it claims has to be checked in anew, which whoever receives it does."""
    claims = packed.payload is not None or message.payload_reference is not None
    return codec.payloads.longest_wait_seconds if claims and codec.payloads is not None else math.inf


def size_bytes(message: Outgoing) -> int:
    """What a broker counts against its largest message: the body and the attributes."""
    return utf8_bytes(message.body) + _attributes_bytes(message.attributes)


def _attributes_bytes(attributes: Mapping[str, str]) -> int:
    # A name, a value, and, on SQS, the type: "String" or "Number" (SQS Developer Guide, "quotas-messages").
    return sum(utf8_bytes(name) + utf8_bytes(value) + len("String") for name, value in attributes.items())


def check_size(task: str, addressed: Addressed, capabilities: BrokerCapabilities) -> None:
    """Whether the broker takes a message, as far as its size goes.

    Raises:
        PayloadTooLarge: names the task, the size, the limit and the way out.
    """
    size, largest = size_bytes(addressed.outgoing), capabilities.largest_message_bytes
    if size > largest:
        raise PayloadTooLarge(
            f"the message of task {task} is {size} bytes, queue {addressed.queue!r} takes {largest}: set "
            "TASKQ_PAYLOADS to a bucket for what is larger, or store its arguments elsewhere and send where they are"
        )


def store_records(store: ResultStore, addressed: Sequence[Addressed]) -> Flow[None]:
    """Store what messages need in the result store, before they are sent; what is there already, and final, stays."""
    records = [record for each in addressed for record in each.records]
    for begin in range(0, len(records), RECORDS_AT_ONCE):
        yield from store.save(records[begin : begin + RECORDS_AT_ONCE])


def send(
    codec: Codec, broker: Broker, addressed: Sequence[Addressed], scheduler: ScheduleStore | None = None
) -> Flow[list[Sent | Refused]]:
    """Send messages of any queues, as one batch a queue; one answer a message, in order.

    What they claim is checked in first, all of it together; a message whose payload is refused is not sent. Those with
    a schedule are given to ``scheduler``, whose name for it stands for the broker's message id.

    Raises:
        OperationalError: all of them go to one queue, which can't be used; of several queues the answers say it.
    """
    answers: list[Any] = [None] * len(addressed)
    if codec.payloads is not None:
        large = [position for position, each in enumerate(addressed) if each.payload is not None]
        stored = yield from codec.payloads.put([each.payload for each in addressed if each.payload is not None])
        for position, refused in zip(large, stored, strict=True):
            answers[position] = refused
    positions: dict[str, list[int]] = {}
    later: list[int] = []
    for position, each in enumerate(addressed):
        if answers[position] is None:
            (positions.setdefault(each.queue, []) if each.schedule is None else later).append(position)
    if later:  # first: scheduled again, each is one still
        assert scheduler is not None  # address() was given its capabilities
        held = [
            (each.queue, each.outgoing, each.schedule)
            for each in (addressed[position] for position in later)
            if each.schedule is not None
        ]
        kept = yield from late_delivery.put(scheduler, broker, held)
        for position, (_, _, schedule), refused in zip(later, held, kept, strict=True):
            answers[position] = refused or Sent(schedule.name)
    for queue, of_queue in positions.items():
        alone = len(of_queue) == len(addressed)
        sent = yield from _send_to(broker, queue, [addressed[position].outgoing for position in of_queue], alone=alone)
        for position, answer in zip(of_queue, sent, strict=True):
            answers[position] = answer
    return answers


def _send_to(
    broker: Broker, queue: str, messages: Sequence[Outgoing], *, alone: bool
) -> Flow[Sequence[Sent | Refused]]:
    try:
        return (yield from broker.send(queue, messages))
    except OperationalError as error:
        if alone:
            raise
        # What goes to other queues is sent all the same: whoever called has to be told which.
        return [Refused(error)] * len(messages)
