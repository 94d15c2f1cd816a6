"""What an application requires of the messages it reads, and does to those it sends, so that nobody else can call it.

Which message must be signed, and by whom, is decided here; how is ``auth``'s (Celery's signed bodies) and ``signing``'s
(whole messages).
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
"""What ``accept_unsigned`` may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """An application's keys, and what may come without them.

    Args:
        clock: seconds since the epoch.
        auth: of the serializer ``auth``; None: there is no such serializer here.
        signing: of whole messages; None: messages are not signed.
        accept_unsigned: what needs no signature of ``signing``: ``events`` that ``task_event_routes`` gives a task,
            ``auth`` bodies, whose own signature is verified, or ``all``, while signing is being introduced.
    """

    clock: Callable[[], float]
    auth: Authenticator | None = None
    signing: MessageSigning | None = None
    accept_unsigned: Collection[str] = ()

    def sign(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """A message as it is sent: signed, where messages are."""
        return document if self.signing is None else self.signing.sign(document, self.clock())

    def check(self, document: Mapping[str, Any]) -> bool:
        """Check a message before anything in it is believed.

        Returns:
            Whether its headers can be believed; False where only its body may be signed, or nothing.

        Raises:
            SecurityError: it isn't signed as it must be.
        """
        if self.signing is None:
            return False
        if signature_of(document) is None:
            # Without a body there is nothing that auth would verify.
            auth = "body" in document and document.get("content-type") == AUTH_CONTENT_TYPE
            by_auth = auth and AUTH_BODIES in self.accept_unsigned
            if by_auth or ALL in self.accept_unsigned:
                return False
        self.signing.verify(document, self.clock())
        return True

    def check_event(self, key: str, accept: Collection[str]) -> None:
        """Whether an event, which no service signs with our keys, may call a task.

        Args:
            key: the event's, for the error.
            accept: the serializers that may be read; with ``json`` among them and no ``signing``, anyone may call.

        Raises:
            SecurityError: it may not.
        """
        if {EVENTS, ALL} & set(self.accept_unsigned):
            return
        if self.signing is not None or not {"json", "application/json"} & set(accept):
            raise SecurityError(
                f"the event {key!r} is not signed; accept_unsigned=['events'] lets routed events through"
            )
