"""Messages to bytes and back: Celery's message protocol, version 2, in kombu's envelope.

Written: protocol 2, JSON as it stands, base64 only around bytes that are no text. Read: that, kombu's base64 around the
whole, protocol 1, the hybrid of both, and a hand-written ``{"task": ..., "args": [...]}``. A message that can't be read
raises ``DecodeError``; what stands in another envelope (SNS, EventBridge, S3) is ``foreign``'s.

Source: Celery's documentation, "Message Protocol"; the bytes of kombu 5.7.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import reprlib
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.message import Embed, Message
from taskq_cloud.errors import DecodeError, ImproperlyConfigured, InvalidTaskError

_HEADERS: Final = [
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
]
RESERVED_HEADERS: Final = frozenset([*_HEADERS, "lang", "compression"])
LARGEST_NUMBER: Final = 2**31
"""No count of retries and no limit in seconds gets near it; a store's columns and a timer's arguments hold it."""
_EMBED: Final = tuple(field.name for field in fields(Embed))

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 128
_repr.maxtuple = _repr.maxlist = _repr.maxdict = 20


def encode(message: Message, queue: str, *, serializer: str = "json", compression: str | None = None) -> str:
    """Write a message.

    Args:
        message: the message.
        queue: where it is sent; Celery's workers send retries there.
        serializer: the name of a serializer.
        compression: the name of a compression, or None.

    Raises:
        EncodeError: its arguments can't be serialised; names the task.
        ImproperlyConfigured: the serializer or compression is unknown, or a header of the caller's has a name that the
            protocol uses.
    """
    clash = RESERVED_HEADERS & message.headers.keys()
    if clash:
        raise ImproperlyConfigured(f"task {message.task}: header {min(clash)!r} is one of the protocol's own")
    codec = serializers.serializer_named(serializer)
    body = codec.encode((message.args, message.kwargs, {name: getattr(message.embed, name) for name in _EMBED}))
    headers = {"lang": "py", **{name: _header(message, name) for name in _HEADERS}, **message.headers}
    properties: dict[str, Any] = {
        "correlation_id": message.id,
        "reply_to": message.reply_to,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": message.priority,
    }
    if compression is not None:
        body, headers["compression"] = serializers.compress(body, compression)
    if compression is not None or codec.encoding == "binary":
        properties["body_encoding"] = "base64"
        text = base64.b64encode(body).decode()
    else:
        text = body.decode()
    envelope = {
        "body": text,
        "content-encoding": codec.encoding,
        "content-type": codec.content_type,
        "headers": headers,
        "properties": properties,
    }
    return serializers.dumps(envelope)


def _header(message: Message, name: str) -> Any:
    value = getattr(message, name)
    match name:
        case "eta" | "expires":
            return None if value is None else value.isoformat()
        case "root_id":
            return value or message.id
        case "origin":
            return value or origin()
        case "argsrepr":
            return _repr.repr(tuple(message.args)) if value is None else value
        case "kwargsrepr":
            return _repr.repr(dict(message.kwargs)) if value is None else value
    return value


def origin() -> str:
    """Who sends: ``gen<process id>@<host>``, as Celery writes it."""
    return f"gen{os.getpid()}@{_host()}"


@cache
def _host() -> str:
    return socket.gethostname()


def read_envelope(text: str) -> dict[str, Any]:
    """The JSON object a message body holds, out of kombu's base64 where it is in one.

    Raises:
        DecodeError: it holds none.
    """
    source = text.lstrip()
    if not source.startswith("{"):
        try:
            source = base64.b64decode(source, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise DecodeError(f"the body is neither a JSON object nor one in base64: {text[:80]!r}") from None
    try:
        document = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DecodeError(f"the body is JSON, but no object: {source[:80]!r}")
    return document


def is_task_message(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a task's message, in one of the forms ``decode`` reads."""
    enveloped = "body" in document and ("headers" in document or "properties" in document)
    return enveloped or isinstance(document.get("task"), str)


def decode(document: Mapping[str, Any], message_id: str, accept: Collection[str] = ("json",)) -> Message:
    """Read a message.

    Args:
        document: what ``read_envelope`` gave.
        message_id: the broker's id of the message: the task's id where the message brings none, so that every
            delivery of it is the same task.
        accept: the serializers that may be read (``accept_content``).

    Raises:
        ContentDisallowed: its content type is not accepted.
        InvalidTaskError: its parts make no task.
        DecodeError: it can't be read.
    """
    if "body" not in document:
        return _message(document, document, document.get("args"), document.get("kwargs"), message_id)
    headers = _mapping(document.get("headers"), "headers")
    properties = _mapping(document.get("properties"), "properties")
    task_id = headers.get("id") or properties.get("correlation_id")
    try:
        body = _read_body(document, headers, properties, accept)
        if isinstance(body, dict):  # protocol 1, or the hybrid whose headers are version 2's
            merged = {**body, **headers}
            merged.setdefault("group", body.get("taskset"))
            return _message(merged, body, body.get("args"), body.get("kwargs"), message_id, properties)
        if not isinstance(body, list | tuple) or len(body) not in (2, 3):
            raise InvalidTaskError(f"the body is no [args, kwargs, embed]: {body!r:.200}")
        embed = _mapping(body[2], "embed") if len(body) == 3 else {}  # noqa: PLR2004 - embed is the third
        return _message(headers, embed, body[0], body[1], message_id, properties)
    except DecodeError as error:
        usable = isinstance(task_id, str) and task_id.isprintable()  # half a character is not
        error.task_id = error.task_id or (task_id if usable else None)
        raise


def _read_body(
    document: Mapping[str, Any], headers: Mapping[str, Any], properties: Mapping[str, Any], accept: Collection[str]
) -> Any:
    codec = serializers.serializer_for(str(document.get("content-type") or "application/json"), accept)
    body = document["body"]
    if not isinstance(body, str):
        # A hand-written message may hold the body as JSON rather than as a string of JSON.
        return serializers.loads(json.dumps(body))
    data = text_bytes("the body", body)
    if properties.get("body_encoding") == "base64":
        try:
            data = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DecodeError(f"the body is not the base64 it says it is: {error}") from None
    if headers.get("compression"):
        data = serializers.decompress(data, str(headers["compression"]))
    return codec.decode(data)


def _message(
    headers: Mapping[str, Any],
    embed: Mapping[str, Any],
    args: Any,
    kwargs: Any,
    message_id: str,
    properties: Mapping[str, Any] | None = None,
) -> Message:
    properties = properties or {}
    task = headers.get("task")
    if not isinstance(task, str) or not task:
        raise InvalidTaskError(
            f"the message names no task (headers: {', '.join(sorted(map(repr, headers))) or 'none'})"
        )
    args, kwargs = args if args is not None else [], kwargs if kwargs is not None else {}
    if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
        raise InvalidTaskError(f"task {task}: args must be a list and kwargs an object: {args!r:.100}, {kwargs!r:.100}")
    task_id = str(headers.get("id") or properties.get("correlation_id") or message_id)
    text_bytes("the task's name", task)
    text_bytes("the task's id", task_id)
    own = {} if headers is embed else {k: v for k, v in headers.items() if k not in RESERVED_HEADERS and k not in embed}
    return Message(
        task=task,
        id=task_id,
        args=args,
        kwargs=kwargs,
        embed=Embed(**{name: _embedded(task, name, embed.get(name)) for name in _EMBED}),
        retries=_number(task, "retries", headers.get("retries")) or 0,
        eta=_time(task, "eta", headers.get("eta")),
        expires=_time(task, "expires", headers.get("expires")),
        timelimit=_timelimit(task, headers.get("timelimit")),
        group_index=_number(task, "group_index", headers.get("group_index")),
        replaced_task_nesting=_number(task, "replaced_task_nesting", headers.get("replaced_task_nesting")) or 0,
        stamps=_mapping(headers.get("stamps"), "stamps"),
        priority=_number(task, "priority", properties.get("priority")) or 0,
        reply_to=properties.get("reply_to"),
        headers=own,
        **{name: headers.get(name) for name in _AS_THEY_ARE},
    )


_AS_THEY_ARE: Final = [
    "root_id",
    "parent_id",
    "group",
    "ignore_result",
    "shadow",
    "origin",
    "argsrepr",
    "kwargsrepr",
    "stamped_headers",
]


def text_bytes(what: str, text: str) -> bytes:
    """A text as UTF-8. JSON's escapes can make half a character of two, which no store, broker or log can write.

    Raises:
        InvalidTaskError: it holds such a half.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidTaskError(f"{what} is no text that UTF-8 can write: {text!r:.100}: {error.reason}") from None


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidTaskError(f"{what} is no JSON object: {value!r:.100}")
    return value


def _embedded(task: str, name: str, value: Any) -> Any:
    if value is None or value == []:
        return None
    signatures = [value] if name == "chord" else value
    well_formed = isinstance(signatures, Sequence) and all(
        isinstance(each, dict) and isinstance(each.get("task"), str) for each in signatures
    )
    if not well_formed:
        raise InvalidTaskError(f"task {task}: {name} holds no signatures: {value!r:.200}")
    return value


def _number(task: str, name: str, value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST_NUMBER):
        return value
    raise InvalidTaskError(f"task {task}: {name} is no whole number from 0 to {LARGEST_NUMBER}: {value!r:.100}")


def _time(task: str, name: str, value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise InvalidTaskError(f"task {task}: {name} is no ISO 8601 time: {value!r:.100}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _timelimit(task: str, value: Any) -> tuple[float | None, float | None]:
    match value:
        case None:
            return (None, None)
        case [hard, soft] if _is_limit(hard) and _is_limit(soft):
            return (hard, soft)
    raise InvalidTaskError(f"task {task}: timelimit is no [hard, soft] in seconds: {value!r:.100}")


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value < LARGEST_NUMBER)
