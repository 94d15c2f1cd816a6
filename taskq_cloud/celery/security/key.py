"""Private keys."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from taskq_cloud.celery.exceptions import SecurityError
from taskq_cloud.celery.security.utils import as_bytes, padding_of, reraise_errors

__all__ = ("PrivateKey",)


class PrivateKey:
    """An RSA key.

    Args:
        key: the key in PEM.
        password: the key's password.

    Raises:
        SecurityError: the key can't be read, or isn't an RSA key.
    """

    def __init__(self, key: Any, password: Any = None) -> None:
        with reraise_errors("Invalid private key: {0!r}", (ValueError,)):
            self._key: Any = serialization.load_pem_private_key(as_bytes(key), as_bytes(password))
            if not isinstance(self._key, rsa.RSAPrivateKey):
                raise SecurityError("Non-RSA keys are not supported.")

    def sign(self, data: Any, digest: Any) -> bytes:
        """Return the signature of data.

        Raises:
            SecurityError: the data can't be signed.
        """
        with reraise_errors("Unable to sign data: {0!r}"):
            signature: bytes = self._key.sign(as_bytes(data), padding_of(digest), digest)
            return signature
