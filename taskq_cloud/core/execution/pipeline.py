"""The pipeline: the steps from a delivery to its settlement, for workers, Lambda handlers and push endpoints alike.

``Pipeline.process`` is a flow. It yields the calls that it wants made, and the ``Invocation`` that it wants run: one,
and one more for each errback that is called. It returns the settlement, which the runtime carries out. A crash between
any two of its effects is followed by a redelivery that ends in the same final state. A delivery goes through these
steps:

    step                            module                    what happens
    1  decode                       messages.codec            an unreadable message is dead-lettered with the reason
    2  not registered here          pipeline                  an unknown task is given back with a growing delay, and
                                                              dead-lettered when its receives run out
       fan-out of a large group     steps.fan_out             the members are sent, the message is acknowledged
       trigger of a periodic task   steps.tick_policy         its ticks are sent, the message is acknowledged
    3  expired                      pipeline                  recorded as REVOKED, acknowledged
    4  not due yet                  steps.not_due             held back once more, acknowledged
    5  already done                 steps.duplicates          a final state in the store: 7b and 7c again, no run
       over its rate                steps.rate_limits         put back until the time of the slot it has taken
       tick that must not run       steps.tick_policy         recorded as REVOKED, acknowledged
    6  run                          pools, by the runtime     lease renewed, time limits enforced
    7  outcome                      outcomes
    7a record the state             consequences.record       by condition: a final state in the store stays
    7b consequences                 consequences.follow_up    messages that follow, with ids made from the task's;
                                    steps.chords              the chord counts the task, its last member sends the body
                                    steps.errbacks            errbacks that take the error itself are called
    7c acknowledge                  the runtime               last: until here a crash brings the message back

``context`` has what a step works with. Steps read and decide; ``consequences`` alone saves states, sends what follows a
task, and calls errbacks.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.execution import consequences, outcomes
from taskq_cloud.core.execution.context import DeliveryContext, Environment, PipelineFlow
from taskq_cloud.core.execution.outcomes import LONGEST_RELEASE_SECONDS
from taskq_cloud.core.execution.steps import duplicates
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.messages.sending import UNSENDABLE
from taskq_cloud.core.model.message import SCHEDULE, Acknowledge, DeadLetter, Delivery, Message, Release, Settlement
from taskq_cloud.core.model.options import TaskOptions, first_given
from taskq_cloud.core.model.outcome import ErrorInfo, Invocation, Outcome
from taskq_cloud.core.records.record import REVOKED, STARTED
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.chord_members import check_store_counts_members, is_sized
from taskq_cloud.core.workflows.signatures import FAN_OUT
from taskq_cloud.errors import (
    BodyPending,
    DecodeError,
    ImproperlyConfigured,
    NotRegistered,
    OperationalError,
    RateKeyError,
    TaskRevokedError,
)

if TYPE_CHECKING:
    from taskq_cloud.core.execution.steps.tick_policy import TickPolicy

UNKNOWN_TASK_FIRST_DELAY_SECONDS: Final = 30
"""A rolling deploy has replaced most workers within minutes: 30 + 60 + 120 + 240 s pass before the fifth receive."""
FAILED_EFFECT_FIRST_DELAY_SECONDS: Final = 10
BODY_PENDING_FIRST_DELAY_SECONDS: Final = 5
"""The holder of a chord's lock usually sends the body within a second. 5 + 10 + 20 + 40 s are longer than the lock
lasts."""
LOCK_MARGIN_SECONDS: Final = 30
"""A lock outlasts the time limit by the time it takes to record the end."""


class Pipeline:
    """Takes deliveries to their settlements, and keeps no state from one delivery to the next."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def process(
        self, delivery: Delivery, message: Message | None = None, *, offload: bool = False
    ) -> PipelineFlow[Settlement]:
        """Take a delivery through the steps of this module's docstring.

        No fault of the message or of the task makes the flow raise. When the policy's patience with an
        ``OperationalError`` of broker or store is over, the message is given back with a growing delay.

        Args:
            delivery: the delivery.
            message: its message, where the runtime has decoded it already.
            offload: whether the flow yields ``Compute`` for what would keep an event loop busy.
        """
        environment = self._environment
        try:
            if message is None:
                message = yield from environment.outbox.codec.open(  # 1
                    delivery.body, delivery.message_id, delivery.queue, delivery.attributes, offload=offload
                )
            now = environment.clock()
            if SCHEDULE in message.headers:
                from taskq_cloud.core.schedules import ticks  # only messages of periodic tasks need schedules

                message = ticks.resolved(message, now if delivery.sent_at is None else delivery.sent_at)
            successors.check(message, now)
        except DecodeError as error:
            return (yield from self._undecodable(delivery, error, message))
        except (OperationalError, ImproperlyConfigured) as error:  # of its payload reference, or of its schedule
            return _give_back(self._context_of_unreadable(delivery), error)
        context = DeliveryContext(environment, delivery, message, environment.options_of(message.task), message.fence)
        try:
            if message.task == FAN_OUT:
                return (yield from consequences.send_group(context))  # 2
            known = message.task in environment.tasks
            return (yield from (_known if known else _unknown)(context))  # 3 to 7, or 2
        except UNSENDABLE as error:
            context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", error)
            return _dead_letter(context, f"{type(error).__name__}: {error}")
        except (OperationalError, ImproperlyConfigured, DecodeError) as error:  # DecodeError: of a stored document
            return _give_back(context, error)

    def _context_of_unreadable(self, delivery: Delivery, task_id: str | None = None) -> DeliveryContext:
        """The context of a message that can't be read."""
        message = Message(task="?", id=task_id or delivery.message_id)
        return DeliveryContext(self._environment, delivery, message, TaskOptions())

    def _undecodable(self, delivery: Delivery, error: DecodeError, message: Message | None) -> PipelineFlow[Settlement]:
        # The error may quote characters that UTF-8 can't encode.
        reason = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
        context = self._context_of_unreadable(delivery, error.task_id)
        if message is not None and successors.is_member(message):
            # The messages that follow the task can't be read, but its chord can, and must not wait for the task.
            context = context.about(message)
        context.log(logging.ERROR, "message.dead_lettered", "can't be read and is dead-lettered: %s", reason)
        if error.task_id is not None:
            try:
                yield from outcomes.record_dead_letter(context, ErrorInfo.of(error))
            except (OperationalError, ImproperlyConfigured) as failure:
                if context.message.embed.chord is not None:
                    return _give_back(context, failure)
                # The message is worth more than its state: it goes to the dead-letter queue all the same.
                context.log(logging.ERROR, "task.state_not_recorded", "FAILURE not recorded: %s", failure)
        # Only an id that can be trusted makes its message one that starts afresh when it is moved back.
        return DeadLetter(delivery, reason) if error.task_id is None else _dead_letter(context, reason)


def _dead_letter(context: DeliveryContext, reason: str) -> DeadLetter:
    from taskq_cloud.core.execution.steps import dead_letters  # few messages are dead-lettered

    return dead_letters.dead_letter(context, reason)


def _give_back(context: DeliveryContext, error: Exception) -> Release:
    delivery = context.delivery
    if isinstance(error, BodyPending):
        from taskq_cloud.core.execution.steps import chords

        after = growing_delay(delivery.receive_count, BODY_PENDING_FIRST_DELAY_SECONDS, chords.LOCK_SECONDS)
        context.log(logging.INFO, "chord.claimed_elsewhere", "given back for %.0f s: %s", after, error)
        return Release(delivery, after)
    after = growing_delay(delivery.receive_count, FAILED_EFFECT_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
    context.log(logging.ERROR, "task.given_back", "given back for %.0f s: %s", after, error)
    return Release(delivery, after)


def _unknown(context: DeliveryContext) -> PipelineFlow[Settlement]:
    delivery, task = context.delivery, context.message.task
    if delivery.receive_count < context.environment.policy.max_receives:
        after = growing_delay(delivery.receive_count, UNKNOWN_TASK_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        context.log(logging.WARNING, "task.unknown", "is not registered here; given back for %.0f s", after)
        return Release(delivery, after)
    reason = (
        f"NotRegistered: no worker of queue {delivery.queue!r} knew task {task!r} after "
        f"{delivery.receive_count} receives; deploy the task, then redrive the dead-letter queue"
    )
    context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
    yield from outcomes.record_dead_letter(context, ErrorInfo.of(NotRegistered(task)))
    return _dead_letter(context, reason)


def _known(context: DeliveryContext) -> PipelineFlow[Settlement]:
    message, delivery = context.message, context.delivery
    chord = message.embed.chord
    if chord is not None and not is_sized(chord):
        reason = (
            f"chord {message.group} was made by Celery and doesn't say its size: set Celery's result_backend to taskq+"
            " and the URL of TASKQ_RESULTS (taskq+dynamodb://my-table), then start the workflow again"
        )
        context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
        return _dead_letter(context, reason)
    if chord is not None:
        check_store_counts_members(context.environment.store)
    tick_policy = _tick_policy_of(context)
    settled = None if tick_policy is None else (yield from tick_policy.not_run())  # 2
    if settled is None:
        settled = yield from _not_to_run(context, tick_policy)
    if settled is not None:
        return settled
    if context.options.once:
        lock_seconds = (first_given(message.timelimit[0], context.options.time_limit) or 0) + LOCK_MARGIN_SECONDS
        fence = yield from context.store.claim(message.id, delivery.receipt, lock_seconds)
        if fence is None:
            text = "runs elsewhere; given back until the lock of that run lapses"
            context.log(logging.INFO, "task.claimed_elsewhere", text)
            return Release(delivery, lock_seconds)
        context = replace(context, fence=fence)
    return (yield from _run(context, tick_policy))


def _not_to_run(context: DeliveryContext, tick_policy: TickPolicy | None) -> PipelineFlow[Settlement | None]:
    """Settle a message whose task is not to run, or not now; None: it is to run."""
    message, now = context.message, context.now
    if message.expires is not None and message.expires.timestamp() <= now:
        context.log(logging.WARNING, "task.revoked", "expired at %s", message.expires.isoformat())
        return (yield from _revoke(context, "expired"))  # 3
    due = late_delivery.due_at(message)
    if due is not None and due > now:  # 4
        return (yield from _not_due(context, due, now))
    done = yield from duplicates.look_up(context)  # 5
    if done is not None:
        return (yield from outcomes.settle_done(done))
    # The rate limit comes before a tick's turn: a message that is put back may come again as another message.
    settled = yield from _over_rate(context)
    if settled is None and tick_policy is not None:
        settled = yield from _tick_not_to_run(context, tick_policy)
    return settled


def _not_due(context: DeliveryContext, due: float, now: float) -> PipelineFlow[Settlement]:
    from taskq_cloud.core.execution.steps import not_due  # few messages come early

    if not_due.has_waited(context, due - now):
        # A task that was revoked meanwhile would hop on until it is due. On its last hop it is looked up anyway.
        done = yield from duplicates.look_up(context)
        if done is not None:
            return (yield from outcomes.settle_done(done))
    return (yield from not_due.hold_back(context, due, now))


def _over_rate(context: DeliveryContext) -> PipelineFlow[Settlement | None]:
    if not context.environment.policy.limits_rate(context.options, context.delivery.queue):
        return None
    from taskq_cloud.core.execution.steps import rate_limits  # few tasks have a limit

    try:
        return (yield from rate_limits.held_back(context))
    except RateKeyError as error:
        return (yield from outcomes.fail(context, ErrorInfo.of(error)))


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
    return outcomes.conclude(context, REVOKED, ErrorInfo.of(TaskRevokedError(reason)))


def _tick_policy_of(context: DeliveryContext) -> TickPolicy | None:
    """The policy of a periodic task's tick; None: the message is not a tick."""
    if SCHEDULE not in context.message.headers:
        return None
    from taskq_cloud.core.execution.steps import tick_policy  # only messages of periodic tasks need schedules

    return tick_policy.policy_of(context)


def _run(context: DeliveryContext, tick_policy: TickPolicy | None) -> PipelineFlow[Settlement]:
    policy, started_at = context.environment.policy, context.now
    tracked = first_given(context.options.track_started, policy.track_started)
    if tracked or policy.result_extended:
        context = replace(context, started_at=started_at)
    if tracked:
        started = serializers.dumps({"pid": os.getpid(), "hostname": context.environment.hostname})
        if not (yield from consequences.record(context, STARTED, started)):
            stored = yield from context.load()
            done = duplicates.judge(context, stored)
            if done is not None:
                settlement = yield from outcomes.settle_done(done)
                if tick_policy is not None and stored is not None and stored.final:
                    yield from tick_policy.ended()
                return settlement
    outcome: Outcome = yield _invocation(context)  # 6
    if tick_policy is not None:
        yield from tick_policy.block_next_tick(outcome)
    settlement = yield from outcomes.carry_out(context, outcome, context.now - started_at)  # 7
    if tick_policy is not None:
        yield from tick_policy.after_run(outcome, settlement)
    return settlement


def _invocation(context: DeliveryContext) -> Invocation:
    (hard, soft), options, policy = context.message.timelimit, context.options, context.environment.policy
    return Invocation(
        message=context.message,
        queue=context.delivery.queue,
        message_id=context.delivery.message_id,
        receive_count=context.delivery.receive_count,
        time_limit=first_given(hard, options.time_limit, policy.time_limit),
        soft_time_limit=first_given(soft, options.soft_time_limit, policy.soft_time_limit),
        hostname=context.environment.hostname,
        fence=context.fence,
    )
