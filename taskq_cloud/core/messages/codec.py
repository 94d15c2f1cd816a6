"""The codec by which one application writes and reads its messages, with its serializers, keys and payload store.

Every part that sends or receives messages uses the application's codec. The bytes are written and read in ``protocol``
and ``events``. ``core.security.policy`` has the rules for signatures, ``core.payloads`` the rules for large payloads.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Compute, Flow
from taskq_cloud.core.lazy.values import dataclass, field, replace
from taskq_cloud.core.messages import events, protocol
from taskq_cloud.core.model import payload_references
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.payload_references import POINTER_SHA256, POINTER_SIZE, Payload, PayloadReference
from taskq_cloud.core.payloads.policy import ARGUMENTS, LARGEST_PAYLOAD_BYTES, SQS_EXTENDED, Payloads
from taskq_cloud.core.security.policy import Security, Trust
from taskq_cloud.core.security.signing import SIGNATURE_HEADER
from taskq_cloud.core.serializers.compression import (
    LARGEST_BODY_BYTES,
    QUICK_CHARACTERS,
    check_compression,
    largest_text,
)
from taskq_cloud.core.serializers.registry import AUTH, AUTH_CONTENT_TYPE, AUTH_NEEDS, check_accepted, check_serializer
from taskq_cloud.errors import ClaimError, DecodeError, ImproperlyConfigured, PayloadTooLarge, SecurityError

_NONE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Packed:
    """An encoded message.

    Args:
        body: the message's body.
        attributes: message attributes that belong to the body.
        payload: the payload that must be stored before the message is sent, or None.
    """

    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    payload: Payload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Writes and reads the messages of one application.

    Args:
        accept_content: the accepted serializers, by name or content type.
        event_routes: patterns of events -> task names; see ``core.messages.events``.
        serializer: the serializer of messages that name none.
        compression: the compression of messages that name none.
        security: the rules for signatures; None: nothing is signed, and anyone who can write to the queue is trusted.
        payloads: the store of payloads; None: messages that are too large can't be sent, and no reference is followed.
        most_bytes: the size of the largest body, expanded (``task_max_body_bytes``).

    Raises:
        ImproperlyConfigured: a serializer or compression is unknown, or lacks its package or its settings.
    """

    accept_content: Collection[str] = ("json",)
    event_routes: Mapping[str, str] = field(default_factory=dict)
    serializer: str = "json"
    compression: str | None = None
    security: Security | None = None
    payloads: Payloads | None = None
    most_bytes: int = LARGEST_BODY_BYTES

    def __post_init__(self) -> None:
        named = {*self.accept_content, self.serializer}
        if named & {AUTH, AUTH_CONTENT_TYPE} and (self.security is None or self.security.auth is None):
            raise ImproperlyConfigured(AUTH_NEEDS)
        check_accepted(self.accept_content)
        if self.serializer != AUTH:
            check_serializer(self.serializer)
        if self.compression is not None:
            check_compression(self.compression)

    def write(self, message: Message, queue: str, serializer: str | None = None, compression: str | None = None) -> str:
        """Write a message, signed if the application signs messages; raises the errors of ``protocol.encode``.

        Args:
            message: the message.
            queue: the queue that the message is sent to.
            serializer: the serializer of the arguments; None: the application's.
            compression: the compression of the arguments; None: the application's.
        """
        return protocol.encode(
            message,
            queue,
            serializer=serializer or self.serializer,
            compression=compression or self.compression,
            security=self.security,
            most_bytes=self.most_bytes,
        )

    def pack(
        self,
        message: Message,
        queue: str,
        room_bytes: int,
        now: float,
        *,
        serializer: str | None = None,
        compression: str | None = None,
    ) -> Packed:
        """Write a message that fits the broker: if it is too large, with compressed arguments or a reference to them.

        Args:
            message: the message.
            queue: the queue that the message is sent to.
            room_bytes: the largest body that the broker takes in addition to the message's attributes.
            now: the time, in seconds since the epoch.
            serializer: the serializer of the arguments; None: the application's.
            compression: the compression of the arguments; None: the application's.

        Returns:
            The encoded message. It can still be too large: without a store of payloads, or by its headers alone.

        Raises:
            PayloadTooLarge: the message is too large for the store of payloads; the error names the task.
        """
        text = self.write(message, queue, serializer, compression)
        payloads = self.payloads
        if payloads is None:
            return Packed(text)
        room_bytes = min(room_bytes, payloads.threshold_bytes or room_bytes)
        if utf8_bytes(text) <= room_bytes:
            return Packed(text)
        if len(text) > LARGEST_PAYLOAD_BYTES:
            raise PayloadTooLarge(
                f"the message of task {message.task} has {len(text)} characters, and a payload can have at most "
                f"{LARGEST_PAYLOAD_BYTES}: write the arguments to an object of your own and send its place instead"
            )
        texts = [text]
        if payloads.compression is not None and not (compression or self.compression):
            texts.append(self.write(message, queue, serializer, payloads.compression))
            if len(texts[-1]) <= room_bytes:
                return Packed(texts[-1])
        refer = self._with_pointer if payloads.format == SQS_EXTENDED else self._with_reference
        packed = refer(message, texts, now)
        attributes_bytes = sum(len(name) + len(value) for name, value in packed.attributes.items())
        return packed if utf8_bytes(packed.body) + attributes_bytes <= room_bytes else Packed(text)

    def _with_reference(self, message: Message, texts: Sequence[str], now: float) -> Packed:
        payloads = self._payloads()
        # Compressed bytes travel in base64, but are stored without it: the longer text can have the smaller payload.
        document = min(map(json.loads, texts), key=lambda each: len(payload_references.body_of(each)))
        document["headers"].pop(SIGNATURE_HEADER, None)
        stored: Payload | None
        reference, stored = payloads.check_in(ARGUMENTS, message.id, payload_references.body_of(document), now)
        received = message.payload_reference
        if received is not None and payloads.can_reuse(received, reference):
            reference, stored = received, None
        document = payload_references.with_reference(document, reference)
        # The reference has the payload's digest, so that its signature covers the payload too.
        signed = document if self.security is None or message.unsigned else self.security.sign(document)
        return Packed(serializers.dumps(signed), payload=stored)

    def _with_pointer(self, message: Message, texts: Sequence[str], now: float) -> Packed:
        reference, payload = self._payloads().check_in(ARGUMENTS, message.id, min(texts, key=len).encode(), now)
        attributes = {POINTER_SIZE: str(reference.size_bytes), POINTER_SHA256: str(reference.sha256)}
        return Packed(reference.as_pointer(), attributes, payload)

    def open(
        self,
        body: str,
        message_id: str,
        queue: str | None = None,
        attributes: Mapping[str, str] = _NONE,
        *,
        offload: bool = False,
    ) -> Flow[Message]:
        """Read a message, and fetch its payload from the object store if the message has a reference to one.

        Args:
            body: the message's body as the broker hands it over.
            message_id: the broker's id of the message.
            queue: the queue that the message was received from, for the log.
            attributes: the message's attributes.
            offload: whether the reading of a large message, or of one that may expand, is yielded as ``Compute``.

        Raises:
            SecurityError: the message lacks a required signature, or its signature is wrong; nothing was fetched.
            ClaimError: the payload is missing or altered, or in a place that isn't allowed.
            DecodeError: the message can't be read, or is an event without a route.
            OperationalError: the object store could not be used.
        """
        pointer = payload_references.pointer_in(body, attributes)
        if pointer is not None:
            body = yield from self._fetch_text(pointer)
        large = offload and len(body) > QUICK_CHARACTERS
        read = partial(events.read_envelope, body, self.most_bytes)
        document = (yield Compute(read)) if large else read()
        return (yield from self.open_document(document, message_id, queue, offload=offload, large=large))

    def open_document(
        self,
        document: Mapping[str, Any],
        message_id: str,
        queue: str | None = None,
        *,
        offload: bool = False,
        large: bool = False,
    ) -> Flow[Message]:
        """Read a message whose body is already parsed, and fetch its payload; raises the errors of ``open``.

        Args:
            document: the parsed body.
            message_id: the broker's id of the message.
            queue: the queue that the message was received from, for the log.
            offload: as in ``open``.
            large: whether the message is known to be large.
        """
        if events.is_notification(document):
            pointer = payload_references.pointer_in(document["Message"], events.attributes_of(document))
            if pointer is not None:
                document, large = {**document, "Message": (yield from self._fetch_text(pointer))}, offload
        unwrap = partial(events.unwrapped, document, self.most_bytes)
        inner = (yield Compute(unwrap)) if large else unwrap()
        reference = payload_references.reference_of(inner)
        data: bytes | None = None
        if reference is not None:
            data = yield from self._fetch_arguments(reference, inner, message_id, queue)
        read = partial(self.read_document, document, message_id, queue, data)
        message = (yield Compute(read)) if large or (offload and _expands(inner)) else read()
        return message if reference is None else replace(message, payload_reference=reference)

    def _fetch_arguments(
        self, reference: PayloadReference, document: Mapping[str, Any], message_id: str, queue: str | None
    ) -> Flow[bytes]:
        trusted = self.security is None or self._checked(self.security, document, message_id, queue).headers
        try:
            return (yield from self._payloads_of(reference).fetch(reference, self.most_bytes))
        except ClaimError as error:
            # An unsigned message can name any task's id, and must not make that task fail.
            error.task_id = protocol.task_id_of(document) if trusted else None
            raise

    def seal(self, statement: Mapping[str, str]) -> str | None:
        """Sign a statement that isn't a message; None: the application doesn't sign."""
        return None if self.security is None else self.security.seal(statement)

    def sealed_at(self, statement: Mapping[str, str], seal: object) -> float | None:
        """Check the seal of a statement: see ``Security.sealed_at``."""
        return None if self.security is None else self.security.sealed_at(statement, seal)

    def _fetch_text(self, pointer: PayloadReference) -> Flow[str]:
        data = yield from self._payloads_of(pointer).fetch_pointer(pointer, largest_text(self.most_bytes))
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"the payload {pointer} isn't text: {error}") from None

    def _payloads(self) -> Payloads:
        if self.payloads is None:
            raise ImproperlyConfigured("no object store of payloads is configured: set TASKQ_PAYLOADS")
        return self.payloads

    def _payloads_of(self, reference: PayloadReference) -> Payloads:
        if self.payloads is None:
            raise ClaimError(f"the payload {reference} can't be fetched: set TASKQ_PAYLOADS as its sender does")
        return self.payloads

    def read(self, body: str, message_id: str, queue: str | None = None) -> Message:
        """Read a message without a reference to a payload; a refused signature is logged.

        Args:
            body: the message's body as the broker hands it over.
            message_id: the broker's id of the message.
            queue: the queue that the message was received from, for the log.

        Raises:
            SecurityError: the message lacks a required signature, or its signature is wrong.
            DecodeError: the message can't be read, or is an event without a route.
        """
        return self.read_document(events.read_envelope(body, self.most_bytes), message_id, queue)

    def read_document(
        self, document: Mapping[str, Any], message_id: str, queue: str | None = None, payload: bytes | None = None
    ) -> Message:
        """Read a message whose body is already parsed, with its fetched payload; raises the errors of ``read``."""
        try:
            return events.from_document(
                document, message_id, self.accept_content, self.event_routes, self.security, payload, self.most_bytes
            )
        except SecurityError as error:
            _log_refused(error, message_id, queue)
            raise

    @staticmethod
    def _checked(security: Security, document: Mapping[str, Any], message_id: str, queue: str | None) -> Trust:
        try:
            return security.check(document)
        except SecurityError as error:
            _log_refused(error, message_id, queue)
            raise
        except RecursionError:
            raise DecodeError("the message is nested too deeply") from None


def _expands(document: Mapping[str, Any]) -> bool:
    """Whether a short message may take long to decode: its body is compressed, is fetched, or isn't JSON."""
    headers, content_type = document.get("headers"), document.get("content-type")
    return (isinstance(headers, dict) and bool(headers.get("compression"))) or (
        content_type is not None and content_type != "application/json"
    )


def _log_refused(error: SecurityError, message_id: str, queue: str | None) -> None:
    import logging  # a process that only calls tasks refuses no message

    logger = logging.getLogger("taskq_cloud.security")
    extra = {"action": "message.refused_signature", "queue": queue, "message_id": message_id}
    logger.error("message %s refused, as its signature can't be accepted: %s", message_id, error, extra=extra)


def utf8_bytes(text: str) -> int:
    """The length of a text in UTF-8. Half of a character pair, which a broker refuses, counts as one byte."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
