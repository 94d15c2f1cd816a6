"""Messages in SQS's form: their limits, the entries to send, and the deliveries made of received messages."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.brokers._sqs_calls import LARGEST_BATCH_BYTES, LARGEST_BATCH_ENTRIES, Entry
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, is_ordered
from taskq_cloud.core.model.ids import new_id
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DEAD_LETTER_SOURCE, Delivery, Outgoing
from taskq_cloud.core.model.payload_references import LEGACY_POINTER_SIZE, POINTER_SIZE
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, PayloadTooLarge

LONGEST_DELAY_SECONDS: Final = 900
"""The longest delay of a message (SQS Developer Guide, "quotas-queues")."""

LONGEST_VISIBILITY_SECONDS: Final = 43_200
"""The longest visibility timeout in all, from the receive on (SQS Developer Guide, "sqs-visibility-timeout")."""

LONGEST_WAIT_SECONDS: Final = 20
"""The longest wait of a receive (SQS Developer Guide, "quotas-queues")."""

MOST_ATTRIBUTES: Final = 10
"""The most attributes of a message (SQS Developer Guide, "quotas-messages")."""

LONGEST_REASON_CHARACTERS: Final = 1_000
"""The longest reason of a dead letter. It is our own limit, so that an operator can read the reason in the console."""

_ATTRIBUTE_TYPE: Final = "String"
_NUMBER_ATTRIBUTES: Final = frozenset({POINTER_SIZE, LEGACY_POINTER_SIZE})
"""The attributes that the SQS Extended Client writes as numbers."""
_SYSTEM_ATTRIBUTES: Final = ("ApproximateReceiveCount", "SentTimestamp", "MessageGroupId")

_LEGAL_ID: Final = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
"""A message group id or a deduplication id (SQS API Reference, "SendMessage")."""

_ILLEGAL_CHARACTER: Final = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")
"""A character that neither a body nor an attribute may contain (SQS API Reference, "SendMessage")."""


def entry_to_send(position: int, queue: str, message: Outgoing) -> Entry:
    """Make an entry of ``SendMessageBatch`` from a message.

    Args:
        position: the message's position among the caller's messages.
        queue: the queue's name.
        message: the message.

    Raises:
        PayloadTooLarge: the message exceeds SQS's limit.
        OperationalError: SQS can't carry the message's delay, or one of its attributes or characters.
        ImproperlyConfigured: the message group isn't a legal one.
    """
    try:
        size = size_bytes(message.body, message.attributes)
    except UnicodeEncodeError as error:
        raise OperationalError(f"queue {queue!r}: the message can't be encoded as UTF-8: {error}") from error
    if size > LARGEST_BATCH_BYTES:
        raise PayloadTooLarge(
            f"queue {queue!r}: the message has {size} bytes, and SQS takes at most {LARGEST_BATCH_BYTES}: set"
            " TASKQ_PAYLOADS to a bucket for large messages, or put the data into a store and send its key"
        )
    if len(message.attributes) > MOST_ATTRIBUTES:
        raise OperationalError(
            f"queue {queue!r}: the message has {len(message.attributes)} attributes, and SQS takes {MOST_ATTRIBUTES}:"
            " send fewer"
        )
    parameters: dict[str, Any] = {"MessageBody": message.body, **_placement_parameters(queue, message)}
    if message.attributes:
        parameters["MessageAttributes"] = {
            name: {"DataType": "Number" if name in _NUMBER_ATTRIBUTES else _ATTRIBUTE_TYPE, "StringValue": value}
            for name, value in message.attributes.items()
        }
    if message.trace_header:
        parameters["MessageSystemAttributes"] = {
            "AWSTraceHeader": {"DataType": _ATTRIBUTE_TYPE, "StringValue": message.trace_header}
        }
    return Entry(position, parameters, size)


def size_bytes(body: str, attributes: Mapping[str, str]) -> int:
    """The size that SQS counts: the body and each attribute's name, type and value, but not the trace header."""
    return len(body.encode()) + sum(
        len(name.encode()) + len(_ATTRIBUTE_TYPE) + len(value.encode()) for name, value in attributes.items()
    )


def dead_letter(delivery: Delivery, reason: str) -> Outgoing:
    """Make the message for the dead-letter queue; the reason and the queue are added as far as there is room."""
    attributes = dict(list(delivery.attributes.items())[: MOST_ATTRIBUTES - 2])
    room = LARGEST_BATCH_BYTES - size_bytes(delivery.body, attributes)
    for name, value in ((DEAD_LETTER_SOURCE, delivery.queue), (DEAD_LETTER_REASON, reason)):
        legal = _ILLEGAL_CHARACTER.sub("\ufffd", value)[:LONGEST_REASON_CHARACTERS]
        room_for_value = max(0, room - size_bytes("", {name: ""}))
        fitting = legal.encode()[:room_for_value].decode(errors="ignore")
        if fitting:
            attributes[name] = fitting
            room -= size_bytes("", {name: fitting})
    # The deduplication id makes it one message on a FIFO queue, even if it is dead-lettered twice within five minutes.
    return Outgoing(body=delivery.body, group=delivery.group, deduplication=delivery.message_id, attributes=attributes)


def receive_parameters(url: str, limit: int, wait_seconds: float, lease_seconds: float) -> dict[str, Any]:
    """The parameters of ``ReceiveMessage``; values over SQS's limits are cut to the limits.

    Args:
        url: the queue's URL.
        limit: the most messages to receive.
        wait_seconds: how long to wait for the first message.
        lease_seconds: the visibility timeout of the received messages.
    """
    return {
        "QueueUrl": url,
        "MaxNumberOfMessages": min(limit, LARGEST_BATCH_ENTRIES),
        "WaitTimeSeconds": int(min(wait_seconds, LONGEST_WAIT_SECONDS)),
        "VisibilityTimeout": visibility_seconds(lease_seconds),
        "MessageSystemAttributeNames": list(_SYSTEM_ATTRIBUTES),
        "MessageAttributeNames": ["All"],
    }


def visibility_seconds(seconds: float) -> int:
    """Round up to whole seconds, and cut to the longest visibility timeout, twelve hours."""
    return min(math.ceil(max(0.0, seconds)), LONGEST_VISIBILITY_SECONDS)


def delivery_of(queue: str, message: Mapping[str, Any], received_at: float, lease_seconds: float) -> Delivery:
    """Make a delivery of a received message.

    Args:
        queue: the queue's name.
        message: a message of ``ReceiveMessage``'s answer.
        received_at: when the message was received, in seconds since the epoch.
        lease_seconds: how long the message is leased.
    """
    system = message.get("Attributes", {})
    sent_milliseconds = system.get("SentTimestamp")
    return Delivery(
        queue=queue,
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        receive_count=int(system.get("ApproximateReceiveCount", 1)),
        sent_at=int(sent_milliseconds) / 1000 if sent_milliseconds else None,
        received_at=received_at,
        lease_seconds=lease_seconds,
        group=system.get("MessageGroupId"),
        attributes={name: _text(value) for name, value in message.get("MessageAttributes", {}).items()},
    )


def _placement_parameters(queue: str, message: Outgoing) -> dict[str, Any]:
    """The parameters for a message's delay, its group and its deduplication."""
    if message.group is not None and not _LEGAL_ID.fullmatch(message.group):
        raise ImproperlyConfigured(
            f"queue {queue!r}: the message group {message.group!r} is not allowed: use 1 to 128 ASCII letters, digits"
            " and punctuation"
        )
    if is_ordered(queue):
        if message.delay_seconds > 0:
            raise OperationalError(
                f"queue {queue!r}: SQS can't delay a single message of a FIFO queue, and a delay of"
                f" {message.delay_seconds:g} s was asked for: send the message to a standard queue, or set the queue's"
                " DelaySeconds"
            )
        return {
            "MessageGroupId": message.group or DEFAULT_GROUP,
            "MessageDeduplicationId": _deduplication_id(message.deduplication or new_id()),
        }
    placement: dict[str, Any] = {}
    if message.delay_seconds > LONGEST_DELAY_SECONDS:
        raise OperationalError(
            f"queue {queue!r}: a delay of {message.delay_seconds:g} s exceeds SQS's {LONGEST_DELAY_SECONDS} s: give the"
            " task an eta, and its message is sent on until it is due"
        )
    if message.delay_seconds > 0:
        placement["DelaySeconds"] = math.ceil(message.delay_seconds)
    if message.group is not None:
        placement["MessageGroupId"] = message.group
    return placement


def _deduplication_id(wanted: str) -> str:
    # A task's id may be any string. A hash of it serves, as SQS only compares deduplication ids.
    return wanted if _LEGAL_ID.fullmatch(wanted) else hashlib.sha256(wanted.encode()).hexdigest()


def _text(value: Mapping[str, Any]) -> str:
    if "StringValue" in value:
        return str(value["StringValue"])
    return base64.b64encode(value.get("BinaryValue", b"")).decode()
