"""The writing and reading of task messages: Celery's message protocol, version 2, in kombu's envelope.

Messages are written in protocol 2 as plain JSON, with base64 only around bodies that aren't text. They are read in this
form, in kombu's base64 around the whole message, in protocol 1, in a hybrid of both protocols, and in the hand-written
form ``{"task": ..., "args": [...]}``. A message that can't be read raises ``DecodeError``. The module ``events`` parses
the text of messages, and reads messages in other envelopes (SNS, EventBridge, S3).

Source: Celery's documentation, "Message Protocol"; the bytes of kombu 5.7.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import reprlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.lazy.values import fields
from taskq_cloud.core.messages.headers import RESERVED_HEADERS, header_clash
from taskq_cloud.core.model import option_values as kinds
from taskq_cloud.core.model import payload_references
from taskq_cloud.core.model import validation as values
from taskq_cloud.core.model.message import NO_EMBED, SCHEDULE, Embed, Message
from taskq_cloud.core.security.policy import TRUSTED, Security, Trust
from taskq_cloud.core.serializers.compression import LARGEST_BODY_BYTES
from taskq_cloud.core.serializers.registry import AUTH, AUTH_CONTENT_TYPE
from taskq_cloud.errors import (
    ContentDisallowed,
    DecodeError,
    ImproperlyConfigured,
    InvalidTaskError,
    PayloadTooLarge,
    SecurityError,
)

_EMBED: Final = tuple(field.name for field in fields(Embed))
_NOTHING_FOLLOWS: Final = dict.fromkeys(_EMBED)

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 128
_repr.maxtuple = _repr.maxlist = _repr.maxdict = 20
_SHORT_TEXT: Final = 60
"""The most characters of a text that is shown as it is even if each of them needs an escape."""
_LARGE: Final = 10**30
"""Numbers from here on may be shortened."""


def encode(
    message: Message,
    queue: str,
    *,
    serializer: str = "json",
    compression: str | None = None,
    security: Security | None = None,
    most_bytes: int = LARGEST_BODY_BYTES,
) -> str:
    """Write a message.

    Args:
        message: the message.
        queue: the queue that the message is sent to; Celery's workers send retries there.
        serializer: the name of the serializer of the arguments.
        compression: the name of the compression of the arguments, or None.
        security: signs the message, or None.
        most_bytes: the size of the largest body, before compression.

    Raises:
        EncodeError: the arguments can't be serialised; the error names the part that can't.
        PayloadTooLarge: a receiver would refuse the arguments for their size.
        ImproperlyConfigured: the serializer or compression is unknown, or a header of the caller's has a name that the
            protocol uses.
    """
    if clash := header_clash(message.headers):
        raise ImproperlyConfigured(f"task {message.task}: {clash}")
    if serializer == AUTH and security is not None and security.auth is not None:
        codec = security.auth.serializer
    else:
        codec = serializers.serializer_named(serializer)
    text = serializers.dumps(_envelope(message, queue, codec, compression, most_bytes))
    if security is None or message.unsigned:
        return text
    # A reader verifies the JSON it has parsed, so that is signed: with strings for keys, and lists for tuples.
    return serializers.dumps(security.sign(json.loads(text)))


def _envelope(
    message: Message, queue: str, codec: serializers.Serializer, compression: str | None, most_bytes: int
) -> dict[str, Any]:
    follows = message.embed
    embed = {**_NOTHING_FOLLOWS} if follows is NO_EMBED else {name: getattr(follows, name) for name in _EMBED}
    body = codec.encode((message.args, message.kwargs, embed))
    try:
        codec.check_size(body, most_bytes)
    except DecodeError as error:
        raise PayloadTooLarge(f"task {message.task}: the arguments are too large: {error}") from None
    headers = {**_headers(message), **message.headers}
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
    return {
        "body": text,
        "content-encoding": codec.encoding,
        "content-type": codec.content_type,
        "headers": headers,
        "properties": properties,
    }


def _headers(message: Message) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": message.task,
        "id": message.id,
        "shadow": message.shadow,
        "eta": None if message.eta is None else message.eta.isoformat(),
        "expires": None if message.expires is None else message.expires.isoformat(),
        "group": message.group,
        "group_index": message.group_index,
        "retries": message.retries,
        "timelimit": message.timelimit,
        "root_id": message.root_id or message.id,
        "parent_id": message.parent_id,
        "argsrepr": _args_repr(tuple(message.args)) if message.argsrepr is None else message.argsrepr,
        "kwargsrepr": _kwargs_repr(message.kwargs) if message.kwargsrepr is None else message.kwargsrepr,
        "origin": message.origin or origin(),
        "ignore_result": message.ignore_result,
        "replaced_task_nesting": message.replaced_task_nesting,
        "stamped_headers": message.stamped_headers,
        "stamps": message.stamps,
    }


def _args_repr(args: tuple[Any, ...]) -> str:
    """Positional arguments as a text, which is shortened. Most have nothing to shorten, and are written at once."""
    if len(args) > _repr.maxtuple:
        return _repr.repr(args)
    for each in args:
        kind = each.__class__
        if kind is str:
            if len(each) > _SHORT_TEXT or not (each.isascii() and each.isprintable()):
                return _repr.repr(args)
        elif kind is int:
            if not -_LARGE < each < _LARGE:
                return _repr.repr(args)
        elif each is not None and kind is not float and kind is not bool:
            return _repr.repr(args)
    return repr(args)


def _kwargs_repr(kwargs: Mapping[str, Any]) -> str:
    return _repr.repr(dict(kwargs)) if kwargs else "{}"


def origin() -> str:
    """The name of this process as a sender, in Celery's form: ``gen<process id>@<host>``."""
    return f"gen{os.getpid()}@{_host()}"


@cache
def _host() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket  # on Windows

    return socket.gethostname()


def is_task_message(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a task's message, in one of the forms that ``decode`` reads."""
    enveloped = "body" in document and ("headers" in document or "properties" in document)
    return enveloped or isinstance(document.get("task"), str)


def decode(
    document: Mapping[str, Any],
    message_id: str,
    accept: Collection[str] = ("json",),
    security: Security | None = None,
    payload: bytes | None = None,
    most_bytes: int = LARGEST_BODY_BYTES,
) -> Message:
    """Read a message.

    Args:
        document: the envelope, as ``events.read_envelope`` returns it.
        message_id: the broker's id of the message. It becomes the task's id if the message has none, so that all
            deliveries of the message are one task.
        accept: the accepted serializers (``accept_content``).
        security: the rules for signatures; None: messages need none.
        payload: the fetched body, if the envelope has a reference to it.
        most_bytes: the size of the largest body, expanded.

    Raises:
        SecurityError: the message lacks a required signature, or its signature is wrong.
        ContentDisallowed: the message's content type is not accepted.
        InvalidTaskError: the parts of the message don't describe a task.
        DecodeError: the message can't be read.
    """
    trust = TRUSTED if security is None else security.check(document)
    if "body" not in document:
        _serializer_of({}, accept, security)  # such a message is JSON, which must be accepted
        return _message(document, document, document.get("args"), document.get("kwargs"), message_id, trust)
    headers = values.mapping(document.get("headers"), "headers")
    properties = values.mapping(document.get("properties"), "properties")
    try:
        if payload is not None:
            document = payload_references.with_body(document, payload)  # its digest is in the signed reference
        body = _read_body(document, headers, properties, _serializer_of(document, accept, security), most_bytes)
        if isinstance(body, dict):  # protocol 1, or a hybrid with the headers of version 2
            merged = {**body, **headers}
            merged.setdefault("group", body.get("taskset"))
            return _message(merged, body, body.get("args"), body.get("kwargs"), message_id, trust, properties)
        if not isinstance(body, list | tuple) or len(body) not in (2, 3):
            raise InvalidTaskError(f"the body isn't a list [args, kwargs, embed]: {body!r:.200}")
        args, kwargs, embed = (*body, None)[:3]
        return _message(headers, values.mapping(embed, "embed"), args, kwargs, message_id, trust, properties)
    except DecodeError as error:
        # An unsigned message can name any task's id, and must not make that task fail.
        error.task_id = error.task_id or (task_id_of(document) if trust.headers else None)
        raise


def task_id_of(document: Mapping[str, Any]) -> str | None:
    """The task's id in a message whose arguments can't be read; None if it has none."""
    headers = values.mapping(document.get("headers"), "headers")
    task_id = headers.get("id") or values.mapping(document.get("properties"), "properties").get("correlation_id")
    # An id with half of a character pair can't be stored; it is not printable either.
    return task_id if isinstance(task_id, str) and task_id.isprintable() else None


def _serializer_of(
    document: Mapping[str, Any], accept: Collection[str], security: Security | None
) -> serializers.Serializer:
    content_type = str(document.get("content-type") or "application/json")
    auth = security.auth if security is not None and {AUTH, AUTH_CONTENT_TYPE} & set(accept) else None
    if auth is None:
        return serializers.serializer_for(content_type, accept)
    if content_type == AUTH_CONTENT_TYPE:
        return auth.serializer
    try:
        return serializers.serializer_for(content_type, accept)
    except ContentDisallowed as error:
        raise SecurityError(
            f"the message is not signed, and only messages signed with 'auth' are accepted: {error}"
        ) from None


def _read_body(
    document: Mapping[str, Any],
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    codec: serializers.Serializer,
    most_bytes: int,
) -> Any:
    body = document["body"]
    if not isinstance(body, str):
        if codec.name != "json":
            raise DecodeError(f"the body is JSON, but its content type is {codec.content_type!r}")
        # A hand-written message may hold the body as JSON rather than as a string of JSON.
        return serializers.loads(json.dumps(body))
    data = values.text_bytes("the body", body)
    if properties.get("body_encoding") == "base64":
        try:
            data = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DecodeError(f"the body isn't in base64, as the message says it is: {error}") from None
    if headers.get("compression"):
        data = serializers.decompress(data, str(headers["compression"]), most_bytes)
    codec.check_size(data, most_bytes)
    return codec.decode(data)


def _message(
    headers: Mapping[str, Any],
    embed: Mapping[str, Any],
    args: Any,
    kwargs: Any,
    message_id: str,
    trust: Trust,
    properties: Mapping[str, Any] | None = None,
) -> Message:
    properties = properties or {}
    task = headers.get("task")
    if not isinstance(task, str) or not task:
        raise InvalidTaskError(
            f"the message names no task (headers: {', '.join(sorted(map(repr, headers))) or 'none'})"
        )
    args, kwargs = args if args is not None else [], kwargs if kwargs is not None else {}
    named = isinstance(kwargs, dict) and (not kwargs or all(isinstance(name, str) for name in kwargs))
    if not isinstance(args, list | tuple) or not named:
        raise InvalidTaskError(f"task {task}: args must be a list and kwargs an object: {args!r:.100}, {kwargs!r:.100}")
    values.identifier("the task's name", task)
    task_id = headers.get("id") or properties.get("correlation_id") or message_id
    own = {}
    if headers is not embed and not headers.keys() <= RESERVED_HEADERS:
        own = {k: v for k, v in headers.items() if k not in RESERVED_HEADERS and k not in embed}
    linked = {name: values.signatures(task, name, embed[name]) for name in _EMBED if embed.get(name) is not None}
    message = Message(
        task=task,
        id=values.option(task, "the task's id", str(task_id) if isinstance(task_id, int) else task_id, kinds.ID),
        args=args,
        kwargs=kwargs,
        embed=Embed(**linked) if linked else NO_EMBED,
        retries=values.count(task, "retries", headers.get("retries")),
        timelimit=values.timelimit(task, headers.get("timelimit")),
        replaced_task_nesting=values.count(task, "replaced_task_nesting", headers.get("replaced_task_nesting")),
        stamps=values.mapping(headers.get("stamps"), "stamps"),
        priority=values.priority(task, properties.get("priority")),
        reply_to=values.option(task, "reply_to", properties.get("reply_to"), kinds.TEXT),
        headers=own,
        unsigned=trust.unsigned,
        template_signed_at=trust.template_signed_at,
        **values.given_options(task, headers, _OPTIONAL),
    )
    if SCHEDULE not in own:
        return message
    from taskq_cloud.core.schedules import ticks  # only messages of periodic tasks need this import

    return ticks.resolved(message)


_OPTIONAL: Final = {
    "eta": kinds.TIME,
    "expires": kinds.TIME,
    "group_index": kinds.COUNT,
    "root_id": kinds.ID,
    "parent_id": kinds.ID,
    "group": kinds.ID,
    "ignore_result": kinds.FLAG,
    "shadow": kinds.TEXT,
    "origin": kinds.TEXT,
    "argsrepr": kinds.TEXT,
    "kwargsrepr": kinds.TEXT,
    "stamped_headers": kinds.NAMES,
}
"""The headers that a message need not have."""
