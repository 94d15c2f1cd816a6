"""How one application writes and reads its messages: what it accepts, what it sends, what it signs and verifies.

Every route that sends or receives goes through the application's codec. The bytes are ``protocol``'s and ``foreign``'s,
what must be signed is ``security``'s.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from taskq_cloud.core import foreign, protocol
from taskq_cloud.core.message import Message
from taskq_cloud.core.security import Security
from taskq_cloud.core.serializers.compression import check_compression
from taskq_cloud.core.serializers.registry import AUTH, AUTH_CONTENT_TYPE, AUTH_NEEDS, check_accepted, check_serializer
from taskq_cloud.errors import ImproperlyConfigured, SecurityError

logger: Final = logging.getLogger("taskq_cloud.security")


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """An application's way with messages.

    Args:
        accept_content: the serializers that may be read, by name or content type.
        event_routes: patterns of foreign events -> task names; see ``core.foreign``.
        serializer: of messages that say nothing else.
        compression: likewise.
        security: the application's keys; None: nothing is signed, and anyone who can write to the queue is believed.

    Raises:
        ImproperlyConfigured: a serializer or compression is unknown, or what it needs is not installed or not set.
    """

    accept_content: Collection[str] = ("json",)
    event_routes: Mapping[str, str] = field(default_factory=dict)
    serializer: str = "json"
    compression: str | None = None
    security: Security | None = None

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

    def read(self, body: str, message_id: str, queue: str | None = None) -> Message:
        """Read a message, and count it where its signature is refused.

        Args:
            body: as the broker hands it over.
            message_id: the broker's id of it.
            queue: where it was, for the log.

        Raises:
            SecurityError: it isn't signed as it must be.
            DecodeError: it can't be read, or is an event without a route.
        """
        return self.read_document(protocol.read_envelope(body), message_id, queue)

    def read_document(self, document: Mapping[str, Any], message_id: str, queue: str | None = None) -> Message:
        """``read``, of a body that is already parsed."""
        try:
            return foreign.from_document(
                document, message_id, self.accept_content, self.event_routes, security=self.security
            )
        except SecurityError as error:
            extra = {"action": "message.refused_signature", "queue": queue, "message_id": message_id}
            logger.error("message %s refused: %s", message_id, error, extra=extra)  # noqa: TRY400 - nothing was run
            raise
