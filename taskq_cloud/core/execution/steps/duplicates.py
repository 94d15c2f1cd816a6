"""What an earlier delivery or attempt of a task has left in the store, and what it means (step 5 of ``execution``)."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.execution.steps import chords, errbacks
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, DeadLetter, Delivery, Settlement
from taskq_cloud.core.model.outcome import ErrorInfo
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records.record import FAILURE, STARTED, Record, version_of
from taskq_cloud.core.schedules.tick_headers import SCHEDULE
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.planner import JOINED, RESENT
from taskq_cloud.core.workflows.stages import awaited_tasks


def perhaps_done(effects: DeliveryContext) -> Flow[Settlement | None]:
    """Ask the store only where an earlier delivery or attempt may have left something: most tasks are spared it."""
    message, delivery = effects.message, effects.delivery
    dead_lettered = DEAD_LETTER_REASON in delivery.attributes
    # A chord's body may have been sent twice: by a member that died before it was acknowledged, and by it again. So may
    # what follows any task: who sends it again says so.
    twice = delivery.redelivered or effects.options.once or JOINED in message.headers or RESENT in message.headers
    # So may a periodic task's; where the store has claims, ``guards`` finds that out.
    twice = twice or (SCHEDULE in message.headers and not effects.environment.store.capabilities.claims)
    if not (twice or message.retries or message.eta or dead_lettered):
        return None
    stored = yield from effects.load()
    if dead_lettered and stored is not None and stored.state == FAILURE and _precedes(stored, delivery):
        # An operator has moved the message back from the dead-letter queue: it is to run, and its result to count.
        # So is what it had kept from running.
        left = [step.id for step in awaited_tasks(successors.left_of_chain(message)) if step.id]
        yield from effects.environment.store.delete([message.id, *left])
        return None
    return (yield from settled_by(effects, stored))


def dead_letter(effects: DeliveryContext, error: ErrorInfo) -> Flow[None]:
    """Record the failure of a task whose message is to be dead-lettered; a redrive takes it back."""
    yield from effects.record(FAILURE, error)
    yield from chords.conclude(effects, FAILURE, error)


def _precedes(failure: Record, delivery: Delivery) -> bool:
    """Whether a failure was recorded before its message came back from the dead-letter queue, not by a run since."""
    if not delivery.redelivered:
        return True
    done = result_document.decode(failure.payload).get("date_done")
    return (
        delivery.sent_at is not None
        and done is not None
        and datetime.fromisoformat(done).timestamp() < delivery.sent_at
    )


def settled_by(effects: DeliveryContext, stored: Record | None) -> Flow[Settlement | None]:
    """The settlement that a stored state leads to without a run, or None where the task is still to run."""
    if stored is None:
        return None
    if stored.final:
        effects.log(logging.INFO, "task.already_done", "is %s already; not run again", stored.state)
        document = result_document.decode(stored.payload)
        if (document.get("replaced_task_nesting") or 0) > effects.message.replaced_task_nesting:
            # What follows is the replacement's part, which was sent: it has ended.
            return Acknowledge(effects.delivery)
        effects = replace(effects, added=document.get("added") or ())
        value, error = document.get("result"), result_document.error_of(document)
        match value:
            case {"exc_type": "Reject", "exc_message": [reason]} if stored.state == FAILURE:
                yield from chords.conclude(effects, FAILURE, error)
                return DeadLetter(effects.delivery, f"Reject: {reason}")
        yield from effects.send(effects.address(effects.following(stored.state, value, recorded=True)))
        yield from chords.conclude(effects, stored.state, error)
        if stored.state == FAILURE and error is not None:
            yield from errbacks.call(effects, error)
        return Acknowledge(effects.delivery)
    if stored.version >= version_of(STARTED, effects.message.attempt + 1):
        # A later attempt has written, so its message is on its way: this one is late.
        effects.log(logging.INFO, "task.superseded", "is superseded by a later attempt; not run again")
        return Acknowledge(effects.delivery)
    return None
