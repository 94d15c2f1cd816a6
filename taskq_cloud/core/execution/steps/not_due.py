"""Holds back a message that is not due (step 4 of ``execution``): no message waits in a worker.

It is sent again, or, to a queue without delays, given back until it is due.
"""

from __future__ import annotations

import logging

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.model.message import Acknowledge, Release, Settlement
from taskq_cloud.core.workflows.planner import Successor


def has_waited(effects: DeliveryContext, wait_seconds: float) -> bool:
    """Whether a message that is not due has been held back before, and will be again after this."""
    capabilities, queue = effects.capabilities, effects.delivery.queue
    if capabilities.parks(queue, wait_seconds):
        return effects.delivery.redelivered and effects.delivery.counted
    # It was sent with the longest delay there is, and this was not enough.
    return wait_seconds > capabilities.longest_delay(queue)


def park(effects: DeliveryContext, due: float, now: float) -> Flow[Settlement]:
    """Have a message come again when it is due, or as late before as the queue can hold it.

    Args:
        effects: what its delivery may do.
        due: when it is, in seconds since the epoch.
        now: the time.
    """
    delivery, capabilities = effects.delivery, effects.capabilities
    effects.log(logging.DEBUG, "task.parked", "is due in %.0f s", due - now)
    parks = capabilities.parks(delivery.queue, due - now)
    if not parks or late_delivery.fires_at(capabilities, effects.schedules, delivery.queue, due, now) is not None:
        addressed = effects.address([Successor(effects.message, delivery.queue)])
        # What no scheduler takes would come straight back from a queue without delays.
        if not parks or addressed[0].schedule is not None:
            yield from effects.send(addressed)
            return Acknowledge(delivery)
    return Release(delivery, min(due - now, capabilities.longest_lease_seconds))
