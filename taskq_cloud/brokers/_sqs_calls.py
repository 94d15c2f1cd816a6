"""SQS's batch calls, whose entries succeed or fail separately, and this package's errors for failed calls."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

from taskq_cloud.core.backoff import DEFAULT_BACKOFF, RNG
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.capabilities import is_ordered
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable

T = TypeVar("T")

LARGEST_BATCH_BYTES: Final = 1_048_576
"""The largest sum of a batch's messages with their attributes, and the largest message (SQS Developer Guide,
"quotas-messages")."""

LARGEST_BATCH_ENTRIES: Final = 10
"""The most entries of a batch (SQS Developer Guide, "quotas-messages")."""

CALLS_AT_ONCE: Final = 20
"""How many calls of a large batch are made at once. It bounds the memory for their requests."""

PURGE_INTERVAL_SECONDS: Final = 60
"""The time after a purge during which SQS refuses another purge (SQS API Reference, "PurgeQueue")."""

LOST_LEASE: Final = frozenset(
    {"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"}
)
"""The codes of an entry whose receipt no longer holds its message."""

INVALID_VALUE: Final = frozenset({"InvalidParameterValue", "InvalidParameterValueException"})
"""The codes of an entry with a wrong value, which may also mean a receipt that no longer holds its message. A code is
the error's name, as in the query protocol, or the name of the error's shape, as LocalStack writes it."""

_MISSING_QUEUE: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "InvalidSecurity", "KmsAccessDenied"})
_PURGING: Final = frozenset({"AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress"})

_ACTIONS: Final = {
    "change_message_visibility_batch": "sqs:ChangeMessageVisibility",
    "delete_message_batch": "sqs:DeleteMessage",
    "get_queue_attributes": "sqs:GetQueueAttributes",
    "get_queue_url": "sqs:GetQueueUrl",
    "purge_queue": "sqs:PurgeQueue",
    "receive_message": "sqs:ReceiveMessage",
    "send_message_batch": "sqs:SendMessage",
}
"""Operation -> the permission for it (Service Authorization Reference, "Actions defined by Amazon SQS")."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a batch.

    Args:
        position: the entry's position among the caller's messages or deliveries.
        parameters: the entry's fields, without ``Id``.
        size_bytes: how much the entry adds to the batch's sum.
    """

    position: int
    parameters: Mapping[str, Any]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """SQS accepted an entry.

    Args:
        answer: the entry's part of the response.
    """

    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """SQS accepted the call but not the entry.

    Args:
        code: SQS's error code.
        message: SQS's message.
        sender_fault: whether the entry is wrong, and would be refused again.
    """

    code: str
    message: str
    sender_fault: bool


EntryAnswer: TypeAlias = Accepted | NotAccepted | CallError


@dataclass(frozen=True, slots=True)
class QueueErrors:
    """Makes the errors of one queue.

    Args:
        queue: the queue, as the application names it.
        full_name: the queue, as SQS names it.
        region: the configured region; None: the environment's.
        endpoint_url: the configured endpoint; None: the SDK's.
    """

    queue: str
    full_name: str
    region: str | None
    endpoint_url: str | None

    def __str__(self) -> str:
        return f"queue {self.queue!r}" + (f" ({self.full_name} in SQS)" if self.full_name != self.queue else "")

    def of_call(self, error: CallError) -> OperationalError:
        """The error for a failed call."""
        answer = f"{error.code}: {error.message}"
        action = _ACTIONS.get(error.call.operation, error.call.operation)
        if error.code in _MISSING_QUEUE:
            return self._missing_queue()
        if error.code in _DENIED:
            return AccessDenied(
                f"{self}: {action} was denied ({answer}): allow it to this role or user in its IAM policy"
            )
        if error.code in _PURGING:
            return OperationalError(
                f"{self} was purged less than {PURGE_INTERVAL_SECONDS} s ago, and SQS purges a queue only once in that"
                " time: wait, then purge it again"
            )
        kind: type[OperationalError]
        match error.trouble:
            case Trouble.CREDENTIALS:
                kind, what = AccessDenied, f"the AWS credentials were not accepted for {action}"
            case Trouble.THROTTLED:
                kind, what = Unreachable, f"SQS throttled {action} until the retries ran out"
            case Trouble.TRANSIENT:
                at = self.endpoint_url or f"SQS in {self.region or 'the default region'}"
                kind, what = Unreachable, f"no answer from {at} to {action} after the retries"
            case _:
                kind, what = OperationalError, f"{action} failed"
        return kind(f"{self}: {what} ({answer})")

    def of_entry(self, answer: NotAccepted, operation: str) -> OperationalError:
        """The error for an entry that was not accepted."""
        kind = OperationalError if answer.sender_fault else Unreachable
        return kind(f"{self}: {_ACTIONS[operation]} failed ({answer.code}: {answer.message})")

    def lost_lease(self, message_id: str) -> OperationalError:
        """The error for an attempt to extend a lease that is over."""
        return OperationalError(
            f"{self}: the lease of message {message_id} is lost: it ran out, or the message is settled"
        )

    def _missing_queue(self) -> QueueNotFound:
        ordered = " --attributes FifoQueue=true" if is_ordered(self.full_name) else ""
        region = f" --region {self.region}" if self.region else ""
        return QueueNotFound(
            f"queue {self.full_name!r} does not exist in {self.region or 'the default region'}, and the runtime creates"
            f" no queues: create it, e.g. aws sqs create-queue --queue-name {self.full_name}{ordered}{region}"
        )


def in_batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Divide entries, in order, into as few batches as their number and size allow."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == LARGEST_BATCH_ENTRIES or size + entry.size_bytes > LARGEST_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size_bytes
    if batch:
        yield batch


def call_in_batches(
    operation: str, url: str, entries: Sequence[Entry], rng: random.Random = RNG
) -> Flow[dict[int, EntryAnswer]]:
    """Make a batch call for any number of entries. A failed call is not raised.

    An entry that failed, but not by the sender's fault, is sent again, as often and with the same backoff as
    ``core.flows.retrying`` repeats a call.

    Args:
        operation: the SDK's method.
        url: the queue's URL.
        entries: the entries.
        rng: makes the jitter of the backoff.

    Returns:
        The answer for each entry, by its position; a failed call is the answer for each of its entries.
    """
    answers: dict[int, EntryAnswer] = {}
    waiting = list(entries)
    for attempt in range(DEFAULT_BACKOFF.attempts):
        if attempt:
            yield Sleep(DEFAULT_BACKOFF.seconds(attempt - 1, rng))
        batches = in_batches(waiting)
        while wave := list(islice(batches, CALLS_AT_ONCE)):
            responses = yield Gather([_call(operation, url, batch) for batch in wave])
            for batch, response in zip(wave, responses, strict=True):
                answers.update(_read(batch, response))
        waiting = [entry for entry in waiting if _is_retryable(answers[entry.position])]
        if not waiting:
            break
    return answers


def _call(operation: str, url: str, batch: Sequence[Entry]) -> Call:
    entries = [{"Id": str(number), **entry.parameters} for number, entry in enumerate(batch)]
    return Call("sqs", operation, {"QueueUrl": url, "Entries": entries})


def _read(batch: Sequence[Entry], response: Mapping[str, Any] | CallError) -> dict[int, EntryAnswer]:
    if isinstance(response, CallError):
        return {entry.position: response for entry in batch}
    # An entry that the answer doesn't mention may not have been accepted: like a failed one, it is sent again.
    answers: dict[int, EntryAnswer] = {
        entry.position: NotAccepted("NoAnswer", "the answer does not mention the entry", sender_fault=False)
        for entry in batch
    }
    for each in response.get("Successful", ()):
        answers[batch[int(each["Id"])].position] = Accepted(each)
    for each in response.get("Failed", ()):
        answers[batch[int(each["Id"])].position] = NotAccepted(
            each["Code"], each.get("Message", ""), each["SenderFault"]
        )
    return answers


def _is_retryable(answer: EntryAnswer) -> bool:
    # LocalStack never blames the sender, so the codes of a lost lease or a wrong value count as the sender's fault.
    final = LOST_LEASE | INVALID_VALUE
    return isinstance(answer, NotAccepted) and not answer.sender_fault and answer.code not in final
