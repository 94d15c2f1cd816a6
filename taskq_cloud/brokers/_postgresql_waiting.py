"""The wait of a receiver for a queue's next message, which hardly asks the server while there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from taskq_cloud.brokers._local import LEAST_PAUSE_SECONDS, slept
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.announcements import Listener
from taskq_cloud.core.model.message import Delivery

LISTENING_PAUSE_SECONDS: Final = 5.0
"""The pause of a receiver that hears of messages. A server that fails may lose an announcement."""

POLLING_PAUSE_SECONDS: Final = 0.5
"""The longest pause of a receiver that hears nothing."""

FIRST_PAUSE_SECONDS: Final = 0.02

LOCKED_PAUSE_SECONDS: Final = 0.2
"""The pause before another look at a message that is due, but that another transaction has locked."""


def receive_or_wait(
    take: Callable[[], Flow[list[Delivery]]],
    seconds_until_next: Callable[[], Flow[float | None]],
    wait_seconds: float,
    listen: Callable[[], Flow[Listener | None]],
) -> Flow[list[Delivery]]:
    """Take a queue's next messages, or wait for them; an empty list: there were none in time.

    Args:
        take: takes the messages that can be received now.
        seconds_until_next: looks when the queue's next message can be received; None: it has none.
        wait_seconds: how long to wait.
        listen: begins to hear of messages that are sent or given back; None: that can't be heard.
    """
    deliveries = yield from take()
    if deliveries or wait_seconds <= 0:
        return deliveries
    listener = yield from listen()
    left_seconds = wait_seconds
    pause_seconds = FIRST_PAUSE_SECONDS if listener is None else LISTENING_PAUSE_SECONDS
    while True:
        # A message may have come between the first look and the first word that is heard.
        next_seconds = yield from seconds_until_next()
        if next_seconds is not None and next_seconds <= 0:
            deliveries = yield from take()
            if deliveries:
                return deliveries
            next_seconds = LOCKED_PAUSE_SECONDS
        if left_seconds <= 0:
            return []
        pause = min(pause_seconds, left_seconds)
        if next_seconds is not None:
            pause = min(pause, max(next_seconds, LEAST_PAUSE_SECONDS))
        left_seconds -= yield from slept(pause, listener)
        if listener is None:
            pause_seconds = min(pause_seconds * 2, POLLING_PAUSE_SECONDS)
