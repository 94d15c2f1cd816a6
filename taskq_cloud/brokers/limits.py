"""What a broker refuses before it sends anything: the checks that follow from its capabilities alone."""

from __future__ import annotations

from taskq_cloud.core.message import Outgoing, Refused
from taskq_cloud.core.ports import BrokerCapabilities, is_ordered
from taskq_cloud.errors import ImproperlyConfigured, OperationalError, PayloadTooLarge


def size_bytes(message: Outgoing) -> int:
    """The body and the attributes, names and values, in UTF-8."""
    return len(message.body.encode()) + sum(
        len(name.encode()) + len(value.encode()) for name, value in message.attributes.items()
    )


def refusal(queue: str, message: Outgoing, capabilities: BrokerCapabilities) -> Refused | None:
    """Why a message can't be sent to a queue, or None where it can.

    Args:
        queue: the queue's name.
        message: the message.
        capabilities: the broker's.
    """
    size = size_bytes(message)
    if size > capabilities.largest_message_bytes:
        return Refused(
            PayloadTooLarge(
                f"queue {queue!r}: the message has {size} bytes, and the broker takes at most"
                f" {capabilities.largest_message_bytes}: put the data into a store and send its key"
            )
        )
    longest_seconds = capabilities.longest_delay(queue)
    if message.delay_seconds > longest_seconds:
        return Refused(
            OperationalError(
                f"queue {queue!r}: a delay of {message.delay_seconds:g} s is over the broker's {longest_seconds:g} s:"
                " give the task an eta, and it is parked as often as it takes"
            )
        )
    if is_ordered(queue) and not message.group:
        return Refused(
            ImproperlyConfigured(f"queue {queue!r} keeps order within message groups: send the message with a group")
        )
    return None
