"""Messages in AMQP's form: kombu's envelope becomes properties, headers and a body, as a Celery worker reads them.

A body that isn't such an envelope travels as it is. Attributes are a header of our own, and so is the number of
receives that the queue doesn't count by itself.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DEAD_LETTER_SOURCE, Delivery, Outgoing
from taskq_cloud.core.servers.rabbitmq import DELIVERY_COUNT, RECEIVES

ATTRIBUTES: Final = "taskq_attributes"
"""The header that holds a message's attributes."""
LONGEST_REASON_CHARACTERS: Final = 1_000
"""The longest reason of a dead letter: headers must fit into a frame, and an operator reads it."""

_ENVELOPE: Final = frozenset({"body", "content-encoding", "content-type", "headers", "properties"})
_PROPERTIES: Final = frozenset(
    {"correlation_id", "reply_to", "delivery_mode", "delivery_info", "priority", "body_encoding"}
)
_TEXT: Final = "text/plain"
_READ_AS_TEXT: Final = frozenset({None, "", _TEXT, "application/json"})
_SERVERS: Final = frozenset({DELIVERY_COUNT, "x-death", "x-acquired-count"})
_SERVERS_PREFIXES: Final = ("x-first-death-", "x-last-death-")
_MARKS: Final = ("x-", ATTRIBUTES)
"""The beginnings of the names of headers that may not be the sender's."""

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


@dataclass(frozen=True, slots=True)
class Received:
    """A message as the client hands it over.

    Args:
        receipt: the token that settles it.
        redelivered: whether the server has handed it over before, or may have.
        exchange: the exchange that it came through last.
        routing_key: its routing key there.
        properties: its properties.
        content: its body.
    """

    receipt: str
    redelivered: bool
    exchange: str
    routing_key: str
    properties: Mapping[str, Any]
    content: bytes

    @property
    def headers(self) -> Mapping[str, Any]:
        """Its headers."""
        headers: Mapping[str, Any] = self.properties.get("headers") or {}
        return headers

    @property
    def receives(self) -> int | None:
        """How often it was received, this time included; None: its queue doesn't count, and has handed it over before.

        Such a message is sent again with its count.
        """
        headers = self.headers
        before, counted = headers.get(RECEIVES), headers.get(DELIVERY_COUNT)
        if counted is None and self.redelivered:
            return None
        if counted is None and before is None:  # most messages are received once
            return 1
        return _whole(before) + _whole(counted) + 1


def to_amqp(message: Outgoing, message_id: str, now: float, receives: int = 0) -> tuple[dict[str, Any], bytes]:
    """Make the properties and the body of a message.

    Args:
        message: the message.
        message_id: the broker's id of it.
        now: when it is sent, in seconds since the epoch.
        receives: how often it was received before.

    Raises:
        UnicodeEncodeError: the body can't be encoded as UTF-8.
    """
    envelope = _envelope(message.body)
    properties: dict[str, Any] = {"message_id": message_id, "timestamp": int(now), "delivery_mode": 2}
    headers: dict[str, Any] = {}
    if envelope is None:
        properties |= {"content_type": _TEXT, "content_encoding": "utf-8"}
        body = message.body.encode()
    else:
        headers |= envelope["headers"]
        given = envelope["properties"]
        text = envelope["body"]
        body = base64.b64decode(text) if given.get("body_encoding") == "base64" else text.encode()
        properties |= {"content_type": envelope["content-type"], "content_encoding": envelope["content-encoding"]}
        properties |= {name: given.get(name) for name in ("correlation_id", "reply_to", "delivery_mode", "priority")}
    if message.attributes:
        headers[ATTRIBUTES] = dict(message.attributes)
    if receives:
        headers[RECEIVES] = receives
    properties["headers"] = headers
    return properties, body


def again(received: Received) -> tuple[dict[str, Any], bytes]:
    """Make the message that takes the place of one whose queue doesn't count: with one more receive."""
    headers = {name: value for name, value in received.headers.items() if not _is_servers(name)}
    headers[RECEIVES] = _whole(headers.get(RECEIVES)) + 1
    return {**received.properties, "headers": headers, "message_id": _message_id(received)}, received.content


def delivery_of(queue: str, received: Received, now: float, lease_seconds: float) -> Delivery:
    """Make a delivery of a received message.

    Args:
        queue: the queue.
        received: the message; its receives are known.
        now: when it was received, in seconds since the epoch.
        lease_seconds: how long it is leased.
    """
    timestamp = received.properties.get("timestamp")
    return Delivery(
        queue=queue,
        message_id=_message_id(received),
        receipt=received.receipt,
        body=_text_of(queue, received),
        receive_count=received.receives or 1,
        sent_at=float(timestamp) if timestamp else None,
        received_at=now,
        lease_seconds=lease_seconds,
        attributes=_attributes(queue, received.headers),
    )


def dead_letter(delivery: Delivery, reason: str) -> Outgoing:
    """Make the message for the dead-letter queue."""
    legal = reason[:LONGEST_REASON_CHARACTERS].encode(errors="replace").decode()
    attributes = {**delivery.attributes, DEAD_LETTER_REASON: legal, DEAD_LETTER_SOURCE: delivery.queue}
    return Outgoing(body=delivery.body, attributes=attributes)


def _envelope(text: str) -> dict[str, Any] | None:
    """Read kombu's envelope; None: the text isn't one, or holds more than AMQP has a place for."""
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if found.keys() != _ENVELOPE or not isinstance(found["body"], str) or not isinstance(found["headers"], dict):
        return None
    properties = found["properties"]
    if not isinstance(properties, dict) or not properties.keys() <= _PROPERTIES or "task" not in found["headers"]:
        return None
    if properties.get("body_encoding") == "base64":
        try:
            base64.b64decode(found["body"], validate=True)
        except (binascii.Error, ValueError):
            return None
    return found  # type: ignore[no-any-return] # json.loads has no types


def _text_of(queue: str, received: Received) -> str:
    """Write the body that the codec reads: the envelope, or a foreign message's own text."""
    properties, content = received.properties, received.content
    content_type, encoding = properties.get("content_type"), properties.get("content_encoding")
    headers = {
        name: value
        for name, value in received.headers.items()
        if not name.startswith(_MARKS) or not (name in (ATTRIBUTES, RECEIVES) or _is_servers(name))
    }
    text: str | None = None
    if encoding != "binary" and not headers.get("compression"):
        try:
            text = content.decode()
        except UnicodeDecodeError:
            text = None
    if text is not None and "task" not in headers and content_type in _READ_AS_TEXT:
        return text
    envelope: dict[str, Any] = {
        "correlation_id": properties.get("correlation_id"),
        "reply_to": properties.get("reply_to"),
        "delivery_mode": properties.get("delivery_mode", 2),
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": properties.get("priority") or 0,
    }
    if text is None:
        envelope["body_encoding"] = "base64"
        text = base64.b64encode(content).decode()
    return _dumps(
        {
            "body": text,
            "content-encoding": encoding,
            "content-type": content_type,
            "headers": headers,
            "properties": envelope,
        }
    )


def _attributes(queue: str, headers: Mapping[str, Any]) -> dict[str, str]:
    given = headers.get(ATTRIBUTES)
    found = {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
    deaths = headers.get("x-death")
    if DEAD_LETTER_REASON not in found and isinstance(deaths, list):
        # The server has dead-lettered it, and not a queue of delayed messages, whose deaths are expiries.
        own = [each for each in deaths if isinstance(each, dict) and each.get("reason") == "delivery_limit"]
        if own and own[0].get("queue") != queue:
            found[DEAD_LETTER_REASON] = "the queue's x-delivery-limit was reached"
            found[DEAD_LETTER_SOURCE] = str(own[0].get("queue"))
    return found


def _message_id(received: Received) -> str:
    properties = received.properties
    found = properties.get("message_id") or received.headers.get("id") or properties.get("correlation_id")
    return str(found or received.receipt)


def _is_servers(name: str) -> bool:
    return name in _SERVERS or name.startswith(_SERVERS_PREFIXES)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
