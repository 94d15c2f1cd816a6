"""Makes an application's codec and payload policy from its settings, and reads the keys and certificates they name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.payloads.policy import SQS_EXTENDED, Payloads
from taskq_cloud.core.security.policy import Security
from taskq_cloud.core.security.signing import Key, MessageSigning, key_from_text
from taskq_cloud.core.serializers import serializer_named
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

if TYPE_CHECKING:
    from taskq_cloud.core.security.certificates import Authenticator, Certificate
    from taskq_cloud.settings import Settings


def codec_from_settings(settings: Settings, payloads: Payloads | None = None) -> Codec:
    """Make the codec of an application.

    Args:
        settings: the application's settings.
        payloads: the policy for messages that are too large for the broker; None: they are refused.

    Raises:
        ImproperlyConfigured: a serializer or compression is unknown, a package is missing, or a key can't be read. The
            error quotes no key.
    """
    signing, auth = _signing(settings), _authenticator(settings)
    security = None
    if signing is not None or auth is not None:
        security = Security(clock=time.time, auth=auth, signing=signing, accept_unsigned=settings.accept_unsigned)
    return Codec(
        accept_content=settings.accept_content,
        event_routes=settings.task_event_routes,
        serializer=settings.task_serializer,
        compression=settings.task_compression,
        security=security,
        payloads=payloads,
        most_bytes=settings.task_max_body_bytes,
    )


def payloads_from_settings(settings: Settings) -> Payloads | None:
    """Make the policy for large messages and results. None: the application has no bucket for them.

    Raises:
        ImproperlyConfigured: the URL names no object store, or the format or the compression is unknown.
    """
    if settings.payloads is None:
        return None
    from taskq_cloud.stores.payloads.registry import payload_store_from_url  # few applications have one

    return Payloads(
        store=payload_store_from_url(settings.payloads),
        compression=settings.payload_compression,
        format=settings.payload_format,
        sources=settings.payload_sources,
        pointers=_follows_pointers(settings),
        threshold_bytes=settings.payload_threshold,
        expires_days=settings.payload_expires_days,
    )


def _follows_pointers(settings: Settings) -> bool:
    signs = bool(settings.message_signing_keys) or bool({"auth", "application/data"} & {*settings.accept_content})
    return not signs or settings.payload_pointers or settings.payload_format == SQS_EXTENDED


def _signing(settings: Settings) -> MessageSigning | None:
    if not settings.message_signing_keys:
        return None
    keys: list[Key] = []
    for position, text in enumerate(settings.message_signing_keys, 1):
        try:
            keys.append(key_from_text(text.get_secret_value()))
        except MissingExtra:
            raise
        except ImproperlyConfigured as error:
            raise ImproperlyConfigured(f"message_signing_keys, key {position}: {error}") from None
    return MessageSigning(keys, settings.message_signature_max_age)


def _authenticator(settings: Settings) -> Authenticator | None:
    named = {"auth", "application/data"} & {*settings.accept_content, settings.task_serializer}
    if not named and settings.security_key is None and settings.security_cert_store is None:
        return None
    from taskq_cloud.core.security import certificates as auth  # few applications have certificates

    password = settings.security_key_password
    key = certificate = None
    if settings.security_key is not None:
        pem = _pem("security_key", settings.security_key.get_secret_value())
        key = auth.private_key_from_pem(pem, password.get_secret_value() if password else None)
    if settings.security_certificate is not None:
        pem = _pem("security_certificate", settings.security_certificate)
        certificate = auth.certificates_from_pem(pem, "security_certificate")[0]
    if (key is None) != (certificate is None):
        raise ImproperlyConfigured("security_key and security_certificate must be set together: one of them is missing")
    if not settings.security_cert_store:
        raise ImproperlyConfigured("serializer 'auth' needs the setting security_cert_store: the trusted certificates")
    return auth.Authenticator(
        key=key,
        certificate=certificate,
        store=_store(settings.security_cert_store),
        digest=settings.security_digest,
        inner=serializer_named(settings.security_serializer),
        clock=time.time,
    )


def _pem(setting: str, value: str) -> bytes:
    if value.lstrip().startswith("-----BEGIN"):
        return value.encode()
    from pathlib import Path  # few applications have certificates

    try:
        return Path(value).read_bytes()
    except (OSError, ValueError) as error:
        # The value may be a key in place of the path of its file, so the error doesn't quote it.
        reason = error.strerror if isinstance(error, OSError) else "the value is not a path"
        raise ImproperlyConfigured(f"{setting}: its file can't be read: {reason}") from None


def _store(pattern: str) -> list[Certificate]:
    import glob
    from pathlib import Path

    from taskq_cloud.core.security import certificates as auth  # as above

    paths = sorted(glob.glob(str(Path(pattern) / "*") if Path(pattern).is_dir() else pattern))  # noqa: PTH207 - a pattern of paths
    if not paths:
        raise ImproperlyConfigured(f"security_cert_store: no file matches {pattern!r}")
    return [each for path in paths for each in auth.certificates_from_pem(_pem("security_cert_store", path), path)]
