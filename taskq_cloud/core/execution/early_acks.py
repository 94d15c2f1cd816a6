"""Early acknowledgement (``acks_late=False``): the broker forgets the message just before the task's function runs.

Such a task runs at most once. The pipeline asks for it in the ``Invocation``. The runtime acknowledges the message once
nothing else keeps the function from running, and says so in the outcome. After that, nothing brings the message back:
an end of the run that would have given it back is recorded as a failure instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.model.message import Acknowledge
from taskq_cloud.core.model.outcome import Abandoned, Invocation, Outcome
from taskq_cloud.core.ports import Broker
from taskq_cloud.errors import TaskQError, Unreachable

FIRST_DELAY_SECONDS: Final = 10
LONGEST_DELAY_SECONDS: Final = 900
"""The delays of messages that could not be acknowledged, so that their receives outlast a short outage."""


def wanted(context: DeliveryContext) -> Acknowledge | None:
    """The settlement that is to be carried out before the run; None: the message is settled after the run."""
    delivery = context.delivery
    if context.environment.policy.acknowledges_late(context.options) or not delivery.queued:
        return None
    if delivery.pushed:  # the answer to the push settles it, and ends the request
        context.log(logging.WARNING, "task.acks_late", "is acknowledged after its run: a push can't be settled before")
        return None
    return Acknowledge(delivery)


def acknowledge(broker: Broker, settlement: Acknowledge) -> Flow[Abandoned | None]:
    """Acknowledge a message before its task runs.

    Returns:
        None: the task can run. The outcome of a run that does not begin: the broker has refused, or gives no answer.
    """
    try:
        (refused,) = yield from broker.settle([settlement])
    except Exception as error:  # whatever the error is, the task doesn't begin
        return _not_begun(settlement, error)
    return None if refused is None else _not_begun(settlement, refused.error)


def run(
    invocation: Invocation,
    broker: Broker,
    drive: Callable[[Flow[Abandoned | None]], Abandoned | None],
    call: Callable[[Invocation], Outcome],
) -> Outcome:
    """Run a task in this thread, once its message is acknowledged if the invocation asks for that.

    Args:
        invocation: the run.
        broker: acknowledges the message.
        drive: drives a flow of the broker.
        call: runs the task.
    """
    if invocation.acknowledge_first is None:
        return call(invocation)
    refused = drive(acknowledge(broker, invocation.acknowledge_first))
    return begun(call(invocation)) if refused is None else refused


def begun(outcome: Outcome) -> Outcome:
    """The outcome of a run whose message was acknowledged before."""
    return replace(outcome, acknowledged=True)


def _not_begun(settlement: Acknowledge, error: Exception) -> Abandoned:
    """The outcome of a run that did not begin, because its message could not be acknowledged before.

    If the broker has refused, the message comes back. If it gave no answer, it may have forgotten the message.
    """
    uncertain = isinstance(error, Unreachable) or not isinstance(error, TaskQError)
    after = growing_delay(settlement.delivery.receive_count, FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS)
    reason = f"the message could not be acknowledged before the run: {error}"
    return Abandoned(reason, after_seconds=after, uncertain=uncertain)
