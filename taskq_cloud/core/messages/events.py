"""Messages of other services: SNS notifications, EventBridge and S3 events, and the rule that gives them a task.

The rule first takes off SNS's envelope. A task's message is then decoded. Any other message is an event with a key,

- EventBridge: ``source:detail-type`` (``aws.s3:Object Created``),
- S3's own notifications: ``eventSource:eventName`` of the first record (``aws:s3:ObjectCreated:Put``),
- another SNS notification: ``aws.sns:topic`` (``aws.sns:uploads``),

and the first pattern of ``task_event_routes`` that matches the key (``*`` and ``?`` as in file names) names the task.
The task is called with the whole event as its only argument. Its id is derived from the event's id, so that an event
delivered twice is one task. An event that no pattern matches is refused, with its key in the reason.

S3 sends ``s3:TestEvent`` to a queue or a topic when its notifications are set up, and no task is meant by it. It is
acknowledged, like a list of events that is empty.

An HTTP request, as API Gateway, a Function URL or a load balancer passes it on, has a body and headers like a message
of Celery's, but its sender has written them. It is always refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from taskq_cloud.core.messages import protocol
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.validation import text_bytes
from taskq_cloud.core.security.policy import Security
from taskq_cloud.core.serializers import json_text
from taskq_cloud.core.serializers.compression import LARGEST_BODY_BYTES, check_text
from taskq_cloud.errors import DecodeError

HTTP_REQUEST: Final = frozenset(
    {
        "requestContext",
        "httpMethod",
        "multiValueHeaders",
        "queryStringParameters",
        "isBase64Encoded",
        "rawPath",
        "routeKey",
        "methodArn",
        # VPC Lattice
        "raw_path",
        "is_base64_encoded",
        "query_string_parameters",
    }
)
"""The keys by which an HTTP request is known (Lambda Developer Guide, "Using API Gateway", "Function URLs", "Using an
Application Load Balancer" and "VPC Lattice"; API Gateway Developer Guide, "Lambda authorizers")."""


class NoTask(DecodeError):
    """A message by which no task is meant: it is acknowledged, and nothing runs."""


def read(
    body: str,
    message_id: str,
    accept: Collection[str],
    routes: Mapping[str, str],
    security: Security | None = None,
) -> Message:
    """Read any message of a queue: a task's message or an event.

    Args:
        body: the message's body.
        message_id: the broker's id of the message.
        accept: the accepted serializers.
        routes: patterns of event keys -> task names (``task_event_routes``).
        security: the rules for signatures; None: messages need none.

    Raises:
        SecurityError: the message lacks a required signature, or its signature is wrong.
        NoTask: the message is S3's test event, or an empty list of events.
        DecodeError: the message can't be read, or is an event without a route.
    """
    return from_document(read_envelope(body), message_id, accept, routes, security)


def read_envelope(text: str, most_bytes: int = LARGEST_BODY_BYTES) -> dict[str, Any]:
    """Read the JSON object in a message body, which may be in kombu's base64.

    Args:
        text: the message body.
        most_bytes: the size of the largest body of a task.

    Raises:
        DecodeError: the body doesn't hold a JSON object, or a far too large one.
    """
    check_text(text, most_bytes)
    source = text.lstrip()
    if not source.startswith("{"):
        try:
            source = base64.b64decode(source, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise DecodeError(f"the body is neither a JSON object nor one in base64: {text[:80]!r}") from None
        check_text(source, most_bytes)
    try:
        document = json_text.parse(source)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DecodeError(f"the body is JSON, but not an object: {source[:80]!r}")
    return document


def from_document(
    document: Mapping[str, Any],
    message_id: str,
    accept: Collection[str],
    routes: Mapping[str, str],
    security: Security | None = None,
    payload: bytes | None = None,
    most_bytes: int = LARGEST_BODY_BYTES,
) -> Message:
    """Read any message of a queue whose body is already parsed; raises the errors of ``read``.

    Args:
        document: the parsed body.
        message_id: the broker's id of the message.
        accept: the accepted serializers.
        routes: patterns of event keys -> task names.
        security: the rules for signatures; None: messages need none.
        payload: the arguments that were fetched, if the message has a reference to them.
        most_bytes: the size of the largest body of a task.
    """
    try:
        return _from_document(document, message_id, accept, routes, security, payload, most_bytes)
    except RecursionError:
        raise DecodeError("the message is nested too deeply") from None


def check_not_http(document: Mapping[str, Any]) -> None:
    """Check that a message isn't an HTTP request.

    Raises:
        DecodeError: it is one.
    """
    found = HTTP_REQUEST & document.keys()
    if found:
        raise DecodeError(
            f"the message is an HTTP request (it has {min(found)!r}): its body comes from whoever sent the request and "
            "is not run as a task. Let a function of your own check the request and call the task"
        )


def is_notification(document: Mapping[str, Any]) -> bool:
    """Whether a body is SNS's envelope around a message."""
    return document.get("Type") == "Notification" and isinstance(document.get("Message"), str)


def unwrapped(document: Mapping[str, Any], most_bytes: int = LARGEST_BODY_BYTES) -> Mapping[str, Any]:
    """Take SNS's envelope off a body, unless the text in it isn't a JSON object.

    Args:
        document: the parsed body.
        most_bytes: the size of the largest body of a task.

    Raises:
        DecodeError: the text in the envelope is too large to be read.
    """
    inner = _json_object(document["Message"], most_bytes) if is_notification(document) else None
    return document if inner is None else inner


def attributes_of(notification: Mapping[str, Any]) -> dict[str, str]:
    """The message attributes in SNS's envelope, as strings."""
    found = notification.get("MessageAttributes")
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: str(each.get("Value")) for name, each in pairs if isinstance(each, dict)}


def _from_document(
    document: Mapping[str, Any],
    message_id: str,
    accept: Collection[str],
    routes: Mapping[str, str],
    security: Security | None,
    payload: bytes | None,
    most_bytes: int,
) -> Message:
    key: str | None = None
    event_id = message_id
    if is_notification(document):
        topic = str(document.get("TopicArn", "")).rpartition(":")[2]
        key, event_id = f"aws.sns:{topic}", str(document.get("MessageId") or message_id)
        document = unwrapped(document, most_bytes)
    check_not_http(document)
    if protocol.is_task_message(document):
        return protocol.decode(document, event_id, accept, security, payload, most_bytes)
    if isinstance(document.get("source"), str) and isinstance(document.get("detail-type"), str):
        key, event_id = f"{document['source']}:{document['detail-type']}", str(document.get("id") or event_id)
    elif (record := _first_record(document)) is not None:
        key = f"{record['eventSource']}:{record.get('eventName', '')}"
    key = _known_key(document, key)
    from fnmatch import fnmatchcase  # few messages are events

    for pattern, task in routes.items():
        if fnmatchcase(key, pattern):
            if security is not None:
                security.check_event(key, accept)
            text_bytes("the event's id", event_id)
            task_id = derived_id(event_id, "event")
            return Message(task=task, id=task_id, args=[dict(document)])
    raise DecodeError(f"no pattern of task_event_routes matches the event {key!r}; add a route for it")


def _known_key(document: Mapping[str, Any], key: str | None) -> str:
    """Return the key of an event by which a task can be meant; other messages are refused."""
    if document.get("Event") == "s3:TestEvent":
        raise NoTask(f"S3's test event of bucket {str(document.get('Bucket'))!r:.100}")
    if document.get("Records") == [] and len(document) == 1:
        raise NoTask("an empty list of events")
    if key is None:
        keys = ", ".join(repr(name)[:100] for name in sorted(document)[:10])
        raise DecodeError(f"the body is neither a task's message nor a known event; its keys: {keys}")
    return key


def _json_object(text: str, most_bytes: int) -> dict[str, Any] | None:
    check_text(text, most_bytes)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None  # a notification may hold any text, which the task of its route gets as it is
    return document if isinstance(document, dict) else None


def _first_record(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match document.get("Records"):
        case [{"eventSource": str()} as first, *_]:
            record: Mapping[str, Any] = first
            return record
    return None
