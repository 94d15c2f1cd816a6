"""An application's rules for signatures: which messages must be signed, and which may come without.

The signatures themselves are in ``signing`` (whole messages) and ``certificates`` (bodies, as Celery signs them).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.security.signing import MessageSigning, signature_of
from taskq_cloud.core.serializers.registry import AUTH_CONTENT_TYPE
from taskq_cloud.errors import SecurityError

if TYPE_CHECKING:
    from taskq_cloud.core.security.certificates import Authenticator

EVENTS: Final = "events"
AUTH_BODIES: Final = "auth"
ALL: Final = "all"
UNSIGNED: Final = (EVENTS, AUTH_BODIES, ALL)
"""The values of ``accept_unsigned``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """An application's keys, and the messages that it accepts without a signature.

    Args:
        clock: returns seconds since the epoch.
        auth: signs and verifies bodies of the serializer ``auth``; None: that serializer can't be used.
        signing: signs and verifies whole messages; None: messages are not signed.
        accept_unsigned: messages that need no signature by ``signing``: ``events``, for which ``task_event_routes`` has
            a task; ``auth``, messages with a signed body, whose signature is verified; or ``all``, while signing is
            being introduced.
    """

    clock: Callable[[], float]
    auth: Authenticator | None = None
    signing: MessageSigning | None = None
    accept_unsigned: Collection[str] = ()

    def sign(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Sign a message, if the application signs messages."""
        return document if self.signing is None else self.signing.sign(document, self.clock())

    def check(self, document: Mapping[str, Any]) -> bool:
        """Check the signature of a message before anything in the message is used.

        Returns:
            Whether the message's headers can be trusted; False if only its body may be signed, or nothing.

        Raises:
            SecurityError: the message lacks a required signature, or its signature is wrong.
        """
        if self.signing is None:
            return False
        if signature_of(document) is None:
            # In a message without a body there is nothing for auth to verify.
            auth = "body" in document and document.get("content-type") == AUTH_CONTENT_TYPE
            by_auth = auth and AUTH_BODIES in self.accept_unsigned
            if by_auth or ALL in self.accept_unsigned:
                return False
        self.signing.verify(document, self.clock())
        return True

    def check_event(self, key: str, accept: Collection[str]) -> None:
        """Check that an event may call a task, though no service signs events with our keys.

        Args:
            key: the event's key, for the error.
            accept: the accepted serializers; with ``json`` among them and no ``signing``, any event may call a task.

        Raises:
            SecurityError: unsigned events are not accepted.
        """
        if {EVENTS, ALL} & set(self.accept_unsigned):
            return
        if self.signing is not None or not {"json", "application/json"} & set(accept):
            raise SecurityError(
                f"the event {key!r} is not signed; accept_unsigned=['events'] accepts events that have a route"
            )
