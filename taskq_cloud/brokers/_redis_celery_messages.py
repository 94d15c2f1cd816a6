"""Messages in kombu's form: what is written for Celery's workers, and what is read of theirs and ours.

A list's item is kombu's envelope as JSON, with the body in base64 and a delivery tag. Where our message has more than
the envelope can say, a member comes before all others, which Celery ignores::

    {"taskq": {"attributes": {...}, "sent_at": ..., "body": "plain"}, "body": ..., "headers": ..., "properties": ...}

``attributes`` are the message attributes, and ``sent_at`` is the time of sending: a message that was sent once more
from a dead-letter queue is newer than its task's result, and a tick must not be older than its fire time. ``body`` says
how the body of a signed message was written, so that the reader gets the document that was signed. ``text`` is the
whole of a message that isn't an envelope: a worker of Celery's refuses it for its content type, and logs it.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, DEAD_LETTER_SOURCE, SCHEDULE, Delivery, Outgoing
from taskq_cloud.core.model.option_values import aware

LONGEST_REASON_CHARACTERS: Final = 1_000
"""The longest reason of a dead letter. It is our own limit, so that an operator can read the reason."""

HIGHEST_PRIORITY: Final = 9
"""kombu takes a higher number for this one, and a number below 0 for 0."""

_SIGNATURE: Final = "taskq_signature"
_OURS: Final = '{"taskq": '
_PLAIN, _BASE64 = "plain", "base64"
_ENDING: Final = re.compile(r'"eta"\s*:\s*"')
_DECODER: Final = json.JSONDecoder()
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Written:
    """A message as kombu writes it.

    Args:
        text: the item of a list.
        priority: the message's priority, from 0 to 9.
        due: when the message is due by its headers, in seconds since the epoch; None: at once.
    """

    text: str
    priority: int
    due: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """A message as it was sent.

    Args:
        body: the message, without what the broker has added.
        attributes: its attributes.
        sent_at: when it was sent, in seconds since the epoch; None: it doesn't say so.
    """

    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    sent_at: float | None = None


def written(queue: str, message: Outgoing, tag: str, now: float) -> Written:
    """Write a message.

    Args:
        queue: the message's queue.
        message: the message.
        tag: the delivery tag, which is the message's id.
        now: the time, in seconds since the epoch.
    """
    ours: dict[str, Any] = {"attributes": dict(message.attributes)} if message.attributes else {}
    document = _envelope(message.body)
    if document is None:
        ours["text"] = message.body
        document = {
            "body": "",
            "content-encoding": "utf-8",
            "content-type": "text/plain",
            "headers": {},
            "properties": {"delivery_info": {"exchange": "", "routing_key": queue}, "priority": 0},
        }
    properties = document["properties"]
    is_plain = properties.get("body_encoding") != _BASE64
    if _SIGNATURE in document["headers"]:
        ours["body"] = _PLAIN if is_plain else _BASE64
    if is_plain:
        document = {**document, "body": base64.b64encode(document["body"].encode()).decode()}
    properties = {**properties, "body_encoding": _BASE64, "delivery_tag": tag}
    match properties.get("delivery_info"):
        case {"exchange": str(), "routing_key": str()}:
            pass
        case _:  # kombu's consumers end if it is missing
            properties["delivery_info"] = {"exchange": "", "routing_key": queue}
    document = {**document, "properties": properties}
    if ours or SCHEDULE in document["headers"]:
        ours["sent_at"] = now
        document = {"taskq": ours, **document}
    return Written(json.dumps(document), priority_of(document), _due(document["headers"]))


def read(item: bytes) -> Found:
    """Read a list's item."""
    text = item.decode(errors="replace")
    if is_redelivered(text):
        text = _unmarked(text)
    if not text.startswith(_OURS):
        return Found(text)
    try:
        ours, end = _DECODER.raw_decode(text, len(_OURS))
    except ValueError:
        return Found(text)
    if not isinstance(ours, dict):
        return Found(text)
    given, sent_at = ours.get("attributes"), ours.get("sent_at")
    attributes = {name: str(value) for name, value in given.items()} if isinstance(given, dict) else {}
    body = ours.get("text")
    if not isinstance(body, str):
        body = "{" + text[end:].removeprefix(",").lstrip()
        body = body if "body" not in ours else _as_signed(body, ours["body"])
    return Found(body, attributes, float(sent_at) if isinstance(sent_at, int | float) else None)


def is_redelivered(text: str) -> bool:
    """Whether a message says that it was put back, by us or by a consumer of kombu's."""
    return '"redelivered": true' in text


def due_at(text: str) -> float | None:
    """When a message is due, in seconds since the epoch: by its eta, or its expiry if that is earlier."""
    if '"eta": null' in text or not _ENDING.search(text):
        return None
    document = _envelope(text)
    return None if document is None else _due(document["headers"])


def priority_of(document: Mapping[str, Any]) -> int:
    """The priority of a message, as kombu reads it; 0 if it has none."""
    try:
        return max(0, min(int(document["properties"]["priority"]), HIGHEST_PRIORITY))
    except (TypeError, ValueError, KeyError):
        return 0


def list_of(queue: str, priority: int, steps: Sequence[int], separator: str) -> str:
    """The name of the list in which a queue's messages of a priority are.

    Args:
        queue: the queue.
        priority: the priority.
        steps: the priorities that have a list, in order (``priority_steps``).
        separator: the text between the queue's name and the priority (``sep``).
    """
    step = steps[bisect(steps, priority) - 1]
    return f"{queue}{separator}{step}" if step else queue


def held(queue: str, text: str) -> str:
    """Write a message as ``unacked`` holds it, to be put back into a queue."""
    return f'[{text}, "", {json.dumps(queue)}]'


def holding(value: bytes) -> tuple[dict[str, Any], str, str] | None:
    """Read what ``unacked`` holds: a message, its exchange and its routing key; None if it can't be read."""
    try:
        found = json.loads(value)
    except ValueError:
        return None
    match found:
        case [dict(message), exchange, routing_key]:
            return message, str(exchange or ""), str(routing_key or "")
    return None


def put_back(message: dict[str, Any], *, redelivered: bool) -> str:
    """Write a message that goes back into its list, marked as kombu marks it.

    Args:
        message: the message; its marks are set in place.
        redelivered: whether somebody may have worked on it.
    """
    if redelivered:
        properties, headers = message.get("properties"), message.get("headers")
        if isinstance(headers, dict):
            headers["redelivered"] = True
        if isinstance(properties, dict) and isinstance(properties.get("delivery_info"), dict):
            properties["delivery_info"]["redelivered"] = True
    return json.dumps(message)


def bound_queues(bindings: Iterable[bytes], routing_key: str, separator: str) -> list[str]:
    """The queues that an exchange of kombu's routes a key to.

    Args:
        bindings: the members of the exchange's set: routing key, pattern and queue. A direct exchange has no pattern.
        routing_key: the key.
        separator: the text between the three parts (``sep``).
    """
    found: set[str] = set()
    for binding in bindings:
        parts = binding.decode(errors="replace").split(separator)
        if len(parts) == len(("key", "pattern", "queue")):
            key, pattern, queue = parts
            if re.match(pattern, routing_key) if pattern else key == routing_key:
                found.add(queue)
    return sorted(found)


def binding(queue: str, separator: str) -> str:
    """The member by which kombu binds a queue to the direct exchange of its name."""
    return separator.join((queue, "", queue))


def dead_letter(delivery: Delivery, reason: str) -> Outgoing:
    """Make the message for the dead-letter queue, with the reason and the queue as attributes."""
    legal = _SURROGATE.sub("\ufffd", reason)[:LONGEST_REASON_CHARACTERS]
    attributes = {**delivery.attributes, DEAD_LETTER_REASON: legal, DEAD_LETTER_SOURCE: delivery.queue}
    return Outgoing(body=delivery.body, attributes=attributes)


def _envelope(text: str) -> dict[str, Any] | None:
    """Parse an envelope; None if the text is something else."""
    if not text.startswith("{"):
        return None
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match document:
        case {"body": str(), "content-type": str(), "headers": dict(), "properties": dict()}:
            return dict(document)
    return None


def _unmarked(text: str) -> str:
    """A message without kombu's marks: as headers, they would go along when its task is sent on or retried."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    match document:
        case {"headers": dict(headers), "properties": dict(properties)}:
            headers.pop("redelivered", None)
            if isinstance(properties.get("delivery_info"), dict):
                properties["delivery_info"].pop("redelivered", None)
            return json.dumps(document)
    return text


def _as_signed(text: str, body: object) -> str:
    """The document as it was signed, without what brokers have added to it."""
    document = _envelope(text)
    if document is None:
        return text
    properties = dict(document["properties"])
    properties.pop("delivery_tag", None)
    if body == _PLAIN:
        properties.pop("body_encoding", None)
        document["body"] = base64.b64decode(document["body"]).decode(errors="replace")
    return json.dumps({**document, "properties": properties})


def _due(headers: Mapping[str, Any]) -> float | None:
    eta = _seconds(headers.get("eta"))
    expires = _seconds(headers.get("expires"))
    return eta if eta is None or expires is None else min(eta, expires)


def _seconds(value: Any) -> float | None:
    try:
        return aware(datetime.fromisoformat(value)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
