"""Signs requests with AWS Signature Version 4 (AWS IAM User Guide, "AWS Signature Version 4 for API requests").

The path and the query that are given have to be in their canonical form, which is also the form in which they are sent.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

ALGORITHM: Final = "AWS4-HMAC-SHA256"

EMPTY_HASH: Final = sha256(b"").hexdigest()
"""The hash of a request without a body."""

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""What stands for the hash of a body that TLS protects, with S3 only."""

Headers = Sequence[tuple[str, str]]


class Keys(NamedTuple):
    """Credentials.

    Args:
        access_key: the access key's id.
        secret_key: the secret.
        token: the session's token; None: the credentials are permanent.
    """

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self.access_key!r})"


class Signer:
    """Signs the requests to one service in one region. Threads may share it.

    Args:
        service: the service, as the scope of a signature names it.
        region: the region.
        clock: returns the time, in seconds since the epoch.
    """

    def __init__(self, service: str, region: str, clock: Callable[[], float] = time.time) -> None:
        self._service = service
        self._region = region
        self._clock = clock
        self._stamp = (-1, "")
        self._key: tuple[str, str, bytes] = ("", "", b"")

    def sign(
        self, keys: Keys, method: str, path: str, headers: Headers, body_hash: str, query: str = ""
    ) -> list[tuple[str, str]]:
        """Return the headers of a signed request: the given ones, and those of the signature.

        Args:
            keys: the credentials.
            method: the HTTP method.
            path: the path, encoded.
            headers: all headers that are signed, ``host`` among them.
            body_hash: the body's SHA-256 in hexadecimal digits, or ``UNSIGNED``.
            query: the query, encoded, its parameters in order.
        """
        stamp = self._time_stamp()
        day = stamp[:8]
        signed = [*headers, ("X-Amz-Date", stamp)]
        if keys.token:
            signed.append(("X-Amz-Security-Token", keys.token))
        names, lines = canonical_headers(signed)
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{body_hash}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"{ALGORITHM}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(keys.secret_key, day), text.encode(), "sha256").hex()
        credential = f"{ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        signed.append(("Authorization", credential))
        return signed

    def _time_stamp(self) -> str:
        second = int(self._clock())
        known, stamp = self._stamp
        if known != second:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._stamp = (second, stamp)
        return stamp

    def _signing_key(self, secret_key: str, day: str) -> bytes:
        """The key of a day's signatures, which takes four digests to make."""
        secret, of_day, key = self._key
        if secret != secret_key or of_day != day:
            key = f"AWS4{secret_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = (secret_key, day, key)
        return key


def canonical_headers(headers: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Return the names of headers, and a line for each of them, in the form in which they are signed."""
    values: dict[str, str] = {}
    for name, value in headers:
        lower, trimmed = name.lower(), " ".join(value.split())
        values[lower] = f"{values[lower]},{trimmed}" if lower in values else trimmed
    names = sorted(values)
    return ";".join(names), "".join([f"{name}:{values[name]}\n" for name in names])
