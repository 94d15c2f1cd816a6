"""Pub/Sub's batch calls, some of which succeed in part, and its errors in this package's words."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from taskq_cloud.brokers._pubsub_messages import Entry, ids_in_batches, in_batches
from taskq_cloud.brokers._pubsub_options import Place
from taskq_cloud.core.backoff import DEFAULT_BACKOFF
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.core.model.message import Sent
from taskq_cloud.core.ports import is_ordered
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable

CALLS_AT_ONCE: Final = 5
"""Calls of one large batch that are under way together; the bound on what is held in memory for them."""

ACKNOWLEDGE: Final = "acknowledge"
MODIFY: Final = "modify_ack_deadline"

_PERMANENT: Final = "PERMANENT_FAILURE_"
_TRANSIENT: Final = "TRANSIENT_FAILURE_"
"""Of an acknowledgement id, in the error of a request to a subscription with exactly-once delivery (Pub/Sub
documentation, "Exactly-once delivery")."""

_PERMISSIONS: Final = {
    "publish": "pubsub.topics.publish",
    "list_topic_subscriptions": "pubsub.topics.get",
    "get_subscription": "pubsub.subscriptions.get",
    "create_task": "cloudtasks.tasks.create",
}
"""What an operation needs; the others need pubsub.subscriptions.consume (Pub/Sub documentation, "Access control")."""

_RNG = random.Random()


@dataclass(frozen=True, slots=True)
class Lost:
    """The receipt no longer holds its message: someone else has it now, or it is gone."""


AckAnswer: TypeAlias = Lost | CallError | None
"""What became of one acknowledgement or extension: None where it is done, as far as Pub/Sub says."""


@dataclass(frozen=True, slots=True)
class Where:
    """What an error names.

    Args:
        queue: the queue as the application names it.
        place: where it is in Pub/Sub.
        project: the project of the broker.
    """

    queue: str
    place: Place
    project: str

    def explain(self, error: CallError) -> OperationalError:
        """A failed call, as this package's error."""
        said = f"{error.code}: {error.message}"
        permission = _PERMISSIONS.get(error.call.operation, "pubsub.subscriptions.consume")
        if error.code == "NOT_FOUND":
            return self._not_found(error, said)
        if error.code == "PERMISSION_DENIED":
            return AccessDenied(
                f"{self}: {permission} was denied ({said}): grant it to this service account, and see that the project "
                f"{self.project!r} is the right one"
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
        return kind(f"{self}: {what} ({said})")

    def lost(self, message_id: str) -> OperationalError:
        """Somebody wanted to extend a lease that is over."""
        return OperationalError(
            f"{self}: the lease of message {message_id} is lost: it ran out, or the message is settled"
        )

    def missing_topic(self) -> QueueNotFound:
        """The topic does not exist."""
        topic = self.place.topic
        return QueueNotFound(
            f"{self}: topic {topic} does not exist; the runtime creates none: create it with its subscription, e.g. "
            f"gcloud pubsub topics create {topic}, then {self._create_subscription()}"
        )

    def missing_subscription(self) -> QueueNotFound:
        """The subscription does not exist."""
        return QueueNotFound(
            f"{self}: subscription {self.place.subscription} does not exist; the runtime creates none: create it, e.g. "
            f"{self._create_subscription()}"
        )

    def __str__(self) -> str:
        return f"queue {self.queue!r}"

    def _not_found(self, error: CallError, said: str) -> OperationalError:
        if "project not found" in error.message.lower():
            return OperationalError(
                f"{self}: there is no project {self.project!r} for these credentials ({said}): the broker's URL is "
                "pubsub://PROJECT-ID/prefix, with the project's id and not its display name"
            )
        if error.call.operation in ("publish", "list_topic_subscriptions"):
            return self.missing_topic()
        return self.missing_subscription()

    def _create_subscription(self) -> str:
        ordered = " --enable-message-ordering" if is_ordered(self.queue) else ""
        return (
            f"gcloud pubsub subscriptions create {self.place.subscription} --topic {self.place.topic} "
            f"--ack-deadline 60 --expiration-period never{ordered}"
        )


def publish(topic: str, entries: Sequence[Entry], *, ordered: bool) -> Flow[dict[int, Sent | CallError]]:
    """Publish any number of messages; the answer to each, by its position. A request is accepted as a whole or not.

    Those of an ordered queue go request by request, and no further once one was not accepted.
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
    operation: str, subscription: str, receipts: Sequence[str], seconds: int | None = None, rng: random.Random = _RNG
) -> Flow[dict[str, AckAnswer]]:
    """Acknowledge any number of receipts, or set their deadlines; the answer to each.

    A subscription with exactly-once delivery answers for every receipt by itself: those of which it says that they
    may pass the next time, or nothing, are sent again, as ``core.calls`` repeats a call. No call's failure is raised:
    it is the answer to every receipt of the call.
    """
    answers: dict[str, AckAnswer] = dict.fromkeys(receipts)
    waiting = list(answers)
    for attempt in range(DEFAULT_BACKOFF.attempts):
        if attempt:
            yield Sleep(DEFAULT_BACKOFF.seconds(attempt - 1, rng))
        again: list[str] = []
        batches = ids_in_batches(waiting)
        while wave := list(islice(batches, CALLS_AT_ONCE)):
            results = yield Gather([_call(operation, subscription, batch, seconds) for batch in wave])
            for batch, result in zip(wave, results, strict=True):
                again += _note(answers, batch, result)
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


def _note(answers: dict[str, AckAnswer], receipts: Sequence[str], result: Any) -> Iterator[str]:
    """Note a request's answer for each of its receipts; those that are to be sent again."""
    if not isinstance(result, CallError):
        for receipt in receipts:
            answers[receipt] = None
        return
    of_receipts: Mapping[str, str] = result.details
    partial = any(of_receipts.get(receipt, "").startswith((_PERMANENT, _TRANSIENT)) for receipt in receipts)
    for receipt in receipts:
        permanent = of_receipts.get(receipt, "").startswith(_PERMANENT)
        answers[receipt] = Lost() if permanent else result
        if partial and not permanent:
            yield receipt
