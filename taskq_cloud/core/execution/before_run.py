"""Decides before a run whether the task is to run: when its message is received, and once more when it can begin.

Hours may lie between the two, as the message waits for a slot behind other tasks. What the first look can decide saves
the message that wait. What changes with time, or is claimed for the time of a run, is decided by the second one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from taskq_cloud.core.execution import hooked_deliveries, outcomes
from taskq_cloud.core.execution.context import DeliveryContext, PipelineFlow
from taskq_cloud.core.execution.steps import duplicates, receives
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.model.message import SCHEDULE, Acknowledge, Settlement
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records.record import REVOKED
from taskq_cloud.errors import RateKeyError, TaskRevokedError, WorkerLostError

if TYPE_CHECKING:
    from taskq_cloud.core.execution.steps.tick_policy import TickPolicy


def settle_received(context: DeliveryContext) -> PipelineFlow[Settlement | None]:
    """Settle a message whose task is not to run, or not now; None: it is to run."""
    if _has_expired(context):  # 3
        return (yield from _expire(context))
    due, now = late_delivery.due_at(context.message), context.now
    if due is not None and due > now:  # 4
        return (yield from _not_due(context, due, now))
    done = yield from duplicates.look_up(context)  # 5
    if done is not None:
        return (yield from outcomes.settle_done(done))
    if (yield from receives.have_run_out(context, waits=_limits_rate(context))):
        return (yield from _dead_letter(context, receives.error(context.environment, context.delivery.receive_count)))
    return None


def settle_admitted(context: DeliveryContext, tick_policy: TickPolicy | None) -> PipelineFlow[Settlement | None]:
    """Settle a message whose task could run now, and is not to; None: it is to run.

    The message may have waited for its turn for a long time, so this is decided now and not before.
    """
    if _has_expired(context):  # 3
        return (yield from _expire(context))
    if duplicates.has_waited(context):  # 5
        done = yield from duplicates.look_again(context)
        if done is not None:
            return (yield from outcomes.settle_done(done))
    # The rate limit comes before a tick's turn: a message that is put back may come again as another message.
    settled = (yield from _over_rate(context)) if _limits_rate(context) else None
    if settled is None and tick_policy is not None:
        settled = yield from _tick_not_to_run(context, tick_policy)
    return settled


def _has_expired(context: DeliveryContext) -> bool:
    expires = context.message.expires
    return expires is not None and expires.timestamp() <= context.now


def _expire(context: DeliveryContext) -> PipelineFlow[Settlement]:
    expires = context.message.expires
    context.log(logging.WARNING, "task.revoked", "expired at %s", expires.isoformat() if expires else None)
    return _revoke(context, "expired")


def _not_due(context: DeliveryContext, due: float, now: float) -> PipelineFlow[Settlement]:
    from taskq_cloud.core.execution.steps import not_due  # few messages come early

    if not_due.has_waited(context, due - now):
        # A task that was revoked meanwhile would hop on until it is due. On its last hop it is looked up anyway.
        done = yield from duplicates.look_up(context)
        if done is not None:
            return (yield from outcomes.settle_done(done))
    return (yield from not_due.hold_back(context, due, now))


def _limits_rate(context: DeliveryContext) -> bool:
    queue = context.environment.outbox.routed_queue(context.delivery.queue)
    return context.environment.policy.limits_rate(context.options, queue)


def _over_rate(context: DeliveryContext) -> PipelineFlow[Settlement | None]:
    from taskq_cloud.core.execution.steps import rate_limits  # few tasks have a limit

    try:
        return (yield from rate_limits.held_back(context))
    except RateKeyError as error:
        return (yield from outcomes.fail(context, ErrorInfo.of(error)))
    except WorkerLostError as error:
        return (yield from _dead_letter(context, error))


def _dead_letter(context: DeliveryContext, error: WorkerLostError) -> PipelineFlow[Settlement]:
    context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", error)
    return (yield from outcomes.dead_letter(context, error, f"WorkerLostError: {error}"))


def _tick_not_to_run(context: DeliveryContext, tick_policy: TickPolicy) -> PipelineFlow[Settlement | None]:
    if (yield from tick_policy.is_repeated()):
        context.log(logging.INFO, "tick.repeated", "has come twice; the other message runs it")
        return Acknowledge(context.delivery)
    refusal = yield from tick_policy.refusal()
    if refusal is None:
        return None
    context.log(logging.INFO, "tick.skipped", "not run: %s", refusal)
    return (yield from _revoke(context, refusal))


def _revoke(context: DeliveryContext, reason: str) -> PipelineFlow[Settlement]:
    hooked_deliveries.tell(context, "task_revoked", reason)
    return outcomes.conclude(context, REVOKED, ErrorInfo.of(TaskRevokedError(reason)))


def tick_policy_of(context: DeliveryContext) -> TickPolicy | None:
    """The policy of a periodic task's tick; None: the message is not a tick."""
    if SCHEDULE not in context.message.headers:
        return None
    from taskq_cloud.core.execution.steps import tick_policy  # only messages of periodic tasks need schedules

    return tick_policy.policy_of(context)
