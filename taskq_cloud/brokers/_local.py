"""Rules that brokers with a layout of this package's own share: capabilities, batches, refusals, list cursors, waiting.

They are the memory broker, SQLite, PostgreSQL and Redis; RabbitMQ and Redis in Celery's layout share a part of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.capabilities import BrokerCapabilities, dead_letter_queue, is_ordered
from taskq_cloud.core.model.message import (
    DeadLetter,
    Delivery,
    Outgoing,
    Refused,
    Release,
    Sent,
    Settlement,
)
from taskq_cloud.errors import OperationalError, PayloadTooLarge

T = TypeVar("T")

DEDUPLICATION_SECONDS: Final = 300
"""How long a deduplication id is remembered: SQS's time (SQS Developer Guide, "FIFO-queues-exactly-once")."""

FIRST_PAUSE_SECONDS: Final = 0.01
LONGEST_PAUSE_SECONDS: Final = 0.2
"""Five polls a second by an idle worker cost next to nothing, and a person doesn't notice the delay."""
LISTENING_PAUSE_SECONDS: Final = 0.5
"""The pause of a worker that hears of messages. It polls too, as another process may be unable to announce them."""
LEAST_PAUSE_SECONDS: Final = 0.001

LOCAL_CAPABILITIES: Final = BrokerCapabilities(
    largest_message_bytes=16 * 1024 * 1024,  # our own limit: SQLite takes 1 GB, but each receive rewrites the row
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
    takes_back_receives=True,
)
"""The capabilities of the SQLite broker. The memory broker has the same limits, so that tests with it meet them, but it
isn't shared or durable."""


def size_bytes(message: Outgoing) -> int:
    """The size of a message: its body and the names and values of its attributes, in UTF-8."""
    body, attributes = message.body, message.attributes
    size = len(body) if body.isascii() else len(body.encode())
    if attributes:
        size += sum(len(name.encode()) + len(value.encode()) for name, value in attributes.items())
    return size


def send_in_batches(
    messages: Sequence[Outgoing], size: int, send_batch: Callable[[Sequence[Outgoing]], Flow[list[Sent | Refused]]]
) -> Flow[list[Sent | Refused]]:
    """Send messages in batches, and return one answer for each message, in order.

    Messages of earlier batches can't be taken back. So if a batch fails after any message was sent, the messages of
    that batch are refused, and the next batch is tried.

    Args:
        messages: the messages.
        size: the most messages of a batch.
        send_batch: sends one batch.

    Raises:
        OperationalError: a batch failed before any message was sent.
    """
    answers: list[Sent | Refused] = []
    for start in range(0, len(messages), size):
        batch = messages[start : start + size]
        try:
            answers += yield from send_batch(batch)
        except OperationalError as error:
            if not any(isinstance(answer, Sent) for answer in answers):
                raise
            answers += [Refused(error)] * len(batch)
    return answers


def refusal(queue: str, message: Outgoing, capabilities: BrokerCapabilities) -> Refused | None:
    """The reason why a queue can't take a message, or None if it can.

    Args:
        queue: the queue's name.
        message: the message.
        capabilities: the broker's capabilities.
    """
    try:
        size = size_bytes(message)
    except UnicodeEncodeError as error:
        return Refused(OperationalError(f"queue {queue!r}: the message can't be encoded as UTF-8: {error}"))
    if size > capabilities.largest_message_bytes:
        return Refused(
            PayloadTooLarge(
                f"queue {queue!r}: the message has {size} bytes, and the broker takes at most"
                f" {capabilities.largest_message_bytes}: set TASKQ_PAYLOADS to a bucket for large messages, or put the"
                " data into a store and send its key"
            )
        )
    longest_seconds = capabilities.longest_delay(queue)
    if message.delay_seconds > longest_seconds:
        return Refused(
            OperationalError(
                f"queue {queue!r}: a delay of {message.delay_seconds:g} s exceeds the broker's longest,"
                f" {longest_seconds:g} s: shorten the delay"
            )
        )
    return None


def lost_lease(delivery: Delivery) -> Refused:
    """The answer to an attempt to extend a lease that is over."""
    return Refused(
        OperationalError(
            f"queue {delivery.queue!r}: the lease of message {delivery.message_id} is lost: it ran out, or the message"
            " is settled"
        )
    )


def write_cursor(due_at: float, number: int) -> str:
    """Write the cursor of the page that follows a message.

    Args:
        due_at: when the message is due, in seconds since the epoch.
        number: the message's number, which orders messages due at one time.
    """
    return f"{due_at!r}-{number}"


def read_cursor(cursor: str | None) -> tuple[float, int]:
    """Read the time and the number that ``write_cursor`` wrote; None means the beginning of the list.

    Raises:
        OperationalError: ``write_cursor`` didn't write the cursor.
    """
    if cursor is None:
        return 0.0, 0
    due_at, _, number = cursor.rpartition("-")
    try:
        return float(due_at), int(number)
    except ValueError:
        raise OperationalError(
            f"{cursor!r:.100} isn't the cursor of a list: give the cursor that came with a page, or none"
        ) from None


def at_once(function: Callable[[], T]) -> Flow[T]:
    """Make a flow of a function that makes no calls."""
    yield from ()
    return function()


def queues_with_more(settlements: Sequence[Settlement]) -> set[str]:
    """The queues that may have a message to receive once deliveries are settled.

    On an ordered queue, an acknowledgement makes way for the next message of the group.
    """
    found: set[str] = set()
    for settlement in settlements:
        queue = settlement.delivery.queue
        if isinstance(settlement, Release) or is_ordered(queue):
            found.add(queue)
        if isinstance(settlement, DeadLetter):
            found.add(dead_letter_queue(queue))
    return found


def receive_in_time(
    take: Callable[[], Flow[list[Delivery]]],
    seconds_until_next: Callable[[], Flow[float | None]],
    wait_seconds: float,
    listen: Callable[[], Flow[Listener | None]],
) -> Flow[list[Delivery]]:
    """Wait for a queue's next message and take it; an empty list: there was none in time.

    Args:
        take: takes the messages that can be received now.
        seconds_until_next: looks, at little cost, when the queue's next message can be received; None: it has none.
        wait_seconds: how long to wait.
        listen: begins to hear of messages that are sent or given back; None: that can't be heard, and the queue is
            polled.
    """
    listener: Listener | None = None
    left_seconds, pause_seconds, longest_seconds = wait_seconds, 0.0, 0.0
    while True:
        next_seconds = yield from seconds_until_next()
        if next_seconds is not None and next_seconds <= 0:
            deliveries = yield from take()
            if deliveries:
                return deliveries
            next_seconds = None  # another receiver was faster
        if left_seconds <= 0:
            return []
        if pause_seconds == 0:  # the first look was in vain: listen, and look once more before the first pause
            listener = yield from listen()
            longest_seconds = LONGEST_PAUSE_SECONDS if listener is None else LISTENING_PAUSE_SECONDS
            pause_seconds = FIRST_PAUSE_SECONDS if listener is None else longest_seconds
            if listener is not None:
                continue
        pause = min(pause_seconds, left_seconds)
        if next_seconds is not None:
            pause = min(pause, max(next_seconds, LEAST_PAUSE_SECONDS))
        left_seconds -= yield from slept(pause, listener)
        pause_seconds = min(pause_seconds * 2, longest_seconds)


def slept(seconds: float, listener: Listener | None) -> Flow[float]:
    """Pause until the listener hears a topic, and return how many seconds have passed."""
    began_at = time.monotonic()
    heard = yield Sleep(seconds, listener)
    if listener is not None:
        listener.take()
    return min(time.monotonic() - began_at, seconds) if heard else seconds
