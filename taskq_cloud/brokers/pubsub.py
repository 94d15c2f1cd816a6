"""The Google Pub/Sub broker. A queue is a topic with a pull subscription; the broker creates neither.

Messages are pulled by single calls, not by a stream. So a worker has only messages that it has room for, and gives all
of them back when it stops. Pub/Sub doesn't count a queue's messages and doesn't delay messages, and it counts receives
only on a subscription with a dead-letter policy. The capabilities say so; docs/pubsub.md describes the consequences.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import SplitResult

from taskq_cloud.brokers._pubsub_calls import (
    ACKNOWLEDGE,
    MODIFY_DEADLINE,
    LeaseLost,
    QueueErrors,
    ReceiptAnswer,
    publish,
    settle_receipts,
)
from taskq_cloud.brokers._pubsub_checks import check_subscription, check_topic
from taskq_cloud.brokers._pubsub_delays import LONGEST_DELAY_SECONDS, call_to_delay, delay_error
from taskq_cloud.brokers._pubsub_messages import (
    LARGEST_BATCH,
    LARGEST_MESSAGE_BYTES,
    LONGEST_DEADLINE_SECONDS,
    Entry,
    dead_letter,
    deadline_seconds,
    delivery_of,
    entry_to_send,
)
from taskq_cloud.brokers._pubsub_options import PubSubOptions, read_options
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep
from taskq_cloud.core.model.capabilities import BrokerCapabilities, dead_letter_queue, is_ordered
from taskq_cloud.core.model.message import DeadLetter, Delivery, Outgoing, Refused, Release, Sent, Settlement
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import OperationalError, TaskQError

LONGEST_WAIT_SECONDS: Final = 60
"""The longest wait of a receive. Pub/Sub holds a pull open for some 90 s at most; a shorter wait detects a broken
connection sooner."""

SHORTEST_PULL_SECONDS: Final = 1.0
"""A receive pulls again only if this much of its wait is left. A message that Pub/Sub sends just when a pull's time is
over would come back only after its acknowledgement deadline."""

EMPTY_PULL_PAUSE_SECONDS: Final = 0.05
"""The pause after a pull that came back early and empty, before the receive pulls again."""


class PubSubBroker:
    """The broker of ``pubsub://project/prefix`` URLs.

    Args:
        options: the broker's settings.
        clock: returns the time, in seconds since the epoch; it stamps deliveries.
    """

    def __init__(self, options: PubSubOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._checked: set[str] = set()
        # Cloud Tasks provides the delays. It publishes a delayed message to the end of its ordering key.
        longest_delay_seconds = LONGEST_DELAY_SECONDS if options.cloud_tasks_queue else 0
        self.capabilities = BrokerCapabilities(
            largest_message_bytes=LARGEST_MESSAGE_BYTES,
            send_batch=LARGEST_BATCH,
            receive_batch=LARGEST_BATCH,
            longest_wait_seconds=LONGEST_WAIT_SECONDS,
            longest_delay_seconds=longest_delay_seconds,
            longest_ordered_delay_seconds=longest_delay_seconds,
            delays_in_order=False,
            longest_lease_seconds=float("inf"),
            longest_extension_seconds=LONGEST_DEADLINE_SECONDS,
            longest_release_seconds=LONGEST_DEADLINE_SECONDS,
            longest_parking_seconds=LONGEST_DEADLINE_SECONDS,
            prefers_parking=True,
            beyond_parking="Cloud Tasks: set cloud_tasks_queue and cloud_tasks_service_account in "
            "broker_transport_options",
            ordering=True,
            deduplicates=False,
            shared_between_processes=True,
            durable=True,
            counts_messages=False,
            counts_receives=False,
            checks_receipts=False,
        )

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """Make the broker of a ``pubsub://project/prefix`` URL.

        Raises:
            ImproperlyConfigured: the URL or an option is wrong; the error says which.
        """
        return cls(read_options(url, options))

    @property
    def services(self) -> Mapping[str, Service]:
        """Pub/Sub's two APIs, and Cloud Tasks if it is configured."""
        service = Service("pubsub", (("endpoint", self._options.endpoint),))
        services = {"publisher": service, "subscriber": service}
        return services | ({"cloud_tasks": Service("pubsub")} if self._options.cloud_tasks_queue else {})

    def queue_named(self, full_name: str) -> str:
        """The name of the queue that a subscription, given by its full name, belongs to."""
        return self._options.queue_named(full_name)

    def target_of(self, queue: str) -> Flow[str]:
        """The full name of a queue's topic, to which Cloud Scheduler publishes; checks that the topic keeps messages.

        Raises:
            QueueNotFound: the topic doesn't exist, or has no subscription.
        """
        yield from check_topic(self._errors(queue))
        return self._options.location(queue).topic

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Publish messages, up to a thousand in a call; on an ordered queue, one call after the other.

        Raises:
            OperationalError: every call failed, so no message is known to be sent.
        """
        answers: dict[int, Sent | Refused] = {}
        now, due = [], {}
        for position, message in enumerate(messages):
            try:
                entry = entry_to_send(position, queue, message)
                self._check_delay(queue, message)
            except TaskQError as error:
                answers[position] = Refused(error)
                continue
            if message.delay_seconds > 0:
                due[position] = (entry, self._clock() + message.delay_seconds)
            else:
                now.append(entry)
        if now:
            published = yield from publish(self._options.location(queue).topic, now, ordered=is_ordered(queue))
            failures = [answer for answer in published.values() if isinstance(answer, CallError)]
            if failures and len(failures) == len(messages):
                raise self._errors(queue).of_call(failures[0]) from failures[0]
            for position, answer in published.items():
                answers[position] = self._sent(queue, answer)
        if due:
            answers.update((yield from self._delay(queue, due)))
        return [answers[position] for position in range(len(messages))]

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Pull up to ``limit`` messages, at most a thousand, and lease them for ``lease_seconds``.

        A second call sets the lease, as a pull leases messages for the subscription's acknowledgement deadline. The
        first receive of a queue checks its subscription.

        Raises:
            QueueNotFound: the subscription doesn't exist.
            ImproperlyConfigured: the subscription belongs to another topic, is pushed, or doesn't keep the order that
                the queue needs.
        """
        if queue not in self._checked:
            yield from check_subscription(self._errors(queue))
            self._checked.add(queue)
        received = yield from self._pull(queue, min(limit, LARGEST_BATCH), min(wait_seconds, LONGEST_WAIT_SECONDS))
        if not received:
            return []
        now = self._clock()
        deliveries = [delivery_of(queue, each, now, lease_seconds) for each in received]
        receipts = [delivery.receipt for delivery in deliveries]
        leased = yield from self._settle_receipts(queue, MODIFY_DEADLINE, receipts, deadline_seconds(lease_seconds))
        failed = [answer for answer in leased.values() if isinstance(answer, CallError)]
        if len(failed) == len(deliveries):
            # No message is lost: the messages come back when the subscription's own deadline is over.
            raise self._errors(queue).of_call(failed[0]) from failed[0]
        return [delivery for delivery in deliveries if leased[delivery.receipt] is None]

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, with a call for each queue and kind of settlement.

        A failed call is not raised; it is the answer for each of its deliveries.
        """
        answers: dict[int, Refused | None] = {}
        answers.update((yield from self._send_dead_letters(settlements)))
        calls: dict[tuple[str, str, int | None], dict[str, int]] = {}
        for position, settlement in enumerate(settlements):
            if position in answers:
                continue
            answers[position] = None
            delivery = settlement.delivery
            if delivery.pushed:
                continue
            released = isinstance(settlement, Release)
            seconds = deadline_seconds(settlement.after_seconds) if isinstance(settlement, Release) else None
            key = (delivery.queue, MODIFY_DEADLINE if released else ACKNOWLEDGE, seconds)
            calls.setdefault(key, {})[delivery.receipt] = position
        for (queue, operation, seconds), positions in calls.items():
            of_receipts = yield from self._settle_receipts(queue, operation, list(positions), seconds)
            for receipt, answer in of_receipts.items():
                if isinstance(answer, CallError):
                    answers[positions[receipt]] = Refused(self._errors(queue).of_call(answer))
        return [answers[position] for position in range(len(settlements))]

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend the leases of deliveries to ``lease_seconds`` from now, 600 at most.

        Only a subscription with exactly-once delivery reports a lost lease.
        """
        answers: list[Refused | None] = [None] * len(deliveries)
        by_queue: dict[str, dict[str, int]] = {}
        for position, delivery in enumerate(deliveries):
            if not delivery.pushed:
                by_queue.setdefault(delivery.queue, {})[delivery.receipt] = position
        for queue, positions in by_queue.items():
            seconds = deadline_seconds(lease_seconds)
            of_receipts = yield from self._settle_receipts(queue, MODIFY_DEADLINE, list(positions), seconds)
            for receipt, answer in of_receipts.items():
                errors, position = self._errors(queue), positions[receipt]
                if isinstance(answer, LeaseLost):
                    answers[position] = Refused(errors.lost_lease(deliveries[position].message_id))
                elif answer is not None:
                    answers[position] = Refused(errors.of_call(answer))
        return answers

    def depth(self, queue: str) -> Flow[None]:
        """Return None, as the only counts are Cloud Monitoring's, which are minutes old.

        Raises:
            QueueNotFound: the subscription doesn't exist.
        """
        request = {"subscription": self._options.location(queue).subscription}
        yield from self._call(queue, "get_subscription", {"request": request})

    def purge(self, queue: str) -> Flow[int | None]:
        """Acknowledge all messages published until now. Returns None, as Pub/Sub doesn't say how many there were."""
        request = {"subscription": self._options.location(queue).subscription, "time": datetime.now(UTC)}
        yield from self._call(queue, "seek", {"request": request})
        return None

    def _delay(self, queue: str, due: Mapping[int, tuple[Entry, float]]) -> Flow[dict[int, Sent | Refused]]:
        topic = self._options.location(queue).topic
        answers: dict[int, Sent | Refused] = {}
        calls: dict[int, Call] = {}
        for position, (entry, due_at) in due.items():
            try:
                calls[position] = call_to_delay(queue, entry, due_at, topic, self._options)
            except TaskQError as error:
                answers[position] = Refused(error)
        results = (yield Gather(list(calls.values()))) if calls else []
        for position, result in zip(calls, results, strict=True):
            if isinstance(result, CallError):
                answers[position] = Refused(delay_error(queue, result, self._options))
            else:
                answers[position] = Sent(result.name.rpartition("/")[2])
        return answers

    def _sent(self, queue: str, answer: Sent | CallError) -> Sent | Refused:
        return Refused(self._errors(queue).of_call(answer)) if isinstance(answer, CallError) else answer

    def _check_delay(self, queue: str, message: Outgoing) -> None:
        longest_seconds = self.capabilities.longest_delay(queue)
        if message.delay_seconds > longest_seconds:
            raise OperationalError(
                f"queue {queue!r}: a delay of {message.delay_seconds:g} s exceeds {longest_seconds:g} s, the longest "
                "that this broker is configured for: give the task an eta"
            )

    def _pull(self, queue: str, limit: int, wait_seconds: float) -> Flow[Sequence[Any]]:
        """Pull until a message comes or the wait is over; Pub/Sub may answer early and empty."""
        ends_at = time.monotonic() + wait_seconds
        request = {"subscription": self._options.location(queue).subscription, "max_messages": limit}
        if wait_seconds <= 0:
            # The flag is deprecated, as such a pull may miss waiting messages. A receive without a wait accepts that.
            answer = yield from self._call(queue, "pull", {"request": {**request, "return_immediately": True}})
            return list(answer.received_messages)
        left_seconds = wait_seconds
        while True:
            answer = yield from self._call(queue, "pull", {"request": request, "timeout": left_seconds})
            left_seconds = ends_at - time.monotonic() - EMPTY_PULL_PAUSE_SECONDS
            if answer.received_messages or left_seconds < SHORTEST_PULL_SECONDS:
                return list(answer.received_messages)
            yield Sleep(EMPTY_PULL_PAUSE_SECONDS)

    def _send_dead_letters(self, settlements: Sequence[Settlement]) -> Flow[dict[int, Refused]]:
        """Publish dead letters to their topics.

        Returns:
            The refused ones, by their position among the settlements.
        """
        dead_letters: dict[str, list[tuple[int, Outgoing]]] = {}
        for position, settlement in enumerate(settlements):
            if isinstance(settlement, DeadLetter):
                outgoing = dead_letter(settlement.delivery, settlement.reason)
                dead_letters.setdefault(dead_letter_queue(settlement.delivery.queue), []).append((position, outgoing))
        refused: dict[int, Refused] = {}
        for queue, of_queue in dead_letters.items():
            try:
                if queue not in self._checked:
                    yield from check_topic(self._errors(queue))
                    self._checked.add(queue)
                answers = yield from self.send(queue, [outgoing for _, outgoing in of_queue])
            except TaskQError as error:
                answers = [Refused(error)] * len(of_queue)
            for (position, _), answer in zip(of_queue, answers, strict=True):
                if isinstance(answer, Refused):
                    refused[position] = answer
        return refused

    def _settle_receipts(
        self, queue: str, operation: str, receipts: Sequence[str], seconds: int | None
    ) -> Flow[dict[str, ReceiptAnswer]]:
        return (yield from settle_receipts(operation, self._options.location(queue).subscription, receipts, seconds))

    def _call(self, queue: str, operation: str, parameters: Mapping[str, Any]) -> Flow[Any]:
        try:
            return (yield Call("subscriber", operation, parameters))
        except CallError as error:
            self._checked.discard(queue)
            raise self._errors(queue).of_call(error) from error

    def _errors(self, queue: str) -> QueueErrors:
        return QueueErrors(queue, self._options.location(queue), self._options.project)
