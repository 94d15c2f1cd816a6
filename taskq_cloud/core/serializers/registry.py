"""The registry of serializers, by name and by content type. An application may add its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.serializers import compression, rich_json
from taskq_cloud.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured

AUTH: Final = "auth"
AUTH_CONTENT_TYPE: Final = "application/data"
"""Celery's signed serializer. It needs keys, so an application's codec has it (``core.security.certificates``)."""
AUTH_NEEDS: Final = "serializer 'auth' needs the settings security_key, security_certificate and security_cert_store"


@dataclass(frozen=True, slots=True)
class Serializer:
    """A pair of functions that write a value as bytes and read it again.

    Args:
        name: its name in settings.
        content_type: its name in messages.
        encoding: ``utf-8`` if the bytes are text, otherwise ``binary``.
        encode: value -> bytes; raises ``EncodeError``.
        decode: bytes -> value; raises ``DecodeError``.
        check: looks at bytes before they are decoded, and raises ``DecodeError`` if their values would take too much
            memory, given the size of the largest body; None: the size of the bytes alone is limited.
    """

    name: str
    content_type: str
    encoding: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    check: Callable[[bytes, int], None] | None = None

    def check_size(self, data: bytes, most_bytes: int) -> None:
        """Check bytes before they are decoded, or after they were encoded.

        Args:
            data: the bytes.
            most_bytes: the size of the largest body.

        Raises:
            DecodeError: there are more bytes, or their values would take too much memory.
        """
        compression.check_bytes(data, most_bytes)
        if self.check is not None:
            self.check(data, most_bytes)


def _formats() -> Any:
    from taskq_cloud.core.serializers import formats  # most messages are JSON

    return formats


_BUILT_IN: Final = (
    Serializer(
        "json",
        "application/json",
        "utf-8",
        lambda value: rich_json.dumps(value).encode(),
        rich_json.loads,
        compression.check_json,
    ),
    Serializer(
        "pickle",
        "application/x-python-serialize",
        "binary",
        lambda value: _formats().pickle_encode(value),
        lambda data: _formats().pickle_decode(data),
    ),
    Serializer(
        "yaml",
        "application/x-yaml",
        "utf-8",
        lambda value: _formats().yaml_encode(value),
        lambda data: _formats().yaml_decode(data),
    ),
    Serializer(
        "msgpack",
        "application/x-msgpack",
        "binary",
        lambda value: _formats().msgpack_encode(value),
        lambda data: _formats().msgpack_decode(data),
        lambda data, most_bytes: _formats().check_msgpack(data, most_bytes),
    ),
)
_by_name: Final = {serializer.name: serializer for serializer in _BUILT_IN}
_by_content_type: Final = {serializer.content_type: serializer for serializer in _BUILT_IN}


def register_serializer(
    name: str,
    encode: Callable[[Any], bytes],
    decode: Callable[[bytes], Any],
    *,
    content_type: str,
    encoding: str = "utf-8",
) -> None:
    """Add a serializer for all applications of this process. Call it where tasks are declared, in every process.

    Args:
        name: the name for ``task_serializer`` and ``accept_content``.
        encode: value -> bytes; any exception becomes an ``EncodeError``.
        decode: bytes -> value; any exception becomes a ``DecodeError``, and the message is dead-lettered.
        content_type: the name in messages.
        encoding: ``utf-8`` if the bytes are text, otherwise ``binary``.

    Raises:
        ImproperlyConfigured: another serializer has the name or the content type.
    """
    if name in {*_by_name, AUTH} or content_type in {*_by_content_type, AUTH_CONTENT_TYPE}:
        raise ImproperlyConfigured(f"another serializer has the name {name!r} or the content type {content_type!r}")

    def guarded_encode(value: Any) -> bytes:
        try:
            return encode(value)
        except Exception as error:  # the application's own code
            raise EncodeError(f"not serialisable as {name}: {error}") from error

    def guarded_decode(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception as error:  # the application's own code
            raise DecodeError(f"not readable as {name}: {type(error).__name__}: {error}") from error

    serializer = Serializer(name, content_type, encoding, guarded_encode, guarded_decode)
    _by_name[name] = _by_content_type[content_type] = serializer


def unregister_serializer(name: str) -> None:
    """Remove a serializer that ``register_serializer`` has added.

    Raises:
        ImproperlyConfigured: no serializer has that name, or it is built in.
    """
    serializer = _by_name.get(name)
    if serializer is None or serializer in _BUILT_IN:
        raise ImproperlyConfigured(f"no serializer {name!r} was registered, so it can't be removed")
    del _by_name[name], _by_content_type[serializer.content_type]


def serializer_named(name: str) -> Serializer:
    """Look up a serializer by its name in settings.

    Raises:
        ImproperlyConfigured: the name is unknown, or is ``auth``, which needs keys.
    """
    if name == AUTH:
        raise ImproperlyConfigured(AUTH_NEEDS)
    try:
        return _by_name[name]
    except KeyError:
        raise ImproperlyConfigured(f"unknown serializer {name!r}; known: {', '.join(sorted(_by_name))}") from None


def serializer_for(content_type: str, accept: Collection[str]) -> Serializer:
    """Look up the serializer of a message's content type.

    Args:
        content_type: the content type of the message.
        accept: the names or content types of the accepted serializers (``accept_content``).

    Raises:
        ContentDisallowed: the content type is unknown, or not accepted.
    """
    serializer = _by_content_type.get(content_type) or _by_name.get(content_type)
    if serializer is not None and (serializer.name in accept or serializer.content_type in accept):
        return serializer
    known = "not accepted" if serializer else "unknown"
    raise ContentDisallowed(f"the content type {content_type!r} is {known} here (accept_content: {', '.join(accept)})")


def check_accepted(accept: Collection[str]) -> None:
    """Check that each serializer in ``accept_content`` can be used here; the codec checks ``auth``.

    Raises:
        ImproperlyConfigured: a serializer is unknown, or its package is not installed.
    """
    for each in accept:
        if each in (AUTH, AUTH_CONTENT_TYPE):
            continue
        serializer = _by_name.get(each) or _by_content_type.get(each)
        if serializer is None:
            raise ImproperlyConfigured(
                f"accept_content: unknown serializer {each!r}; known: {', '.join(sorted(_by_name))}, auth"
            )
        check_serializer(serializer.name)


def check_serializer(name: str) -> None:
    """Check that a serializer can be used here.

    Raises:
        ImproperlyConfigured: the serializer is unknown, or its package is not installed.
    """
    serializer = serializer_named(name)
    if serializer in _BUILT_IN:
        serializer.encode(None)
