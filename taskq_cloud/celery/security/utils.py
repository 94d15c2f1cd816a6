"""Digests and errors of signatures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from cryptography.exceptions import AlreadyFinalized, InvalidKey, InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from taskq_cloud.celery.exceptions import SecurityError

__all__ = ("get_digest_algorithm", "reraise_errors")

_ERRORS: Final = (AlreadyFinalized, InvalidKey, InvalidSignature, InvalidTag, UnsupportedAlgorithm)


def get_digest_algorithm(digest: str = "sha256") -> Any:
    """Return a digest of cryptography by its name.

    Raises:
        AttributeError: there is no such digest.
    """
    assert digest is not None
    return getattr(hashes, digest.upper())()


@contextmanager
def reraise_errors(msg: str = "{0!r}", errors: tuple[type[BaseException], ...] | None = None) -> Iterator[None]:
    """Turn errors of cryptography into ``SecurityError`` in a ``with`` statement.

    Args:
        msg: the message, with a place for the error.
        errors: the classes of errors; None: those of cryptography.
    """
    caught = errors or _ERRORS
    try:
        yield
    except caught as error:
        raise SecurityError(msg.format(error)) from error


def padding_of(digest: Any) -> Any:
    """Return the padding of signatures with a digest."""
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.MAX_LENGTH)


def as_bytes(value: Any) -> Any:
    """Return a text as bytes, and anything else as it is."""
    return value.encode() if isinstance(value, str) else value
