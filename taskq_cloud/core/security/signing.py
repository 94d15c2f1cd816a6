r"""Signatures of whole messages, with HMAC-SHA256 or Ed25519: headers and properties as well as the body.

The message header ``taskq_signature`` holds ``algorithm``, ``key`` (the key's id), ``created`` (seconds since the
epoch) and ``value`` (base64). The signature covers the line ``taskq-signature-v1``, a line feed, and the message as
JSON without ``value``: keys sorted by code point, no spaces, characters beyond ASCII as ``\uXXXX``. So a message can
be serialised again on its way, but not altered. Celery's workers ignore the header. The message of a periodic task,
which a schedule holds for all its fire times, is signed without fire time and id. In a tick's message that has its fire
time when it is signed, the signature covers that too, and says so by ``"fire_time": true``.

A *seal* is the signature of a statement that isn't a message: of what a record or a message attribute says.

A key as text: ``hmac:<base64 of 32 bytes or more>``, ``ed25519:<base64 of the 32 bytes of the private key>``, or
``ed25519-public:<base64 of the 32 bytes of the public key>``, which verifies and can't sign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.model.message import SCHEDULE, SCHEDULED_TIME
from taskq_cloud.core.model.option_values import aware
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra, SecurityError

SIGNATURE_HEADER: Final = "taskq_signature"
_CONTEXT: Final = b"taskq-signature-v1\n"
_SEAL_CONTEXT: Final = b"taskq-seal-v1\n"
_COVERS_FIRE_TIME: Final = "fire_time"
SMALLEST_SECRET_BYTES: Final = 32
"""The shortest secret; a key shorter than the hash's output is weaker (RFC 2104, section 3)."""
ED25519_KEY_BYTES: Final = 32
_SEAL_PARTS: Final = 4
_SEAL_TIME_DIGITS: Final = 13
_MISSING: Final = "Ed25519 signatures"


@dataclass(frozen=True, slots=True)
class HmacKey:
    """A secret key that signs and verifies messages."""

    secret: bytes = field(repr=False)
    algorithm: Final = "hmac-sha256"

    @property
    def id(self) -> str:
        """The key's id in messages: derived from the key, which can't be computed from it."""
        return _key_id(self.algorithm, hmac.digest(self.secret, b"taskq-key-id", "sha256"))

    @property
    def signs(self) -> bool:
        """Whether the key can sign."""
        return True

    def sign(self, data: bytes) -> bytes:
        """Sign some bytes."""
        return hmac.digest(self.secret, data, "sha256")

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether a signature is that of some bytes; the time for this doesn't depend on the bytes."""
        return hmac.compare_digest(self.sign(data), signature)


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    """An Ed25519 key: the public part, which verifies, and the private part, which signs, where it is known."""

    public: bytes
    private: bytes | None = field(default=None, repr=False)
    algorithm: Final = "ed25519"

    @property
    def id(self) -> str:
        """The key's id in messages."""
        return _key_id(self.algorithm, self.public)

    @property
    def signs(self) -> bool:
        """Whether the key can sign, as it has its private part."""
        return self.private is not None

    def sign(self, data: bytes) -> bytes:
        """Sign some bytes."""
        if self.private is None:
            raise ImproperlyConfigured("a public key can't sign: use the ed25519: key of the sender")
        signature: bytes = _ed25519().Ed25519PrivateKey.from_private_bytes(self.private).sign(data)
        return signature

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether a signature is that of some bytes."""
        from cryptography.exceptions import InvalidSignature  # optional

        try:
            _ed25519().Ed25519PublicKey.from_public_bytes(self.public).verify(signature, data)
        except InvalidSignature:
            return False
        return True


Key: TypeAlias = HmacKey | Ed25519Key


def _key_id(algorithm: str, data: bytes) -> str:
    return hashlib.sha256(algorithm.encode() + b"\n" + data).hexdigest()[:16]


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # optional
    except ImportError:
        raise MissingExtra(_MISSING, "auth") from None
    return ed25519


def key_from_text(text: str) -> Key:
    """Read a key from its text.

    Raises:
        ImproperlyConfigured: the text isn't a key; the error doesn't quote it.
        MissingExtra: the key is an Ed25519 key, and cryptography is not installed.
    """
    kind, _, encoded = text.strip().partition(":")
    if kind not in ("hmac", "ed25519", "ed25519-public"):
        raise ImproperlyConfigured("a signing key must begin with hmac:, ed25519: or ed25519-public:")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ImproperlyConfigured(f"the {kind} key isn't base64") from None
    if kind == "hmac":
        if len(data) < SMALLEST_SECRET_BYTES:
            raise ImproperlyConfigured(f"the hmac key has {len(data)} bytes; it needs at least {SMALLEST_SECRET_BYTES}")
        return HmacKey(data)
    if len(data) != ED25519_KEY_BYTES:
        raise ImproperlyConfigured(f"the {kind} key has {len(data)} bytes; it must have {ED25519_KEY_BYTES}")
    module = _ed25519()
    if kind == "ed25519-public":
        return Ed25519Key(data)
    return Ed25519Key(module.Ed25519PrivateKey.from_private_bytes(data).public_key().public_bytes_raw(), data)


def public_key(text: str) -> str:
    """Derive the ``ed25519-public:`` text of an ``ed25519:`` key, for services that only verify messages."""
    key = key_from_text(text)
    if not isinstance(key, Ed25519Key):
        raise ImproperlyConfigured("the key has no public part; only an ed25519: key has one")
    return f"ed25519-public:{base64.b64encode(key.public).decode()}"


class MessageSigning:
    """Signs messages with the first of some keys, and verifies signatures with all of them.

    Args:
        keys: the keys; the first must be able to sign, as workers send messages too: retries, and the tasks that follow
            a task.
        max_age_seconds: how long a signature is valid after it was made or the message was due; None: for ever.

    Raises:
        ImproperlyConfigured: there is no key, or the first can't sign.
    """

    def __init__(self, keys: Sequence[Key], max_age_seconds: float | None = None) -> None:
        if not keys or not keys[0].signs:
            raise ImproperlyConfigured(
                "message_signing_keys: the first key must be one that can sign (hmac: or ed25519:), as workers send "
                "messages too: retries, and the tasks that follow a task"
            )
        self._keys = {key.id: key for key in keys}
        self._signer = keys[0]
        self._max_age_seconds = max_age_seconds

    def __repr__(self) -> str:
        return f"<MessageSigning keys={', '.join(self._keys)}>"

    def sign(self, document: Mapping[str, Any], now: float) -> dict[str, Any]:
        """Add a signature to a message.

        Args:
            document: the message, as plain JSON.
            now: the time, in seconds since the epoch.
        """
        signature: dict[str, Any] = {
            "algorithm": self._signer.algorithm,
            "key": self._signer.id,
            "created": int(now),
        }
        if SCHEDULE in document["headers"] and _seconds(document["headers"].get(SCHEDULED_TIME)):
            signature[_COVERS_FIRE_TIME] = True
        signed = {**document, "headers": {**document["headers"], SIGNATURE_HEADER: signature}}
        signature["value"] = base64.b64encode(self._signer.sign(_CONTEXT + canonical(_signed_part(signed)))).decode()
        return signed

    def verify(self, document: Mapping[str, Any], now: float) -> float | None:
        """Check a message's signature.

        Returns:
            When the message was signed, in seconds since the epoch, if the signature leaves the fire time of a periodic
            task open; otherwise None.

        Raises:
            SecurityError: the message isn't signed, its key is unknown, it was altered, or its signature is too old.
        """
        signature = signature_of(document)
        if signature is None:
            raise SecurityError("the message is not signed, and message_signing_keys is set")
        match signature:
            case {"algorithm": str(algorithm), "key": str(key_id), "created": int(created), "value": str(value)}:
                key = self._key("the message", key_id, algorithm)
            case _:
                raise SecurityError("the message's signature is malformed")
        unsigned = {name: part for name, part in signature.items() if name != "value"}
        content = {**document, "headers": {**document["headers"], SIGNATURE_HEADER: unsigned}}
        if not key.verifies(_CONTEXT + canonical(_signed_part(content)), strict_base64(value)):
            raise SecurityError(f"the signature by key {key_id} doesn't match the message: it has been altered")
        if self._max_age_seconds is not None:
            age = now - max(created, _due_at(document["headers"]))
            if age > self._max_age_seconds:
                raise SecurityError(f"the signature is {age:.0f} s old; {self._max_age_seconds:g} s are allowed")
        return created if _is_template(content) else None

    def seal(self, statement: Mapping[str, str], now: float) -> str:
        """Sign a statement.

        Args:
            statement: the statement; its ``kind`` tells it from all other kinds.
            now: the time, in seconds since the epoch.
        """
        head = f"{self._signer.algorithm}:{self._signer.id}:{int(now)}"
        return f"{head}:{base64.b64encode(self._signer.sign(_sealed(head, statement))).decode()}"

    def sealed_at(self, statement: Mapping[str, str], seal: object) -> float:
        """Check a statement's seal, and return when it was made, in seconds since the epoch.

        Raises:
            SecurityError: there is no seal, its key is unknown, or it is another statement's.
        """
        parts = seal.split(":") if isinstance(seal, str) and seal.isascii() else []
        if len(parts) != _SEAL_PARTS or not (parts[2].isdigit() and len(parts[2]) < _SEAL_TIME_DIGITS):
            raise SecurityError(f"{statement['kind']} isn't signed, and message_signing_keys is set")
        algorithm, key_id, created, value = parts
        key = self._key(statement["kind"], key_id, algorithm)
        if not key.verifies(_sealed(f"{algorithm}:{key_id}:{created}", statement), strict_base64(value)):
            raise SecurityError(f"the signature of {statement['kind']} by key {key_id} doesn't match: it was altered")
        return float(created)

    def _key(self, what: str, key_id: str, algorithm: str) -> Key:
        key = self._keys.get(key_id)
        if key is None or key.algorithm != algorithm:
            raise SecurityError(f"{what} is signed with the key {key_id!r:.40} ({algorithm!r:.40}), unknown here")
        return key


def signature_of(document: Mapping[str, Any]) -> Any:
    """The unchecked signature of a message, or None."""
    headers = document.get("headers")
    return headers.get(SIGNATURE_HEADER) if isinstance(headers, dict) else None


def _is_template(document: Mapping[str, Any]) -> bool:
    """Whether a signature leaves the fire time open, as that of the message that a schedule holds for all its ticks."""
    headers = document.get("headers")
    if not isinstance(headers, Mapping) or SCHEDULE not in headers:
        return False
    return headers[SIGNATURE_HEADER].get(_COVERS_FIRE_TIME) is not True


def _signed_part(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a message that its signature covers: all of it, or of a template all but its fire time and its id.

    The signer of a template doesn't know these two: the platform fills in the fire time, and the reader derives the id
    from the fire time and the signed name, whatever id the message has.
    """
    if not _is_template(document):
        return document
    headers = document["headers"]
    timeless = {**headers, SCHEDULED_TIME: None, "id": None}
    signed = {**document, "headers": timeless}
    if headers.get("root_id") == headers.get("id"):
        timeless["root_id"] = None
    properties = document.get("properties")
    if isinstance(properties, Mapping) and properties.get("correlation_id") == headers.get("id"):
        signed["properties"] = {**properties, "correlation_id": None}
    return signed


def _sealed(head: str, statement: Mapping[str, str]) -> bytes:
    return _SEAL_CONTEXT + head.encode() + b"\n" + canonical(statement)


def _due_at(headers: Mapping[str, Any]) -> float:
    """The time at which a message is due, by its eta or as a tick, in seconds since the epoch; 0 if it has neither."""
    return max(_seconds(headers.get("eta")), _seconds(headers.get(SCHEDULED_TIME)))


def _seconds(value: Any) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return 0
    return aware(moment).timestamp()


def canonical(document: Mapping[str, Any]) -> bytes:
    """Write a JSON object in the form that is signed: sorted keys, no spaces, only ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def strict_base64(text: str | bytes) -> bytes:
    """Decode base64 in its usual spelling only: with another one, a message could be altered without notice.

    Raises:
        SecurityError: the text isn't base64, or is spelled in another way.
    """
    data = text.encode(errors="replace") if isinstance(text, str) else text
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise SecurityError("a part of the signature isn't base64") from None
    if base64.b64encode(decoded) != data:
        raise SecurityError("a part of the signature is base64 in an unusual spelling: it has been altered")
    return decoded
