"""A task's message, its delivery by a broker, and the settlement of the delivery, all as frozen values.

The bytes of messages are written and read in ``core.messages.protocol``; deliveries are handled in ``core.execution``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.model.option_values import LARGEST_NUMBER
from taskq_cloud.core.model.payload_references import PayloadReference

DEAD_LETTER_REASON: Final = "dead_letter_reason"
"""The attribute of a dead-lettered message that holds the reason; a redrive keeps it."""

DEAD_LETTER_SEAL: Final = "dead_letter_signature"
"""The attribute of a dead-lettered message that says, signed by the application, that a worker has dead-lettered it."""

DEAD_LETTER_SOURCE: Final = "dead_letter_source"
"""The attribute of a dead-lettered message that names the queue it was taken from."""

Signature: TypeAlias = Mapping[str, Any]
"""Celery's signature as plain JSON: task, args, kwargs, options, subtask_type, immutable."""

Args: TypeAlias = Sequence[Any]
"""The positional arguments of a call."""

Kwargs: TypeAlias = Mapping[str, Any]
"""The keyword arguments of a call, by name."""

Options: TypeAlias = Mapping[str, Any]
"""The options of a call, by name: see ``calling.options.CallOptions``."""


@dataclass(frozen=True, slots=True)
class Embed:
    """The signatures of the tasks that follow a task: the third part of a protocol v2 body.

    Args:
        callbacks: tasks that run with the task's value when it succeeds.
        errbacks: tasks that run with the task's id when it fails.
        chain: the rest of a chain in reverse order: the last signature runs next.
        chord: the body of the chord whose header this task is a member of.
    """

    callbacks: Sequence[Signature] | None = None
    errbacks: Sequence[Signature] | None = None
    chain: Sequence[Signature] | None = None
    chord: Signature | None = None


NO_EMBED: Final = Embed()
"""Nothing follows the task."""

EARLIER_RUNS: Final = "taskq_earlier_runs"
"""The header of a task that replaces another one: how often the replaced task was run, and its last fencing number."""

CALL: Final = "taskq_call"
"""The header of a task whose caller has given it its id: a text that tells this call from others with the id."""

SCHEDULE: Final = "taskq_schedule"
"""The header that marks a message as a periodic task's tick: the entry that it comes from, and the entry's timing."""

SCHEDULED_TIME: Final = "taskq_scheduled_time"
"""The header that holds the fire time of a tick, or a platform's placeholder for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One call of one task, with the names of Celery's protocol v2 headers.

    ``retries`` counts the attempts before this one. ``timelimit`` is (hard, soft), in seconds. ``ignore_result`` None
    leaves the decision to the task. ``headers`` are the caller's own and never replace a header of the protocol.
    ``payload_reference`` says where the arguments were fetched from: a message that is sent on with unchanged arguments
    can carry it again, and nothing is stored again. ``unsigned``: it came without a signature and was accepted all the
    same, so it is sent on without one. ``template_signed_at``: when the message was signed, in seconds since the epoch,
    if its signature leaves the fire time of a periodic task open.
    """

    task: str
    id: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    embed: Embed = NO_EMBED
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
    unsigned: bool = False
    template_signed_at: float | None = None

    @property
    def call(self) -> str | None:
        """The text that tells this call from others with its id; None for a task whose id is its own."""
        return _call(self.headers)

    @property
    def lineage(self) -> str:
        """The text from which the ids of the tasks that follow are derived; no two calls have the same."""
        return lineage_of(self.id, self.headers)

    @property
    def attempt(self) -> int:
        """The number of runs before this one: the task's retries, and the runs of the tasks it has replaced."""
        return self.retries + self._earlier_runs[0]

    @property
    def fence(self) -> int:
        """The fencing number under which a task that it has replaced was run; 0 without one."""
        return self._earlier_runs[1]

    @property
    def _earlier_runs(self) -> tuple[int, int]:
        match self.headers.get(EARLIER_RUNS):
            case [int(runs), int(fence)] if 0 <= runs < LARGEST_NUMBER and 0 <= fence < LARGEST_NUMBER:
                return runs, fence
        return 0, 0


def lineage_of(task_id: str, headers: Mapping[str, Any]) -> str:
    """The text from which ids are derived that depend on a task or group: see ``Message.lineage``."""
    call = _call(headers)
    return task_id if call is None else f"{task_id}/{call}"


def _call(headers: Mapping[str, Any]) -> str | None:
    call = headers.get(CALL)
    return call if isinstance(call, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An encoded message with everything a broker needs to send it.

    Args:
        body: the encoded message.
        delay_seconds: how long the broker holds the message back; at most its ``longest_delay_seconds``.
        group: the message group: an ordered queue keeps order within it; on SQS's standard queues it names the tenant
            for fair queueing.
        deduplication: the deduplication id: of two messages with one id, a queue that deduplicates drops the second if
            it is sent within the provider's window.
        attributes: the provider's message attributes, as strings.
        trace_header: the value of the provider's own trace attribute (``AWSTraceHeader``), where it has one.
    """

    body: str
    delay_seconds: float = 0
    group: str | None = None
    deduplication: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    trace_header: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the broker has accepted; ``message_id`` is the broker's id of it."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A message, or one of a batch of settlements, that the broker did not accept."""

    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that a broker has handed over and leased to this receiver until it is settled or the lease ends.

    Args:
        queue: the queue's name, without the broker's prefix.
        message_id: the broker's own id of the message.
        receipt: the token that settles this delivery; every delivery has its own.
        body: the message, still encoded.
        receive_count: how often the message has been handed over, this delivery included; 1 if nothing is counted.
        sent_at: when the broker accepted the message, in seconds since the epoch, where known.
        received_at: when the message was handed over, in seconds since the epoch.
        lease_seconds: how long the lease runs from ``received_at``; None where another service holds the lease (an
            event source mapping does so for a Lambda function).
        group: the message group, where there is one.
        attributes: the provider's message attributes, as strings.
        counted: whether the broker counts receives; if not, ``receive_count`` is 1.
        pushed: whether the answer to a push settles the delivery, instead of a call to the broker.
        queued: whether a queue holds the message; if not, a function was invoked with it, and nothing takes it back.
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
    queued: bool = True

    @property
    def redelivered(self) -> bool:
        """Whether the message was handed over before, or may have been where the broker doesn't count receives."""
        return self.receive_count > 1 or not self.counted


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Settle a delivery whose work is done: the broker forgets the message."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Release:
    """Settle a delivery: the broker hands the message over again after ``after_seconds`` or its own, shorter limit.

    Args:
        delivery: the delivery.
        after_seconds: the time until then.
        counts: whether the receive counts. If not, nothing was done for the message, and a broker that counts receives
            itself takes this one back; a provider's own count goes on.
    """

    delivery: Delivery
    after_seconds: float = 0
    counts: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Settle a delivery: the broker moves the message to the dead-letter queue, with the reason."""

    delivery: Delivery
    reason: str


Settlement: TypeAlias = Acknowledge | Release | DeadLetter
"""The ways to settle a delivery."""
