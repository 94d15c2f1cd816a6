"""Duplicates: messages that the stored state of their task settles without a run (step 5 of ``pipeline``).

Most tasks are not looked up: the store is read only if an earlier delivery or attempt may have stored something, or
if the message has waited in this process, where a revocation could not reach it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.execution import hooked_deliveries
from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.model.message import (
    CALL,
    DEAD_LETTER_REASON,
    SCHEDULE,
    Acknowledge,
    DeadLetter,
    Settlement,
)
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import FAILURE, REVOKED, STARTED, SUCCESS, Record, version_of
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.planner import JOINED, RESENT
from taskq_cloud.core.workflows.stages import awaited_tasks
from taskq_cloud.errors import DecodeError, TimeLimitExceeded

_MAY_BE_DONE: Final = frozenset({JOINED, RESENT, CALL})
"""Headers of messages whose task may have run before, although the message itself is received for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyDone:
    """A stored state that settles a message without a run.

    Args:
        settlement: the settlement of the message.
        context: the task's context, with the signatures that its run has added to its chord.
        state: the final state, whose consequences are to be repeated; None: there are none.
        value: the value, if the state is SUCCESS.
        error: the error, if there is one.
        counts_only: the end is counted in the task's chord, and nothing else follows: the task was rejected.
        called_before: the state is that of another call with the same id: what would follow this call is ended.
        superseded: a later attempt of the task goes on.
    """

    settlement: Settlement
    context: DeliveryContext
    state: str | None = None
    value: Any = None
    error: ErrorInfo | None = None
    counts_only: bool = False
    called_before: bool = False
    superseded: bool = False


def look_up(context: DeliveryContext) -> Flow[AlreadyDone | None]:
    """Read the state that an earlier delivery or attempt may have stored; None: the task is still to run."""
    message, delivery = context.message, context.delivery
    # A chord's body may have been sent twice: by a member that died before it was acknowledged, and by its redelivery.
    # Other messages that follow a task may have been sent twice, too: the sender of a repeated message marks it.
    twice = delivery.redelivered or context.options.once or not _MAY_BE_DONE.isdisjoint(message.headers)
    # A periodic task's tick may have been sent twice as well; where the store has locks, ``tick_policy`` notices.
    twice = twice or (SCHEDULE in message.headers and not context.environment.store.capabilities.claims)
    if not (twice or message.retries or message.eta or DEAD_LETTER_REASON in delivery.attributes):
        return None
    return (yield from look(context))


def has_waited(context: DeliveryContext) -> bool:
    """Whether a message has waited in this process for longer than twenty looks into the store take."""
    received_at = context.delivery.received_at
    return received_at > 0 and context.environment.look_cost.is_worth(context.now - received_at)


def look_again(context: DeliveryContext) -> Flow[AlreadyDone | None]:
    """Read what has come into the store while the message has waited; None: the task is still to run."""
    began = context.now
    done = yield from look(context)
    context.environment.look_cost.seconds = context.now - began
    return done


def look(context: DeliveryContext) -> Flow[AlreadyDone | None]:
    """Read the task's record; None: the task is still to run."""
    stored = yield from context.load()
    if stored is None:
        return None
    redriven = _gives_way(context, stored)
    if redriven:
        from taskq_cloud.core.execution.steps import dead_letters  # few messages are moved back

        if not dead_letters.is_redriven(context, stored):
            context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", dead_letters.UNPROVEN)
            return AlreadyDone(settlement=_dead_letter_as_it_is(context, dead_letters.UNPROVEN), context=context)
    if redriven or (stored.state == FAILURE and is_of_another_call(context, stored)):
        # An operator has moved the message back from the dead-letter queue, or a caller has called the failed task
        # again: the task must run and store its result. The same holds for the tasks that its failure had kept from
        # running.
        left = [task.id for task in awaited_tasks(successors.rest_of_chain(context.message)) if task.id]
        yield from context.environment.store.delete([context.message.id, *left])
        return None
    return judge(context, stored)


def judge(context: DeliveryContext, stored: Record | None, *, ran: bool = False) -> AlreadyDone | None:
    """Decide whether a stored state settles the message; None: the task is still to run.

    Args:
        context: the task's.
        stored: its record.
        ran: whether the task has run all the same, so that the outcome of the run is dropped.
    """
    if stored is None:
        return None
    if is_of_another_call(context, stored):
        if stored.state != SUCCESS:
            return None
        text = "was called before with this id, and has succeeded: this call does nothing; give it an id of its own"
        context.log(logging.WARNING, "task.called_before", text)
        return AlreadyDone(settlement=Acknowledge(context.delivery), context=context, called_before=True)
    superseded = stored.version >= version_of(STARTED, context.message.attempt + 1)
    if not (stored.final or superseded):
        return None
    if ran:
        text = "has run, but is %s already; this run's outcome is dropped"
        context.log(logging.INFO, "task.outcome_dropped", text, stored.state)
    elif stored.final:
        context.log(logging.INFO, "task.already_done", "is %s already; not run again", stored.state)
    else:
        context.log(logging.INFO, "task.superseded", "is superseded by a later attempt; not run again")
    if stored.final:
        return _ended(context, stored)
    # A later attempt has written, so its message is on its way: this one is late.
    return AlreadyDone(settlement=Acknowledge(context.delivery), context=context, superseded=True)


def is_of_another_call(context: DeliveryContext, stored: Record) -> bool:
    """Whether a record is that of another call, to which a caller had given the same id.

    A record of REVOKED that names no call was written by ``revoke()``, and is about all calls.
    """
    call = context.message.call
    if call is None:
        return False
    recorded = document.of(stored).get("call")
    return bool(recorded != call and (recorded is not None or stored.state != REVOKED))


def _ended(context: DeliveryContext, stored: Record) -> AlreadyDone:
    result = document.of(stored)
    if document.nesting(result) > context.message.replaced_task_nesting:
        # The replacement has ended, and what follows it was sent.
        return AlreadyDone(settlement=Acknowledge(context.delivery), context=context)
    try:
        context = _with_additions(context, result)
    except DecodeError as error:
        reason = f"{type(error).__name__}: {error}; to run the task again, forget its result and redrive the message"
        context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered: %s", reason)
        return AlreadyDone(settlement=_dead_letter_as_it_is(context, reason), context=context)
    done = AlreadyDone(
        settlement=Acknowledge(context.delivery),
        context=context,
        state=stored.state,
        value=result.get("result"),
        error=document.error_of(result),
    )
    match done.value:
        case {"exc_type": "Reject", "exc_message": [reason]} if stored.state == FAILURE:
            from taskq_cloud.core.execution.steps.dead_letters import dead_letter  # few messages are rejected

            return replace(done, settlement=dead_letter(context, f"Reject: {reason}"), counts_only=True)
    if stored.state == FAILURE and done.error is not None:
        return replace(done, settlement=settlement_of_failure(context, done.error))
    return done


def _dead_letter_as_it_is(context: DeliveryContext, reason: str) -> DeadLetter:
    """Dead-letter a message without a mark by which it would start afresh when it is moved back."""
    hooked_deliveries.tell(context, "task_rejected", reason)
    return DeadLetter(context.delivery, reason)


def settlement_of_failure(context: DeliveryContext, error: ErrorInfo) -> Settlement:
    """Settle the message of a task that has failed: a task may want it to be dead-lettered."""
    policy, options = context.environment.policy, context.options
    timed_out = error.exc_type == TimeLimitExceeded.__name__ and error.exc_module == TimeLimitExceeded.__module__
    acknowledges = policy.acknowledges_timeout if timed_out else policy.acknowledges_failure
    if context.acknowledged or acknowledges(options) or not context.delivery.queued:
        return Acknowledge(context.delivery)
    from taskq_cloud.core.execution.steps.dead_letters import dead_letter  # few messages of failed tasks are

    context.log(logging.ERROR, "message.dead_lettered", "is dead-lettered, as it has failed: %s", error.summary)
    return dead_letter(context, error.summary)


def _with_additions(context: DeliveryContext, result: Mapping[str, Any]) -> DeliveryContext:
    """The context with the signatures that the task's run has added to its chord."""
    if not result.get("added"):
        return context
    from taskq_cloud.core.workflows import chord_additions  # few tasks add to their chord

    added, signed = chord_additions.read(context.message.id, result, context.outbox.codec)
    message = context.message if signed else replace(context.message, unsigned=True)
    return replace(context, message=message, added=added)


def _gives_way(context: DeliveryContext, stored: Record) -> bool:
    """Whether an operator has moved the message back from the dead-letter queue since its failure was recorded.

    Then the task is to run, and its result counts.
    """
    delivery = context.delivery
    if stored.state != FAILURE or DEAD_LETTER_REASON not in delivery.attributes:
        return False
    if not delivery.redelivered:
        return True
    done = document.date_done(document.of(stored))
    return delivery.sent_at is not None and done is not None and done.timestamp() < delivery.sent_at
