"""Errbacks that take ``(request, exc, traceback)``: the worker that ends the failed task calls them, as Celery does.

All other errbacks are sent as messages, and take the failed task's id. An errback is called if it is registered here,
is not bound, and takes three arguments before its own (``core.workflows.errbacks``). It runs in the pool, as any task
does. Its end is recorded under an id made from the failed task's id, so that a redelivery does not call it again. It is
never retried.

Source: Celery 5.7, "Canvas: Callbacks", and ``Backend._call_task_errbacks``, which looks for more than one argument. An
errback with two arguments, which fails there, is sent here.
"""

from __future__ import annotations

from taskq_cloud.core.execution.context import DeliveryContext
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.options import first_given
from taskq_cloud.core.model.outcome import (
    Abandoned,
    ErrorInfo,
    Failed,
    FailedCall,
    Invocation,
    Lost,
    Outcome,
    Rejected,
    Retrying,
    TimedOut,
)
from taskq_cloud.core.workflows import successors
from taskq_cloud.core.workflows.errbacks import called_errbacks
from taskq_cloud.core.workflows.planner import Successor
from taskq_cloud.errors import OperationalError, Reject, TaskQError, TimeLimitExceeded, WorkerLostError


@dataclass(frozen=True, slots=True)
class ErrbackCall:
    """A call of an errback: the context in which its end is recorded, and its run."""

    context: DeliveryContext
    invocation: Invocation


def messages(context: DeliveryContext) -> list[Successor]:
    """The errbacks that are called directly, as messages: their ids are those of the failed task's children."""
    positions = called_errbacks(context.message, context.environment.tasks)
    return list(successors.on_failure(context.message, context.now, only=positions, given=())) if positions else []


def calls(context: DeliveryContext, error: ErrorInfo) -> list[ErrbackCall]:
    """Make the calls of the errbacks of a failed task.

    Args:
        context: the failed task's context.
        error: the error with which it failed.
    """
    failed = FailedCall(context.message, error)
    contexts = [context.about(each.message) for each in messages(context)]
    return [ErrbackCall(about, _invocation(about, failed)) for about in contexts]


def check_has_run(context: DeliveryContext, outcome: Outcome) -> None:
    """Check that an errback has run, or can't be called again: its failed task's message was acknowledged before.

    Raises:
        OperationalError: it could not run now; it is called when the failed task's message is delivered again.
    """
    if context.acknowledged:
        return
    if isinstance(outcome, Abandoned) or (isinstance(outcome, Rejected) and outcome.requeue):
        raise OperationalError(
            f"errback {context.message.task} could not run now; it is called when the failed task is delivered again"
        )


def error_of(outcome: Outcome) -> ErrorInfo:
    """The error in which an errback has ended."""
    match outcome:
        case Failed() | Retrying():
            return outcome.error
        case TimedOut():
            return ErrorInfo.of(TimeLimitExceeded(outcome.time_limit))
        case Lost() | Abandoned():
            return ErrorInfo.of(WorkerLostError(outcome.reason))
        case Rejected():
            return ErrorInfo.of(Reject(outcome.reason))
    return ErrorInfo.of(TaskQError("an errback that is called can't be replaced"))


def _invocation(context: DeliveryContext, failed: FailedCall) -> Invocation:
    delivery, options, policy = context.delivery, context.options, context.environment.policy
    return Invocation(
        message=context.message,
        queue=context.environment.outbox.routed_queue(delivery.queue),
        message_id=delivery.message_id,
        receive_count=delivery.receive_count,
        time_limit=first_given(options.time_limit, policy.time_limit),
        soft_time_limit=first_given(options.soft_time_limit, policy.soft_time_limit),
        hostname=context.environment.hostname,
        failed=failed,
    )
