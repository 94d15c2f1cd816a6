"""The ports: what the core asks of a message broker, and of the stores of results, of payloads and of schedules.

All take and return batches; a partial failure is a value, a failure of the whole is an error of
``taskq_cloud.errors``. Every method is a flow (``core.calls``). Adapters hold no policy: retries, the order of effects,
joins and deadlines are the core's. Core code and the contract suites branch on capabilities, never on an adapter's
type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Delivery, Outgoing, Refused, Sent, Settlement
from taskq_cloud.core.model.payload_references import Payload
from taskq_cloud.core.model.platform_schedule import PlatformSchedule, ScheduleCapabilities, SchedulePage
from taskq_cloud.core.records.record import Record


@dataclass(frozen=True, slots=True)
class Service:
    """A client that an adapter's calls need, as data; ``taskq_cloud.clients`` opens it when the first call is made.

    Args:
        module: the module of ``taskq_cloud.clients`` that opens it: ``"aws"``, ``"sqlite"``.
        options: what the module needs to know: a region, a path. Hashable values only.
    """

    module: str
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerCapabilities:
    """What a broker can do. A number is the provider's limit; zero or False means it can't.

    Args:
        largest_message_bytes: body and attributes of one message, and of one batch.
        send_batch: messages one call can send.
        receive_batch: messages one call can hand over.
        longest_wait_seconds: how long one receive may wait for a message.
        longest_delay_seconds: the longest delay of a message on an unordered queue.
        longest_ordered_delay_seconds: the same on an ordered queue.
        delays_in_order: what is delayed on an ordered queue holds back its group; where it is False, it comes to the
            end of its group when it is due, and what can be parked is.
        longest_lease_seconds: how long a delivery can be held in all, however often the lease is extended.
        ordering: queues whose name ends in ``.fifo`` keep the order within a message group.
        deduplicates: such a queue drops a message whose deduplication id it has seen within five minutes.
        shared_between_processes: several processes can use one queue.
        durable: messages outlive the process.
        queues_must_exist: using a queue that nobody has created is ``QueueNotFound``; where it is False, a queue exists
            once it is used.
        longest_extension_seconds: how long a lease can be before it is extended again.
        longest_release_seconds: the longest ``Release``; a longer one ends then.
        longest_parking_seconds: how far ahead a message may be due where the broker does not hold it back itself: its
            receivers give it back until then. A later one is refused (``DelayTooLong``).
        prefers_parking: so is a message that is due so soon even where the broker could hold it back.
        beyond_parking: what it takes to hold a message back for longer; ends the sentence that refuses one.
        counts_messages: ``depth`` has an answer.
        counts_receives: every delivery says which one of its message it is; where it is False, ``Delivery.counted``
            tells those that do.
        checks_receipts: the receipt of a lease that is over settles and extends nothing, and extending says so; where
            it is False, it may still take effect.
    """

    largest_message_bytes: int
    send_batch: int
    receive_batch: int
    longest_wait_seconds: float
    longest_delay_seconds: float
    longest_ordered_delay_seconds: float
    longest_lease_seconds: float
    ordering: bool
    deduplicates: bool
    shared_between_processes: bool
    durable: bool
    delays_in_order: bool = True
    queues_must_exist: bool = True
    longest_extension_seconds: float = math.inf
    longest_release_seconds: float = math.inf
    longest_parking_seconds: float = math.inf
    prefers_parking: bool = False
    beyond_parking: str = ""
    counts_messages: bool = True
    counts_receives: bool = True
    checks_receipts: bool = True

    def parks(self, queue: str, seconds: float) -> bool:
        """Whether a message that is due in so many seconds is left to the receivers of ``queue``."""
        prefers = self.prefers_parking or (is_ordered(queue) and not self.delays_in_order)
        return self.longest_delay(queue) <= 0 or (prefers and seconds <= self.longest_parking_seconds)

    def longest_eta(self, queue: str) -> float:
        """How many seconds ahead a message on ``queue`` may be due."""
        return math.inf if self.longest_delay(queue) > 0 else self.longest_parking_seconds

    def longest_delay(self, queue: str) -> float:
        """The longest delay, in seconds, of a message on ``queue``."""
        return self.longest_ordered_delay_seconds if is_ordered(queue) else self.longest_delay_seconds


DEFAULT_GROUP: Final = "default"
"""The message group of a message that was sent to an ordered queue without one; kombu's."""


def is_ordered(queue: str) -> bool:
    """Whether a queue keeps order: its name ends in ``.fifo``, SQS's rule, which all brokers here follow."""
    return queue.endswith(".fifo")


def dead_letter_queue(queue: str) -> str:
    """The name of a queue's dead-letter queue: ``work-dead`` for ``work``, ``work-dead.fifo`` for ``work.fifo``."""
    stem, suffix = (queue.removesuffix(".fifo"), ".fifo") if is_ordered(queue) else (queue, "")
    return f"{stem}-dead{suffix}"


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages a queue holds; approximate where the provider's count is.

    Args:
        waiting: ready to be received.
        delayed: held back until their delay is over.
        in_flight: received and not yet settled.
    """

    waiting: int
    delayed: int
    in_flight: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.waiting + self.delayed + self.in_flight


@runtime_checkable
class KnowsPhysicalNames(Protocol):
    """A broker that can tell which of its queues a provider's name means."""

    def queue_named(self, full_name: str, /) -> str:
        """The queue's name without the broker's prefix."""
        ...


@runtime_checkable
class KnowsTargets(Protocol):
    """A broker whose queues a scheduler can send to: the adapter of a platform that has schedules."""

    def target_of(self, queue: str, /) -> Flow[str]:
        """What the platform's scheduler calls the queue: its ARN, or its topic. A missing one is ``QueueNotFound``."""
        ...


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message that a broker holds back.

    Args:
        queue: its queue.
        body: as it was sent.
        due_at: until when, in seconds since the epoch.
    """

    queue: str
    body: str
    due_at: float


@dataclass(frozen=True, slots=True)
class HeldPage:
    """A part of what is held back, what is due first coming first.

    Args:
        messages: it.
        cursor: where the next page begins; None: this is the last one.
    """

    messages: Sequence[HeldMessage]
    cursor: str | None = None


@runtime_checkable
class ListsHeld(Protocol):
    """A broker that can show what its queues hold back. SQS and Pub/Sub show nobody what they don't hand over."""

    def held(self, queues: Sequence[str], /, *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """Up to ``limit`` messages of some queues that were sent, or released, for later, from a page's cursor on."""
        ...


class Broker(Protocol):
    """Carries messages. Queue names come without prefix; a missing queue is ``QueueNotFound``."""

    @property
    def capabilities(self) -> BrokerCapabilities:
        """What it can do, configured as it is."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients its calls need, by service name."""
        ...

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send any number of messages, in as few calls as the provider allows; one answer a message, in order."""
        ...

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Take up to ``limit`` messages, leased for ``lease_seconds``; wait up to ``wait_seconds`` for the first."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, of any queues mixed; one answer a settlement, in order, None where it is done.

        A delivery whose lease was lost counts as settled: someone else has the message now, or it is gone.
        A ``DeadLetter`` is first sent to the dead-letter queue, then removed from its own.
        """
        ...

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Lease deliveries for ``lease_seconds`` from now; a lost lease is a ``Refused``."""
        ...

    def depth(self, queue: str) -> Flow[Depth | None]:
        """Count a queue's messages; None where the provider does not."""
        ...

    def purge(self, queue: str) -> Flow[int | None]:
        """Remove all messages of a queue; how many there were, or None where the provider doesn't say."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapabilities:
    """What a result store can do.

    Args:
        largest_record_bytes: the largest payload of one record.
        keeps_records: what is saved can be loaded; False where no results are kept at all.
        joins: it counts the members of a join, each once.
        claims: it hands out fenced claims.
        reservations_per_second: how many slots of one key it can hand out for rate limits; zero: none.
        shared_between_processes: several processes can use one store.
        durable: records outlive the process.
    """

    largest_record_bytes: int
    keeps_records: bool = True
    joins: bool
    claims: bool
    reservations_per_second: float = 0
    shared_between_processes: bool
    durable: bool


class ResultStore(Protocol):
    """Keeps records. A missing table or bucket is ``StoreNotFound``; what has expired is not there."""

    @property
    def capabilities(self) -> StoreCapabilities:
        """What it can do, configured as it is."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients its calls need, by service name."""
        ...

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read any number of records; an id without a record is absent from the answer."""
        ...

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records, each only if ``records.may_replace`` allows it: atomically, on the stored one.

        An id occurs once. A store may round an expiry up to a whole second.
        True where it was written, False where the stored one stands (or, after an ambiguous failure, where this very
        record had already been written: the caller loads it to know). A payload over the limit is ``PayloadTooLarge``
        before anything is written.
        """
        ...

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records; an id without one is no error."""
        ...

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count ``member`` as arrived; whether all ``size`` have, now. A member counts once, however often it comes.

        Once they have, every further arrival is told so as well. The last arrival says when the join expires.
        """
        ...

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Claim a key: a fencing number that grows with each new claim, or None while another owner holds it.

        The holder's own claim again returns the same number and renews it. A claim lapses after ``ttl_seconds``, or
        when its holder claims it with a ``ttl_seconds`` of 0.
        """
        ...

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take the next slot of a key: a time, in seconds since the epoch, as ``rates.take_slot`` decides, atomically.

        The slot is an interval or more after the one before. It lies at most ``credit_seconds`` in the past, and may
        lie in the future. None where that is farther than ``rates.FARTHEST_SLOT_SECONDS``. An ambiguous failure may
        cost a slot, and never gives one twice.
        """
        ...


class PayloadStore(Protocol):
    """Keeps payloads that are too large for a broker or a result store. A missing bucket is ``StoreNotFound``."""

    @property
    def place(self) -> str:
        """Where it keeps them, as claims say it: ``"s3://bucket"``."""
        ...

    @property
    def prefix(self) -> str:
        """What the keys of its own begin with: ``"prefix/"``, or nothing."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients its calls need, by service name."""
        ...

    def put(self, payloads: Sequence[Payload]) -> Flow[list[Refused | None]]:
        """Store payloads, byte for byte; one answer a payload, in order, None where it is stored.

        A key that is there already is left as it is: keys are made from what is stored.
        """
        ...

    def get(self, wanted: Sequence[tuple[str, str]]) -> Flow[list[bytes | None]]:
        """Read objects by bucket and key, of other buckets too; None where there is none."""
        ...

    def delete(self, keys: Sequence[str]) -> Flow[None]:
        """Remove objects of its own bucket; a key without one is no error."""
        ...


class ScheduleStore(Protocol):
    """Keeps schedules, which the platform fires. A missing group is ``ScheduleGroupNotFound``; none is created."""

    @property
    def capabilities(self) -> ScheduleCapabilities:
        """What it can do, configured as it is."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients its calls need, by service name."""
        ...

    def kept(self, schedule: PlatformSchedule) -> PlatformSchedule:
        """What ``load`` will say of a schedule once it is put; makes no call.

        Raises:
            ImproperlyConfigured: it can't be kept; says which part.
            PayloadTooLarge: its message is too large.
        """
        ...

    def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
        """Keep schedules; one answer a schedule, in order, None where it is kept.

        A name that is there already is left as it is, or with ``replace`` written over as a whole. So putting the same
        schedule twice keeps it once; one that is there no longer is made anew.
        """
        ...

    def delete(self, names: Sequence[str]) -> Flow[list[bool | Refused]]:
        """Remove schedules; one answer a name, in order: whether there was one."""
        ...

    def names(self, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> Flow[SchedulePage]:
        """The names that begin with ``prefix``, about ``limit`` of them, from a page's ``cursor`` on."""
        ...

    def load(self, names: Sequence[str]) -> Flow[dict[str, PlatformSchedule]]:
        """Read schedules by name; a name without one is absent from the answer."""
        ...
