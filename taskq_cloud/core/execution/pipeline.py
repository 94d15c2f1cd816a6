"""The pipeline: the steps from a delivery to its settlement, for workers, Lambda handlers and push endpoints alike.

``Pipeline.process`` is a flow. It yields the calls that it wants made, an ``Admission`` to wait for room to run the
task, and the ``Invocation`` that it wants run: one, and one more for each errback that is called. It returns the
settlement, which the runtime carries out. A crash between any two of its effects is followed by a redelivery that ends
in the same final state. A delivery goes through these steps:

    step                            module                    what happens
    1  decode and check             messages.codec            an unreadable message is dead-lettered with the reason,
                                                              one by which no task is meant is acknowledged
    2  not registered here          pipeline                  an unknown task is given back with a growing delay, and
                                                              dead-lettered when its receives run out
       fan-out of a large group     steps.fan_out             the members are sent, the message is acknowledged
       trigger of a periodic task   steps.tick_policy         its ticks are sent, the message is acknowledged
    3  expired                      before_run                recorded as REVOKED, acknowledged
    4  not due yet                  steps.not_due             held back once more, acknowledged
    5  already done                 steps.duplicates          a final state in the store: 7b and 7c again, no run
       receives have run out        steps.receives            recorded as FAILURE, dead-lettered
    6  admission                    the runtime               a slot of the pool is waited for, as long as it takes
       expired, already done        before_run                3 and 5 once more: much may have happened meanwhile
       over its rate                steps.rate_limits         put back until the time of the slot it has taken
       tick that must not run       steps.tick_policy         recorded as REVOKED, acknowledged
       run                          pools, by the runtime     lease renewed, time limits enforced; with
                                                              acks_late=False acknowledged before: early_acks
    7  outcome                      outcomes
    7a record the state             consequences.record       by condition: a final state in the store stays
    7b consequences                 consequences.follow_up    messages that follow, with ids made from the task's;
                                    steps.chords              the chord counts the task, its last member sends the body
                                    steps.errbacks            errbacks that take the error itself are called
    7c acknowledge                  the runtime               last: until here a crash brings the message back

``context`` has what a step works with. Steps read and decide; ``consequences`` alone saves states, sends what follows a
task, and calls errbacks. ``crashes`` settles the message if any of it fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.execution import before_run, consequences, early_acks, hooked_deliveries, outcomes
from taskq_cloud.core.execution.context import DeliveryContext, Environment, PipelineFlow
from taskq_cloud.core.execution.crashes import Crashes, text_of
from taskq_cloud.core.execution.outcomes import LONGEST_RELEASE_SECONDS
from taskq_cloud.core.execution.steps import duplicates, receives
from taskq_cloud.core.lazy.values import replace
from taskq_cloud.core.messages.events import NoTask
from taskq_cloud.core.messages.sending import UNSENDABLE
from taskq_cloud.core.model.message import SCHEDULE, Acknowledge, DeadLetter, Delivery, Message, Release, Settlement
from taskq_cloud.core.model.options import TaskOptions, first_given
from taskq_cloud.core.model.outcome import ADMISSION, Admitted, ErrorInfo, Invocation, Outcome, RunTimes
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.records.record import STARTED
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.chord_members import check_store_counts_members, is_sized
from taskq_cloud.errors import (
    BodyPending,
    DecodeError,
    ImproperlyConfigured,
    NotRegistered,
    OperationalError,
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
    """Takes deliveries to their settlements. It keeps nothing of a delivery but the number of its message's crashes."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._crashes = Crashes(environment.policy.max_receives)

    def process(
        self, delivery: Delivery, message: Message | None = None, *, offload: bool = False
    ) -> PipelineFlow[Settlement]:
        """Take a delivery through the steps of this module's docstring.

        The flow raises nothing. When the policy's patience with an ``OperationalError`` of broker or store is over,
        the message is given back with a growing delay. So is a message on which the pipeline or its runtime crashes,
        until its receives run out.

        Args:
            delivery: the delivery.
            message: its message, where the runtime has decoded it already.
            offload: whether the flow yields ``Compute`` for what would keep an event loop busy.
        """
        environment = self._environment
        if receives.exceed(environment, delivery, receives.UNREAD_RECEIVES):  # 1
            return self._unread(delivery)
        context: DeliveryContext | None = None
        try:
            try:
                if message is None:
                    message = yield from environment.outbox.codec.open(  # 1
                        delivery.body, delivery.message_id, delivery.queue, delivery.attributes, offload=offload
                    )
                message = self._checked(delivery, message)
            except DecodeError as error:
                return (yield from self._undecodable(delivery, error, message))
            except (OperationalError, ImproperlyConfigured) as error:  # of its payload reference, or of its schedule
                return self._not_read(delivery, error)
            options = environment.options_of(message.task)
            context = DeliveryContext(environment, delivery, message, options, message.fence, offload=offload)
            if message.task == FAN_OUT:
                return (yield from consequences.send_group(context))  # 2
            known = message.task in environment.tasks
            return (yield from (_known if known else _unknown)(context))  # 3 to 7, or 2
        except Exception as error:  # no message may end its worker, nor come back for ever
            return (yield from self._settle_after(error, delivery, context))

    def _settle_after(
        self, error: Exception, delivery: Delivery, context: DeliveryContext | None
    ) -> PipelineFlow[Settlement]:
        """Settle a message that can't be brought to an end now, or never; ``context`` is None if it was not read."""
        if context is None:
            return self._crashes.settlement(delivery, error)
        if isinstance(error, UNSENDABLE):
            context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", error)
            return _dead_letter(context, f"{type(error).__name__}: {error}")
        if isinstance(error, OperationalError | ImproperlyConfigured | DecodeError):  # the last: of a stored document
            reason = self._crashes.last_hindrance(context, error)
            if reason is None:
                return _give_back(context, error)
            return (yield from self._crashes.dead_letter(context, error, reason))
        return (yield from self._crashes.settle(context, error))

    def crashed(self, delivery: Delivery, error: Exception) -> Settlement:
        """Decide what becomes of a message whose runtime has failed outside the pipeline."""
        return self._crashes.settlement(delivery, error)

    def _checked(self, delivery: Delivery, message: Message) -> Message:
        """Check a message that was read; returns it with all that follows from the fire time, if it is a tick."""
        now = self._environment.clock()
        if SCHEDULE in message.headers:
            from taskq_cloud.core.schedules import ticks  # only messages of periodic tasks need schedules

            message = ticks.resolved(message, now if delivery.sent_at is None else delivery.sent_at)
        successors.check(message, now)
        return message

    def _unread(self, delivery: Delivery) -> DeadLetter:
        """Dead-letter a message that may end any worker which reads it."""
        error = receives.error(self._environment, delivery.receive_count)
        context = self._context_of_unreadable(delivery)
        context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered unread: %s", error)
        return _dead_letter_unread(context, f"WorkerLostError: {error}")

    def _not_read(self, delivery: Delivery, error: OperationalError | ImproperlyConfigured) -> Settlement:
        """Settle a message of which a part is elsewhere, and can't be fetched now."""
        context = self._context_of_unreadable(delivery)
        reason = self._crashes.last_hindrance(context, error)
        return _give_back(context, error) if reason is None else _dead_letter_unread(context, reason)

    def _context_of_unreadable(self, delivery: Delivery, task_id: str | None = None) -> DeliveryContext:
        """The context of a message that can't be read."""
        message = Message(task="?", id=task_id or delivery.message_id)
        return DeliveryContext(self._environment, delivery, message, TaskOptions())

    def _undecodable(self, delivery: Delivery, error: DecodeError, message: Message | None) -> PipelineFlow[Settlement]:
        if isinstance(error, NoTask):
            text = "is acknowledged, as no task is meant by it: %s"
            self._context_of_unreadable(delivery).log(logging.INFO, "message.no_task", text, error)
            return Acknowledge(delivery)
        reason = text_of(error)
        context = self._context_of_unreadable(delivery, error.task_id)
        if message is not None:
            context = replace(context, message=replace(context.message, unsigned=message.unsigned))
        if message is not None and successors.is_member(message):
            # The messages that follow the task can't be read, but its chord can, and must not wait for the task.
            context = context.about(message)
        context.log(logging.ERROR, "message.dead_lettered", "can't be read and is dead-lettered: %s", reason)
        if error.task_id is not None:
            try:
                yield from outcomes.record_dead_letter(context, ErrorInfo.of(error))
            except (OperationalError, ImproperlyConfigured) as failure:
                counts = context.message.embed.chord is not None
                if counts and self._crashes.last_hindrance(context, failure) is None:
                    return _give_back(context, failure)
                # The message is worth more than its state: it goes to the dead-letter queue all the same.
                context.log(logging.ERROR, "task.state_not_recorded", "FAILURE not recorded: %s", failure)
        # Only an id that can be trusted makes its message one that starts afresh when it is moved back.
        return (_dead_letter_unread if error.task_id is None else _dead_letter)(context, reason)


def _dead_letter(context: DeliveryContext, reason: str) -> DeadLetter:
    from taskq_cloud.core.execution.steps import dead_letters  # few messages are dead-lettered

    return dead_letters.dead_letter(context, reason)


def _dead_letter_unread(context: DeliveryContext, reason: str) -> DeadLetter:
    hooked_deliveries.tell(context, "task_rejected", reason)
    return DeadLetter(context.delivery, reason)


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
    hooked_deliveries.tell(context, "task_unknown")
    if delivery.receive_count < context.environment.policy.max_receives:
        after = growing_delay(delivery.receive_count, UNKNOWN_TASK_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        context.log(logging.WARNING, "task.unknown", "is not registered here; given back for %.0f s", after)
        return Release(delivery, after)
    reason = (
        f"NotRegistered: no worker of queue {delivery.queue!r} knew task {task!r} after "
        f"{delivery.receive_count} receives; deploy the task, then redrive the dead-letter queue"
    )
    context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
    return (yield from outcomes.dead_letter(context, NotRegistered(task), reason))


def _known(context: DeliveryContext) -> PipelineFlow[Settlement]:
    message, delivery = context.message, context.delivery
    hooked_deliveries.tell(context, "task_received")
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
    tick_policy = before_run.tick_policy_of(context)
    settled = None if tick_policy is None else (yield from tick_policy.not_run())  # 2
    if settled is None:
        settled = yield from before_run.settle_received(context)
    if settled is not None:
        return settled
    admitted: Admitted | None = yield ADMISSION  # 6
    if admitted is None:
        context.log(logging.WARNING, "task.given_back", "given back: the worker stops, or has lost its lease")
        return Release(delivery, counts=False)
    settled = yield from before_run.settle_admitted(context, tick_policy)
    if settled is not None:
        return settled
    if context.options.once:
        lock_seconds = (first_given(message.timelimit[0], context.options.time_limit) or 0) + LOCK_MARGIN_SECONDS
        fence = yield from context.store.claim(message.id, delivery.receipt, lock_seconds)
        if fence is None:
            text = "runs elsewhere; given back until the lock of that run lapses"
            context.log(logging.INFO, "task.claimed_elsewhere", text)
            return Release(delivery, lock_seconds, counts=False)
        context = replace(context, fence=fence)
    return (yield from _run(context, tick_policy, admitted))


def _run(context: DeliveryContext, tick_policy: TickPolicy | None, admitted: Admitted) -> PipelineFlow[Settlement]:
    policy, began = context.environment.policy, context.now
    tracked = first_given(context.options.track_started, policy.track_started)
    shows_start = tracked or policy.result_extended
    if context.delivery.receive_count > 1:
        yield from receives.note_run(context)
    if tracked:
        started = serializers.dumps({"pid": admitted.pid, "hostname": context.environment.hostname})
        if not (yield from consequences.record(replace(context, started_at=began), STARTED, started)):
            done = yield from duplicates.look(context)
            if done is not None:
                settlement = yield from outcomes.settle_done(done)
                if tick_policy is not None and not done.superseded:
                    yield from tick_policy.ended()
                return settlement
    outcome: Outcome = yield _invocation(context)  # 6
    # A run that was cut off could not tell its times.
    times = outcome.times or RunTimes(began, context.now - began)
    if shows_start:
        context = replace(context, started_at=times.started_at)
    if outcome.acknowledged:
        context = replace(context, acknowledged=True)
        return (yield from _end_acknowledged(context, tick_policy, outcome, times.seconds))
    if tick_policy is not None:
        yield from tick_policy.block_next_tick(outcome)
    settlement = yield from _carry_out(context, outcome, times.seconds)  # 7
    if tick_policy is not None:
        yield from tick_policy.after_run(outcome, settlement)
    return settlement


def _carry_out(context: DeliveryContext, outcome: Outcome, runtime_seconds: float) -> PipelineFlow[Settlement]:
    try:
        settlement = yield from outcomes.carry_out(context, outcome, runtime_seconds)
    except Exception:
        yield from receives.note_end(context)
        raise
    if isinstance(settlement, Release):
        yield from receives.note_end(context)
    return settlement


def _end_acknowledged(
    context: DeliveryContext, tick_policy: TickPolicy | None, outcome: Outcome, runtime_seconds: float
) -> PipelineFlow[Settlement]:
    """End a run whose message was acknowledged before. Nothing brings it back, so that no step may cost a later one."""
    settlement = Acknowledge(context.delivery)
    text = "the lock of its schedule could not be changed, so that a tick may run too early or too late: %r"
    lock_failed = partial(context.log, logging.ERROR, "tick.lock_failed", text)
    if tick_policy is not None:
        yield from _guarded(tick_policy.block_next_tick(outcome), lock_failed)
    text = "has ended, but its end could not be recorded: %r; its message was acknowledged before the run"
    not_recorded = partial(context.log, logging.ERROR, "task.state_not_recorded", text)
    yield from _guarded(outcomes.carry_out(context, outcome, runtime_seconds), not_recorded)
    if tick_policy is not None:
        yield from _guarded(tick_policy.after_run(outcome, settlement), lock_failed)
    return settlement


def _guarded(step: PipelineFlow[Any], log: Callable[[Exception], None]) -> PipelineFlow[None]:
    """Carry out a step whose message is gone: the log is the only place for its error."""
    try:
        yield from step
    except Exception as error:
        log(error)


def _invocation(context: DeliveryContext) -> Invocation:
    (hard, soft), options, policy = context.message.timelimit, context.options, context.environment.policy
    return Invocation(
        message=context.message,
        queue=context.environment.outbox.routed_queue(context.delivery.queue),
        message_id=context.delivery.message_id,
        receive_count=context.delivery.receive_count,
        time_limit=first_given(hard, options.time_limit, policy.time_limit),
        soft_time_limit=first_given(soft, options.soft_time_limit, policy.soft_time_limit),
        hostname=context.environment.hostname,
        fence=context.fence,
        acknowledge_first=early_acks.wanted(context),
    )
