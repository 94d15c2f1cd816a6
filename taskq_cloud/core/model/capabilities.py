"""The capabilities that adapters declare, and the rules for queue names that follow from them.

Core code and contract suites branch on these values, never on the type of an adapter. The ports themselves are in
``core.ports``.
"""

from __future__ import annotations

import math
from typing import Final, Literal

from taskq_cloud.core.lazy.values import dataclass

DEFAULT_GROUP: Final = "default"
"""The message group of a message that is sent to an ordered queue without a group; kombu uses this name, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerCapabilities:
    """The abilities and limits of a broker. A number is the provider's limit; 0 or False: the broker can't do it.

    Args:
        largest_message_bytes: the largest message, and the largest batch, body and attributes together.
        send_batch: the most messages that one call can send.
        receive_batch: the most messages that one call can receive.
        longest_wait_seconds: how long one receive can wait for a message.
        longest_delay_seconds: the longest delay of a message on an unordered queue.
        longest_ordered_delay_seconds: the longest delay of a message on an ordered queue.
        delays_in_order: a delayed message on an ordered queue holds back its group. If False, a delayed message joins
            the end of its group once it is due; such messages are parked instead where possible.
        longest_lease_seconds: how long a delivery can be leased in all, however often its lease is extended.
        ordering: queues whose names end in ``.fifo`` keep the order of messages within a message group.
        deduplicates: an ordered queue drops a message whose deduplication id it has seen within five minutes.
        shared_between_processes: several processes can use one queue.
        durable: messages outlive the process.
        queues_must_exist: using a queue that nobody has created raises ``QueueNotFound``. If False, a queue exists once
            it is used.
        longest_extension_seconds: how long a lease can last before it has to be extended again.
        longest_release_seconds: the longest ``Release``; a message that is released for longer comes back after that.
        longest_parking_seconds: how far ahead a message can be due if the broker can't hold it back itself, so that it
            is parked: its receivers give it back until it is due. A message that is due later is refused
            (``DelayTooLong``).
        prefers_parking: a message that is due within ``longest_parking_seconds`` is parked even if the broker could
            hold it back itself.
        beyond_parking: the way to hold a message back for longer, as the object of "a longer delay needs ...".
        counts_messages: ``depth`` can count the messages of a queue.
        counts_lag_seconds: how old the counts of ``depth`` may be.
        counts_receives: every delivery says how often its message was received. If False, ``Delivery.counted`` marks
            the deliveries that do.
        takes_back_receives: a receive that ends in a ``Release`` without ``counts`` isn't counted. If False, the
            provider counts every receive.
        dead_letters_by_count: the provider itself moves a message to the dead-letter queue once it was received too
            often, perhaps after ``task_max_receives``.
        checks_receipts: the receipt of a lease that is over settles and extends nothing, and ``extend`` reports it. If
            False, such a receipt may still take effect.
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
    counts_lag_seconds: float = 0
    counts_receives: bool = True
    takes_back_receives: bool = False
    dead_letters_by_count: bool = False
    checks_receipts: bool = True

    def parks(self, queue: str, seconds: float) -> bool:
        """Whether the receivers of ``queue`` hold back a message that is due in ``seconds``, and not the broker."""
        prefers = self.prefers_parking or (is_ordered(queue) and not self.delays_in_order)
        return self.longest_delay(queue) <= 0 or (prefers and seconds <= self.longest_parking_seconds)

    def waiting_uses_receives(self, queue: str) -> bool:
        """Whether a message of ``queue`` can use up receives although its task is not run.

        It may be given back until it is due, or because an earlier message of its group was given back.
        """
        return self.parks(queue, 0) or (is_ordered(queue) and not self.takes_back_receives)

    def longest_eta(self, queue: str) -> float:
        """How many seconds ahead a message on ``queue`` can be due."""
        return math.inf if self.longest_delay(queue) > 0 else self.longest_parking_seconds

    def longest_delay(self, queue: str) -> float:
        """The longest delay, in seconds, of a message on ``queue``."""
        return self.longest_ordered_delay_seconds if is_ordered(queue) else self.longest_delay_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapabilities:
    """The abilities and limits of a result store.

    Args:
        largest_record_bytes: the largest payload of one record.
        keeps_records: a saved record can be loaded. If False, no results are kept at all.
        replies: the record of a task is sent to its caller (``records.replies``), who alone can load it.
        joins: the store counts the members of a join, each of them once.
        claims: the store gives out locks with fencing numbers.
        reservations_per_second: how many rate-limit slots of one key the store can give out in a second; 0: none.
        shared_between_processes: several processes can use one store.
        durable: records outlive the process.
        saves_together: one ``save`` of many records costs less than many of one.
        loads_together: one ``load`` of many records takes about as long as one of a single record.
    """

    largest_record_bytes: int
    keeps_records: bool = True
    replies: bool = False
    joins: bool
    claims: bool
    reservations_per_second: float = 0
    shared_between_processes: bool
    durable: bool
    saves_together: bool = False
    loads_together: bool = False

    @property
    def remembers(self) -> bool:
        """Whether any process can load what another one has saved, such as the notes of a task's runs."""
        return self.keeps_records and not self.replies


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCapabilities:
    """The abilities and limits of a store of schedules.

    Args:
        precision_seconds: how late a schedule may fire.
        least_lead_seconds: how far ahead a one-off time must lie for the store to keep it for sure.
        longest_lead_seconds: how far ahead a one-off time may lie.
        largest_body_bytes: the largest message, quoted as JSON and with its attributes.
        expressions: the module of ``core.schedules`` that writes the store's expressions; empty if it takes none.
        one_off: a schedule can fire once, at a given time.
        windows: a schedule can have a flexible window.
        bounds: a schedule can have a start and an end.
        groups: a message can have a group and a deduplication id; if not, an ordered queue can't be a target.
        timezones: an expression can have a time zone.
        placeholder: the beginning of words that the platform replaces in a body; empty if it replaces none.
        scheduled_time: the word that the platform replaces by the time the schedule was to fire at, in ISO 8601 and
            UTC; empty if there is none.
        shared_between_processes: several processes see the same schedules.
        durable: schedules outlive the process.
    """

    precision_seconds: float
    least_lead_seconds: float
    longest_lead_seconds: float = math.inf
    largest_body_bytes: int
    expressions: Literal["eventbridge", "cloud_scheduler", ""] = ""
    one_off: bool = True
    windows: bool = True
    bounds: bool = True
    groups: bool = True
    timezones: bool = True
    placeholder: str = ""
    scheduled_time: str = ""
    shared_between_processes: bool
    durable: bool


def is_ordered(queue: str) -> bool:
    """Whether a queue keeps order: its name ends in ``.fifo``, which is SQS's rule, and here that of all brokers."""
    return queue.endswith(".fifo")


def dead_letter_queue(queue: str) -> str:
    """The name of a queue's dead-letter queue: ``work-dead`` for ``work``, ``work-dead.fifo`` for ``work.fifo``."""
    stem, suffix = (queue.removesuffix(".fifo"), ".fifo") if is_ordered(queue) else (queue, "")
    return f"{stem}-dead{suffix}"
