"""Acts on the outcome of a run (step 7 of ``pipeline``): each outcome leads to a settlement.

Succeeded, Failed, TimedOut, Retrying   conclude: 7a record, 7b consequences, 7c acknowledge; a failure that its task
                                        doesn't acknowledge is dead-lettered, or given back if it is TimedOut
Replaced                                the replacement is sent; its last task records the state
Rejected                                given back, or recorded as a failure and dead-lettered
Lost                                    given back until its receives run out, then a failure
Ignored, Abandoned                      acknowledged without a state; given back

A message that was acknowledged before the run is not given back: the task is recorded as failed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from taskq_cloud.core import serializers
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.execution import consequences, hooked_deliveries
from taskq_cloud.core.execution.context import DeliveryContext, PipelineFlow
from taskq_cloud.core.execution.steps import duplicates
from taskq_cloud.core.execution.steps.duplicates import AlreadyDone
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.messages.sending import UNSENDABLE
from taskq_cloud.core.model.message import Acknowledge, Embed, Release, Settlement
from taskq_cloud.core.model.outcome import (
    Abandoned,
    ErrorInfo,
    Failed,
    Ignored,
    Lost,
    Outcome,
    Rejected,
    Replaced,
    Retrying,
    Succeeded,
    TimedOut,
)
from taskq_cloud.core.records.record import FAILURE, IGNORED, RETRY, REVOKED, SUCCESS
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.chord_members import check_store_counts_members
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.core.workflows.stages import has_chord
from taskq_cloud.errors import (
    ImproperlyConfigured,
    InvalidTaskError,
    Reject,
    TimeLimitExceeded,
    WorkerLostError,
)

LOST_RUN_FIRST_DELAY_SECONDS: Final = 1
LONGEST_RELEASE_SECONDS: Final = 900


def carry_out(context: DeliveryContext, outcome: Outcome, runtime_seconds: float) -> PipelineFlow[Settlement]:
    """Carry out an outcome.

    Args:
        context: the task's context.
        outcome: the outcome of its run.
        runtime_seconds: how long the run took.
    """
    context = context if isinstance(outcome, Succeeded) else replace(context, runtime_seconds=runtime_seconds)
    context = context if outcome.embed is None else _followed_by(context, outcome.embed)
    match outcome:
        case Succeeded():
            settlement = yield from _succeed(context, outcome, runtime_seconds)
        case Failed():
            called = replace(context, called=outcome.called)
            settlement = yield from fail(called, outcome.error, expected=outcome.expected)
        case TimedOut():
            settlement = yield from _time_out(context, outcome)
        case Retrying():
            settlement = yield from _retry(context, outcome)
        case Replaced():
            settlement = yield from _replace(context, outcome)
        case Rejected():
            settlement = yield from _reject(context, outcome)
        case Lost():
            settlement = yield from _lose(context, outcome)
        case Ignored() | Abandoned():
            settlement = yield from _end_without_state(context, outcome)
    if isinstance(settlement, Release):
        yield from give_up_lock(context)
    return settlement


def _followed_by(context: DeliveryContext, embed: Embed) -> DeliveryContext:
    return replace(context, message=replace(context.message, embed=embed))


def fail(context: DeliveryContext, error: ErrorInfo, *, expected: bool = False) -> PipelineFlow[Settlement]:
    """End a task as failed; ``expected`` errors are logged without a traceback."""
    if expected:
        context.log(logging.INFO, "task.failed", "raised expected %s", error.summary)
    else:
        context.log(logging.ERROR, "task.failed", "failed: %s\n%s", error.summary, error.traceback or "")
    following = context.following(FAILURE)
    try:
        return (yield from conclude(context, FAILURE, error, following))
    except UNSENDABLE:
        error = error.shortened()
    try:
        return (yield from conclude(context, FAILURE, error, following))
    except UNSENDABLE as unsendable:
        context.log(logging.ERROR, "errback.failed", "its errbacks can't be sent: %s", unsendable)
        return (yield from conclude(context, FAILURE, error))


def conclude(
    context: DeliveryContext, state: str, result: str | ErrorInfo, following: Sequence[Successor] = ()
) -> PipelineFlow[Settlement]:
    """Record a state (7a), carry out its consequences (7b), and acknowledge the message (7c).

    Args:
        context: the task's context.
        state: the state.
        result: the value as JSON text, or the error.
        following: the messages that follow the task.
    """
    addressed = context.address(following)
    last = state != RETRY and not following and context.ends_here
    if not (yield from consequences.record(context, state, result, _children(context, state, following), last=last)):
        return (yield from _settle_by_stored_state(context))
    if state == SUCCESS:
        context.log(logging.INFO, "task.succeeded", "succeeded in %.3f s", context.runtime_seconds or 0)
    if state == RETRY:
        yield from give_up_lock(context)
        yield from context.send(addressed)
    else:
        error = result if isinstance(result, ErrorInfo) else None
        yield from consequences.follow_up(context, state, addressed, error)
        if error is not None and state == FAILURE:
            return duplicates.settlement_of_failure(context, error)
    return Acknowledge(context.delivery)


def settle_done(done: AlreadyDone) -> PipelineFlow[Settlement]:
    """Settle a message by a stored state, and repeat the consequences of that state."""
    if done.state == REVOKED:
        hooked_deliveries.tell(done.context, "task_revoked", "revoked")
    if done.called_before:
        yield from consequences.end_unrun(done.context)
    elif done.state is not None and done.counts_only:
        yield from consequences.end_in_chord(done.context, done.state, done.error)
    elif done.state is not None:
        messages = done.context.address(done.context.following(done.state, done.value, recorded=True))
        yield from consequences.follow_up(done.context, done.state, messages, done.error)
    return done.settlement


def record_dead_letter(context: DeliveryContext, error: ErrorInfo) -> PipelineFlow[None]:
    """Record the failure of a task whose message is to be dead-lettered; a redrive takes it back."""
    yield from consequences.record(context, FAILURE, error)
    yield from consequences.end_in_chord(context, FAILURE, error)


def dead_letter(context: DeliveryContext, error: Exception, reason: str) -> PipelineFlow[Settlement]:
    """Record that a task has failed, and dead-letter its message.

    Args:
        context: the task's context.
        error: the error of the task.
        reason: why the message is dead-lettered.
    """
    from taskq_cloud.core.execution.steps import dead_letters  # few messages are dead-lettered

    yield from record_dead_letter(context, ErrorInfo.of(error))
    return dead_letters.dead_letter(context, reason)


def give_up_lock(context: DeliveryContext) -> Flow[None]:
    """Give up the lock of a ``once`` task, so that the task can run again.

    After its last run the lock is kept, so that a late duplicate is kept out.
    """
    if context.options.once:
        yield from context.store.claim(context.message.id, context.delivery.receipt, 0)


def _settle_by_stored_state(context: DeliveryContext) -> PipelineFlow[Settlement]:
    """Settle a message whose state was not recorded, because the stored state must not be replaced."""
    stored = yield from context.load()
    done = duplicates.judge(context, stored, ran=context.runtime_seconds is not None)
    if done is not None:
        return (yield from settle_done(done))
    if stored is not None:
        # The holder of a newer lock runs the task and settles the message. Acknowledged here, it could be lost.
        return Release(context.delivery, LOST_RUN_FIRST_DELAY_SECONDS)
    return Acknowledge(context.delivery)


def _children(context: DeliveryContext, state: str, following: Sequence[Successor]) -> Sequence[Successor]:
    """The messages whose tasks are the children of a record: errbacks that are called here are among them."""
    if state == RETRY:
        return ()
    if state != FAILURE or not context.message.embed.errbacks:
        return following
    from taskq_cloud.core.execution.steps import errbacks  # few tasks have any

    return [*following, *errbacks.messages(context)]


def _succeed(context: DeliveryContext, outcome: Succeeded, runtime_seconds: float) -> PipelineFlow[Settlement]:
    embed, payload = context.message.embed, outcome.payload
    ended = replace(context, added=outcome.added, called=outcome.called, runtime_seconds=runtime_seconds)
    value = serializers.loads(payload) if embed.callbacks or embed.chain else None
    try:
        return (yield from conclude(ended, SUCCESS, payload, ended.following(SUCCESS, value)))
    except UNSENDABLE as error:
        return (yield from fail(replace(context, runtime_seconds=runtime_seconds), ErrorInfo.of(error)))


def _retry(context: DeliveryContext, outcome: Retrying) -> PipelineFlow[Settlement]:
    again = successors.on_retry(context.message, outcome, context.now)
    queue = outcome.options.get("queue") or context.delivery.queue
    context.log(logging.INFO, "task.retried", "retries in %.1f s: %s", outcome.after_seconds, outcome.error.exc_type)
    try:
        return (yield from conclude(context, RETRY, outcome.error, [Successor(again, queue, outcome.options)]))
    except UNSENDABLE as failure:
        failure.add_note(f"the task was to be retried after {outcome.error.summary}")
        return (yield from fail(context, ErrorInfo.of(failure)))


def _replace(context: DeliveryContext, outcome: Replaced) -> PipelineFlow[Settlement]:
    """Send a replacement. Nothing is recorded: the replacement's last task has the task's id, and records its state."""
    from taskq_cloud.core.workflows import replacement  # few tasks are replaced

    try:
        stages = replacement.in_place_of(context.message, outcome.signature, context.fence)
        if has_chord(stages):
            check_store_counts_members(context.environment.store)
        paging = context.environment.paging()
        instead = replacement.start(context.message, stages, context.now, paging, resent=context.resends)
        addressed = context.address(instead)
    except (*UNSENDABLE, InvalidTaskError, ImproperlyConfigured) as error:
        return (yield from fail(context, ErrorInfo.of(error)))
    context.log(logging.INFO, "task.replaced", "is replaced, beginning with task %s", instead[0].message.task)
    yield from give_up_lock(context)
    yield from context.send(addressed)
    return Acknowledge(context.delivery)


def _end_without_state(context: DeliveryContext, outcome: Ignored | Abandoned) -> PipelineFlow[Settlement]:
    if isinstance(outcome, Abandoned) and context.acknowledged:
        error = WorkerLostError(f"the run was ended after its message was acknowledged: {outcome.reason}")
        return (yield from fail(context, ErrorInfo.of(error)))
    if isinstance(outcome, Abandoned):
        if outcome.uncertain:
            text = "has not run, and is lost if the broker has forgotten its message; else it comes back: %s"
            context.log(logging.ERROR, "task.may_be_lost", text, outcome.reason)
        else:
            context.log(logging.WARNING, "task.given_back", "given back: %s", outcome.reason)
        return Release(context.delivery, outcome.after_seconds)
    context.log(logging.INFO, "task.ignored", "ignored")
    yield from consequences.end_in_chord(context, IGNORED)
    return Acknowledge(context.delivery)


def _reject(context: DeliveryContext, outcome: Rejected) -> PipelineFlow[Settlement]:
    delivery = context.delivery
    if context.acknowledged:
        text = "rejected; its message was acknowledged before the run and is not kept: %s"
        context.log(logging.ERROR, "task.rejected", text, outcome.reason)
        yield from record_dead_letter(context, ErrorInfo.of(Reject(outcome.reason)))
        return Acknowledge(delivery)
    if outcome.requeue:
        after = growing_delay(delivery.receive_count, LOST_RUN_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        context.log(logging.INFO, "task.rejected", "rejected, given back for %.0f s: %s", after, outcome.reason)
        return Release(delivery, after)
    context.log(logging.ERROR, "message.dead_lettered", "rejected and dead-lettered: %s", outcome.reason)
    return (yield from dead_letter(context, Reject(outcome.reason), f"Reject: {outcome.reason}"))


def _lose(context: DeliveryContext, outcome: Lost) -> PipelineFlow[Settlement]:
    receives, most = context.delivery.receive_count, context.environment.policy.max_receives
    if context.options.reject_on_worker_lost and _comes_back(context):
        after = growing_delay(receives, LOST_RUN_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        text = "lost its process (%s), receive %d of %d"
        context.log(logging.ERROR, "task.lost", text, outcome.reason, receives, most)
        return Release(context.delivery, after)
    error = WorkerLostError(f"the process that ran it died ({outcome.reason}) on receive {receives}")
    return (yield from _fail_cut_off(context, error))


def _fail_cut_off(context: DeliveryContext, error: Exception) -> PipelineFlow[Settlement]:
    """End a task as failed whose run could not tell its hooks so."""
    hooked_deliveries.tell(context, "task_cut_off", error)
    return (yield from fail(context, ErrorInfo.of(error)))


def _time_out(context: DeliveryContext, outcome: TimedOut) -> PipelineFlow[Settlement]:
    receives, most = context.delivery.receive_count, context.environment.policy.max_receives
    if not context.environment.policy.acknowledges_timeout(context.options) and _comes_back(context):
        after = growing_delay(receives, LOST_RUN_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        text = "was ended by its time limit of %g s, receive %d of %d; given back for %.0f s"
        context.log(logging.ERROR, "task.given_back", text, outcome.time_limit, receives, most, after)
        return Release(context.delivery, after)
    return (yield from _fail_cut_off(context, TimeLimitExceeded(outcome.time_limit)))


def _comes_back(context: DeliveryContext) -> bool:
    """Whether the message of a run that was cut off can be given back once more.

    Where receives are not counted, a task that kills its process would do so for ever.
    """
    delivery, most = context.delivery, context.environment.policy.max_receives
    return not context.acknowledged and delivery.counted and delivery.receive_count < most
