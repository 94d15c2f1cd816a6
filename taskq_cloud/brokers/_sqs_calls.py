"""SQS's batch calls, whose entries succeed or fail one by one, and SQS's errors in this package's words."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

from taskq_cloud.core.backoff import DEFAULT_BACKOFF
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.core.ports import is_ordered
from taskq_cloud.errors import AccessDenied, OperationalError, QueueNotFound, Unreachable

T = TypeVar("T")

LARGEST_BATCH_BYTES: Final = 1_048_576
"""The sum of a batch, attributes included; also the largest message (SQS Developer Guide, "quotas-messages")."""

LARGEST_BATCH_ENTRIES: Final = 10
"""SQS Developer Guide, "quotas-messages"."""

CALLS_AT_ONCE: Final = 20
"""Calls of one large batch that are under way together; the bound on what is held in memory for them."""

PURGE_INTERVAL_SECONDS: Final = 60
"""SQS API Reference, "PurgeQueue"."""

LEASE_IS_GONE: Final = frozenset(
    {"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"}
)
INVALID_VALUE: Final = frozenset({"InvalidParameterValue", "InvalidParameterValueException"})
"""Of a receipt that no longer holds its message, among others. An entry's code may be an error's name, as the query
protocol has it, or its shape's, as LocalStack writes it."""

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
"""The permission an operation needs (Service Authorization Reference, "Actions defined by Amazon SQS")."""

_RNG = random.Random()


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a batch.

    Args:
        position: its place in what the caller gave.
        parameters: its fields, without ``Id``.
        size_bytes: what it adds to the batch's sum.
    """

    position: int
    parameters: Mapping[str, Any]
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """SQS accepted an entry; ``answer`` is its part of the response."""

    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """SQS accepted the call but not the entry.

    Args:
        code: SQS's error code.
        message: SQS's own words.
        sender_fault: the entry is wrong, and would be refused again.
    """

    code: str
    message: str
    sender_fault: bool


EntryAnswer: TypeAlias = Accepted | NotAccepted | CallError


@dataclass(frozen=True, slots=True)
class Where:
    """What an error names.

    Args:
        queue: the queue as the application names it.
        full_name: the queue as SQS names it.
        region: the region, as far as it was configured here.
        endpoint_url: the endpoint, likewise.
    """

    queue: str
    full_name: str
    region: str | None
    endpoint_url: str | None

    def __str__(self) -> str:
        return f"queue {self.queue!r}" + (f" ({self.full_name} in SQS)" if self.full_name != self.queue else "")

    def explain(self, error: CallError) -> OperationalError:
        """A failed call, as this package's error."""
        said = f"{error.code}: {error.message}"
        action = _ACTIONS.get(error.call.operation, error.call.operation)
        if error.code in _MISSING_QUEUE:
            return self._missing()
        if error.code in _DENIED:
            return AccessDenied(
                f"{self}: {action} was denied ({said}): allow it to this role or user in its IAM policy"
            )
        if error.code in _PURGING:
            return OperationalError(
                f"{self} was purged less than {PURGE_INTERVAL_SECONDS} s ago, and SQS purges a queue once in that time:"
                " wait and purge it again"
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
        return kind(f"{self}: {what} ({said})")

    def explain_entry(self, answer: NotAccepted, operation: str) -> OperationalError:
        """An entry that was not accepted, as this package's error."""
        kind = OperationalError if answer.sender_fault else Unreachable
        return kind(f"{self}: {_ACTIONS[operation]} failed ({answer.code}: {answer.message})")

    def _missing(self) -> QueueNotFound:
        ordered = " --attributes FifoQueue=true" if is_ordered(self.full_name) else ""
        region = f" --region {self.region}" if self.region else ""
        return QueueNotFound(
            f"queue {self.full_name!r} does not exist in {self.region or 'the default region'}; the runtime creates"
            f" none: create it, e.g. aws sqs create-queue --queue-name {self.full_name}{ordered}{region}"
        )


def in_batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut entries, in order, into as few batches as their number and size allow."""
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
    operation: str, url: str, entries: Sequence[Entry], rng: random.Random = _RNG
) -> Flow[dict[int, EntryAnswer]]:
    """Make a batch call for any number of entries; the answer to each, by its position.

    An entry that failed by no fault of the sender's is sent again, as ``core.calls`` repeats a call. No call's failure
    is raised: it is the answer to every entry of the call.
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
        waiting = [entry for entry in waiting if _may_pass(answers[entry.position])]
        if not waiting:
            break
    return answers


def _call(operation: str, url: str, batch: Sequence[Entry]) -> Call:
    entries = [{"Id": str(number), **entry.parameters} for number, entry in enumerate(batch)]
    return Call("sqs", operation, {"QueueUrl": url, "Entries": entries})


def _read(batch: Sequence[Entry], response: Mapping[str, Any] | CallError) -> dict[int, EntryAnswer]:
    if isinstance(response, CallError):
        return {entry.position: response for entry in batch}
    # An entry that SQS says nothing of might not have been taken: like one that failed, it is sent again.
    answers: dict[int, EntryAnswer] = {
        entry.position: NotAccepted("NoAnswer", "SQS did not mention the entry", sender_fault=False) for entry in batch
    }
    for each in response.get("Successful", ()):
        answers[batch[int(each["Id"])].position] = Accepted(each)
    for each in response.get("Failed", ()):
        answers[batch[int(each["Id"])].position] = NotAccepted(
            each["Code"], each.get("Message", ""), each["SenderFault"]
        )
    return answers


def _may_pass(answer: EntryAnswer) -> bool:
    # LocalStack finds no fault with the sender of an entry, whatever is wrong with it.
    known = LEASE_IS_GONE | INVALID_VALUE
    return isinstance(answer, NotAccepted) and not answer.sender_fault and answer.code not in known
