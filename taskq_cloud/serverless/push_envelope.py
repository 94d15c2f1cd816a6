"""Read the requests that Pub/Sub posts to a push endpoint: wrapped in JSON, or unwrapped with metadata in headers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from taskq_cloud.core.model.message import Delivery
from taskq_cloud.core.model.option_values import LARGEST_NUMBER
from taskq_cloud.core.serializers.compression import LARGEST_BODY_BYTES, check_json
from taskq_cloud.errors import DecodeError

METADATA: Final = "x-goog-pubsub-"
"""Pub/Sub documentation, "Payload unwrapping for Pub/Sub push subscriptions"."""

_NOT_ATTRIBUTES: Final = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "forwarded", "host"}
    | {"from", "traceparent", "tracestate", "transfer-encoding", "user-agent", "via"}
)
_NOT_ATTRIBUTES_PREFIXES: Final = ("x-", "ce-")


def read(headers: Mapping[str, str], body: bytes, queue_named: Callable[[str], str]) -> Delivery:
    """Return the delivery that a request contains.

    Args:
        headers: the request's headers, by their names in lower case.
        body: the request's body.
        queue_named: returns the queue of a subscription, given by its full name.

    Raises:
        DecodeError: the request isn't a Pub/Sub push.
    """
    if f"{METADATA}message-id" in headers:
        return _unwrapped(headers, body, queue_named)
    check_json(body, LARGEST_BODY_BYTES)  # a real envelope holds a few values, and its message as one text
    try:
        envelope = json.loads(body)
        message = envelope["message"]
        data = base64.b64decode(message.get("data", ""), validate=True)
        return _delivery(
            queue=queue_named(_text(envelope["subscription"])),
            message_id=_text(message.get("messageId") or message["message_id"]),
            data=data,
            published=message.get("publishTime"),
            group=_text(message.get("orderingKey") or ""),
            attributes={_text(name): _text(value) for name, value in (message.get("attributes") or {}).items()},
            attempt=envelope.get("deliveryAttempt"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise DecodeError(
            f"the request isn't a Pub/Sub push ({type(error).__name__}: {error}). If the subscription sends unwrapped "
            "messages, it must write their metadata (--push-no-wrapper-write-metadata)"
        ) from error


def _unwrapped(headers: Mapping[str, str], body: bytes, queue_named: Callable[[str], str]) -> Delivery:
    subscription = headers.get(f"{METADATA}subscription-name")
    if not subscription:
        raise DecodeError(
            f"the request isn't a Pub/Sub push: it has the header {METADATA}message-id, but not "
            f"{METADATA}subscription-name"
        )
    attributes = {
        name: value
        for name, value in headers.items()
        if name not in _NOT_ATTRIBUTES and not name.startswith(_NOT_ATTRIBUTES_PREFIXES)
    }
    try:
        return _delivery(
            queue=queue_named(subscription),
            message_id=headers[f"{METADATA}message-id"],
            data=body,
            published=headers.get(f"{METADATA}publish-time"),
            group=headers.get(f"{METADATA}ordering-key"),
            attributes=attributes,
            attempt=headers.get(f"{METADATA}delivery-attempt"),
        )
    except (ValueError, ArithmeticError) as error:
        raise DecodeError(f"the request's {METADATA} headers can't be read: {error}") from error


def _delivery(
    queue: str,
    message_id: str,
    data: bytes,
    published: str | None,
    group: str | None,
    attributes: Mapping[str, str],
    attempt: str | int | None,
) -> Delivery:
    return Delivery(
        queue=queue,
        message_id=message_id,
        # A task's lock is held in the receipt's name, so two pushes of one message must have different receipts.
        receipt=f"push-{uuid4()}",
        body=data.decode(errors="surrogateescape"),
        receive_count=_count(attempt) if attempt else 1,
        sent_at=datetime.fromisoformat(published).timestamp() if published else None,
        received_at=time.time(),
        group=group or None,
        attributes=attributes,
        counted=bool(attempt),
        pushed=True,
    )


def _count(attempt: str | int) -> int:
    count = int(attempt)
    if not 0 < count <= LARGEST_NUMBER:
        raise ValueError(f"{count} isn't the number of a delivery attempt")
    return count


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} isn't a string")
    return value
