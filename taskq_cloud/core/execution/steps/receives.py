"""Receives that have run out: a message that no worker could bring to an end is dead-lettered (step 5 of ``pipeline``).

A run that ends its worker leaves nothing behind but a receive. A receive alone says little, though: a worker that dies
takes along all messages that it has, and most of their tasks had not begun. So the second run of a task, and each later
one, is noted in the result store before it begins, and noted once more if it ends and its message comes back all the
same. Once the receives have run out, the notes tell how many of them were runs. Without a result store, every receive
counts as a run.

A provider that dead-letters by its own count (SQS) gives no reason and records no failure. There, ``task_max_receives``
is the last receive: a task that has begun on the receive before, or twice, and has not ended, is not started once more.
One run that has not ended is not enough, as its end may have been lost in an outage of the store. A provider that hands
a message over more often than that is taken at its word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from taskq_cloud.core.execution.context import DeliveryContext, Environment
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS, Record
from taskq_cloud.errors import OperationalError, WorkerLostError

BEGUN: Final = "BEGUN"
"""The state of the record that notes a run. If it stays, the run may have ended its worker."""
ENDED: Final = "ENDED"
"""The state of the record of a run that has ended, though its message has come back."""
HELD: Final = "HELD"
"""The state of the record of a receive on which a task that may end its worker was not run, and came back for later."""

Notes: TypeAlias = Mapping[int, str]
"""The number of a receive -> the state of its note."""

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
    environment, delivery, most = context.environment, context.delivery, context.environment.policy.max_receives
    own_count = environment.outbox.capabilities.dead_letters_by_count
    may_be_last = own_count and delivery.queued and delivery.receive_count >= most
    too_often = not waits and exceed(environment, delivery)
    if not (may_be_last or too_often):
        return False
    if not environment.store.capabilities.remembers:
        return too_often
    notes = notes_of(delivery, (yield from context.store.load(note_ids(delivery))))
    if may_be_last and is_given_up(delivery.receive_count, notes, most):
        return True
    runs = sum(state != HELD for state in notes.values())
    return too_often and runs >= most - 1  # the first run is not noted


def is_given_up(receive_count: int, notes: Notes, most_receives: int) -> bool:
    """Whether a task is not started once more, on a receive after which the provider may take its message away.

    Args:
        receive_count: the number of the receive.
        notes: the notes of the receives before.
        most_receives: the number of receives that ``task_max_receives`` allows.
    """
    begun = [number for number, state in notes.items() if state == BEGUN]
    if receive_count > most_receives:
        return len(begun) >= most_receives - 1
    if receive_count < most_receives or not begun:
        return False
    return len(begun) > 1 or all(notes.get(number) == HELD for number in range(begun[0] + 1, receive_count))


def note_run(context: DeliveryContext) -> Flow[None]:
    """Note that a task begins to run whose message was received before."""
    if _notes_runs(context):
        yield from context.store.save([_note(context.delivery, BEGUN, 0, context.now)])


def note_end(context: DeliveryContext) -> Flow[None]:
    """Note that a run has not ended its worker, though its message comes back."""
    if _notes_runs(context):
        with suppress(OperationalError):  # it may be why the message comes back
            yield from context.environment.store.save([_note(context.delivery, ENDED, 1, context.now)])


def note_held(store: ResultStore, delivery: Delivery, now: float) -> Flow[None]:
    """Note that a task which may end its worker was not run, and comes back for later."""
    yield from store.save([_note(delivery, HELD, 0, now)])


def note_ids(delivery: Delivery) -> Sequence[str]:
    """The ids of the notes that earlier receives of a message may have left."""
    return [_id_of(delivery, number) for number in _noted(delivery)]


def notes_of(delivery: Delivery, found: Mapping[str, Record]) -> Notes:
    """The notes of a message among records that were found."""
    ids = {number: _id_of(delivery, number) for number in _noted(delivery)}
    return {number: found[note_id].state for number, note_id in ids.items() if note_id in found}


def _noted(delivery: Delivery) -> range:
    return range(max(2, delivery.receive_count - _MOST_NOTES), delivery.receive_count)


def error(environment: Environment, receives: int) -> WorkerLostError:
    """Make the error of a task whose receives have run out.

    Args:
        environment: the application's.
        receives: how often the message was received, without the receives that were no more than waiting.
    """
    return WorkerLostError(_REASON.format(receives, environment.policy.max_receives))


def _notes_runs(context: DeliveryContext) -> bool:
    delivery = context.delivery
    return delivery.receive_count > 1 and delivery.queued and context.environment.store.capabilities.remembers


def _note(delivery: Delivery, state: str, version: int, now: float) -> Record:
    return Record(_id_of(delivery, delivery.receive_count), state, version, "{}", now + LONGEST_MESSAGE_SECONDS)


def _id_of(delivery: Delivery, receive: int) -> str:
    # The message's id, as it is the message that is counted: a redriven message is another one, and begins anew.
    return f"taskq-run-{delivery.queue}-{delivery.message_id}-{receive}"
