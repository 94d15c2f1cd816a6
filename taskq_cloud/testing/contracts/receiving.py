"""Receiving in the contract of brokers: one receive of a real service may return fewer messages than are ready."""

from __future__ import annotations

import time
from collections.abc import Sequence

from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.ports import Broker, Depth
from taskq_cloud.testing.driving import Drive
from taskq_cloud.testing.waiting import until

LEASE_SECONDS = 60
"""A lease that no test lets run out."""

DEADLINE_SECONDS = 20
"""How long a test waits for its messages."""


def take(run: Drive, broker: Broker, queue: str, count: int, lease_seconds: float = LEASE_SECONDS) -> list[Delivery]:
    """Receive exactly ``count`` messages, with as many calls as are needed."""
    taken: list[Delivery] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(taken) < count:
        limit = min(count - len(taken), broker.capabilities.receive_batch)
        wait_seconds = min(1, broker.capabilities.longest_wait_seconds)
        taken += run(broker.receive(queue, limit, wait_seconds, lease_seconds))
        assert len(taken) == count or time.monotonic() < deadline, (
            f"queue {queue}: {len(taken)} of {count} messages were delivered within {DEADLINE_SECONDS} s"
        )
    return taken


def receive_now(run: Drive, broker: Broker, queue: str) -> list[Delivery]:
    """Receive the messages that are ready now."""
    return run(broker.receive(queue, broker.capabilities.receive_batch, 0, LEASE_SECONDS))


def until_empty(run: Drive, broker: Broker, queue: str) -> None:
    """Wait until the queue is empty, as far as the broker can tell."""
    if broker.capabilities.counts_messages:
        until(lambda: run(broker.depth(queue)) == Depth(0, 0, 0))
    else:
        assert run(broker.depth(queue)) is None
        assert receive_now(run, broker, queue) == []


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    """The bodies of the messages, in order."""
    return [delivery.body for delivery in deliveries]
