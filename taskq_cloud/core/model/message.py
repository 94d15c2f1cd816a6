"""What travels: a task's message, its delivery by a broker, and what becomes of the delivery.

All of it is frozen. Bytes are made and read in ``protocol``; what is done with a delivery is decided in ``execution``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from taskq_cloud.core.model.payload_references import PayloadReference

DEAD_LETTER_REASON: Final = "dead_letter_reason"
"""The attribute of a dead-lettered message that says why; a redrive keeps it."""

DEAD_LETTER_SOURCE: Final = "dead_letter_source"
"""The attribute of a dead-lettered message that names the queue it was taken from."""

Signature: TypeAlias = Mapping[str, Any]
"""Celery's signature as plain JSON: task, args, kwargs, options, subtask_type, immutable."""


@dataclass(frozen=True, slots=True)
class Embed:
    """What follows a task: the third part of a protocol v2 body.

    Args:
        callbacks: run with the task's value when it succeeds.
        errbacks: run with the task's id when it fails.
        chain: what is left of a chain, in reverse: the last one runs next.
        chord: the body of the chord this task is a header member of.
    """

    callbacks: Sequence[Signature] | None = None
    errbacks: Sequence[Signature] | None = None
    chain: Sequence[Signature] | None = None
    chord: Signature | None = None


EARLIER_RUNS: Final = "taskq_earlier_runs"
"""The header of a task that runs in another's place: how often that one was run, and the fence it ran under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One call of one task. The names are those of Celery's protocol v2 headers.

    ``retries`` counts the attempts before this one. ``timelimit`` is (hard, soft), in seconds. ``ignore_result`` None
    leaves it to the task. ``headers`` are the caller's own; they never replace a protocol header. ``claim`` is where
    its arguments were fetched from: sent on unchanged, they need not be stored again.
    """

    task: str
    id: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    embed: Embed = Embed()
    retries: int = 0
    eta: datetime | None = None
    expires: datetime | None = None
    timelimit: tuple[float | None, float | None] = (None, None)
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    ignore_result: bool | None = None
    shadow: str | None = None
    origin: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    replaced_task_nesting: int = 0
    stamped_headers: Sequence[str] | None = None
    stamps: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    reply_to: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    payload_reference: PayloadReference | None = None

    @property
    def attempt(self) -> int:
        """How often a task with this id has been run before: its retries, and the runs of those it has replaced."""
        return self.retries + self._earlier_runs[0]

    @property
    def fence(self) -> int:
        """The number of the claim under which a task that it has replaced was run; 0 without one."""
        return self._earlier_runs[1]

    @property
    def _earlier_runs(self) -> tuple[int, int]:
        match self.headers.get(EARLIER_RUNS):
            case [int(runs), int(fence)] if runs >= 0 and fence >= 0:
                return runs, fence
        return 0, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message as a broker is given it.

    Args:
        body: the encoded message.
        delay_seconds: how long the broker holds it back; at most the broker's ``longest_delay_seconds``.
        group: the message group: order is kept within it on an ordered queue; on SQS's standard queues it names the
            tenant for fair queueing.
        deduplication: two messages with the same one, sent within the provider's window to a queue that deduplicates,
            are one.
        attributes: the provider's message attributes, as strings.
        trace_header: passed as the provider's own trace attribute (``AWSTraceHeader``) where it has one.
    """

    body: str
    delay_seconds: float = 0
    group: str | None = None
    deduplication: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    trace_header: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message the broker has accepted; ``message_id`` is the broker's."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A message, or one of a batch of settlements, that the broker did not accept."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message as a broker hands it over, leased to this receiver until the lease ends or it is settled.

    Args:
        queue: the queue's name, without the broker's prefix.
        message_id: the broker's own id of the message.
        receipt: what settles this very delivery; no two deliveries have the same.
        body: the message, still encoded.
        receive_count: how often it has been handed over, this time included, as far as that is counted.
        sent_at: when the broker accepted it, in seconds since the epoch, where known.
        received_at: when it was handed over, in seconds since the epoch.
        lease_seconds: how long the lease runs from ``received_at``; None where someone else holds it (an event source
            mapping does for a Lambda function).
        group: its message group, where it has one.
        attributes: the provider's message attributes, as strings.
        counted: whether ``receive_count`` was counted; without it, it is 1.
        pushed: whether the answer to a push settles it, and no call of the broker's does.
    """

    queue: str
    message_id: str
    receipt: str
    body: str
    receive_count: int = 1
    sent_at: float | None = None
    received_at: float = 0.0
    lease_seconds: float | None = None
    group: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    counted: bool = True
    pushed: bool = False

    @property
    def redelivered(self) -> bool:
        """Whether the message has, or where nobody counts may have, been handed over before."""
        return self.receive_count > 1 or not self.counted


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Settle a delivery: its work is done, the broker forgets the message."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Release:
    """Settle a delivery: the broker hands the message over again after ``after_seconds``, or its longest release."""

    delivery: Delivery
    after_seconds: float = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Settle a delivery: the message moves to the dead-letter queue, with the reason."""

    delivery: Delivery
    reason: str


Settlement: TypeAlias = Acknowledge | Release | DeadLetter
