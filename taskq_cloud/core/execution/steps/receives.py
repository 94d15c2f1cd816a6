"""Receives that have run out: a message that no worker could bring to an end is dead-lettered (step 5 of ``pipeline``).

A run that ends its worker leaves nothing behind but a receive. A receive alone says little, though: a worker that dies
takes along all messages that it has, and most of their tasks had not begun. So the second run of a task, and each later
one, is noted in the result store before it begins, and noted once more if it ends and its message comes back all the
same. Once the receives have run out, the notes tell how many of them were runs. Without a result store, every receive
counts as a run.

A provider that dead-letters by its own count (SQS) gives no reason and records no failure. There, ``task_max_receives``
is the last receive: a task that has begun before, and has never ended, is not started once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from taskq_cloud.core.execution.context import DeliveryContext, Environment
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS, Record
from taskq_cloud.errors import OperationalError, WorkerLostError

BEGUN: Final = "BEGUN"
"""The state of the record that notes a run. If it stays, the run may have ended its worker."""
ENDED: Final = "ENDED"
"""The state of the record of a run that has ended, though its message has come back."""

UNREAD_RECEIVES: Final = 10
"""A message is dead-lettered unread after so many times ``task_max_receives``: reading it may be what ends a worker."""

_MOST_NOTES: Final = 100
_REASON: Final = (
    "received {} times (task_max_receives is {}), and no worker has brought it to an end: it may end the worker that "
    "runs it. Mend the cause, then redrive the dead-letter queue"
)


def exceed(environment: Environment, delivery: Delivery, times: int = 1) -> bool:
    """Whether a message was received more often than ``task_max_receives`` allows, as far as its receives tell.

    A provider that also counts receives which were no more than waiting dead-letters a message by its own rule.

    Args:
        environment: the application's.
        delivery: the delivery of the message.
        times: a factor of the limit.
    """
    if delivery.receive_count <= environment.policy.max_receives * times or not (delivery.counted and delivery.queued):
        return False
    return not environment.outbox.capabilities.waiting_uses_receives(delivery.queue)


def have_run_out(context: DeliveryContext, *, waits: bool = False) -> Flow[bool]:
    """Whether the task is not to be started again, because of the runs of it that have begun and never ended.

    Args:
        context: the task's.
        waits: whether the message may also have used up receives by waiting for its rate.
    """
    environment, delivery = context.environment, context.delivery
    is_last = is_last_receive(environment, delivery)
    too_often = not waits and exceed(environment, delivery)
    if not (is_last or too_often):
        return False
    if not environment.store.capabilities.keeps_records:
        return too_often
    notes = yield from context.store.load(note_ids(delivery))
    if is_last and any(note.state == BEGUN for note in notes.values()):
        return True
    return too_often and len(notes) >= environment.policy.max_receives - 1  # the first run is not noted


def is_last_receive(environment: Environment, delivery: Delivery) -> bool:
    """Whether the provider may dead-letter the message by itself instead of handing it over once more."""
    own_count = environment.outbox.capabilities.dead_letters_by_count
    return own_count and delivery.queued and delivery.receive_count >= environment.policy.max_receives


def note_run(context: DeliveryContext) -> Flow[None]:
    """Note that a task begins to run whose message was received before."""
    if _notes_runs(context):
        yield from context.store.save([_note(context, BEGUN, 0)])


def note_end(context: DeliveryContext) -> Flow[None]:
    """Note that a run has not ended its worker, though its message comes back."""
    if _notes_runs(context):
        with suppress(OperationalError):  # it may be why the message comes back
            yield from context.environment.store.save([_note(context, ENDED, 1)])


def note_ids(delivery: Delivery) -> Sequence[str]:
    """The ids of the notes that runs on earlier receives of a message may have left."""
    first = max(2, delivery.receive_count - _MOST_NOTES)
    return [_id_of(delivery, number) for number in range(first, delivery.receive_count)]


def error(environment: Environment, receives: int) -> WorkerLostError:
    """Make the error of a task whose receives have run out.

    Args:
        environment: the application's.
        receives: how often the message was received, without the receives that were no more than waiting.
    """
    return WorkerLostError(_REASON.format(receives, environment.policy.max_receives))


def _notes_runs(context: DeliveryContext) -> bool:
    delivery = context.delivery
    return delivery.receive_count > 1 and delivery.queued and context.environment.store.capabilities.keeps_records


def _note(context: DeliveryContext, state: str, version: int) -> Record:
    note_id = _id_of(context.delivery, context.delivery.receive_count)
    return Record(note_id, state, version, "{}", context.now + LONGEST_MESSAGE_SECONDS)


def _id_of(delivery: Delivery, receive: int) -> str:
    # The message's id, as it is the message that is counted: a redriven message is another one, and begins anew.
    return f"taskq-run-{delivery.queue}-{delivery.message_id}-{receive}"
