"""An application's rules for signatures: which messages must be signed, and which may come without.

The signatures themselves are in ``signing`` (whole messages) and ``certificates`` (bodies, as Celery signs them).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from taskq_cloud.core.lazy.values import dataclass
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


@dataclass(frozen=True, slots=True)
class Trust:
    """What the signature of a message says about it.

    Args:
        headers: whether the headers can be trusted; False if at most the body is signed.
        unsigned: whether the message was accepted without any signature, though the application signs messages. What
            follows from it is not signed either: nobody has vouched for it, and another service may ask for that.
        template_signed_at: when the message was signed, in seconds since the epoch, if the signature leaves the fire
            time of a periodic task open; otherwise None.
    """

    headers: bool
    unsigned: bool = False
    template_signed_at: float | None = None


TRUSTED: Final = Trust(headers=True)
"""The trust in messages of an application without ``Security``: everyone who can write to its queues is trusted."""
BODY_AT_MOST: Final = Trust(headers=False)


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

    def check(self, document: Mapping[str, Any]) -> Trust:
        """Check the signature of a message before anything in the message is used.

        Raises:
            SecurityError: the message lacks a required signature, or its signature is wrong.
        """
        if self.signing is None:
            return BODY_AT_MOST
        if signature_of(document) is None:
            # In a message without a body there is nothing for auth to verify.
            auth = "body" in document and document.get("content-type") == AUTH_CONTENT_TYPE
            if auth and AUTH_BODIES in self.accept_unsigned:
                return BODY_AT_MOST
            if ALL in self.accept_unsigned:
                return Trust(headers=False, unsigned=True)
        return Trust(headers=True, template_signed_at=self.signing.verify(document, self.clock()))

    def seal(self, statement: Mapping[str, str]) -> str | None:
        """Sign a statement that isn't a message; None: the application has no signing keys."""
        return None if self.signing is None else self.signing.seal(statement, self.clock())

    def sealed_at(self, statement: Mapping[str, str], seal: object) -> float | None:
        """Check the seal of a statement.

        Returns:
            When the seal was made, in seconds since the epoch. None: there is none, and none is needed.

        Raises:
            SecurityError: the application signs messages, and the seal is missing or wrong.
        """
        if self.signing is None or (seal is None and ALL in self.accept_unsigned):
            return None
        return self.signing.sealed_at(statement, seal)

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
