"""The envelope of a message and the body in it: text to JSON, base64, compression and sizes.

``protocol`` knows what the parts mean.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from taskq_cloud.core import serializers
from taskq_cloud.core.model import validation as values
from taskq_cloud.core.serializers.limits import LARGEST_BODY_BYTES, check_text
from taskq_cloud.errors import DecodeError


def read(text: str, most_bytes: int = LARGEST_BODY_BYTES) -> dict[str, Any]:
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
        document = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DecodeError(f"the body is JSON, but not an object: {source[:80]!r}")
    return document


def read_body(
    document: Mapping[str, Any],
    headers: Mapping[str, Any],
    properties: Mapping[str, Any],
    codec: serializers.Serializer,
    most_bytes: int,
) -> Any:
    """Read the arguments in a message's envelope.

    Args:
        document: the envelope.
        headers: its headers.
        properties: its properties.
        codec: the serializer of the arguments.
        most_bytes: the size of the largest body, expanded.

    Raises:
        ContentDisallowed: the compression is unknown.
        DecodeError: the body can't be read, or is too large.
    """
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
