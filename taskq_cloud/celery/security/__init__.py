"""Signed messages: ``setup_security``. The package needs cryptography, as the native serializer ``auth`` does."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

from taskq_cloud.celery.exceptions import ImproperlyConfigured

__all__ = ("setup_security",)

CRYPTOGRAPHY_NOT_INSTALLED: Final = "the serializer auth needs cryptography: pip install 'taskq-cloud[auth]'"

if find_spec("cryptography") is None:
    raise ImproperlyConfigured(CRYPTOGRAPHY_NOT_INSTALLED)


def setup_security(
    allowed_serializers: Any = None,
    key: Any = None,
    key_password: Any = None,
    cert: Any = None,
    store: Any = None,
    digest: str | None = None,
    serializer: str = "json",
    app: Any = None,
) -> None:
    """Sign the messages of an application, and accept only messages that are signed.

    Args:
        allowed_serializers: see ``Celery.setup_security``, as for the arguments that follow.
        key: the file of the private key.
        key_password: the key's password.
        cert: the file of the certificate.
        store: the trusted certificates.
        digest: the digest of the signatures; None: the setting ``security_digest``.
        serializer: the serializer of the signed content.
        app: the application; None: the current one.

    Raises:
        ImproperlyConfigured: the settings don't ask for signed messages, or files are missing.
    """
    if app is None:
        from taskq_cloud.celery import current_app  # most callers name the application

        app = current_app._get_current_object()
    app.setup_security(
        allowed_serializers, key, key_password, cert, store, digest or app.conf.security_digest, serializer
    )
