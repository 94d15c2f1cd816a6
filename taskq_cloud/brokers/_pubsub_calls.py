"""Pub/Sub's batch calls, some of which succeed in part, and this package's errors for failed calls."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

from taskq_cloud.brokers._pubsub_messages import Entry, ids_in_batches, in_batches
from taskq_cloud.brokers._pubsub_options import PubSubLocation
from taskq_cloud.core.backoff import DEFAULT_BACKOFF, RNG
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.core.model.message import Sent
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable

CALLS_AT_ONCE: Final = 5
"""How many calls of a large batch are made at once. It bounds the memory for their requests."""

ACKNOWLEDGE: Final = "acknowledge"
MODIFY_DEADLINE: Final = "modify_ack_deadline"

_PERMANENT: Final = "PERMANENT_FAILURE_"
_TRANSIENT: Final = "TRANSIENT_FAILURE_"
"""The beginning of the answer for one acknowledgement id, in the error of a request to a subscription with exactly-once
delivery (Pub/Sub documentation, "Exactly-once delivery")."""

_PERMISSIONS: Final = {
    "publish": "pubsub.topics.publish",
    "list_topic_subscriptions": "pubsub.topics.get",
    "get_subscription": "pubsub.subscriptions.get",
    "create_task": "cloudtasks.tasks.create",
}
"""Operation -> the permission for it. Other operations need pubsub.subscriptions.consume (Pub/Sub documentation,
"Access control")."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The receipt's lease is over: the message has been delivered again, or settled."""


ReceiptAnswer: TypeAlias = LeaseLost | CallError | None
"""The answer to the acknowledgement or the extension of one receipt. None: done, as far as Pub/Sub says."""


@dataclass(frozen=True, slots=True)
class QueueErrors:
    """Makes the errors of one queue.

    Args:
        queue: the queue, as the application names it.
        location: the queue's topic and subscription.
        project: the id of the broker's project.
    """

    queue: str
    location: PubSubLocation
    project: str

    def of_call(self, error: CallError) -> OperationalError:
        """The error for a failed call."""
        answer = f"{error.code}: {error.message}"
        permission = _PERMISSIONS.get(error.call.operation, "pubsub.subscriptions.consume")
        if error.code == "NOT_FOUND":
            return self._not_found(error, answer)
        if error.code == "PERMISSION_DENIED":
            return AccessDenied(
                f"{self}: {permission} was denied ({answer}): grant it to this service account, and check that the "
                f"project {self.project!r} is the right one"
            )
        kind: type[OperationalError]
        match error.trouble:
            case Trouble.CREDENTIALS:
                kind, what = AccessDenied, f"Google's credentials were not accepted for {error.call.operation}"
            case Trouble.THROTTLED:
                kind, what = Unreachable, f"Pub/Sub throttled {error.call.operation} until the retries ran out"
            case Trouble.TRANSIENT:
                kind, what = Unreachable, f"no answer from Pub/Sub to {error.call.operation} after the retries"
            case _:
                kind, what = OperationalError, f"{error.call.operation} failed"
        return kind(f"{self}: {what} ({answer})")

    def lost_lease(self, message_id: str) -> OperationalError:
        """The error for an attempt to extend a lease that is over."""
        return OperationalError(
            f"{self}: the lease of message {message_id} is lost: it ran out, or the message is settled"
        )

    def missing_topic(self) -> QueueNotFound:
        """The error for a topic that doesn't exist."""
        topic = self.location.topic
        return QueueNotFound(
            f"{self}: topic {topic} does not exist, and the runtime creates no topics: create it with its "
            f"subscription, e.g. gcloud pubsub topics create {topic}, then {self._create_subscription()}"
        )

    def missing_subscription(self) -> QueueNotFound:
        """The error for a subscription that doesn't exist."""
        return QueueNotFound(
            f"{self}: subscription {self.location.subscription} does not exist, and the runtime creates no "
            f"subscriptions: create it, e.g. {self._create_subscription()}"
        )

    def __str__(self) -> str:
        return f"queue {self.queue!r}"

    def _not_found(self, error: CallError, answer: str) -> OperationalError:
        if "project not found" in error.message.lower():
            return OperationalError(
                f"{self}: there is no project {self.project!r} for these credentials ({answer}): write the broker's "
                "URL as pubsub://PROJECT-ID/prefix, with the project's id and not its display name"
            )
        if error.call.operation in ("publish", "list_topic_subscriptions"):
            return self.missing_topic()
        return self.missing_subscription()

    def _create_subscription(self) -> str:
        ordered = " --enable-message-ordering" if is_ordered(self.queue) else ""
        return (
            f"gcloud pubsub subscriptions create {self.location.subscription} --topic {self.location.topic} "
            f"--ack-deadline 60 --expiration-period never{ordered}"
        )


def publish(topic: str, entries: Sequence[Entry], *, ordered: bool) -> Flow[dict[int, Sent | CallError]]:
    """Publish any number of messages. Pub/Sub accepts or rejects each request as a whole.

    Args:
        topic: the topic's full name.
        entries: the messages.
        ordered: make one request after the other, and none after a request that was not accepted.

    Returns:
        The answer for each message, by its position.
    """
    answers: dict[int, Sent | CallError] = {}
    batches = in_batches(entries, topic)
    stopped: CallError | None = None
    while wave := list(islice(batches, 1 if ordered else CALLS_AT_ONCE)):
        if stopped is not None:
            answers.update({entry.position: stopped for batch in wave for entry in batch})
            continue
        results = yield Gather([_publish_call(topic, batch) for batch in wave])
        for batch, result in zip(wave, results, strict=True):
            if isinstance(result, CallError):
                stopped = result if ordered else None
                answers.update({entry.position: result for entry in batch})
            else:
                ids = zip(batch, result.message_ids, strict=True)
                answers.update({entry.position: Sent(message_id) for entry, message_id in ids})
    return answers


def settle_receipts(
    operation: str, subscription: str, receipts: Sequence[str], seconds: int | None = None, rng: random.Random = RNG
) -> Flow[dict[str, ReceiptAnswer]]:
    """Acknowledge any number of receipts, or set their deadlines. A failed call is not raised.

    A subscription with exactly-once delivery answers for each receipt. A receipt with a transient failure or without an
    answer is sent again, as often and with the same backoff as ``core.flows.retrying`` repeats a call.

    Args:
        operation: ``ACKNOWLEDGE`` or ``MODIFY_DEADLINE``.
        subscription: the subscription's full name.
        receipts: the acknowledgement ids.
        seconds: the new deadline, from now; None when acknowledging.
        rng: makes the jitter of the backoff.

    Returns:
        The answer for each receipt; a failed call is the answer for each of its receipts.
    """
    answers: dict[str, ReceiptAnswer] = dict.fromkeys(receipts)
    waiting = list(answers)
    for attempt in range(DEFAULT_BACKOFF.attempts):
        if attempt:
            yield Sleep(DEFAULT_BACKOFF.seconds(attempt - 1, rng))
        again: list[str] = []
        batches = ids_in_batches(waiting)
        while wave := list(islice(batches, CALLS_AT_ONCE)):
            results = yield Gather([_call(operation, subscription, batch, seconds) for batch in wave])
            for batch, result in zip(wave, results, strict=True):
                again += _record_answers(answers, batch, result)
        waiting = again
        if not waiting:
            break
    return answers


def _publish_call(topic: str, batch: Sequence[Entry]) -> Call:
    return Call("publisher", "publish", {"request": {"topic": topic, "messages": [each.message for each in batch]}})


def _call(operation: str, subscription: str, receipts: Sequence[str], seconds: int | None) -> Call:
    request: dict[str, Any] = {"subscription": subscription, "ack_ids": receipts}
    if seconds is not None:
        request["ack_deadline_seconds"] = seconds
    return Call("subscriber", operation, {"request": request})


def _record_answers(answers: dict[str, ReceiptAnswer], receipts: Sequence[str], result: Any) -> Iterator[str]:
    """Record a request's answer for each of its receipts, and yield the receipts that must be sent again."""
    if not isinstance(result, CallError):
        for receipt in receipts:
            answers[receipt] = None
        return
    codes: Mapping[str, str] = result.details
    partial = any(codes.get(receipt, "").startswith((_PERMANENT, _TRANSIENT)) for receipt in receipts)
    for receipt in receipts:
        permanent = codes.get(receipt, "").startswith(_PERMANENT)
        answers[receipt] = LeaseLost() if permanent else result
        if partial and not permanent:
            yield receipt
