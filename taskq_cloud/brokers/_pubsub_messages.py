"""Messages as Pub/Sub has them: sizes, limits, batches, and what a pull hands over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DEAD_LETTER_SOURCE, Delivery, Outgoing
from taskq_cloud.core.ports import DEFAULT_GROUP, is_ordered
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, PayloadTooLarge

LARGEST_REQUEST_BYTES: Final = 10_000_000
"""Of one publish (Pub/Sub documentation, "Quotas and limits")."""

LARGEST_MESSAGE_BYTES: Final = LARGEST_REQUEST_BYTES - 4_096
"""What is left of the largest request beside the topic's name, an ordering key and what frames a message's parts."""

LARGEST_BATCH: Final = 1_000
"""Messages of one publish or one pull (Pub/Sub documentation, "Quotas and limits")."""

LARGEST_ACKNOWLEDGEMENT_BYTES: Final = 500_000
"""Of one acknowledge or modifyAckDeadline, whose limit is 512 KiB (Pub/Sub documentation, "Quotas and limits")."""

LONGEST_DEADLINE_SECONDS: Final = 600
"""Of one acknowledgement deadline (Pub/Sub documentation, "Extend ack time with lease management")."""

MOST_ATTRIBUTES: Final = 100
LONGEST_ATTRIBUTE_NAME_BYTES: Final = 256
LONGEST_ATTRIBUTE_VALUE_BYTES: Final = 1_024
LONGEST_ORDERING_KEY_BYTES: Final = 1_024

_FRAME_BYTES: Final = 32
_ATTRIBUTE_FRAME_BYTES: Final = 12
"""Tags and lengths in protocol buffers, at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a publish.

    Args:
        position: its place in what the caller gave.
        message: a ``PubsubMessage``, as plain data.
        size_bytes: what it adds to the request.
    """

    position: int
    message: Mapping[str, Any]
    size_bytes: int


def entry_to_send(position: int, queue: str, outgoing: Outgoing) -> Entry:
    """A message as ``Publish`` takes it.

    Raises:
        PayloadTooLarge: it is over Pub/Sub's limit.
        OperationalError: an attribute or a character in it can't be carried.
        ImproperlyConfigured: its message group is no legal ordering key.
    """
    try:
        # What was no UTF-8 when it was received is sent on as it came.
        data = outgoing.body.encode(errors="surrogateescape")
        size = len(data) + sum(_size(name) + _size(value) for name, value in outgoing.attributes.items())
    except UnicodeEncodeError as error:
        raise OperationalError(f"queue {queue!r}: the message can't be sent as UTF-8: {error}") from error
    if size > LARGEST_MESSAGE_BYTES:
        raise PayloadTooLarge(
            f"queue {queue!r}: the message has {size} bytes, and Pub/Sub takes at most {LARGEST_MESSAGE_BYTES} of "
            "them in its 10 MB: set TASKQ_PAYLOADS to a bucket for what is larger, or put the data into a store and "
            "send its key"
        )
    _check_attributes(queue, outgoing.attributes)
    message: dict[str, Any] = {"data": data}
    if outgoing.attributes:
        message["attributes"] = dict(outgoing.attributes)
    if is_ordered(queue):
        key = outgoing.group or DEFAULT_GROUP
        if _size(key) > LONGEST_ORDERING_KEY_BYTES:
            raise ImproperlyConfigured(
                f"queue {queue!r}: a message group has at most {LONGEST_ORDERING_KEY_BYTES} bytes"
            )
        message["ordering_key"] = key
        size += _size(key)
    return Entry(position, message, size + _FRAME_BYTES + _ATTRIBUTE_FRAME_BYTES * len(outgoing.attributes))


def in_batches(entries: Iterable[Entry], topic: str) -> Iterator[list[Entry]]:
    """Cut entries, in order, into as few publishes as their number and size allow."""
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
    """Cut acknowledgement ids into as few requests as their number and size allow."""
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
    """Whole seconds, at most what one acknowledgement deadline can have."""
    return math.ceil(min(max(0.0, seconds), LONGEST_DEADLINE_SECONDS))


def delivery_of(queue: str, received: Any, received_at: float, lease_seconds: float) -> Delivery:
    """A received message."""
    message = received.message
    # Only a subscription with a dead-letter policy counts (Pub/Sub documentation, "Track delivery attempts").
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
    """What goes to the dead-letter topic: the message and, as far as there is room for it, why and where from."""
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
            f"queue {queue!r}: the message has {len(attributes)} attributes, and Pub/Sub takes {MOST_ATTRIBUTES}"
        )
    for name, value in attributes.items():
        if not name or name.startswith("goog") or _size(name) > LONGEST_ATTRIBUTE_NAME_BYTES:
            raise OperationalError(
                f"queue {queue!r}: an attribute can't be called {name[:80]!r}: Pub/Sub takes 1 to "
                f"{LONGEST_ATTRIBUTE_NAME_BYTES} bytes that don't begin with goog"
            )
        if _size(value) > LONGEST_ATTRIBUTE_VALUE_BYTES:
            raise OperationalError(
                f"queue {queue!r}: attribute {name!r} has {_size(value)} bytes, and Pub/Sub takes at most "
                f"{LONGEST_ATTRIBUTE_VALUE_BYTES}"
            )


def _size(text: str) -> int:
    return len(text.encode())
