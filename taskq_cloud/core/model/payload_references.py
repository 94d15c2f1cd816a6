"""Claims: what a message or a record carries in place of a payload that is checked in at an object store.

Ours is written into the message's envelope, whose headers stay readable, or into the record's document:

::

    "taskq_claim": {"place": "s3://bucket", "key": "prefix/arguments/2026-01-31/ID-DIGEST", "size_bytes": 3145728,
                    "sha256": "...", "stored_at": 1767225600, "content_type": "application/json"}

The Amazon SQS Extended Client libraries replace the whole body by a pointer, a JSON list of a class's name and the
place, and add a message attribute with the size. Sources: awslabs/amazon-sqs-java-extended-client-lib,
``SQSExtendedClientConstants``; awslabs/payload-offloading-java-common-lib-for-aws, ``PayloadS3Pointer``;
awslabs/amazon-sqs-python-extended-client-lib, ``sqs_extended_client/client.py``.

Here are the forms and their checks. When a payload is claimed, and which claims are followed, is ``payloads``' part.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from taskq_cloud.errors import ClaimError, DecodeError

REFERENCE_KEY: Final = "taskq_claim"
"""The header of a message, and the key of a result document, that holds a claim."""

REFERENCE_CONTENT_TYPE: Final = "application/x-taskq-claim"
"""The content type of a message with a claim: a Celery worker refuses it instead of running its task without
arguments."""

POINTER_CLASSES: Final = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    # Versions 1.0 of the Java library, and its followers' "legacy" mode.
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
"""The first is written, all are read."""

POINTER_SIZE: Final = "ExtendedPayloadSize"
LEGACY_POINTER_SIZE: Final = "SQSLargePayloadSize"
POINTER_SHA256: Final = "taskq_payload_sha256"
"""Ours, beside theirs: their pointer has no digest, and its readers refuse fields that they don't know."""

POINTER_ATTRIBUTES: Final = frozenset({POINTER_SIZE, LEGACY_POINTER_SIZE, POINTER_SHA256})
"""The message attributes that belong to a pointer, and not to the message it stands for."""

LONGEST_SIZE_CHARACTERS: Final = 20
"""Of a number of bytes; Python reads no number of some thousand digits."""

_PLACE: Final = re.compile(r"[a-z0-9]+://[^/?#\s]+")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadReference:
    """Where a payload is, and how to know it again.

    Args:
        place: the bucket, with the scheme of its service: ``"s3://bucket"``.
        key: the object's.
        size_bytes: as stored; None where the claim doesn't say.
        sha256: of what is stored, in hexadecimal; None where the claim doesn't say.
        stored_at: when it was stored, in seconds since the epoch; 0 where the claim doesn't say.
        content_type: of a message's arguments, which the envelope no longer says.
        compression: the content type of the compression of a result.
    """

    place: str
    key: str
    size_bytes: int | None = None
    sha256: str | None = None
    stored_at: int = 0
    content_type: str | None = None
    compression: str | None = None

    def __str__(self) -> str:
        return f"{self.place}/{self.key}"

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.place.partition("://")[2]

    def as_json(self) -> dict[str, Any]:
        """The claim as a message or a record carries it."""
        parts = {
            "place": self.place,
            "key": self.key,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "stored_at": self.stored_at,
            "content_type": self.content_type,
            "compression": self.compression,
        }
        return {name: value for name, value in parts.items() if value is not None}

    def as_pointer(self) -> str:
        """The body of a message of the SQS Extended Client's."""
        # Without blanks, as their Java writes it: some readers compare the beginning as text.
        pointer = [POINTER_CLASSES[0], {"s3BucketName": self.bucket, "s3Key": self.key}]
        return json.dumps(pointer, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Payload:
    """What is to be checked in: the object's key and its bytes."""

    key: str
    data: bytes


def sha256_of(data: bytes) -> str:
    """The digest that a claim has."""
    return hashlib.sha256(data).hexdigest()


def reference_from_json(value: Any) -> PayloadReference:
    """Read a claim of ours.

    Raises:
        ClaimError: it is none.
    """
    match value:
        case {
            "place": str(place),
            "key": str(key),
            "size_bytes": int(size_bytes),
            "sha256": str(sha256),
            "stored_at": int(stored_at),
        } if _PLACE.fullmatch(place) and _SHA256.fullmatch(sha256) and size_bytes >= 0:
            content_type, compression = value.get("content_type"), value.get("compression")
            if isinstance(content_type, str | None) and isinstance(compression, str | None):
                return PayloadReference(
                    place=place,
                    key=key,
                    size_bytes=size_bytes,
                    sha256=sha256,
                    stored_at=stored_at,
                    content_type=content_type,
                    compression=compression,
                )
    raise ClaimError(f"the claim is malformed: {value!r:.200}")


def reference_of(document: Mapping[str, Any]) -> PayloadReference | None:
    """The claim in a message's envelope, or None.

    Raises:
        ClaimError: it is malformed, or missing where the content type says that there is one, or the other way round.
    """
    headers = document.get("headers")
    value = headers.get(REFERENCE_KEY) if isinstance(headers, dict) else None
    if document.get("content-type") != REFERENCE_CONTENT_TYPE:
        if value is None:
            return None
        # Whether a message is welcome unsigned is asked of its own content type, and must not be answered for another.
        raise ClaimError("the message has a claim and says that it has a body of its own")
    return reference_from_json(value)


def body_of(document: Mapping[str, Any]) -> bytes:
    """The bytes of a message's body, out of base64 where they are in it: what is checked in."""
    body = str(document["body"])
    return base64.b64decode(body) if _is_base64(document) else body.encode()


def with_reference(document: Mapping[str, Any], claim: PayloadReference) -> dict[str, Any]:
    """A message's envelope with a claim in place of its body."""
    claim = replace(claim, content_type=document["content-type"])
    headers = {**document["headers"], REFERENCE_KEY: claim.as_json()}
    return {**document, "body": "", "content-type": REFERENCE_CONTENT_TYPE, "headers": headers}


def with_body(document: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """A message's envelope as it was before ``with_reference``.

    Raises:
        DecodeError: there is no claim in it, or the bytes are no text.
    """
    claim = reference_of(document)
    if claim is None or claim.content_type is None:
        raise ClaimError("the message's claim doesn't say what is claimed")
    try:
        body = base64.b64encode(data).decode() if _is_base64(document) else data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{claim} is not the text that the message says it is: {error}") from None
    return {**document, "body": body, "content-type": claim.content_type}


def _is_base64(document: Mapping[str, Any]) -> bool:
    properties = document.get("properties")
    return isinstance(properties, dict) and properties.get("body_encoding") == "base64"


def pointer_of(value: Any, attributes: Mapping[str, str]) -> PayloadReference | None:
    """The claim in a pointer of the SQS Extended Client's, or None where the value is none.

    Args:
        value: what a body holds, parsed.
        attributes: the message's; the pointer's are optional.

    Raises:
        ClaimError: its bucket or its size is none.
    """
    match value:
        case [str(name), {"s3BucketName": str(bucket), "s3Key": str(key)}] if name in POINTER_CLASSES:
            if not _PLACE.fullmatch(f"s3://{bucket}"):
                raise ClaimError(f"the pointer names no bucket: {bucket!r:.100}")
            size = attributes.get(POINTER_SIZE) or attributes.get(LEGACY_POINTER_SIZE) or ""
            if len(size) > LONGEST_SIZE_CHARACTERS:
                raise ClaimError(f"the pointer's size has {len(size)} characters")
            return PayloadReference(
                place=f"s3://{bucket}",
                key=key,
                size_bytes=int(size) if size.isascii() and size.isdigit() else None,
                sha256=attributes.get(POINTER_SHA256),
            )
    return None


def pointer_in(text: str, attributes: Mapping[str, str]) -> PayloadReference | None:
    """``pointer_of``, of text that may be anything."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # what it is instead, the reader of messages says
    return pointer_of(value, attributes)


def check_payload(claim: PayloadReference, data: bytes | None) -> bytes:
    """What was fetched for a claim, if it is what was checked in.

    Raises:
        ClaimError: it is gone, or another.
    """
    if data is None:
        raise ClaimError(f"{claim} is claimed, and is not there: it was removed, or its lifecycle is over")
    if claim.size_bytes is not None and len(data) != claim.size_bytes:
        raise ClaimError(f"{claim} has {len(data)} bytes, and {claim.size_bytes} are claimed: it has been altered")
    if claim.sha256 is not None and sha256_of(data) != claim.sha256:
        raise ClaimError(f"{claim} has another SHA-256 digest than the one that is claimed: it has been altered")
    return data
