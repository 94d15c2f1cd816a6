"""Early acknowledgement (``acks_late=False``): the broker forgets the message just before the task's function runs.

Such a task runs at most once. The pipeline asks for it in the ``Invocation``. The runtime acknowledges the message once
nothing else keeps the function from running, and says so in the outcome. After that, nothing brings the message back:
an end of the run that would have given it back is recorded as a failure instead.
"""

from __future__ import annotations

import logging

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Acknowledge
from taskq_cloud.core.model.outcome import Abandoned, Outcome
from taskq_cloud.core.ports import Broker


def wanted(context: DeliveryContext) -> Acknowledge | None:
    """The settlement that is to be carried out before the run; None: the message is settled after the run."""
    delivery = context.delivery
    if context.environment.policy.acknowledges_late(context.options) or not delivery.queued:
        return None
    if delivery.pushed:  # the answer to the push settles it, and ends the request
        context.log(logging.WARNING, "task.acks_late", "is acknowledged after its run: a push can't be settled before")
        return None
    return Acknowledge(delivery)


def acknowledge(broker: Broker, settlement: Acknowledge) -> Flow[None]:
    """Acknowledge a message before its task runs.

    Raises:
        TaskQError: the broker has refused it, or gives no answer.
    """
    (refused,) = yield from broker.settle([settlement])
    if refused is not None:
        raise refused.error


def not_begun(error: Exception) -> Abandoned:
    """The outcome of a run that did not begin, because its message could not be acknowledged before."""
    return Abandoned(f"the message could not be acknowledged before the run: {error}")


def begun(outcome: Outcome) -> Outcome:
    """The outcome of a run whose message was acknowledged before."""
    return replace(outcome, acknowledged=True)
