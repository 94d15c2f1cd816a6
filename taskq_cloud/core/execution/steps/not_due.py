"""Messages that are not due yet (step 4 of ``pipeline``): the broker or the scheduler holds them, never a worker.

A message is sent once more with a delay or a schedule. On a queue without delays it is given back until it is due.
"""

from __future__ import annotations

import logging

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Acknowledge, Release, Settlement
from taskq_cloud.core.workflows.planner import Successor


def has_waited(context: DeliveryContext, wait_seconds: float) -> bool:
    """Whether a message that is not due has been held back before, and will be again after this time."""
    capabilities, queue = context.capabilities, context.delivery.queue
    if capabilities.parks(queue, wait_seconds):
        return context.delivery.redelivered and context.delivery.counted
    # It was sent with the longest delay there is, which was not enough.
    return wait_seconds > capabilities.longest_delay(queue)


def hold_back(context: DeliveryContext, due: float, now: float) -> Flow[Settlement]:
    """Send a message again, or give it back, so that it comes when it is due or as shortly before as the queue allows.

    Args:
        context: the task's context.
        due: when the message is due, in seconds since the epoch.
        now: the time.
    """
    delivery, outbox = context.delivery, context.outbox
    context.log(logging.DEBUG, "task.parked", "is due in %.0f s", due - now)
    parks = outbox.capabilities.parks(delivery.queue, due - now)
    if not parks or outbox.scheduled_at(delivery.queue, due, now) is not None:
        addressed = context.address([Successor(context.message, delivery.queue)])
        # A message that no scheduler takes would come straight back from a queue without delays.
        if not parks or addressed[0].schedule is not None:
            yield from context.send(addressed)
            return Acknowledge(delivery)
    return Release(delivery, min(due - now, outbox.capabilities.longest_lease_seconds))
