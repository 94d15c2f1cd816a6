"""The doctor's check of queues that are deployed for an application and no longer declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from taskq_cloud.deploy.doctor.check import Check
from taskq_cloud.deploy.doctor.matching import TERRAFORM, Pair
from taskq_cloud.deploy.doctor.observed import Observed, ObservedQueue
from taskq_cloud.deploy.topology.model import Topology

UndeclaredQueue: TypeAlias = Pair[str, ObservedQueue]
"""The name of a queue in SQS, and the queue."""

_COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


def _undeclared(topology: Topology, observed: Observed) -> Iterator[UndeclaredQueue]:
    for name, queue in sorted(observed.undeclared.items()):
        yield Pair(f"queue {name}", name, queue, TERRAFORM, topology, observed)


def _messages(queue: UndeclaredQueue) -> int:
    return sum(queue.live.seconds(count) for count in _COUNTS)


def _of_other_kind(queue: UndeclaredQueue) -> str | None:
    """Return the declared queue that has the name of this one with or without ``.fifo``."""
    stem = queue.declared.removesuffix(".fifo")
    other = stem if stem != queue.declared else f"{stem}.fifo"
    names = [name for each in queue.topology.queues for name in (each.name, each.dead_letter_queue.name)]
    return other if other in names else None


def _difference(queue: UndeclaredQueue) -> str:
    other = _of_other_kind(queue)
    instead = f"; {other} is declared instead, and the kind of a queue can't be changed" if other else ""
    messages = _messages(queue)
    counted = f"{messages} message{'' if messages == 1 else 's'}"
    return f"it is deployed with {counted}, but no longer declared{instead}"


def _full(queue: UndeclaredQueue) -> str | None:
    return _difference(queue) if _messages(queue) else None


def _empty(queue: UndeclaredQueue) -> str | None:
    return None if _messages(queue) else _difference(queue)


CHECKS: Final = (
    Check(
        "queue.undeclared",
        _undeclared,
        _full,
        "the next apply of Terraform deletes the queue, and its messages are lost",
        "empty it first: taskq drain -Q, with --to if another queue takes over; or declare it again",
    ),
    Check(
        "queue.undeclared",
        _undeclared,
        _empty,
        "the next apply of Terraform deletes the queue; a caller that still sends to it gets QueueNotFound",
        "once no caller sends to it, apply Terraform; or declare it again",
        severity="warning",
    ),
)
