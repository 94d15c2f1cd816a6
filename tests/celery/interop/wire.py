"""Reads the messages that were sent to SQS, in a form in which those of two senders can be compared."""

from __future__ import annotations

import base64
import json
import pickle
import re
import time
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ORIGIN: Final = re.compile(r"gen\d+@.+")
_STEP_SECONDS: Final = 10
DEADLINE_SECONDS: Final = 10


class Names:
    """Gives ids numbers, in the order in which they occur: first those in the headers of all messages."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of_messages(self, messages: list[dict[str, Any]]) -> list[Any]:
        """The messages with numbers for ids."""
        for each in messages:
            self(each["headers"])
        return [self(each) for each in messages]

    def __call__(self, value: Any) -> Any:
        match value:
            case str():
                return _UUID.sub(lambda found: self._known.setdefault(found[0], f"<id {len(self._known)}>"), value)
            case dict():
                return {self(key): self(of) for key, of in value.items()}
            case list() | tuple():
                return [self(of) for of in value]
        return value


def messages_of(client: Any, queue: str, count: int | None = None) -> list[dict[str, Any]]:
    """Receive and delete the messages of a queue.

    Args:
        client: the client of SQS.
        queue: the queue's name.
        count: how many messages are waited for; None: those that are there.
    """
    url = client.get_queue_url(QueueName=queue)["QueueUrl"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    found: list[dict[str, Any]] = []
    while True:
        missing = count is not None and len(found) < count
        received = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1 if missing else 0,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        for message in received:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        found += received
        if not received and (not missing or time.monotonic() > deadline):
            return found


def opened(message: dict[str, Any], thread_oid: str) -> dict[str, Any]:
    """A message with all its layers unpacked, without what differs between two equal calls, but with its ids.

    Args:
        message: the message as SQS gives it.
        thread_oid: the id of a sender's thread, which Celery writes as ``reply_to``.
    """
    text = message["Body"]
    envelope = json.loads(text if text.startswith("{") else base64.b64decode(text))
    properties, headers = dict(envelope["properties"]), dict(envelope["headers"])
    properties.pop("delivery_tag", None)
    body = envelope["body"]
    if properties.pop("body_encoding", None) == "base64":
        body = base64.b64decode(body)
    if headers.get("compression") == "application/x-gzip":
        body = zlib.decompress(body)
    loads: dict[str, Callable[[Any], Any]] = {
        "application/json": json.loads,
        "application/x-python-serialize": pickle.loads,
    }
    assert _ORIGIN.fullmatch(headers["origin"])
    for name in ("eta", "expires"):
        if headers[name] is not None:
            headers[name] = _after(headers[name], int(message["Attributes"]["SentTimestamp"]) / 1000)
    del headers["origin"]
    headers["stamped_headers"] = sorted(headers["stamped_headers"] or ())
    found = {
        "body": loads[envelope["content-type"]](body),
        "content": (envelope["content-type"], envelope["content-encoding"]),
        "headers": headers,
        "properties": properties,
        "attributes": message.get("MessageAttributes", {}),
        "tenant": message["Attributes"].get("MessageGroupId"),
    }
    plain: dict[str, Any] = _without_thread(found, thread_oid)
    return plain


def _without_thread(value: Any, thread_oid: str) -> Any:
    match value:
        case dict():
            return {
                name: None if name == "reply_to" and of == thread_oid else _without_thread(of, thread_oid)
                for name, of in value.items()
            }
        case list() | tuple():
            return [_without_thread(of, thread_oid) for of in value]
    return value


def _after(text: str, sent_at: float) -> str:
    """A time as the number of seconds after the sending, rounded up."""
    due = datetime.fromisoformat(text)
    assert due.tzinfo is not None, text
    return f"{round((due.timestamp() - sent_at) / _STEP_SECONDS) * _STEP_SECONDS} s later, in {due.utcoffset()}"


def differences(theirs: Any, ours: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """The places at which two messages differ, each with both values; ``...`` is for what is missing."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        names = [*theirs, *(name for name in ours if name not in theirs)]
        pairs = [(f"{path}.{name}", theirs.get(name, ...), ours.get(name, ...)) for name in names]
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        pairs = [(f"{path}[{index}]", *both) for index, both in enumerate(zip(theirs, ours, strict=True))]
    else:
        return [] if type(theirs) is type(ours) and theirs == ours else [(path, theirs, ours)]
    return [found for place, *both in pairs for found in differences(both[0], both[1], place)]
