"""``SecureSerializer``: signs and verifies values by hand. Messages are signed by the native serializer ``auth``.

Both write the bytes that Celery writes.
"""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.celery.security.utils import as_bytes, get_digest_algorithm, reraise_errors
from taskq_cloud.celery.utils.serialization import b64decode, b64encode
from taskq_cloud.core.security.certificates import SEPARATOR
from taskq_cloud.core.serializers.registry import serializer_for, serializer_named

__all__ = ("SecureSerializer",)

DEFAULT_SEPARATOR: Final = SEPARATOR
DEFAULT_SECURITY_DIGEST: Final = "sha256"
_PARTS: Final = 5


class SecureSerializer:
    """Writes values with a signature, and reads them if the signature is that of a trusted certificate.

    Args:
        key: the private key.
        cert: its certificate.
        cert_store: the trusted certificates.
        digest: the digest of the signatures.
        serializer: the serializer of the values.
    """

    def __init__(
        self,
        key: Any = None,
        cert: Any = None,
        cert_store: Any = None,
        digest: str = DEFAULT_SECURITY_DIGEST,
        serializer: str = "json",
    ) -> None:
        self._key, self._cert, self._cert_store = key, cert, cert_store
        self._digest = get_digest_algorithm(digest)
        self._serializer = serializer

    def serialize(self, data: Any) -> str:
        """Write a value with its signature.

        Raises:
            SecurityError: the value can't be written.
        """
        assert self._key is not None
        assert self._cert is not None
        with reraise_errors("Unable to serialize: {0!r}", (Exception,)):
            inner = serializer_named(self._serializer)
            body = inner.encode(data)
            return self._pack(
                body,
                inner.content_type,
                inner.encoding,
                signer=self._cert.get_id(),
                signature=self._key.sign(body, self._digest),
            )

    def deserialize(self, data: Any) -> Any:
        """Read a value whose signature is that of a trusted certificate.

        Raises:
            SecurityError: the bytes have another form, or the signature doesn't match.
        """
        assert self._cert_store is not None
        with reraise_errors("Unable to deserialize: {0!r}", (Exception,)):
            parts = self._unpack(data)
            self._cert_store[parts["signer"]].verify(parts["body"], parts["signature"], self._digest)
            # The signature doesn't cover the content type, so only that of this object's serializer is read.
            return serializer_for(parts["content_type"], (self._serializer,)).decode(parts["body"])

    def _pack(
        self,
        body: Any,
        content_type: Any,
        content_encoding: Any,
        signer: Any,
        signature: Any,
        sep: bytes = DEFAULT_SEPARATOR,
    ) -> str:
        fields = [b64encode(signer), b64encode(signature), content_type, content_encoding, body]
        return b64encode(sep.join(map(as_bytes, fields)))

    def _unpack(self, payload: Any, sep: bytes = DEFAULT_SEPARATOR) -> dict[str, Any]:
        parts = b64decode(as_bytes(payload)).split(sep, _PARTS - 1)
        return {
            "signer": b64decode(parts[0]),
            "signature": b64decode(parts[1]),
            "content_type": parts[2].decode(),
            "content_encoding": parts[3].decode(),
            "body": parts[4],
        }
