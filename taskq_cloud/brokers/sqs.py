"""The Amazon SQS broker, for standard and FIFO queues.

A queue's URL comes from the settings, or from ``GetQueueUrl``, which is called once for each queue. Queues are never
listed and never created. ``core.flows`` and ``_sqs_calls`` repeat failed calls and failed entries of batch calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Self
from urllib.parse import SplitResult

from taskq_cloud.brokers._kombu_names import canonical_name
from taskq_cloud.brokers._sqs_calls import (
    INVALID_VALUE,
    LARGEST_BATCH_BYTES,
    LARGEST_BATCH_ENTRIES,
    LOST_LEASE,
    Accepted,
    Entry,
    EntryAnswer,
    NotAccepted,
    QueueErrors,
    call_in_batches,
    in_batches,
)
from taskq_cloud.brokers._sqs_messages import (
    LONGEST_DELAY_SECONDS,
    LONGEST_VISIBILITY_SECONDS,
    LONGEST_WAIT_SECONDS,
    dead_letter,
    delivery_of,
    entry_to_send,
    receive_parameters,
    visibility_seconds,
)
from taskq_cloud.brokers._sqs_options import SQSOptions, read_options
from taskq_cloud.core.flows import Call, CallError, Flow
from taskq_cloud.core.model.capabilities import BrokerCapabilities, dead_letter_queue, is_ordered
from taskq_cloud.core.model.message import DeadLetter, Delivery, Outgoing, Refused, Release, Sent, Settlement
from taskq_cloud.core.ports import Depth, Service
from taskq_cloud.errors import OperationalError, TaskQError

COUNTS_LAG_SECONDS: Final = 60
"""How long the counts of a queue take to be right after the last change (SQS Developer Guide,
"confirm-queue-is-empty")."""

_DELETE: Final = "delete_message_batch"
_CHANGE_VISIBILITY: Final = "change_message_visibility_batch"
_SEND: Final = "send_message_batch"


class SQSBroker:
    """The broker of ``sqs://region/prefix`` URLs.

    Args:
        options: the broker's settings; None: the environment's region, without a prefix.
        clock: returns the time, in seconds since the epoch; it stamps deliveries.
    """

    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        largest_message_bytes=LARGEST_BATCH_BYTES,
        send_batch=LARGEST_BATCH_ENTRIES,
        receive_batch=LARGEST_BATCH_ENTRIES,
        longest_wait_seconds=LONGEST_WAIT_SECONDS,
        longest_delay_seconds=LONGEST_DELAY_SECONDS,
        longest_ordered_delay_seconds=0,
        longest_lease_seconds=LONGEST_VISIBILITY_SECONDS,
        longest_release_seconds=LONGEST_VISIBILITY_SECONDS,
        ordering=True,
        deduplicates=True,
        shared_between_processes=True,
        durable=True,
        dead_letters_by_count=True,
        counts_lag_seconds=COUNTS_LAG_SECONDS,
    )

    def __init__(self, options: SQSOptions | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options or SQSOptions()
        self._clock = clock
        self._urls: dict[str, str] = {}
        self._arns: dict[str, str] = {}

    @classmethod
    def from_url(cls, url: SplitResult, options: Mapping[str, Any]) -> Self:
        """Make the broker of an ``sqs://region/prefix`` URL.

        Raises:
            ImproperlyConfigured: the URL or an option is wrong; the error says which.
        """
        return cls(read_options(url, options))

    @property
    def services(self) -> Mapping[str, Service]:
        """SQS, in the configured region and at the configured endpoint."""
        options = (("endpoint_url", self._options.endpoint_url), ("region", self._options.region))
        return {"sqs": Service("aws", options)}

    def full_name(self, queue: str) -> str:
        """A queue's name in SQS: from its configured URL, or else its name behind the prefix, written as kombu does."""
        url = self._configured_url(queue)
        return url.rpartition("/")[2] if url else canonical_name(self._options.prefix + queue)

    def queue_named(self, full_name: str) -> str:
        """The name of the queue that SQS knows by ``full_name``; for another application's queue, its full name."""
        for queue, url in self._options.queue_urls.items():
            if url.rpartition("/")[2] == full_name:
                return queue
        return full_name.removeprefix(canonical_name(self._options.prefix))

    def target_of(self, queue: str) -> Flow[str]:
        """A queue's ARN, to which EventBridge Scheduler sends; SQS is asked for it once.

        Raises:
            QueueNotFound: the queue doesn't exist.
        """
        if queue not in self._arns:
            url = yield from self._url(queue)
            parameters = {"QueueUrl": url, "AttributeNames": ["QueueArn"]}
            answer = yield from self._call(queue, "get_queue_attributes", parameters)
            self._arns[queue] = str(answer["Attributes"]["QueueArn"])
        return self._arns[queue]

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        """Send messages, up to ten in a call; to a FIFO queue, in order and one call after the other.

        Raises:
            OperationalError: every call failed, so no message is known to be sent.
        """
        answers: list[Sent | Refused | None] = [None] * len(messages)
        entries: list[Entry] = []
        for position, message in enumerate(messages):
            try:
                entries.append(entry_to_send(position, queue, message))
            except TaskQError as error:
                answers[position] = Refused(error)
        if entries:
            url = yield from self._url(queue)
            send = _send_in_order if is_ordered(queue) else _send_at_once
            by_position = yield from send(url, entries)
            failed_calls = [answer for answer in by_position.values() if isinstance(answer, CallError)]
            if len(failed_calls) == len(messages):
                raise self._errors(queue).of_call(failed_calls[0]) from failed_calls[0]
            for position, answer in by_position.items():
                answers[position] = self._sent(queue, answer)
        return [answer for answer in answers if answer is not None]

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        """Receive up to ``limit`` messages, at most ten, in one call."""
        url = yield from self._url(queue)
        parameters = receive_parameters(url, limit, wait_seconds, lease_seconds)
        answer = yield from self._call(queue, "receive_message", parameters)
        now = self._clock()
        return [delivery_of(queue, message, now, lease_seconds) for message in answer.get("Messages", ())]

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        """Settle deliveries, up to ten in a call, with calls for each queue and kind of settlement.

        A failed call is not raised; it is the answer for each of its deliveries.
        """
        answers: dict[int, Refused | None] = {}
        answers.update((yield from self._send_dead_letters(settlements)))
        calls: dict[tuple[str, str], list[Entry]] = {}
        for position, settlement in enumerate(settlements):
            if position not in answers:
                operation, entry = _settlement_entry(position, settlement)
                calls.setdefault((operation, settlement.delivery.queue), []).append(entry)
        for (operation, queue), entries in calls.items():
            by_position = yield from self._batch(queue, operation, entries)
            for position, answer in by_position.items():
                answers[position] = None if _is_lost_lease(answer) else self._settled(queue, operation, answer)
        return [answers[position] for position in range(len(settlements))]

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        """Extend the leases of deliveries to ``lease_seconds`` from now, up to ten in a call.

        A lost lease is a ``Refused``.
        """
        answers: list[Refused | None] = [None] * len(deliveries)
        by_queue: dict[str, list[Entry]] = {}
        for position, delivery in enumerate(deliveries):
            entry = _visibility_entry(position, delivery, lease_seconds)
            by_queue.setdefault(delivery.queue, []).append(entry)
        for queue, entries in by_queue.items():
            by_position = yield from self._batch(queue, _CHANGE_VISIBILITY, entries)
            for position, answer in by_position.items():
                answers[position] = self._settled(queue, _CHANGE_VISIBILITY, answer)
                if _is_lost_lease(answer):
                    answers[position] = Refused(self._errors(queue).lost_lease(deliveries[position].message_id))
        return answers

    def depth(self, queue: str) -> Flow[Depth]:
        """Count a queue's messages. SQS's counts lag behind by up to a minute."""
        url = yield from self._url(queue)
        names = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
        ]
        parameters = {"QueueUrl": url, "AttributeNames": names}
        answer = yield from self._call(queue, "get_queue_attributes", parameters)
        waiting, delayed, in_flight = (int(answer["Attributes"][name]) for name in names)
        return Depth(waiting, delayed, in_flight)

    def purge(self, queue: str) -> Flow[int | None]:
        """Remove all messages of a queue, which takes SQS up to a minute. Returns None, as SQS doesn't count them."""
        url = yield from self._url(queue)
        yield from self._call(queue, "purge_queue", {"QueueUrl": url})
        return None

    def _send_dead_letters(self, settlements: Sequence[Settlement]) -> Flow[dict[int, Refused]]:
        """Send dead letters to their queues.

        Returns:
            The refused ones, by their position among the settlements.
        """
        dead_letters: dict[str, list[tuple[int, Outgoing]]] = {}
        for position, settlement in enumerate(settlements):
            if isinstance(settlement, DeadLetter):
                outgoing = dead_letter(settlement.delivery, settlement.reason)
                dead_letters.setdefault(settlement.delivery.queue, []).append((position, outgoing))
        refused: dict[int, Refused] = {}
        for queue, of_queue in dead_letters.items():
            try:
                answers = yield from self.send(dead_letter_queue(queue), [outgoing for _, outgoing in of_queue])
            except OperationalError as error:
                answers = [Refused(error)] * len(of_queue)
            for (position, _), answer in zip(of_queue, answers, strict=True):
                if isinstance(answer, Refused):
                    refused[position] = answer
        return refused

    def _batch(self, queue: str, operation: str, entries: Sequence[Entry]) -> Flow[dict[int, EntryAnswer]]:
        try:
            url = yield from self._look_up_url(queue)
        except CallError as error:
            return {entry.position: error for entry in entries}
        return (yield from call_in_batches(operation, url, entries))

    def _url(self, queue: str) -> Flow[str]:
        try:
            return (yield from self._look_up_url(queue))
        except CallError as error:
            raise self._errors(queue).of_call(error) from error

    def _look_up_url(self, queue: str) -> Flow[str]:
        url = self._urls.get(queue) or self._configured_url(queue)
        if url is None:
            answer = yield Call("sqs", "get_queue_url", {"QueueName": self.full_name(queue)})
            url = str(answer["QueueUrl"])
        self._urls[queue] = url
        return url

    def _configured_url(self, queue: str) -> str | None:
        """The URL that the settings have for a queue, under its name with or without the prefix."""
        urls = self._options.queue_urls
        return urls.get(queue) or urls.get(canonical_name(self._options.prefix + queue))

    def _call(self, queue: str, operation: str, parameters: Mapping[str, Any]) -> Flow[Mapping[str, Any]]:
        try:
            answer: Mapping[str, Any] = yield Call("sqs", operation, parameters)
        except CallError as error:
            raise self._errors(queue).of_call(error) from error
        return answer

    def _errors(self, queue: str) -> QueueErrors:
        return QueueErrors(queue, self.full_name(queue), self._options.region, self._options.endpoint_url)

    def _sent(self, queue: str, answer: EntryAnswer) -> Sent | Refused:
        if isinstance(answer, Accepted):
            return Sent(answer.answer["MessageId"])
        return self._refused(queue, _SEND, answer)

    def _settled(self, queue: str, operation: str, answer: EntryAnswer) -> Refused | None:
        return None if isinstance(answer, Accepted) else self._refused(queue, operation, answer)

    def _refused(self, queue: str, operation: str, answer: NotAccepted | CallError) -> Refused:
        errors = self._errors(queue)
        return Refused(errors.of_call(answer) if isinstance(answer, CallError) else errors.of_entry(answer, operation))


def _send_at_once(url: str, entries: Sequence[Entry]) -> Flow[dict[int, EntryAnswer]]:
    return (yield from call_in_batches(_SEND, url, entries))


def _send_in_order(url: str, entries: Sequence[Entry]) -> Flow[dict[int, EntryAnswer]]:
    """Send one call after the other.

    After a message that wasn't accepted, no later call sends a message of its group.
    """
    answers: dict[int, EntryAnswer] = {}
    stopped: dict[str, EntryAnswer] = {}
    for batch in in_batches(entries):
        to_send = []
        for entry in batch:
            group = entry.parameters["MessageGroupId"]
            if group in stopped:
                answers[entry.position] = stopped[group]
            else:
                to_send.append(entry)
        answers.update((yield from call_in_batches(_SEND, url, to_send)))
        for entry in to_send:
            answer = answers[entry.position]
            if not isinstance(answer, Accepted):
                stopped.setdefault(entry.parameters["MessageGroupId"], answer)
    return answers


def _settlement_entry(position: int, settlement: Settlement) -> tuple[str, Entry]:
    """The operation and the entry that settle a delivery; a dead letter has already been sent."""
    if isinstance(settlement, Release):
        return _CHANGE_VISIBILITY, _visibility_entry(position, settlement.delivery, settlement.after_seconds)
    return _DELETE, Entry(position, {"ReceiptHandle": settlement.delivery.receipt})


def _visibility_entry(position: int, delivery: Delivery, seconds: float) -> Entry:
    parameters = {"ReceiptHandle": delivery.receipt, "VisibilityTimeout": visibility_seconds(seconds)}
    return Entry(position, parameters)


def _is_lost_lease(answer: EntryAnswer) -> bool:
    """Whether the lease is over: the message has been delivered again, or settled."""
    if not isinstance(answer, NotAccepted):
        return False
    # The code for an invalid value may also mean that the timeout would exceed twelve hours: the lease still stands.
    invalid_receipt = answer.code in INVALID_VALUE and "VisibilityTimeout is invalid" not in answer.message
    return answer.code in LOST_LEASE or invalid_receipt
