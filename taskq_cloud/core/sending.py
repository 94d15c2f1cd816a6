"""From messages to what a broker is given: encoding, delay, and one batch a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskq_cloud.core.calls import Flow
from taskq_cloud.core.codec import Codec
from taskq_cloud.core.message import Message, Outgoing, Refused, Sent
from taskq_cloud.core.ports import Broker, BrokerCapabilities
from taskq_cloud.errors import DelayTooLong, EncodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How a call wants its message carried, beside what the message says.

    Args:
        group: the message group; on an unordered queue the tenant, where the broker knows tenants.
        deduplication: two sends with the same one are one, where the queue deduplicates; None: made from the task's id
            and its retries.
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
    """A message ready to be sent, and its queue."""

    queue: str
    outgoing: Outgoing


def address(
    codec: Codec,
    message: Message,
    queue: str,
    capabilities: BrokerCapabilities,
    now: float,
    transport: Transport = Transport(),
) -> Addressed:
    """Encode a message, held back by the broker for as long as its ``eta`` and the broker allow.

    What is due later than the broker's longest delay is parked again when it arrives (``core.execution``, step 4).
    Where the broker leaves short delays to the receivers, those park it from the beginning.

    Raises:
        EncodeError: its arguments can't be serialised; names the task.
        ImproperlyConfigured: the serializer, the compression or a header is wrong.
        DelayTooLong: it is due later than the broker can have it.
    """
    try:
        body = codec.write(message, queue, transport.serializer, transport.compression)
    except EncodeError as error:
        raise EncodeError(f"task {message.task}: its arguments are {error}") from error
    delay = 0.0 if message.eta is None else max(0.0, message.eta.timestamp() - now)
    longest = capabilities.longest_eta(queue)
    if delay > longest:
        raise DelayTooLong(
            f"task {message.task} is due in {delay:.0f} s, and queue {queue!r} holds a message back for at most "
            f"{longest:g} s" + (f": longer takes {capabilities.beyond_parking}" if capabilities.beyond_parking else "")
        )
    if capabilities.parks(queue, delay):
        delay = 0.0
    return Addressed(
        queue,
        Outgoing(
            body=body,
            delay_seconds=min(delay, capabilities.longest_delay(queue)),
            group=transport.group,
            deduplication=transport.deduplication or f"{message.id}:{message.retries}",
            attributes=transport.attributes,
            trace_header=transport.trace_header,
        ),
    )


def send(broker: Broker, addressed: Sequence[Addressed]) -> Flow[list[Sent | Refused]]:
    """Send messages of any queues, as one batch a queue; one answer a message, in order."""
    positions: dict[str, list[int]] = {}
    for position, each in enumerate(addressed):
        positions.setdefault(each.queue, []).append(position)
    answers: list[Any] = [None] * len(addressed)
    for queue, of_queue in positions.items():
        sent = yield from broker.send(queue, [addressed[position].outgoing for position in of_queue])
        for position, answer in zip(of_queue, sent, strict=True):
            answers[position] = answer
    return answers


def growing_delay(count: int, first_seconds: float, longest_seconds: float) -> float:
    """Seconds to wait after the ``count``-th time: doubling from the first, up to a ceiling."""
    return min(longest_seconds, first_seconds * 2.0 ** min(count - 1, 30))
