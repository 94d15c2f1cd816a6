"""The ports: the interfaces of a message broker, and of the stores for results, payloads and schedules.

Methods that make calls are flows (``core.flows``). They take and return batches: the failure of one part is a value
(``Refused``), and the failure of the whole is raised as an error of ``taskq_cloud.errors``. Adapters hold no policy:
retries, the order of effects, joins and deadlines are decided in the core. What an adapter can do is declared in its
capabilities (``core.model.capabilities``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import BrokerCapabilities, ScheduleCapabilities, StoreCapabilities
from taskq_cloud.core.model.message import Delivery, Outgoing, Refused, Sent, Settlement
from taskq_cloud.core.model.payload_references import Payload, WantedPayload
from taskq_cloud.core.records.record import Record

if TYPE_CHECKING:  # few processes wait, or have to do with schedules
    from taskq_cloud.core.model.announcements import Listener
    from taskq_cloud.core.model.platform_schedule import PlatformSchedule, SchedulePage


@dataclass(frozen=True, slots=True)
class Service:
    """A client that an adapter's calls need, as data; ``taskq_cloud.clients`` opens it when the first call is made.

    Args:
        module: the module that opens the client: one of ``taskq_cloud.clients`` (``"aws"``, ``"sqlite"``), or the full
            name of another package's module (``"folder_broker.client"``).
        options: the values that the module needs, such as a region or a path, as pairs of name and value. All are
            hashable.
    """

    module: str
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Depth:
    """The number of messages that a queue holds; approximate if the provider's count is.

    Args:
        waiting: messages that are ready to be received.
        delayed: messages that are held back until their delay is over.
        in_flight: messages that were received and are not yet settled.
    """

    waiting: int
    delayed: int
    in_flight: int

    @property
    def total(self) -> int:
        """The number of all messages."""
        return self.waiting + self.delayed + self.in_flight


@runtime_checkable
class KnowsPhysicalNames(Protocol):
    """A broker that can tell which of its queues has a given name at the provider."""

    def queue_named(self, full_name: str, /) -> str:
        """The name of a queue without the broker's prefix."""
        ...


@runtime_checkable
class CountsWaiting(Protocol):
    """A broker that can't count all messages of a queue, but those that wait."""

    def waiting(self, queue: str, /) -> Flow[int]:
        """Count the messages that can be received now; a missing queue raises ``QueueNotFound``, or has none."""
        ...


@runtime_checkable
class KnowsTargets(Protocol):
    """A broker whose queues the platform's scheduler can send to."""

    def target_of(self, queue: str, /) -> Flow[str]:
        """The platform's own name for a queue, its ARN or its topic; a missing queue raises ``QueueNotFound``."""
        ...


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message that a broker holds back.

    Args:
        queue: its queue.
        body: the body as it was sent.
        due_at: the time until which it is held back, in seconds since the epoch.
    """

    queue: str
    body: str
    due_at: float


@dataclass(frozen=True, slots=True)
class HeldPage:
    """A page of the messages that a broker holds back, in the order in which they are due.

    Args:
        messages: the messages.
        cursor: the beginning of the next page; None on the last page.
    """

    messages: Sequence[HeldMessage]
    cursor: str | None = None


@runtime_checkable
class ListsHeld(Protocol):
    """A broker that can list the messages it holds back. SQS and Pub/Sub can't: they show only what they deliver."""

    def held(self, queues: Sequence[str], /, *, limit: int, cursor: str | None = None) -> Flow[HeldPage]:
        """List up to ``limit`` messages that were sent or released for later, from a page's ``cursor`` on."""
        ...


class Broker(Protocol):
    """Carries messages. Queue names have no prefix here, and a missing queue raises ``QueueNotFound``."""

    @property
    def capabilities(self) -> BrokerCapabilities:
        """The abilities and limits of this broker, as it is configured."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients that the broker's calls need, by service name."""
        ...

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages in as few calls as the provider allows, and return one answer for each message, in order."""
        ...

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Take up to ``limit`` messages, leased for ``lease_seconds``; wait up to ``wait_seconds`` for the first."""
        ...

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries of any queues, and return one answer for each settlement, in order; None is success.

        A delivery whose lease was lost counts as settled: the message has another receiver now, or is gone. A
        ``DeadLetter`` is first sent to the dead-letter queue, and then removed from its own queue.
        """
        ...

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Lease deliveries for ``lease_seconds`` from now; the answer for a lost lease is a ``Refused``."""
        ...

    def depth(self, queue: str) -> Flow[Depth | None]:
        """Count the messages of a queue; None if the provider doesn't count them."""
        ...

    def purge(self, queue: str) -> Flow[int | None]:
        """Remove all messages of a queue, and return their number; None if the provider doesn't tell it."""
        ...


class ResultStore(Protocol):
    """Keeps records. A missing table or bucket raises ``StoreNotFound``; an expired record is absent."""

    @property
    def capabilities(self) -> StoreCapabilities:
        """The abilities and limits of this store, as it is configured."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients that the store's calls need, by service name."""
        ...

    def load(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read any number of records; an id without a record is absent from the answer."""
        ...

    def save(self, records: Sequence[Record]) -> Flow[list[bool]]:
        """Write records, each only if ``records.may_replace`` allows it to replace the stored one, atomically.

        Records with equal ids are written one after the other, in any order. A store may round an expiry up to a whole
        second.

        Returns:
            For each record True if it was written, and False if the stored one stays. After an ambiguous failure the
            answer is False for a record that had been written before, too: the caller loads it to find out.

        Raises:
            PayloadTooLarge: a payload is over the limit; nothing was written.
        """
        ...

    def delete(self, ids: Sequence[str]) -> Flow[None]:
        """Remove records; an id without a record is ignored."""
        ...

    def join(self, join_id: str, member: str, size: int, expires_at: float | None) -> Flow[bool]:
        """Count ``member`` once, however often it arrives, and return whether all ``size`` members have arrived.

        Every arrival after the last one gets the answer True as well. The latest arrival sets the join's expiry, and
        no arrival sets an earlier one than those before it.

        Args:
            join_id: the join's id.
            member: the member's number in the join, as a text: from ``"0"`` to ``str(size - 1)``.
            size: how many members the join has.
            expires_at: when the join expires, in seconds since the epoch; None: never.
        """
        ...

    def claim(self, key: str, owner: str, ttl_seconds: float) -> Flow[int | None]:
        """Claim a lock, and return its fencing number, which grows with each new claim; None: another owner holds it.

        If the holder claims it again, it gets the same number, and the lock is renewed. The lock lapses after
        ``ttl_seconds``, or when its holder claims it with a ``ttl_seconds`` of 0.
        """
        ...

    def reserve(self, key: str, interval_seconds: float, credit_seconds: float) -> Flow[float | None]:
        """Take the next slot of a key, atomically, by the rule of ``rates.take_slot``.

        Slots of a key are at least an interval apart. A slot lies at most ``credit_seconds`` in the past, and may lie
        in the future. An ambiguous failure may cost a slot, and never gives one out twice.

        Returns:
            The time of the slot, in seconds since the epoch; None if it is farther away than
            ``rates.FARTHEST_SLOT_SECONDS``.
        """
        ...


class SavesTogether(Protocol):
    """A store whose capability ``saves_together`` is set."""

    def save_each(self, records: Sequence[Record]) -> Flow[list[bool | Exception]]:
        """Write records as ``save`` does. The failure of one record is its answer, and costs no other record."""
        ...


class LoadsInParts(Protocol):
    """A result store whose records may refer to documents elsewhere, so that one record can be read without others'."""

    def load_small(self, ids: Sequence[str]) -> Flow[dict[str, Record]]:
        """Read records as ``load`` does, and leave out what they refer to."""
        ...

    def complete(self, record: Record) -> Flow[Record]:
        """Read what a record from ``load_small`` refers to."""
        ...


@runtime_checkable
class TellsOfEnds(Protocol):
    """A result store that tells those who wait that a task has ended. The others are polled."""

    def listen(self, ids: Sequence[str], listener: Listener, /) -> Flow[bool]:
        """Let a listener hear each of these ids once its record is final, until it is closed.

        The answer is False if the listener would not hear it here. Even if it is True, an end may go unheard: whoever
        waits still looks now and then.
        """
        ...


class PayloadStore(Protocol):
    """Keeps payloads that are too large for a broker or a result store. A missing bucket raises ``StoreNotFound``."""

    @property
    def place(self) -> str:
        """The bucket that keeps the payloads, as references to them name it: ``"s3://bucket"``."""
        ...

    @property
    def prefix(self) -> str:
        """The beginning of the keys of this store's objects: ``"prefix/"``, or an empty text."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients that the store's calls need, by service name."""
        ...

    def put(self, payloads: Sequence[Payload]) -> Flow[list[Refused | None]]:
        """Store payloads, byte for byte, and return one answer for each payload, in order; None is success.

        An object that is there already is left as it is: keys are derived from the content.
        """
        ...

    def get(self, wanted: Sequence[WantedPayload]) -> Flow[list[bytes | Refused | None]]:
        """Read objects, from other buckets too; None for an object that doesn't exist.

        An object that is larger than ``most_bytes`` is a ``Refused`` whose error says its size. It is not read.
        """
        ...

    def delete(self, keys: Sequence[str]) -> Flow[None]:
        """Remove objects of the store's own bucket; a key without an object is ignored."""
        ...


class ScheduleStore(Protocol):
    """Keeps schedules, which the platform fires. A missing group raises ``ScheduleGroupNotFound``; none is created."""

    @property
    def capabilities(self) -> ScheduleCapabilities:
        """The abilities and limits of this store, as it is configured."""
        ...

    @property
    def services(self) -> Mapping[str, Service]:
        """The clients that the store's calls need, by service name."""
        ...

    def kept(self, schedule: PlatformSchedule) -> PlatformSchedule:
        """Return the schedule that ``load`` will return once this schedule is put, without a call.

        Raises:
            ImproperlyConfigured: the store can't keep the schedule; the error names the part that is wrong.
            PayloadTooLarge: the schedule's message is too large.
        """
        ...

    def put(self, schedules: Sequence[PlatformSchedule], *, replace: bool = False) -> Flow[list[Refused | None]]:
        """Keep schedules, and return one answer for each schedule, in order; None is success.

        A schedule whose name is there already is left as it is, or with ``replace`` is replaced as a whole. So putting
        a schedule twice keeps it once. With ``replace``, a schedule that is gone is created again.
        """
        ...

    def delete(self, names: Sequence[str]) -> Flow[list[bool | Refused]]:
        """Remove schedules, and return for each name, in order, whether there was a schedule."""
        ...

    def names(self, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> Flow[SchedulePage]:
        """List names that begin with ``prefix``, about ``limit`` of them, from a page's ``cursor`` on."""
        ...

    def load(self, names: Sequence[str]) -> Flow[dict[str, PlatformSchedule]]:
        """Read schedules by name; a name without a schedule is absent from the answer."""
        ...
