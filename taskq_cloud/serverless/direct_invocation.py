"""Answer an invocation with one message instead of a batch: by hand, or by EventBridge, S3, SNS or the Scheduler."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.events import NoTask, check_not_http
from taskq_cloud.core.model import payload_references
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Delivery, Message
from taskq_cloud.core.model.outcome import ErrorInfo, Failed, Ignored, Lost, Outcome, Retrying, Succeeded, TimedOut
from taskq_cloud.core.records import document as result_document
from taskq_cloud.core.records import record as records
from taskq_cloud.errors import DecodeError, NotRegistered, OperationalError, Reject, TimeLimitExceeded, WorkerLostError
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.lambda_invocation import LambdaInvocation

logger = logging.getLogger("taskq_cloud.serverless")


def answer(runtime: Runtime, invocation: LambdaInvocation, event: Any, request_id: str) -> dict[str, Any]:
    """Run an event's task and return its result document.

    Args:
        runtime: the application's runtime.
        invocation: the invocation of the Lambda function.
        event: the event that the function was invoked with.
        request_id: the invocation's id, which Lambda keeps when it invokes again. It becomes the task's id if the event
            has none.

    Returns:
        Celery's result document, as plain JSON.

    Raises:
        ClaimError: the payload that the message refers to is gone or altered, or references to its store are not
            followed.
        DecodeError: the event isn't a message, or no pattern of ``task_event_routes`` matches it.
        NotRegistered: the application has no task of this name.
        Reject: the task rejected the message, or the pipeline would dead-letter it.
        OperationalError: the broker or the store could not be used.
    """
    try:
        message = invocation.run(_opened(runtime, event, request_id))
    except NoTask as error:
        logger.info("invocation %s runs no task: %s", request_id, error, extra={"action": "message.no_task"})
        ignored: dict[str, Any] = json.loads(_encode_outcome(Message(task="?", id=request_id), Ignored()))
        return ignored
    definition = runtime.tasks.get(message.task)
    if definition is None:
        raise NotRegistered(
            f"task {message.task!r} is not registered with this function's application; import the module that defines "
            "it, or correct the name"
        )
    settlement = invocation.process(_delivery(runtime, message, event, request_id), message)
    match settlement:
        case Acknowledge():
            return _document(runtime, invocation, message)
        case DeadLetter():
            raise Reject(settlement.reason)
    raise OperationalError(
        f"task {message.task}[{message.id}] was not brought to an end, and a direct invocation has no queue to give it "
        "back to; the log says why. Invoke the function again once the cause is gone"
    )


def _delivery(runtime: Runtime, message: Message, event: Any, request_id: str) -> Delivery:
    return Delivery(
        queue=runtime.route(message.task),  # a retry is sent there
        message_id=request_id,
        receipt=request_id,
        body=json.dumps(event),
        # At least 2, because Lambda may have invoked the function with this event before: the pipeline then looks in
        # the store for an earlier run. The highest number, because there is no queue to give the message back to.
        receive_count=max(2, runtime.settings.task_max_receives),
        received_at=time.time(),
        queued=False,
    )


def _opened(runtime: Runtime, event: Any, request_id: str) -> Flow[Message]:
    if isinstance(event, dict) and "body" in event and "task" not in event:
        _check_envelope(event)
    if payload_references.pointer_of(event, {}) is not None:
        return (yield from runtime.codec.open(json.dumps(event), request_id))
    return (yield from runtime.codec.open_document(_without_sns(event), request_id))


def _check_envelope(event: Mapping[str, Any]) -> None:
    """Check that an event with a body is a message of Celery's, and not another service's event with a body.

    Raises:
        DecodeError: the event lacks the parts that each message of Celery's has.
    """
    check_not_http(event)
    if "headers" in event and not {"properties", "content-type"} & event.keys():
        raise DecodeError(
            "the event has a body and headers, but neither properties nor a content-type, so it isn't a message of "
            'Celery\'s; to run a task by hand, pass {"task": name, "args": [...], "kwargs": {...}}'
        )


def _without_sns(event: Any) -> Mapping[str, Any]:
    """Return a notification in the envelope that SNS puts into a queue; Lambda's event wraps it differently."""
    if not isinstance(event, dict):
        raise DecodeError(f"the event isn't a JSON object but {type(event).__name__}: {event!r:.80}")
    match event.get("Records"):
        case [{"EventSource": "aws:sns", "Sns": dict() as notification}]:
            return {"Type": "Notification", **notification}
    return event


def _document(runtime: Runtime, invocation: LambdaInvocation, message: Message) -> dict[str, Any]:
    """Return the result document from the store. If the store has none, the run's outcome makes one."""
    record = invocation.run(runtime.store.load([message.id])).get(message.id)
    payload = _encode_outcome(message, invocation.outcome) if record is None else record.payload
    # Lambda writes the answer as JSON, for a caller that need not be Python.
    document: dict[str, Any] = json.loads(serializers.strict(payload))
    return document


def _encode_outcome(message: Message, outcome: Outcome | None) -> str:
    state: str = records.PENDING
    result: str | ErrorInfo = "null"  # the message was parked until it is due
    match outcome:
        case Succeeded():
            state, result = records.SUCCESS, outcome.payload
        case Ignored():
            state = records.IGNORED
        case Failed() | Retrying() | TimedOut() | Lost():
            state = records.RETRY if isinstance(outcome, Retrying) else records.FAILURE
            result = _error_of(outcome)
    return result_document.encode(message, state, result, now=time.time())


def _error_of(outcome: Failed | Retrying | TimedOut | Lost) -> ErrorInfo:
    match outcome:
        case TimedOut():
            return ErrorInfo.of(TimeLimitExceeded(outcome.time_limit))
        case Lost():
            return ErrorInfo.of(WorkerLostError(outcome.reason))
    return outcome.error
