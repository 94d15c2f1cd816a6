"""What becomes of a delivery: the one pipeline of container worker, Lambda handler and push endpoint.

``Pipeline.process`` is a flow. It yields the calls it wants made, and the ``Invocation`` it wants run: one, and one
for each errback that is called; it returns the settlement, which the runtime carries out. A crash between any two of
its effects is followed by a redelivery that ends in the same final state:

    1  decode                   what can't be read is dead-lettered with the reason
    2  a large group's fan-out  its members are sent (``fan_out``), and it is acknowledged
       unknown task             given back with a growing delay, dead-lettered when its receives run out
       a periodic task's wake   ticks are sent for it, or it is none at all: acknowledged (``guards``)
    3  expired                  recorded as REVOKED, acknowledged
    4  not due yet              parked again, acknowledged; one that has waited is asked for as in 5 before
    5  perhaps already done     if the store holds its final state: 7b and 7c again, no run
       over its rate            put back until the slot it has taken (``rate_limits``)
       a periodic task's tick   perhaps not run, as its entry says: REVOKED, acknowledged (``guards``)
    6  run                      the lease renewed and the time limits enforced by the runtime
    7a record the state         conditional: a final state stays
    7b send what follows        with ids made from this task's; count it in its chord (``joins``); call the errbacks
                                that take the error itself (``errbacks``)
    7c acknowledge              last: until here a crash brings the message back
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.execution.context import DeliveryContext, Environment, first
from taskq_cloud.core.execution.steps import chords, duplicates, errbacks, not_due, rate_limits
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import late_delivery
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Message, Release, Settlement
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import (
    Abandoned,
    ErrorInfo,
    Failed,
    Ignored,
    Invocation,
    Lost,
    Outcome,
    Rejected,
    Replaced,
    Retrying,
    Succeeded,
    TimedOut,
)
from taskq_cloud.core.records.record import FAILURE, IGNORED, RETRY, REVOKED, STARTED, SUCCESS
from taskq_cloud.core.schedules.tick_headers import SCHEDULE
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.chord_members import check_store_counts_members, is_sized
from taskq_cloud.core.workflows.group_pages import FAN_OUT
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.core.workflows.stages import has_chord
from taskq_cloud.errors import (
    BodyPending,
    DecodeError,
    DelayTooLong,
    EncodeError,
    ImproperlyConfigured,
    InvalidTaskError,
    NotRegistered,
    OperationalError,
    PayloadTooLarge,
    RateKeyError,
    Reject,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)

if TYPE_CHECKING:
    from taskq_cloud.core.execution.steps.tick_policy import Guard

UNKNOWN_TASK_FIRST_DELAY_SECONDS: Final = 30
"""A rolling deploy has replaced most workers within minutes: 30 + 60 + 120 + 240 s pass before the fifth receive."""
FAILED_EFFECT_FIRST_DELAY_SECONDS: Final = 10
LOST_RUN_FIRST_DELAY_SECONDS: Final = 1
BODY_PENDING_FIRST_DELAY_SECONDS: Final = 5
"""Who has claimed a chord's body has mostly sent it within a second. 5 + 10 + 20 + 40 s are longer than its claim."""
LONGEST_RELEASE_SECONDS: Final = 900
CLAIM_MARGIN_SECONDS: Final = 30
"""A claim outlasts the time limit by the time it takes to record the end."""
_UNSENDABLE: Final = (DelayTooLong, EncodeError, PayloadTooLarge)
"""What is wrong with a message however often it is sent."""


class Pipeline:
    """Decides what becomes of deliveries. Holds no state of any one of them."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def process(self, delivery: Delivery, message: Message | None = None) -> Flow[Settlement]:
        """Take a delivery through the steps of this module's docstring.

        Never raises for what the message or the task does. An ``OperationalError`` of broker or store, once the
        policy's patience is over, gives the message back with a growing delay.

        Args:
            delivery: the delivery.
            message: its message, where the runtime has decoded it already.
        """
        try:
            if message is None:
                message = yield from self._environment.codec.open(  # 1
                    delivery.body, delivery.message_id, delivery.queue, delivery.attributes
                )
            now = self._environment.clock()
            if SCHEDULE in message.headers:
                from taskq_cloud.core.schedules import ticks  # only periodic tasks need schedules

                message = ticks.resolved(message, now if delivery.sent_at is None else delivery.sent_at)
            successors.check(message, now)
        except DecodeError as error:
            return (yield from self._undecodable(delivery, error, message))
        except (OperationalError, ImproperlyConfigured) as error:  # of what the message claims, or its schedule needs
            return _give_back(self._nameless(delivery), error)
        effects = DeliveryContext(
            self._environment, delivery, message, self._environment.options_of(message.task), message.fence
        )
        try:
            if message.task == FAN_OUT:
                from taskq_cloud.core.execution.steps import fan_out  # few groups are that large

                return (yield from fan_out.carry_out(effects))  # 2
            known = message.task in self._environment.tasks
            return (yield from (_known if known else _unknown)(effects))  # 3 to 7, or 2
        except _UNSENDABLE as error:
            effects.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", error)
            return DeadLetter(delivery, f"{type(error).__name__}: {error}")
        except (OperationalError, ImproperlyConfigured, DecodeError) as error:  # DecodeError: of a stored document
            return _give_back(effects, error)

    def _nameless(self, delivery: Delivery, task_id: str | None = None) -> DeliveryContext:
        """The effects of a message that can't be read."""
        message = Message(task="?", id=task_id or delivery.message_id)
        return DeliveryContext(self._environment, delivery, message, TaskOptions())

    def _undecodable(self, delivery: Delivery, error: DecodeError, message: Message | None) -> Flow[Settlement]:
        # The error may quote what no UTF-8 can write.
        reason = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
        effects = self._nameless(delivery, error.task_id)
        if message is not None and successors.is_member(message):
            # What follows it can't be read, but its chord can, and is not to wait for it.
            effects = effects.about(message)
        effects.log(logging.ERROR, "message.dead_lettered", "can't be read and is dead-lettered: %s", reason)
        if error.task_id is not None:
            try:
                yield from duplicates.dead_letter(effects, ErrorInfo.of(error))
            except (OperationalError, ImproperlyConfigured) as failure:
                if effects.message.embed.chord is not None:
                    return _give_back(effects, failure)
                # The message is worth more than its state: it goes to the dead-letter queue all the same.
                effects.log(logging.ERROR, "task.state_not_recorded", "FAILURE not recorded: %s", failure)
        return DeadLetter(delivery, reason)


def _give_back(effects: DeliveryContext, error: Exception) -> Release:
    delivery = effects.delivery
    if isinstance(error, BodyPending):
        after = growing_delay(delivery.receive_count, BODY_PENDING_FIRST_DELAY_SECONDS, chords.CLAIM_SECONDS)
        effects.log(logging.INFO, "chord.claimed_elsewhere", "given back for %.0f s: %s", after, error)
        return Release(delivery, after)
    after = growing_delay(delivery.receive_count, FAILED_EFFECT_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
    effects.log(logging.ERROR, "task.given_back", "given back for %.0f s: %s", after, error)
    return Release(delivery, after)


def _unknown(effects: DeliveryContext) -> Flow[Settlement]:
    delivery, task = effects.delivery, effects.message.task
    if delivery.receive_count < effects.environment.policy.max_receives:
        after = growing_delay(delivery.receive_count, UNKNOWN_TASK_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        effects.log(logging.WARNING, "task.unknown", "is not registered here; given back for %.0f s", after)
        return Release(delivery, after)
    reason = (
        f"NotRegistered: no worker of queue {delivery.queue!r} knew task {task!r} after "
        f"{delivery.receive_count} receives; deploy the task, then redrive the dead-letter queue"
    )
    effects.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
    yield from duplicates.dead_letter(effects, ErrorInfo.of(NotRegistered(task)))
    return DeadLetter(delivery, reason)


def _known(effects: DeliveryContext) -> Flow[Settlement]:
    message, delivery, environment = effects.message, effects.delivery, effects.environment
    chord = message.embed.chord
    if chord is not None and not is_sized(chord):
        reason = (
            f"chord {message.group} was made by Celery and doesn't say its size: set Celery's result_backend to taskq+"
            " and the URL of TASKQ_RESULTS (taskq+dynamodb://my-table), then start the workflow again"
        )
        effects.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
        return DeadLetter(delivery, reason)
    chords.check(effects)
    guard = _guard_of(effects)
    settled = None if guard is None else (yield from guard.not_run())
    if settled is None:
        settled = yield from _not_to_run(effects, guard)
    if settled is not None:
        return settled
    if effects.options.once:
        claim_seconds = first(message.timelimit[0], effects.options.time_limit) + CLAIM_MARGIN_SECONDS
        fence = yield from effects.insist(lambda: environment.store.claim(message.id, delivery.receipt, claim_seconds))
        if fence is None:
            effects.log(logging.INFO, "task.claimed_elsewhere", "runs elsewhere; given back until that claim lapses")
            return Release(delivery, claim_seconds)
        effects = replace(effects, fence=fence)
    return (yield from _run(effects, guard))


def _not_to_run(effects: DeliveryContext, guard: Guard | None) -> Flow[Settlement | None]:
    """The settlement of a message whose task is not to run, or not now; None: it is."""
    message = effects.message
    now = effects.environment.clock()
    if message.expires is not None and message.expires.timestamp() <= now:
        effects.log(logging.WARNING, "task.revoked", "expired at %s", message.expires.isoformat())
        return (yield from _conclude(effects, REVOKED, ErrorInfo.of(TaskRevokedError("expired"))))  # 3
    due = late_delivery.due_at(message)
    if due is not None and due > now:
        # Revoked meanwhile, it would hop on until it is due; on its last hop it is asked for anyway.
        settled = (yield from duplicates.perhaps_done(effects)) if not_due.has_waited(effects, due - now) else None
        return settled or (yield from not_due.park(effects, due, now))  # 4
    settled = yield from duplicates.perhaps_done(effects)  # 5
    if settled is None:
        # Before a tick's turn is taken: a message that is put back may come again as another.
        settled = yield from _held_back(effects)
    if settled is None and guard is not None:
        settled = yield from _guarded(effects, guard)
    return settled


def _guarded(effects: DeliveryContext, guard: Guard) -> Flow[Settlement | None]:
    """The settlement of a periodic task's tick that is not to run; None: it is."""
    if (yield from guard.is_repeated()):
        effects.log(logging.INFO, "tick.repeated", "has come twice; the other message runs it")
        return Acknowledge(effects.delivery)
    refusal = yield from guard.refusal()
    if refusal is not None:
        effects.log(logging.INFO, "tick.skipped", "not run: %s", refusal)
        return (yield from _conclude(effects, REVOKED, ErrorInfo.of(TaskRevokedError(refusal))))
    return None


def _guard_of(effects: DeliveryContext) -> Guard | None:
    """Of a periodic task's tick, what its entry says of running it."""
    if SCHEDULE not in effects.message.headers:
        return None
    from taskq_cloud.core.execution.steps import tick_policy  # only periodic tasks need schedules

    return tick_policy.guard_of(effects)


def _held_back(effects: DeliveryContext) -> Flow[Settlement | None]:
    """The settlement of a task that its rate limits don't let begin yet, or None."""
    try:
        return (yield from rate_limits.held_back(effects))
    except RateKeyError as error:
        return (yield from _fail(effects, ErrorInfo.of(error)))


def _run(effects: DeliveryContext, guard: Guard | None) -> Flow[Settlement]:
    message, options, policy = effects.message, effects.options, effects.environment.policy
    started_at, tracked = effects.environment.clock(), first(options.track_started, policy.track_started)
    if tracked or policy.result_extended:
        effects = replace(effects, started_at=started_at)
    if tracked:
        started = serializers.dumps({"pid": os.getpid(), "hostname": effects.environment.hostname})
        if not (yield from effects.record(STARTED, started)):
            stored = yield from effects.load()
            settled = yield from duplicates.settled_by(effects, stored)
            if settled is not None:
                if guard is not None and stored is not None and stored.final:
                    yield from guard.ended()
                return settled
    hard, soft = message.timelimit
    outcome: Outcome = yield Invocation(  # 6
        message=message,
        queue=effects.delivery.queue,
        message_id=effects.delivery.message_id,
        receive_count=effects.delivery.receive_count,
        time_limit=first(hard, options.time_limit, policy.time_limit),
        soft_time_limit=first(soft, options.soft_time_limit, policy.soft_time_limit),
        hostname=effects.environment.hostname,
        fence=effects.fence,
    )
    if guard is not None:
        yield from guard.before_more(outcome)
    settlement = yield from _carry_out(effects, outcome, effects.environment.clock() - started_at)  # 7
    if isinstance(settlement, Release):
        yield from _give_up_claim(effects)
    if guard is not None:
        yield from guard.after_run(outcome, settlement)
    return settlement


def _give_up_claim(effects: DeliveryContext) -> Flow[None]:
    """Before another run of the task is made possible; never after its last, whose claim keeps a late duplicate out."""
    message, delivery, store = effects.message, effects.delivery, effects.environment.store
    if effects.options.once:
        yield from effects.insist(lambda: store.claim(message.id, delivery.receipt, 0))


def _carry_out(  # noqa: PLR0911 - one return an outcome
    effects: DeliveryContext, outcome: Outcome, runtime_seconds: float
) -> Flow[Settlement]:
    match outcome:
        case Succeeded():
            return (yield from _succeed(effects, outcome, runtime_seconds))
        case Failed():
            return (yield from _fail(replace(effects, called=outcome.called), outcome.error, expected=outcome.expected))
        case TimedOut():
            return (yield from _fail(effects, ErrorInfo.of(TimeLimitExceeded(outcome.time_limit))))
        case Retrying():
            return (yield from _retry(effects, outcome))
        case Replaced():
            return (yield from _replace(effects, outcome))
        case Rejected():
            return (yield from _reject(effects, outcome))
        case Lost():
            return (yield from _lose(effects, outcome))
        case Ignored():
            effects.log(logging.INFO, "task.ignored", "ignored")
            yield from chords.conclude(effects, IGNORED)
            return Acknowledge(effects.delivery)
        case Abandoned():
            effects.log(logging.WARNING, "task.given_back", "given back: the worker stops, or has lost its lease")
            return Release(effects.delivery)


def _succeed(effects: DeliveryContext, outcome: Succeeded, runtime_seconds: float) -> Flow[Settlement]:
    embed, payload = effects.message.embed, outcome.payload
    adding = replace(effects, added=outcome.added, called=outcome.called)
    value = serializers.loads(payload) if embed.callbacks or embed.chain else None
    try:
        settlement = yield from _conclude(adding, SUCCESS, payload, adding.following(SUCCESS, value))
    except _UNSENDABLE as error:
        return (yield from _fail(effects, ErrorInfo.of(error)))
    effects.log(logging.INFO, "task.succeeded", "succeeded in %.3f s", runtime_seconds)
    return settlement


def _fail(effects: DeliveryContext, error: ErrorInfo, *, expected: bool = False) -> Flow[Settlement]:
    text = error.summary
    if expected:
        effects.log(logging.INFO, "task.failed", "raised expected %s", text)
    else:
        effects.log(logging.ERROR, "task.failed", "failed: %s\n%s", text, error.traceback or "")
    following = effects.following(FAILURE)
    try:
        return (yield from _conclude(effects, FAILURE, error, following))
    except PayloadTooLarge:
        return (yield from _conclude(effects, FAILURE, error.shortened(), following))


def _retry(effects: DeliveryContext, outcome: Retrying) -> Flow[Settlement]:
    again = successors.on_retry(effects.message, outcome, effects.environment.clock())
    effects.log(logging.INFO, "task.retried", "retries in %.1f s: %s", outcome.after_seconds, outcome.error.exc_type)
    try:
        return (yield from _conclude(effects, RETRY, outcome.error, [Successor(again, effects.delivery.queue)]))
    except _UNSENDABLE as failure:
        return (yield from _fail(effects, ErrorInfo.of(failure)))


def _replace(effects: DeliveryContext, outcome: Replaced) -> Flow[Settlement]:
    """Nothing is recorded: the task's state will be that of what takes its place, and has its id."""
    from taskq_cloud.core.workflows import replacement  # few tasks are replaced

    try:
        line = replacement.in_place_of(effects.message, outcome.signature, effects.fence)
        if has_chord(line):
            check_store_counts_members(effects.environment.store)
        now, paging = effects.environment.clock(), effects.paging()
        instead = replacement.start(effects.message, line, now, paging, resent=effects.resends)
        addressed = effects.address(instead)
    except (*_UNSENDABLE, InvalidTaskError, ImproperlyConfigured) as error:
        return (yield from _fail(effects, ErrorInfo.of(error)))
    effects.log(logging.INFO, "task.replaced", "is replaced, beginning with task %s", instead[0].message.task)
    yield from _give_up_claim(effects)
    yield from effects.send(addressed)
    return Acknowledge(effects.delivery)


def _reject(effects: DeliveryContext, outcome: Rejected) -> Flow[Settlement]:
    delivery = effects.delivery
    if outcome.requeue:
        after = growing_delay(delivery.receive_count, LOST_RUN_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        effects.log(logging.INFO, "task.rejected", "rejected, given back for %.0f s: %s", after, outcome.reason)
        return Release(delivery, after)
    effects.log(logging.ERROR, "message.dead_lettered", "rejected and dead-lettered: %s", outcome.reason)
    yield from duplicates.dead_letter(effects, ErrorInfo.of(Reject(outcome.reason)))
    return DeadLetter(delivery, f"Reject: {outcome.reason}")


def _lose(effects: DeliveryContext, outcome: Lost) -> Flow[Settlement]:
    receives, most = effects.delivery.receive_count, effects.environment.policy.max_receives
    # Where nobody counts, a task that kills its process would do so for ever.
    if effects.options.reject_on_worker_lost and effects.delivery.counted and receives < most:
        after = growing_delay(receives, LOST_RUN_FIRST_DELAY_SECONDS, LONGEST_RELEASE_SECONDS)
        effects.log(
            logging.ERROR, "task.lost", "lost its process (%s), receive %d of %d", outcome.reason, receives, most
        )
        return Release(effects.delivery, after)
    error = WorkerLostError(f"the process that ran it died ({outcome.reason}) on receive {receives}")
    return (yield from _fail(effects, ErrorInfo.of(error)))


def _conclude(
    effects: DeliveryContext, state: str, result: str | ErrorInfo, following: Sequence[Successor] = ()
) -> Flow[Settlement]:
    addressed = effects.address(following)
    children = () if state == RETRY else [*following, *(errbacks.here(effects) if state == FAILURE else ())]
    if not (yield from effects.record(state, result, children)):  # 7a
        stored = yield from effects.load()
        settled = yield from duplicates.settled_by(effects, stored)
        if settled is None and stored is not None:
            # A newer claim runs the task, and settles the message: acknowledged here, it could be lost with that run.
            settled = Release(effects.delivery, LOST_RUN_FIRST_DELAY_SECONDS)
        return settled or Acknowledge(effects.delivery)
    if state == RETRY:
        yield from _give_up_claim(effects)
        yield from effects.send(addressed)
        return Acknowledge(effects.delivery)
    yield from effects.send(addressed)  # 7b
    yield from chords.conclude(effects, state, result if isinstance(result, ErrorInfo) else None)
    if state == FAILURE and isinstance(result, ErrorInfo):
        yield from errbacks.call(effects, result)
    return Acknowledge(effects.delivery)  # 7c
