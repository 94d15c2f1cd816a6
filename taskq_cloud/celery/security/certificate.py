"""Certificates, and stores of trusted ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import load_pem_x509_certificate

from taskq_cloud.celery.exceptions import SecurityError
from taskq_cloud.celery.security.utils import as_bytes, padding_of, reraise_errors

__all__ = ("CertStore", "Certificate", "FSCertStore")


class Certificate:
    """An X.509 certificate with an RSA key.

    Args:
        cert: the certificate in PEM.

    Raises:
        SecurityError: it can't be read, or its key isn't an RSA key.
    """

    def __init__(self, cert: Any) -> None:
        with reraise_errors("Invalid certificate: {0!r}", (ValueError,)):
            self._cert = load_pem_x509_certificate(as_bytes(cert))
            if not isinstance(self._cert.public_key(), rsa.RSAPublicKey):
                raise SecurityError("Non-RSA certificates are not supported.")

    def has_expired(self) -> bool:
        """Tell whether the certificate isn't valid any more."""
        return datetime.now(UTC) >= self._cert.not_valid_after_utc

    def get_pubkey(self) -> Any:
        """Return the public key."""
        return self._cert.public_key()

    def get_serial_number(self) -> int:
        """Return the serial number."""
        return self._cert.serial_number

    def get_issuer(self) -> str:
        """Return the issuer's names."""
        return " ".join(str(part.value) for part in self._cert.issuer)

    def get_id(self) -> str:
        """Return the issuer's names and the serial number."""
        return f"{self.get_issuer()} {self.get_serial_number()}"

    def verify(self, data: Any, signature: bytes, digest: Any) -> None:
        """Verify that data were signed with the certificate's key.

        Raises:
            SecurityError: the certificate has expired, or the signature doesn't match.
        """
        if self.has_expired():
            raise SecurityError(f"Expired certificate: {self.get_id()!r}")
        with reraise_errors("Bad signature: {0!r}"):
            self.get_pubkey().verify(signature, as_bytes(data), padding_of(digest), digest)


class CertStore:
    """Trusted certificates, by their ids."""

    def __init__(self) -> None:
        self._certs: dict[str, Any] = {}

    def itercerts(self) -> Iterator[Any]:
        """Go through the certificates."""
        yield from self._certs.values()

    def __getitem__(self, id: Any) -> Any:
        known = self._certs.get(id.decode() if isinstance(id, bytes) else id)
        if known is None:
            raise SecurityError(f"Unknown certificate: {id!r}")
        return known

    def add_cert(self, cert: Any) -> None:
        """Add a certificate.

        Raises:
            SecurityError: the store has one with this id.
        """
        given = cert.get_id()
        name = given.decode() if isinstance(given, bytes) else given
        if name in self._certs:
            raise SecurityError(f"Duplicate certificate: {name!r}")
        self._certs[name] = cert


class FSCertStore(CertStore):
    """The certificates of files.

    Args:
        path: a folder, or a pattern of the names of files in one.

    Raises:
        SecurityError: a certificate can't be read, or has expired.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        given = Path(path)
        files = given.iterdir() if given.is_dir() else given.parent.glob(given.name)
        for file in sorted(files):
            cert = Certificate(file.read_text())
            if cert.has_expired():
                raise SecurityError(f"Expired certificate: {cert.get_id()!r}")
            self.add_cert(cert)
