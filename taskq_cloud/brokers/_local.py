"""What the local brokers share: their capabilities, what they refuse, the cursors of their lists, and how they wait."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from taskq_cloud.core.flows import Sleep
from taskq_cloud.core.model.message import Outgoing, Refused
from taskq_cloud.core.ports import BrokerCapabilities
from taskq_cloud.errors import OperationalError, PayloadTooLarge

DEDUPLICATION_SECONDS: Final = 300
"""SQS's window (SQS Developer Guide, "FIFO-queues-exactly-once")."""

FIRST_PAUSE_SECONDS: Final = 0.01
LONGEST_PAUSE_SECONDS: Final = 0.2
"""Five looks a second from an idle worker cost next to nothing, and a person doesn't notice the delay."""

LOCAL_CAPABILITIES: Final = BrokerCapabilities(
    largest_message_bytes=16 * 1024 * 1024,  # ours: SQLite takes 1 GB, but a claim rewrites the row
    send_batch=1000,
    receive_batch=1000,
    longest_wait_seconds=20,
    longest_delay_seconds=math.inf,
    longest_ordered_delay_seconds=math.inf,
    longest_lease_seconds=math.inf,
    ordering=True,
    deduplicates=True,
    shared_between_processes=True,
    durable=True,
    queues_must_exist=False,
)
"""What SQLite's broker can do. Memory's is but for what its name says, so that tests with it meet the same limits."""


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
    try:
        size = size_bytes(message)
    except UnicodeEncodeError as error:
        return Refused(OperationalError(f"queue {queue!r}: the message can't be sent as UTF-8: {error}"))
    if size > capabilities.largest_message_bytes:
        return Refused(
            PayloadTooLarge(
                f"queue {queue!r}: the message has {size} bytes, and the broker takes at most"
                f" {capabilities.largest_message_bytes}: set TASKQ_PAYLOADS to a bucket for what is larger, or put the"
                " data into a store and send its key"
            )
        )
    longest_seconds = capabilities.longest_delay(queue)
    if message.delay_seconds > longest_seconds:
        return Refused(
            OperationalError(
                f"queue {queue!r}: a delay of {message.delay_seconds:g} s is over the broker's {longest_seconds:g} s"
            )
        )
    return None


def write_cursor(due_at: float, number: int) -> str:
    """Where a page of held messages ends: after the one of that time and number."""
    return f"{due_at!r}-{number}"


def read_cursor(cursor: str | None) -> tuple[float, int]:
    """What ``write_cursor`` wrote; None: the beginning.

    Raises:
        OperationalError: it was written by nobody.
    """
    if cursor is None:
        return 0.0, 0
    due_at, _, number = cursor.rpartition("-")
    try:
        return float(due_at), int(number)
    except ValueError:
        raise OperationalError(f"{cursor!r:.100} is no cursor of an earlier list") from None


def polling(wait_seconds: float) -> Iterator[Sleep]:
    """The pauses that make up a receive's wait, as no call can be held open: each is twice the last, up to 0.2 s."""
    pause_seconds = FIRST_PAUSE_SECONDS
    left_seconds = wait_seconds
    while left_seconds > 0:
        yield Sleep(min(pause_seconds, left_seconds))
        left_seconds -= pause_seconds
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
