"""From messages to what a broker is given: encoding, delay, and one batch a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from taskq_cloud.core import protocol
from taskq_cloud.core.calls import Flow
from taskq_cloud.core.message import Message, Outgoing, Refused, Sent
from taskq_cloud.core.ports import Broker, BrokerCapabilities
from taskq_cloud.errors import EncodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How a call wants its message carried, beside what the message says.

    Args:
        group: the message group; on an unordered queue the tenant, where the broker knows tenants.
        deduplication: two sends with the same one are one, where the queue deduplicates; None: made from the task's id
            and its retries.
        attributes: the broker's message attributes, as strings.
        trace_header: the provider's trace header.
        serializer: of the arguments.
        compression: of the arguments.
    """

    group: str | None = None
    deduplication: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    trace_header: str | None = None
    serializer: str = "json"
    compression: str | None = None


@dataclass(frozen=True, slots=True)
class Addressed:
    """A message ready to be sent, and its queue."""

    queue: str
    outgoing: Outgoing


def address(
    message: Message, queue: str, capabilities: BrokerCapabilities, now: float, transport: Transport = Transport()
) -> Addressed:
    """Encode a message, held back by the broker for as long as its ``eta`` and the broker allow.

    What is due later than the broker's longest delay is parked again when it arrives (``core.execution``, step 4).

    Raises:
        EncodeError: its arguments can't be serialised; names the task.
        ImproperlyConfigured: the serializer, the compression or a header is wrong.
    """
    try:
        body = protocol.encode(message, queue, serializer=transport.serializer, compression=transport.compression)
    except EncodeError as error:
        raise EncodeError(f"task {message.task}: its arguments are {error}") from error
    delay = 0.0 if message.eta is None else message.eta.timestamp() - now
    return Addressed(
        queue,
        Outgoing(
            body=body,
            delay_seconds=max(0.0, min(delay, capabilities.longest_delay(queue))),
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
