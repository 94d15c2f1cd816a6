"""Messages as SQS has them: names, sizes, entries to send, and what a receive hands over."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import string
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from taskq_cloud.brokers._sqs_calls import LARGEST_BATCH_BYTES, LARGEST_BATCH_ENTRIES, Entry
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DEAD_LETTER_SOURCE, Delivery, Outgoing
from taskq_cloud.core.model.payload_references import LEGACY_POINTER_SIZE, POINTER_SIZE
from taskq_cloud.core.ports import DEFAULT_GROUP, is_ordered
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, PayloadTooLarge

LONGEST_DELAY_SECONDS: Final = 900
"""SQS Developer Guide, "quotas-queues"."""

LONGEST_VISIBILITY_SECONDS: Final = 43_200
"""In all, from the receive on (SQS Developer Guide, "sqs-visibility-timeout")."""

LONGEST_WAIT_SECONDS: Final = 20
"""SQS Developer Guide, "quotas-queues"."""

MOST_ATTRIBUTES: Final = 10
"""SQS Developer Guide, "quotas-messages"."""

LONGEST_REASON_CHARACTERS: Final = 1_000
"""Of a dead letter. Not a limit of SQS's: what an operator can read in the console."""

_ATTRIBUTE_TYPE: Final = "String"
_NUMBERS: Final = frozenset({POINTER_SIZE, LEGACY_POINTER_SIZE})
"""The attributes that the SQS Extended Client writes as numbers."""
_SYSTEM_ATTRIBUTES: Final = ("ApproximateReceiveCount", "SentTimestamp", "MessageGroupId")

_CANONICAL: Final = {ord(sign): "_" for sign in string.punctuation if sign not in "-_."} | {ord("."): "-"}
"""What kombu puts for punctuation, so that both find the same queue."""

_PUNCTUATED_ID: Final = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
"""A message group's or deduplication id (SQS API Reference, "SendMessage")."""

_ILLEGAL: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
"""What no body and no attribute may contain (SQS API Reference, "SendMessage")."""


def canonical_name(name: str) -> str:
    """A queue's name as SQS allows it, the way kombu makes it: ``a.b/c.fifo`` becomes ``a-b_c.fifo``."""
    stem, suffix = (name.removesuffix(".fifo"), ".fifo") if is_ordered(name) else (name, "")
    return stem.translate(_CANONICAL) + suffix


def entry_to_send(position: int, queue: str, message: Outgoing) -> Entry:
    """A message as an entry of ``SendMessageBatch``.

    Args:
        position: the message's place in the batch.
        queue: the queue's name.
        message: the message.

    Raises:
        PayloadTooLarge: it is over SQS's limit.
        OperationalError: it has a delay, an attribute or a character that SQS can't carry.
        ImproperlyConfigured: its message group is no legal one.
    """
    try:
        size = size_bytes(message.body, message.attributes)
    except UnicodeEncodeError as error:
        raise OperationalError(f"queue {queue!r}: the message can't be sent as UTF-8: {error}") from error
    if size > LARGEST_BATCH_BYTES:
        raise PayloadTooLarge(
            f"queue {queue!r}: the message has {size} bytes, and SQS takes at most {LARGEST_BATCH_BYTES}: set"
            " TASKQ_PAYLOADS to a bucket for what is larger, or put the data into a store and send its key"
        )
    if len(message.attributes) > MOST_ATTRIBUTES:
        raise OperationalError(
            f"queue {queue!r}: the message has {len(message.attributes)} attributes, and SQS takes {MOST_ATTRIBUTES}"
        )
    parameters: dict[str, Any] = {"MessageBody": message.body, **_placement(queue, message)}
    if message.attributes:
        parameters["MessageAttributes"] = {
            name: {"DataType": "Number" if name in _NUMBERS else _ATTRIBUTE_TYPE, "StringValue": value}
            for name, value in message.attributes.items()
        }
    if message.trace_header:
        parameters["MessageSystemAttributes"] = {
            "AWSTraceHeader": {"DataType": _ATTRIBUTE_TYPE, "StringValue": message.trace_header}
        }
    return Entry(position, parameters, size)


def size_bytes(body: str, attributes: Mapping[str, str]) -> int:
    """What SQS counts: the body, and each attribute's name, type and value (the trace header is free)."""
    return len(body.encode()) + sum(
        len(name.encode()) + len(_ATTRIBUTE_TYPE) + len(value.encode()) for name, value in attributes.items()
    )


def dead_letter(delivery: Delivery, reason: str) -> Outgoing:
    """What goes to the dead-letter queue: the message and, as far as there is room for it, why and where from."""
    attributes = dict(list(delivery.attributes.items())[: MOST_ATTRIBUTES - 2])
    room = LARGEST_BATCH_BYTES - size_bytes(delivery.body, attributes)
    for name, value in ((DEAD_LETTER_SOURCE, delivery.queue), (DEAD_LETTER_REASON, reason)):
        legal = _ILLEGAL.sub("\ufffd", value)[:LONGEST_REASON_CHARACTERS]
        room_for_value = max(0, room - size_bytes("", {name: ""}))
        fitting = legal.encode()[:room_for_value].decode(errors="ignore")
        if fitting:
            attributes[name] = fitting
            room -= size_bytes("", {name: fitting})
    # Dead-lettered twice within five minutes, on a FIFO queue it is still one.
    return Outgoing(body=delivery.body, group=delivery.group, deduplication=delivery.message_id, attributes=attributes)


def receive_parameters(url: str, limit: int, wait_seconds: float, lease_seconds: float) -> dict[str, Any]:
    """The parameters of ``ReceiveMessage``; what is over SQS's limits is cut to them."""
    return {
        "QueueUrl": url,
        "MaxNumberOfMessages": min(limit, LARGEST_BATCH_ENTRIES),
        "WaitTimeSeconds": int(min(wait_seconds, LONGEST_WAIT_SECONDS)),
        "VisibilityTimeout": visibility_seconds(lease_seconds),
        "MessageSystemAttributeNames": list(_SYSTEM_ATTRIBUTES),
        "MessageAttributeNames": ["All"],
    }


def visibility_seconds(seconds: float) -> int:
    """Whole seconds, at most the twelve hours that a visibility timeout can have."""
    return min(math.ceil(max(0.0, seconds)), LONGEST_VISIBILITY_SECONDS)


def delivery_of(queue: str, message: Mapping[str, Any], received_at: float, lease_seconds: float) -> Delivery:
    """A received message."""
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


def _placement(queue: str, message: Outgoing) -> dict[str, Any]:
    """When and in which group the message is handed over."""
    if message.group is not None and not _PUNCTUATED_ID.fullmatch(message.group):
        raise ImproperlyConfigured(
            f"queue {queue!r}: the message group {message.group!r} must be 1 to 128 ASCII letters, digits and"
            " punctuation"
        )
    if is_ordered(queue):
        if message.delay_seconds > 0:
            raise OperationalError(
                f"queue {queue!r}: SQS delays no single message of a FIFO queue ({message.delay_seconds:g} s asked):"
                " send it to a standard queue, or set the queue's own DelaySeconds"
            )
        return {
            "MessageGroupId": message.group or DEFAULT_GROUP,
            "MessageDeduplicationId": _deduplication_id(message.deduplication or str(uuid4())),
        }
    placement: dict[str, Any] = {}
    if message.delay_seconds > LONGEST_DELAY_SECONDS:
        raise OperationalError(
            f"queue {queue!r}: a delay of {message.delay_seconds:g} s is over SQS's {LONGEST_DELAY_SECONDS} s: give the"
            " task an eta, and it is parked as often as it takes"
        )
    if message.delay_seconds > 0:
        placement["DelaySeconds"] = math.ceil(message.delay_seconds)
    if message.group is not None:
        placement["MessageGroupId"] = message.group
    return placement


def _deduplication_id(wanted: str) -> str:
    # A task's id may be any string; what only has to be equal or different can be hashed.
    return wanted if _PUNCTUATED_ID.fullmatch(wanted) else hashlib.sha256(wanted.encode()).hexdigest()


def _text(value: Mapping[str, Any]) -> str:
    if "StringValue" in value:
        return str(value["StringValue"])
    return base64.b64encode(value.get("BinaryValue", b"")).decode()
