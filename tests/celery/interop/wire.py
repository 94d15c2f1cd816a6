"""Reads the messages that were sent to SQS, in a form in which those of two senders can be compared."""

from __future__ import annotations

import base64
import json
import pickle
import re
import time
import zlib
from datetime import UTC, datetime
from typing import Any, Final

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ORIGIN: Final = re.compile(r"gen\d+@.+")
_STEP_SECONDS: Final = 10
DEADLINE_SECONDS: Final = 10


class Names:
    """Gives ids numbers, in the order in which they occur."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

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
    deadline, found = time.monotonic() + DEADLINE_SECONDS, []
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


def opened(message: dict[str, Any]) -> dict[str, Any]:
    """A message with all its layers unpacked, without what differs between two equal calls, but with its ids."""
    text = message["Body"]
    envelope = json.loads(text if text.startswith("{") else base64.b64decode(text))
    properties, headers = dict(envelope["properties"]), dict(envelope["headers"])
    properties.pop("delivery_tag", None)
    body = envelope["body"]
    if properties.get("body_encoding") == "base64":
        body = base64.b64decode(body)
    if headers.get("compression") == "application/x-gzip":
        body = zlib.decompress(body)
    read = {"application/json": json.loads, "application/x-python-serialize": pickle.loads}
    assert _ORIGIN.fullmatch(headers["origin"])
    for name in ("eta", "expires"):
        if headers[name] is not None:
            headers[name] = _from_now(headers[name])
    del headers["origin"]
    return {
        "body": read[envelope["content-type"]](body),
        "content": (envelope["content-type"], envelope["content-encoding"]),
        "headers": headers,
        "properties": properties,
        "attributes": message.get("MessageAttributes", {}),
        "tenant": message["Attributes"].get("MessageGroupId"),
    }


def _from_now(text: str) -> str:
    """A time as the number of seconds from now, rounded up."""
    time = datetime.fromisoformat(text)
    assert time.tzinfo is not None, text
    seconds = (time - datetime.now(UTC)).total_seconds()
    return f"in {-int(-seconds // _STEP_SECONDS) * _STEP_SECONDS} s, in {time.utcoffset()}"


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
