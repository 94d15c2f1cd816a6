"""References to payloads in an object store, which a message or a record carries in place of a large payload.

The pattern is known as *claim check*. Our own form of a reference stands in the message's envelope, whose headers stay
readable, or in the record's document:

::

    "taskq_claim": {"place": "s3://bucket", "key": "prefix/arguments/2026-01-31/ID-DIGEST", "size_bytes": 3145728,
                    "sha256": "...", "stored_at": 1767225600, "content_type": "application/json"}

The Amazon SQS Extended Client libraries replace the whole body by a pointer, a JSON list of a class's name and the
object's place, and add a message attribute with the size. Sources: awslabs/amazon-sqs-java-extended-client-lib,
``SQSExtendedClientConstants``; awslabs/payload-offloading-java-common-lib-for-aws, ``PayloadS3Pointer``;
awslabs/amazon-sqs-python-extended-client-lib, ``sqs_extended_client/client.py``.

This module has both forms and their checks. ``core.payloads`` decides which payloads are stored, and which references
are followed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.errors import ClaimError, DecodeError

REFERENCE_KEY: Final = "taskq_claim"
"""The name of the message header, and of the key in a result document, that holds a reference."""

REFERENCE_CONTENT_TYPE: Final = "application/x-taskq-claim"
"""The content type of a message with a reference: a Celery worker refuses such a message instead of running its task
without arguments."""

POINTER_CLASSES: Final = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    # Version 1.0 of the Java library, and the "legacy" mode of later versions and other libraries.
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
"""Names of classes in pointers: the first is written, all are read."""

POINTER_SIZE: Final = "ExtendedPayloadSize"
LEGACY_POINTER_SIZE: Final = "SQSLargePayloadSize"
POINTER_SHA256: Final = "taskq_payload_sha256"
"""Our own message attribute with the digest. The libraries' pointer has none, and their readers refuse more fields."""

POINTER_ATTRIBUTES: Final = frozenset({POINTER_SIZE, LEGACY_POINTER_SIZE, POINTER_SHA256})
"""The message attributes that belong to a pointer, and not to the message that it stands for."""

LONGEST_SIZE_CHARACTERS: Final = 20
"""The most digits of a size that are read. Python refuses to read a number with some thousand digits."""

LONGEST_POINTER_CHARACTERS: Final = 10_000
"""The longest pointer: S3's keys have at most 1,024 bytes, and JSON writes a byte in at most 6 characters."""

_PLACE: Final = re.compile(r"[a-z0-9]+://[^/?#\s]+")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadReference:
    """The place of a payload in an object store, with its size and digest.

    Args:
        place: the bucket, with the scheme of its service: ``"s3://bucket"``.
        key: the object's key.
        size_bytes: the size of the stored bytes; None if it isn't given.
        sha256: the SHA-256 digest of the stored bytes, in hexadecimal; None if it isn't given.
        stored_at: when the payload was stored, in seconds since the epoch; 0 if it isn't given.
        content_type: the content type of a message's arguments, in place of the envelope's.
        compression: the content type of a result's compression.
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
        """The reference as a message or a record carries it."""
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
        """The reference as a message body of the SQS Extended Client libraries."""
        # Without blanks, as the Java library writes it: some readers compare the beginning as text.
        pointer = [POINTER_CLASSES[0], {"s3BucketName": self.bucket, "s3Key": self.key}]
        return json.dumps(pointer, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Payload:
    """An object to store: its key and its bytes."""

    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class WantedPayload:
    """An object to read: its bucket, its key, and the most bytes that it may have."""

    bucket: str
    key: str
    most_bytes: int


def sha256_of(data: bytes) -> str:
    """The SHA-256 digest of some bytes, in hexadecimal, as references carry it."""
    return hashlib.sha256(data).hexdigest()


def reference_from_json(value: Any) -> PayloadReference:
    """Read a reference of our own form.

    Raises:
        ClaimError: the value isn't a reference.
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
    raise ClaimError(f"the reference to the payload is malformed: {value!r:.200}")


def reference_of(document: Mapping[str, Any]) -> PayloadReference | None:
    """The reference in a message's envelope, or None.

    Raises:
        ClaimError: the reference is malformed, or the message has a reference without the content type of a reference,
            or that content type without a reference.
    """
    headers = document.get("headers")
    value = headers.get(REFERENCE_KEY) if isinstance(headers, dict) else None
    if document.get("content-type") != REFERENCE_CONTENT_TYPE:
        if value is None:
            return None
        # The content type decides whether a message may come unsigned, so it must be that of this very message.
        raise ClaimError("the message has both a reference to a payload and a content type that says it has a body")
    return reference_from_json(value)


def body_of(document: Mapping[str, Any]) -> bytes:
    """The bytes of a message's body, decoded if they are in base64, as the object store keeps them."""
    body = str(document["body"])
    return base64.b64decode(body) if _is_base64(document) else body.encode()


def with_reference(document: Mapping[str, Any], reference: PayloadReference) -> dict[str, Any]:
    """Replace the body in a message's envelope by a reference."""
    reference = replace(reference, content_type=document["content-type"])
    headers = {**document["headers"], REFERENCE_KEY: reference.as_json()}
    return {**document, "body": "", "content-type": REFERENCE_CONTENT_TYPE, "headers": headers}


def with_body(document: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    """Replace the reference in a message's envelope by the body: undo ``with_reference``.

    Args:
        document: the envelope.
        data: the bytes that were fetched for the reference.

    Raises:
        ClaimError: the envelope has no reference, or the reference has no content type.
        DecodeError: the bytes aren't text, and the envelope says they are.
    """
    reference = reference_of(document)
    if reference is None or reference.content_type is None:
        raise ClaimError("the message's reference to its payload lacks the payload's content type")
    try:
        body = base64.b64encode(data).decode() if _is_base64(document) else data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"the payload {reference} isn't text, as its message says it is: {error}") from None
    return {**document, "body": body, "content-type": reference.content_type}


def _is_base64(document: Mapping[str, Any]) -> bool:
    properties = document.get("properties")
    return isinstance(properties, dict) and properties.get("body_encoding") == "base64"


def pointer_of(value: Any, attributes: Mapping[str, str]) -> PayloadReference | None:
    """Read a pointer of the SQS Extended Client libraries; None if the value isn't a pointer.

    Args:
        value: the parsed body of a message.
        attributes: the message's attributes; those that belong to a pointer are optional.

    Raises:
        ClaimError: the pointer's bucket isn't a bucket's name, or its size isn't a size.
    """
    match value:
        case [str(name), {"s3BucketName": str(bucket), "s3Key": str(key)}] if name in POINTER_CLASSES:
            if not _PLACE.fullmatch(f"s3://{bucket}"):
                raise ClaimError(f"the SQS Extended Client pointer names no bucket: {bucket!r:.100}")
            size = attributes.get(POINTER_SIZE) or attributes.get(LEGACY_POINTER_SIZE) or ""
            if len(size) > LONGEST_SIZE_CHARACTERS:
                raise ClaimError(f"the size in the SQS Extended Client pointer has {len(size)} characters")
            return PayloadReference(
                place=f"s3://{bucket}",
                key=key,
                size_bytes=int(size) if size.isascii() and size.isdigit() else None,
                sha256=attributes.get(POINTER_SHA256),
            )
    return None


def pointer_in(text: str, attributes: Mapping[str, str]) -> PayloadReference | None:
    """Read a pointer of the SQS Extended Client libraries from any text; None if the text isn't one."""
    if len(text) > LONGEST_POINTER_CHARACTERS or not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # the reader of messages refuses the text, with the reason
    return pointer_of(value, attributes)


def check_payload(reference: PayloadReference, data: bytes | None) -> bytes:
    """Check that the bytes fetched for a reference are the bytes that were stored.

    Args:
        reference: the reference.
        data: the bytes of the object; None if there is no object.

    Raises:
        ClaimError: the object is missing, or its size or digest differs.
    """
    if data is None:
        raise ClaimError(f"the payload {reference} is missing: it was removed, or its lifecycle has ended")
    if reference.size_bytes is not None and len(data) != reference.size_bytes:
        raise ClaimError(
            f"the payload {reference} has {len(data)} bytes instead of {reference.size_bytes}: it has been altered"
        )
    if reference.sha256 is not None and sha256_of(data) != reference.sha256:
        raise ClaimError(f"the payload {reference} doesn't have the SHA-256 digest it should: it has been altered")
    return data
