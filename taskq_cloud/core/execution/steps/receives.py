"""Receives that have run out: a message that no worker could bring to an end is dead-lettered (step 5 of ``pipeline``).

A run that ends its worker leaves nothing behind but a receive. A receive alone says little, though: a worker that dies
leaves one for each message that it had, although most of their tasks had not begun. So the second run of a task, and
each later one, is noted in the result store before it begins. Once the receives have run out, the notes tell how many
of them were runs. Without a result store, every receive counts as a run.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.execution.context import DeliveryContext, Environment
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS, Record
from taskq_cloud.errors import WorkerLostError

STATE: Final = "BEGUN"
"""The state of the record that notes a run."""
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


def have_run_out(context: DeliveryContext) -> Flow[bool]:
    """Whether as many runs of the task as there may be have begun, and none has come to an end."""
    environment, delivery = context.environment, context.delivery
    if not exceed(environment, delivery):
        return False
    if not environment.store.capabilities.keeps_records:
        return True
    notes = [_note_id(context, number) for number in range(2, delivery.receive_count)][-_MOST_NOTES:]
    found = yield from context.store.load(notes)
    return len(found) >= environment.policy.max_receives - 1  # the first run is not noted


def note_run(context: DeliveryContext) -> Flow[None]:
    """Note that a task begins to run whose message was received before."""
    environment, delivery = context.environment, context.delivery
    if not (delivery.queued and environment.store.capabilities.keeps_records):
        return
    note_id = _note_id(context, delivery.receive_count)
    yield from context.store.save([Record(note_id, STATE, 0, "{}", context.now + LONGEST_MESSAGE_SECONDS)])


def error(environment: Environment, receives: int) -> WorkerLostError:
    """Make the error of a task whose receives have run out.

    Args:
        environment: the application's.
        receives: how often the message was received, without the receives that were no more than waiting.
    """
    return WorkerLostError(_REASON.format(receives, environment.policy.max_receives))


def _note_id(context: DeliveryContext, receive: int) -> str:
    return f"taskq-run-{context.message.lineage}-{context.message.attempt}-{receive}"
