"""Celery's ``auth`` serializer: bodies signed with the key of an X.509 certificate.

The bytes are Celery's: the base64 of signer, signature (each in base64), content type, encoding and body, joined by
``SEPARATOR``. The signature covers only the body, not the message's headers; ``core.security.signing`` signs both. It
doesn't cover the content type in these bytes either, so only that of ``security_serializer`` is accepted.

This module reads no files. Source: Celery 5.7, ``celery.security``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.security.signing import strict_base64
from taskq_cloud.core.serializers import Serializer
from taskq_cloud.core.serializers.registry import AUTH, AUTH_CONTENT_TYPE
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra, SecurityError

SEPARATOR: Final = b"\x00\x01"
DIGESTS: Final = ("sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_256", "sha3_384", "sha3_512")
"""Names in ``cryptography``'s ``hashes``, as Celery's ``security_digest`` has them; MD5 and SHA-1 are broken."""
_PARTS: Final = 5


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate.

    Args:
        id: the issuer's names and the serial number, as Celery joins them.
        not_before: the time from which on the certificate is valid.
        not_after: the time until which it is valid.
        public_key: its RSA key.
    """

    id: str
    not_before: datetime
    not_after: datetime
    public_key: Any = field(repr=False)

    def check(self, now: float) -> None:
        """Check that the certificate is valid now.

        Args:
            now: the time, in seconds since the epoch.

        Raises:
            SecurityError: the certificate isn't valid yet, or has expired.
        """
        at = datetime.fromtimestamp(now, UTC)
        if at >= self.not_after:
            raise SecurityError(f"certificate {self.id!r} expired at {self.not_after.isoformat()}")
        if at < self.not_before:
            raise SecurityError(f"certificate {self.id!r} is not valid before {self.not_before.isoformat()}")


def certificates_from_pem(pem: bytes, source: str) -> list[Certificate]:
    """Read the certificates of a PEM file.

    Args:
        pem: the bytes of the file.
        source: a name for the file, for errors.

    Raises:
        ImproperlyConfigured: the file has no certificate, or one without an RSA key, which Celery's workers need.
        MissingExtra: cryptography is not installed.
    """
    _require_cryptography()
    from cryptography import x509  # optional
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # optional

    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ImproperlyConfigured(f"{source} holds no certificate in PEM: {error}") from error
    certificates = []
    for each in found:
        key = each.public_key()
        if not isinstance(key, RSAPublicKey):
            raise ImproperlyConfigured(f"{source}: the certificate has a key that isn't RSA; Celery reads RSA only")
        certificate_id = f"{' '.join(str(part.value) for part in each.issuer)} {each.serial_number}"
        certificates.append(Certificate(certificate_id, each.not_valid_before_utc, each.not_valid_after_utc, key))
    return certificates


def private_key_from_pem(pem: bytes, password: str | None) -> Any:
    """Read an RSA private key.

    Raises:
        ImproperlyConfigured: the bytes aren't an RSA private key, or the password is wrong; the error quotes neither.
        MissingExtra: cryptography is not installed.
    """
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization  # optional
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # optional

    try:
        key = serialization.load_pem_private_key(pem, password.encode() if password else None)
    except (ValueError, TypeError):
        raise ImproperlyConfigured(
            "security_key isn't a private key in PEM, or security_key_password is wrong"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise ImproperlyConfigured("security_key isn't an RSA key")
    return key


def _require_cryptography() -> None:
    if find_spec("cryptography") is None:
        raise MissingExtra("serializer 'auth'", "auth")


class Authenticator:
    """Signs and verifies bodies with certificates.

    Args:
        key: the private key of ``certificate``; None: bodies can only be verified.
        certificate: the certificate of the signer, whose id the bodies carry.
        store: the trusted certificates.
        digest: one of ``DIGESTS``; senders and receivers must use the same.
        inner: the serializer of the signed values.
        clock: returns seconds since the epoch.

    Raises:
        ImproperlyConfigured: the digest is unknown, two certificates have one id, or the key is another certificate's.
    """

    def __init__(
        self,
        *,
        key: Any,
        certificate: Certificate | None,
        store: Iterable[Certificate],
        digest: str,
        inner: Serializer,
        clock: Callable[[], float],
    ) -> None:
        if digest not in DIGESTS:
            raise ImproperlyConfigured(f"security_digest {digest!r} is unknown; known: {', '.join(DIGESTS)}")
        self._key, self._certificate, self._inner, self._clock = key, certificate, inner, clock
        self._store = _by_id(store)
        self._digest = digest
        if key is not None and certificate is not None:
            own, certified = key.public_key().public_numbers(), certificate.public_key.public_numbers()
            if own != certified:
                raise ImproperlyConfigured("security_key is not the key of security_certificate: set both to one pair")
        self.serializer = Serializer(AUTH, AUTH_CONTENT_TYPE, "utf-8", self._encode, self._decode)

    def __repr__(self) -> str:
        return f"<Authenticator {self._certificate.id if self._certificate else '(verifies only)'}>"

    def _encode(self, value: Any) -> bytes:
        if self._key is None or self._certificate is None:
            raise ImproperlyConfigured("signing with 'auth' needs the settings security_key and security_certificate")
        try:
            self._certificate.check(self._clock())
        except SecurityError as error:
            raise ImproperlyConfigured(f"{error}, so its signatures would be refused; renew it") from error
        body = self._inner.encode(value)
        padding, digest = self._scheme()
        parts = [
            base64.b64encode(self._certificate.id.encode()),
            base64.b64encode(self._key.sign(body, padding, digest)),
            self._inner.content_type.encode(),
            self._inner.encoding.encode(),
            body,
        ]
        return base64.b64encode(SEPARATOR.join(parts))

    def _decode(self, data: bytes) -> Any:
        parts = strict_base64(data).split(SEPARATOR, _PARTS - 1)
        if len(parts) != _PARTS:
            raise SecurityError("the body isn't in the form of Celery's auth serializer")
        signer, signature, content_type, encoding, body = parts
        certificate = self._store.get(strict_base64(signer).decode(errors="replace"))
        if certificate is None:
            raise SecurityError(f"the body's signer, {strict_base64(signer)!r:.200}, is not in security_cert_store")
        certificate.check(self._clock())
        self._verify(certificate, strict_base64(signature), body)
        if (content_type, encoding) != (self._inner.content_type.encode(), self._inner.encoding.encode()):
            raise SecurityError(
                f"the signed body is {content_type!r:.60} ({encoding!r:.20}), but security_serializer is "
                f"{self._inner.name!r}"
            )
        return self._inner.decode(body)

    def _verify(self, certificate: Certificate, signature: bytes, body: bytes) -> None:
        from cryptography.exceptions import InvalidSignature  # optional

        padding, digest = self._scheme()
        try:
            certificate.public_key.verify(signature, body, padding, digest)
        except InvalidSignature:
            raise SecurityError(
                f"the signature by {certificate.id!r} doesn't match the body: the body has been altered, or the sender "
                "has another security_digest"
            ) from None

    def _scheme(self) -> tuple[Any, Any]:
        from cryptography.hazmat.primitives import hashes  # optional
        from cryptography.hazmat.primitives.asymmetric import padding  # optional

        digest = getattr(hashes, self._digest.upper())()
        return padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.MAX_LENGTH), digest


def _by_id(store: Iterable[Certificate]) -> Mapping[str, Certificate]:
    by_id: dict[str, Certificate] = {}
    for certificate in store:
        if certificate.id in by_id:
            raise ImproperlyConfigured(f"security_cert_store holds certificate {certificate.id!r} twice: remove one")
        by_id[certificate.id] = certificate
    return by_id
