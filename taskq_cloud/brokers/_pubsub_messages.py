"""Messages in Pub/Sub's form: their limits, the batches to publish, and the deliveries made of pulled messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, is_ordered
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DEAD_LETTER_SOURCE, Delivery, Outgoing
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, PayloadTooLarge

LARGEST_REQUEST_BYTES: Final = 10_000_000
"""The largest publish request (Pub/Sub documentation, "Quotas and limits")."""

LARGEST_MESSAGE_BYTES: Final = LARGEST_REQUEST_BYTES - 4_096
"""The largest message: a request also has the topic's name, an ordering key, and the framing of the message's parts."""

LARGEST_BATCH: Final = 1_000
"""The most messages of one publish or one pull (Pub/Sub documentation, "Quotas and limits")."""

LARGEST_ACKNOWLEDGEMENT_BYTES: Final = 500_000
"""The largest acknowledge or modifyAckDeadline request, below Pub/Sub's 512 KiB (Pub/Sub documentation, "Quotas and
limits")."""

LONGEST_DEADLINE_SECONDS: Final = 600
"""The longest acknowledgement deadline (Pub/Sub documentation, "Extend ack time with lease management")."""

MOST_ATTRIBUTES: Final = 100
LONGEST_ATTRIBUTE_NAME_BYTES: Final = 256
LONGEST_ATTRIBUTE_VALUE_BYTES: Final = 1_024
LONGEST_ORDERING_KEY_BYTES: Final = 1_024

_FRAME_BYTES: Final = 32
_ATTRIBUTE_FRAME_BYTES: Final = 12
"""The most bytes that protocol buffers add, as tags and lengths, to a message and to an attribute."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a publish request.

    Args:
        position: the message's position among the caller's messages.
        message: a ``PubsubMessage``, as plain data.
        size_bytes: how much the message adds to the request.
    """

    position: int
    message: Mapping[str, Any]
    size_bytes: int


def entry_to_send(position: int, queue: str, outgoing: Outgoing) -> Entry:
    """Make the entry of a publish request from a message.

    Args:
        position: the message's position among the caller's messages.
        queue: the queue's name.
        outgoing: the message.

    Raises:
        PayloadTooLarge: the message exceeds Pub/Sub's limit.
        OperationalError: Pub/Sub can't carry one of the message's attributes or characters.
        ImproperlyConfigured: the message group isn't a legal ordering key.
    """
    try:
        # Bytes that weren't UTF-8 when they were received are sent on unchanged.
        data = outgoing.body.encode(errors="surrogateescape")
        size = len(data) + sum(_size(name) + _size(value) for name, value in outgoing.attributes.items())
    except UnicodeEncodeError as error:
        raise OperationalError(f"queue {queue!r}: the message can't be encoded as UTF-8: {error}") from error
    if size > LARGEST_MESSAGE_BYTES:
        raise PayloadTooLarge(
            f"queue {queue!r}: the message has {size} bytes, and a request of Pub/Sub's 10 MB has room for "
            f"{LARGEST_MESSAGE_BYTES}: set TASKQ_PAYLOADS to a bucket for large messages, or put the data into a store "
            "and send its key"
        )
    _check_attributes(queue, outgoing.attributes)
    message: dict[str, Any] = {"data": data}
    if outgoing.attributes:
        message["attributes"] = dict(outgoing.attributes)
    if is_ordered(queue):
        key = outgoing.group or DEFAULT_GROUP
        if _size(key) > LONGEST_ORDERING_KEY_BYTES:
            raise ImproperlyConfigured(
                f"queue {queue!r}: the message group has {_size(key)} bytes, and Pub/Sub takes at most "
                f"{LONGEST_ORDERING_KEY_BYTES}: shorten it"
            )
        message["ordering_key"] = key
        size += _size(key)
    return Entry(position, message, size + _FRAME_BYTES + _ATTRIBUTE_FRAME_BYTES * len(outgoing.attributes))


def in_batches(entries: Iterable[Entry], topic: str) -> Iterator[list[Entry]]:
    """Divide entries, in order, into as few publish requests as their number and size allow."""
    batch: list[Entry] = []
    empty = size = _FRAME_BYTES + len(topic)
    for entry in entries:
        if batch and (len(batch) == LARGEST_BATCH or size + entry.size_bytes > LARGEST_REQUEST_BYTES):
            yield batch
            batch, size = [], empty
        batch.append(entry)
        size += entry.size_bytes
    if batch:
        yield batch


def ids_in_batches(ack_ids: Sequence[str]) -> Iterator[list[str]]:
    """Divide acknowledgement ids into as few requests as their number and size allow."""
    batch: list[str] = []
    size = 0
    for ack_id in ack_ids:
        if batch and (len(batch) == LARGEST_BATCH or size + len(ack_id) > LARGEST_ACKNOWLEDGEMENT_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(ack_id)
        size += len(ack_id) + _ATTRIBUTE_FRAME_BYTES
    if batch:
        yield batch


def deadline_seconds(seconds: float) -> int:
    """Round up to whole seconds, and cut to the longest acknowledgement deadline."""
    return math.ceil(min(max(0.0, seconds), LONGEST_DEADLINE_SECONDS))


def delivery_of(queue: str, received: Any, received_at: float, lease_seconds: float) -> Delivery:
    """Make a delivery of a pulled message.

    Args:
        queue: the queue's name.
        received: a ``ReceivedMessage`` of a pull's answer.
        received_at: when the message was received, in seconds since the epoch.
        lease_seconds: how long the caller leases the message.
    """
    message = received.message
    # Only a subscription with a dead-letter policy counts deliveries (Pub/Sub documentation, "Track delivery
    # attempts").
    attempt = int(received.delivery_attempt)
    return Delivery(
        queue=queue,
        message_id=message.message_id,
        receipt=received.ack_id,
        body=bytes(message.data).decode(errors="surrogateescape"),
        receive_count=attempt or 1,
        sent_at=message.publish_time.timestamp() if message.publish_time else None,
        received_at=received_at,
        lease_seconds=min(lease_seconds, LONGEST_DEADLINE_SECONDS),
        group=message.ordering_key or None,
        attributes=dict(message.attributes),
        counted=attempt > 0,
    )


def dead_letter(delivery: Delivery, reason: str) -> Outgoing:
    """Make the message for the dead-letter topic; the reason and the queue are added as far as there is room."""
    kept = [item for item in delivery.attributes.items() if item[0] not in (DEAD_LETTER_REASON, DEAD_LETTER_SOURCE)]
    attributes = dict(kept[: MOST_ATTRIBUTES - 2])
    room = LARGEST_MESSAGE_BYTES - len(delivery.body.encode(errors="surrogateescape"))
    room -= sum(_size(name) + _size(value) for name, value in attributes.items())
    for name, value in ((DEAD_LETTER_SOURCE, delivery.queue), (DEAD_LETTER_REASON, reason)):
        room_for_value = max(0, min(room - _size(name), LONGEST_ATTRIBUTE_VALUE_BYTES))
        fitting = value.encode(errors="replace")[:room_for_value].decode(errors="ignore")
        if fitting:
            attributes[name] = fitting
            room -= _size(name) + _size(fitting)
    return Outgoing(body=delivery.body, group=delivery.group, attributes=attributes)


def _check_attributes(queue: str, attributes: Mapping[str, str]) -> None:
    if len(attributes) > MOST_ATTRIBUTES:
        raise OperationalError(
            f"queue {queue!r}: the message has {len(attributes)} attributes, and Pub/Sub takes {MOST_ATTRIBUTES}: send "
            "fewer"
        )
    for name, value in attributes.items():
        if not name or name.startswith("goog") or _size(name) > LONGEST_ATTRIBUTE_NAME_BYTES:
            raise OperationalError(
                f"queue {queue!r}: an attribute can't be called {name[:80]!r}: use 1 to "
                f"{LONGEST_ATTRIBUTE_NAME_BYTES} bytes that don't begin with goog"
            )
        if _size(value) > LONGEST_ATTRIBUTE_VALUE_BYTES:
            raise OperationalError(
                f"queue {queue!r}: attribute {name!r} has {_size(value)} bytes, and Pub/Sub takes at most "
                f"{LONGEST_ATTRIBUTE_VALUE_BYTES}: shorten it"
            )


def _size(text: str) -> int:
    return len(text.encode())
