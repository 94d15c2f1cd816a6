"""A function invoked with one message, not with a batch from a queue: by hand, by EventBridge, S3, SNS or Scheduler."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model import payload_references
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Message
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Ignored, Lost, Outcome, Retrying, Succeeded, TimedOut
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records import record as records
from taskq_cloud.errors import DecodeError, NotRegistered, OperationalError, Reject, TimeLimitExceeded, WorkerLostError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.lambda_invocation import FunctionCall


def answer(runtime: Runtime, call: FunctionCall, event: Any, request_id: str) -> dict[str, Any]:
    """Run an event's task.

    Args:
        runtime: the application's.
        call: the call of the function.
        event: what it was invoked with.
        request_id: the invocation's id; Lambda keeps it when it invokes again. It is the task's id where the event
            brings none.

    Returns:
        Celery's result document, as plain JSON.

    Raises:
        ClaimError: what the message claims of an object store is gone, altered, or not followed.
        DecodeError: the event is no message, or no pattern of ``task_event_routes`` matches it.
        NotRegistered: the application has no such task.
        Reject: the task rejected it, or the pipeline would dead-letter it.
        OperationalError: broker or store could not be used.
    """
    settings = runtime.settings
    message = call.run(_opened(runtime, event, request_id))
    definition = runtime.tasks.get(message.task)
    if definition is None:
        raise NotRegistered(f"task {message.task!r} is not registered with this function's application")
    delivery = Delivery(
        queue=runtime.route(message.task),  # where a retry goes
        message_id=request_id,
        receipt=request_id,
        body=json.dumps(event),
        # Lambda may have invoked with it before, so the store is asked whether it is done; and no queue takes it back,
        # so there is no later receive.
        receive_count=max(2, settings.task_max_receives),
        received_at=time.time(),
    )
    settlement = call.process(delivery, message)
    match settlement:
        case Acknowledge():
            return _document(runtime, call, message)
        case DeadLetter():
            raise Reject(settlement.reason)
    raise OperationalError(
        f"task {message.task}[{message.id}] was not brought to an end, and there is no queue to give it back to; the "
        "log says why"
    )


def _opened(runtime: Runtime, event: Any, request_id: str) -> Flow[Message]:
    if payload_references.pointer_of(event, {}) is not None:
        return (yield from runtime.codec.open(json.dumps(event), request_id))
    return (yield from runtime.codec.open_document(_without_sns(event), request_id))


def _without_sns(event: Any) -> Mapping[str, Any]:
    """Lambda's event around a notification is not the envelope that SNS puts into a queue, but holds it."""
    if not isinstance(event, dict):
        raise DecodeError(f"the event is no JSON object but {type(event).__name__}: {event!r:.80}")
    match event.get("Records"):
        case [{"EventSource": "aws:sns", "Sns": dict() as notification}]:
            return {"Type": "Notification", **notification}
    return event


def _document(runtime: Runtime, call: FunctionCall, message: Message) -> dict[str, Any]:
    """What the store has; where it keeps nothing of this task, what the run came to."""
    record = call.run(runtime.store.load([message.id])).get(message.id)
    payload = _of_outcome(message, call.outcome) if record is None else record.payload
    document: dict[str, Any] = json.loads(payload)
    return document


def _of_outcome(message: Message, outcome: Outcome | None) -> str:
    traceback: str | None = None
    state, result = records.PENDING, "null"  # parked until it is due
    match outcome:
        case Succeeded():
            state, result = records.SUCCESS, outcome.payload
        case Ignored():
            state = records.IGNORED
        case Failed() | Retrying() | TimedOut() | Lost():
            error = _error_of(outcome)
            state = records.RETRY if isinstance(outcome, Retrying) else records.FAILURE
            result, traceback = result_document.encode_error(error), error.traceback
    return result_document.encode(message, state, result, now=time.time(), traceback=traceback)


def _error_of(outcome: Failed | Retrying | TimedOut | Lost) -> ErrorInfo:
    match outcome:
        case TimedOut():
            return ErrorInfo.of(TimeLimitExceeded(outcome.time_limit))
        case Lost():
            return ErrorInfo.of(WorkerLostError(outcome.reason))
    return outcome.error
