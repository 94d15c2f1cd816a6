"""Verify the OpenID Connect tokens that Google signs for pushes: each names a request's sender and endpoint.

Signatures are verified with the issuer's published keys, which are fetched when first needed and then kept. A request
can't cause a second fetch within a minute, whichever key it names.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Final

from taskq_cloud.errors import MissingExtra

try:
    import jwt
except ImportError as error:
    raise MissingExtra("verifying the token of a push", "gcp") from error

logger = logging.getLogger("taskq_cloud.serverless")

GOOGLE_KEYS_URL: Final = "https://www.googleapis.com/oauth2/v3/certs"
ISSUERS: Final = frozenset({"https://accounts.google.com", "accounts.google.com"})
"""Pub/Sub documentation, "Authenticate push subscriptions"."""

KEYS_KEPT_SECONDS: Final = 3600
FETCH_AGAIN_SECONDS: Final = 60
FETCH_FIRST_AGAIN_SECONDS: Final = 5
"""The pause between fetches as long as no keys have been fetched."""
FETCH_TIMEOUT_SECONDS: Final = 5
_REQUIRED: Final = ("aud", "exp", "iat", "iss")


class TokenError(Exception):
    """A request must be refused. The text is for the log and contains no secrets."""


class Unauthenticated(TokenError):
    """The request has no token, or its token isn't one that the issuer signed and that is valid now."""


class Forbidden(TokenError):
    """The token is valid, but is for another audience or comes from another account."""


class KeysUnavailable(TokenError):
    """The issuer's keys could not be fetched, so the token can't be verified."""


class KeySet:
    """The public keys of an issuer, by their ids. Threads may share a key set.

    Args:
        url: the address at which the issuer publishes its keys, as a JSON Web Key Set.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: Mapping[str, Any] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._lock = threading.Lock()

    def find(self, key_id: str) -> Any:
        """Return the key with the given id.

        Raises:
            Unauthenticated: the issuer doesn't publish a key with this id.
            KeysUnavailable: the issuer's keys could not be fetched.
        """
        with self._lock:
            if self._needs_fetch(key_id):
                self._fetch()
            if not self._keys:
                raise KeysUnavailable(f"the issuer's keys could not be fetched from {self._url}")
            found = self._keys.get(key_id)
        if found is None:
            raise Unauthenticated("the token is signed with a key that its issuer does not publish")
        return found

    def _needs_fetch(self, key_id: str) -> bool:
        now = self._clock()
        pause_seconds = FETCH_AGAIN_SECONDS if self._keys else FETCH_FIRST_AGAIN_SECONDS
        if self._tried_at is not None and now - self._tried_at < pause_seconds:
            return False
        old = self._fetched_at is None or now - self._fetched_at > KEYS_KEPT_SECONDS
        return old or key_id not in self._keys

    def _fetch(self) -> None:
        try:
            with urllib.request.urlopen(self._url, timeout=FETCH_TIMEOUT_SECONDS) as response:  # noqa: S310 - a setting
                keys = jwt.PyJWKSet.from_dict(json.load(response)).keys
        except (OSError, HTTPException, ValueError, RecursionError, jwt.PyJWTError) as error:
            # The old keys are still good: an issuer publishes new keys long before it signs with them.
            logger.warning(
                "the keys that verify pushes could not be fetched from %s: %s. The fetch is tried again; without keys, "
                "pushes are answered 503",
                self._url,
                error,
                extra={"action": "push.keys"},
            )
            return
        finally:
            # The end of the fetch counts: otherwise each thread that waits for the lock would spend another timeout.
            self._tried_at = self._clock()
        self._keys = {str(key.key_id): key.key for key in keys}
        self._fetched_at = self._tried_at


class TokenVerifier:
    """Verifies the token in a request's ``Authorization`` header.

    Args:
        keys: the issuer's keys.
        audiences: the accepted audiences of a token.
        accounts: the emails of the service accounts whose requests are accepted.
        clock_skew_seconds: how far the clocks may differ.
    """

    def __init__(
        self, keys: KeySet, audiences: Sequence[str], accounts: Sequence[str], clock_skew_seconds: float
    ) -> None:
        self._keys = keys
        self._audiences = list(audiences)
        self._accounts = frozenset(accounts)
        self._clock_skew_seconds = clock_skew_seconds

    def verify(self, authorization: str | None) -> None:
        """Accept a request by its ``Authorization`` header, or raise an error.

        Raises:
            TokenError: the request must be refused.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("the request has no bearer token")
        claims = self._claims(token.strip())
        if claims["iss"] not in ISSUERS:
            raise Unauthenticated(f"the token's issuer is {claims['iss']!r:.80}, and must be Google")
        email = claims.get("email")
        if email not in self._accounts or claims.get("email_verified") is not True:
            raise Forbidden(
                f"the token's account {email!r:.120} (verified: {claims.get('email_verified')!r:.10}) isn't one of the "
                "endpoint's service accounts"
            )

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            claims: Mapping[str, Any] = jwt.decode(
                token,
                self._keys.find(str(key_id)),
                # Named here and never taken from the token: the token could name "none", or an algorithm that would use
                # the public key as a shared secret.
                algorithms=["RS256"],
                audience=self._audiences,
                leeway=self._clock_skew_seconds,
                options={"require": list(_REQUIRED)},
            )
        except jwt.InvalidAudienceError:
            raise Forbidden(f"the token's audience isn't {' or '.join(self._audiences)}") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"{type(error).__name__}: {error}") from None
        return claims
