"""How one application writes and reads its messages: what it accepts, what it sends, what it signs and verifies.

Every route that sends or receives goes through the application's codec. The bytes are ``protocol``'s and ``foreign``'s,
what must be signed is ``security``'s, what is checked in at an object store ``payloads``'.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from taskq_cloud.core import serializers
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import events, protocol
from taskq_cloud.core.model import payload_references
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.payload_references import POINTER_SHA256, POINTER_SIZE, Payload, PayloadReference
from taskq_cloud.core.payloads.policy import ARGUMENTS, LARGEST_PAYLOAD_BYTES, SQS_EXTENDED, Payloads
from taskq_cloud.core.security.policy import Security
from taskq_cloud.core.security.signing import SIGNATURE_HEADER
from taskq_cloud.core.serializers.compression import check_compression
from taskq_cloud.core.serializers.registry import AUTH, AUTH_CONTENT_TYPE, AUTH_NEEDS, check_accepted, check_serializer
from taskq_cloud.errors import ClaimError, DecodeError, ImproperlyConfigured, PayloadTooLarge, SecurityError

logger: Final = logging.getLogger("taskq_cloud.security")


_NONE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Packed:
    """A message as it is sent.

    Args:
        body: its body.
        attributes: message attributes that belong to the body.
        payload: what has to be checked in before it is sent.
    """

    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    payload: Payload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """An application's way with messages.

    Args:
        accept_content: the serializers that may be read, by name or content type.
        event_routes: patterns of foreign events -> task names; see ``core.foreign``.
        serializer: of messages that say nothing else.
        compression: likewise.
        security: the application's keys; None: nothing is signed, and anyone who can write to the queue is believed.
        payloads: what becomes of messages that are too large; None: they can't be sent, and no claim is followed.

    Raises:
        ImproperlyConfigured: a serializer or compression is unknown, or what it needs is not installed or not set.
    """

    accept_content: Collection[str] = ("json",)
    event_routes: Mapping[str, str] = field(default_factory=dict)
    serializer: str = "json"
    compression: str | None = None
    security: Security | None = None
    payloads: Payloads | None = None

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
        """Write a message, signed where messages are; raises as ``protocol.encode`` does.

        Args:
            message: the message.
            queue: where it is sent.
            serializer: of its arguments; the application's where None.
            compression: likewise.
        """
        return protocol.encode(
            message,
            queue,
            serializer=serializer or self.serializer,
            compression=compression or self.compression,
            security=self.security,
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
        """Write a message that the broker takes: compressed or claimed where it is too large otherwise.

        Args:
            message: the message.
            queue: where it is sent.
            room_bytes: what the broker takes, less its attributes.
            now: the time, in seconds since the epoch.
            serializer: of its arguments; the application's where None.
            compression: likewise.

        Returns:
            What can still be too large: where no payloads are configured, or the headers alone are.

        Raises:
            PayloadTooLarge: it is too large to be claimed; names the task.
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
                f"the message of task {message.task} has {len(text)} characters, and payloads at most "
                f"{LARGEST_PAYLOAD_BYTES}: write its arguments to an object of their own and send where they are"
            )
        texts = [text]
        if payloads.compression is not None and not (compression or self.compression):
            texts.append(self.write(message, queue, serializer, payloads.compression))
            if len(texts[-1]) <= room_bytes:
                return Packed(texts[-1])
        put_away = self._pointer if payloads.format == SQS_EXTENDED else self._claim
        packed = put_away(message, texts, now)
        attributes_bytes = sum(len(name) + len(value) for name, value in packed.attributes.items())
        return packed if utf8_bytes(packed.body) + attributes_bytes <= room_bytes else Packed(text)

    def _claim(self, message: Message, texts: Sequence[str], now: float) -> Packed:
        payloads = self._payloads()
        # Base64, which compressed bytes travel in, is not stored: the one that is longer as text can be the smaller.
        document = min(map(json.loads, texts), key=lambda each: len(payload_references.body_of(each)))
        document["headers"].pop(SIGNATURE_HEADER, None)
        claim, payload = payloads.check_in(ARGUMENTS, message.id, payload_references.body_of(document), now)
        reused = payloads.still_good(message.payload_reference, claim)
        if reused and message.payload_reference is not None:
            claim = message.payload_reference
        document = payload_references.with_reference(document, claim)
        # The claim has the payload's digest, so that whoever signs the one signs the other.
        signed = document if self.security is None else self.security.sign(document)
        return Packed(serializers.dumps(signed), payload=None if reused else payload)

    def _pointer(self, message: Message, texts: Sequence[str], now: float) -> Packed:
        claim, payload = self._payloads().check_in(ARGUMENTS, message.id, min(texts, key=len).encode(), now)
        attributes = {
            POINTER_SIZE: str(claim.size_bytes),
            POINTER_SHA256: str(claim.sha256),
        }
        return Packed(claim.as_pointer(), attributes, payload)

    def open(
        self, body: str, message_id: str, queue: str | None = None, attributes: Mapping[str, str] = _NONE
    ) -> Flow[Message]:
        """``read``, and fetch what the message claims of an object store.

        Args:
            body: as the broker hands it over.
            message_id: the broker's id of it.
            queue: where it was, for the log.
            attributes: the message's attributes.

        Raises:
            SecurityError: it isn't signed as it must be; nothing was fetched for a claim that isn't.
            ClaimError: what it claims is gone or altered, or in a place that isn't followed.
            DecodeError: it can't be read, or is an event without a route.
            OperationalError: the object store could not be used.
        """
        pointer = payload_references.pointer_in(body, attributes)
        if pointer is not None:
            body = yield from self._fetch_text(pointer)
        return (yield from self.open_document(protocol.read_envelope(body), message_id, queue))

    def open_document(self, document: Mapping[str, Any], message_id: str, queue: str | None = None) -> Flow[Message]:
        """``open``, of a body that is already parsed."""
        if events.is_notification(document):
            pointer = payload_references.pointer_in(document["Message"], events.attributes_of(document))
            if pointer is not None:
                document = {**document, "Message": (yield from self._fetch_text(pointer))}
        inner = events.unwrapped(document)
        claim = payload_references.reference_of(inner)
        if claim is None:
            return self.read_document(document, message_id, queue)
        believed = self.security is None or self._checked(self.security, inner, message_id, queue)
        try:
            data = yield from self._payloads_of(claim).fetch(claim)
        except ClaimError as error:
            # As with whatever can't be read: an id that anyone may have written must not fail that task.
            error.task_id = protocol.task_id_of(inner) if believed else None
            raise
        return replace(self.read_document(document, message_id, queue, data), payload_reference=claim)

    def _fetch_text(self, pointer: PayloadReference) -> Flow[str]:
        data = yield from self._payloads_of(pointer).fetch(pointer)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"{pointer} is no text: {error}") from None

    def _payloads(self) -> Payloads:
        if self.payloads is None:
            raise ImproperlyConfigured("no object store of payloads is configured: set TASKQ_PAYLOADS")
        return self.payloads

    def _payloads_of(self, claim: PayloadReference) -> Payloads:
        if self.payloads is None:
            raise ClaimError(f"the message claims {claim}, and no claims are followed here: set TASKQ_PAYLOADS")
        return self.payloads

    def read(self, body: str, message_id: str, queue: str | None = None) -> Message:
        """Read a message that claims nothing, and count it where its signature is refused.

        Args:
            body: as the broker hands it over.
            message_id: the broker's id of it.
            queue: where it was, for the log.

        Raises:
            SecurityError: it isn't signed as it must be.
            DecodeError: it can't be read, or is an event without a route.
        """
        return self.read_document(protocol.read_envelope(body), message_id, queue)

    def read_document(
        self, document: Mapping[str, Any], message_id: str, queue: str | None = None, payload: bytes | None = None
    ) -> Message:
        """``read``, of a body that is already parsed, and with what it claims."""
        try:
            return events.from_document(
                document, message_id, self.accept_content, self.event_routes, self.security, payload
            )
        except SecurityError as error:
            _log_refused(error, message_id, queue)
            raise

    @staticmethod
    def _checked(security: Security, document: Mapping[str, Any], message_id: str, queue: str | None) -> bool:
        try:
            return security.check(document)
        except SecurityError as error:
            _log_refused(error, message_id, queue)
            raise
        except RecursionError:
            raise DecodeError("the message is nested too deeply") from None


def _log_refused(error: SecurityError, message_id: str, queue: str | None) -> None:
    extra = {"action": "message.refused_signature", "queue": queue, "message_id": message_id}
    logger.error("message %s refused: %s", message_id, error, extra=extra)


def utf8_bytes(text: str) -> int:
    """The length of a text in UTF-8; half a character, which a broker refuses, counts as one."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
