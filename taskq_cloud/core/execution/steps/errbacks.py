"""Errbacks that take ``(request, exc, traceback)``: called by whoever ends the failed task, as Celery calls them.

All others are sent, and take the failed task's id. One is called where it is registered, isn't bound, and takes the
three before its own arguments. It runs in the pool, as any task does, and what it came to is recorded as that of a task
with an id made from the failed one's, so that a redelivery calls none again that has ended. It is never retried.

Source: Celery 5.7, "Canvas: Callbacks", and ``Backend._call_task_errbacks``, which looks for more than one argument;
one with two, which fails there, is sent here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import (
    Abandoned,
    ErrorInfo,
    Failed,
    FailedCall,
    Ignored,
    Invocation,
    Lost,
    Outcome,
    Rejected,
    Retrying,
    Succeeded,
    TimedOut,
)
from taskq_cloud.core.records.record import FAILURE, SUCCESS
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.errbacks import called_here
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.errors import (
    OperationalError,
    PayloadTooLarge,
    Reject,
    TaskQError,
    TimeLimitExceeded,
    WorkerLostError,
)

if TYPE_CHECKING:
    from taskq_cloud.core.execution.context import DeliveryContext


def here(effects: DeliveryContext) -> list[Successor]:
    """The calls that a task's errbacks are given here, as messages: their ids are those of the task's children."""
    tasks, message = effects.environment.tasks, effects.message
    places = called_here(message, tasks)
    if not places:
        return []
    return list(successors.on_failure(message, effects.environment.clock(), only=places, given=()))


def call(effects: DeliveryContext, error: ErrorInfo) -> Flow[None]:
    """Call those that are called here.

    Args:
        effects: of the task that has failed.
        error: why.

    Raises:
        OperationalError: one could not be called now, or its end not be recorded; to be done again.
    """
    for each in here(effects):
        about = effects.about(each.message)
        if about.records(SUCCESS):
            stored = yield from about.load()
            if stored is not None and stored.final:
                continue
        yield from _end(about, (yield _invocation(about, FailedCall(effects.message, error))))


def call_for_task_not_run(effects: DeliveryContext, failed: Message, error: Exception) -> Flow[None]:
    """Send and call the errbacks of a task that has failed without having run.

    Args:
        effects: of the delivery that has found out.
        failed: the task's message.
        error: why.
    """
    about = effects.about(failed)
    yield from about.send(about.address(about.following(FAILURE)))
    yield from call(about, ErrorInfo.of(error))


def _invocation(about: DeliveryContext, failed: FailedCall) -> Invocation:
    delivery, options, policy = about.delivery, about.options, about.environment.policy
    return Invocation(
        message=about.message,
        queue=delivery.queue,
        message_id=delivery.message_id,
        receive_count=delivery.receive_count,
        time_limit=policy.time_limit if options.time_limit is None else options.time_limit,
        soft_time_limit=policy.soft_time_limit if options.soft_time_limit is None else options.soft_time_limit,
        hostname=about.environment.hostname,
        failed=failed,
    )


def _end(about: DeliveryContext, outcome: Outcome) -> Flow[None]:
    if isinstance(outcome, Abandoned) or (isinstance(outcome, Rejected) and outcome.requeue):
        raise OperationalError(
            f"errback {about.message.task} could not run now; it is called when its task comes again"
        )
    if isinstance(outcome, Ignored):
        return
    try:
        if isinstance(outcome, Succeeded):
            yield from about.record(SUCCESS, outcome.payload)
            return
        error = _error_of(outcome)
    except PayloadTooLarge as refused:
        error = ErrorInfo.of(refused)
    text = error.summary
    about.log(
        logging.ERROR, "errback.failed", "was called as an errback and failed: %s\n%s", text, error.traceback or ""
    )
    yield from about.record(FAILURE, error.shortened())


def _error_of(outcome: Outcome) -> ErrorInfo:
    match outcome:
        case Failed() | Retrying():
            return outcome.error
        case TimedOut():
            return ErrorInfo.of(TimeLimitExceeded(outcome.time_limit))
        case Lost():
            return ErrorInfo.of(WorkerLostError(outcome.reason))
        case Rejected():
            return ErrorInfo.of(Reject(outcome.reason))
    return ErrorInfo.of(TaskQError("an errback that is called can't be replaced"))
