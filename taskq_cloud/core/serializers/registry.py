"""The serializers that there are, by name and by content type; an application may add its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.serializers import formats, rich_json
from taskq_cloud.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured

AUTH: Final = "auth"
AUTH_CONTENT_TYPE: Final = "application/data"
"""Celery's signed serializer. It needs keys, so it is a part of an application's codec (``core.auth``) and not here."""
AUTH_NEEDS: Final = "serializer 'auth' needs the settings security_key, security_certificate and security_cert_store"


@dataclass(frozen=True, slots=True)
class Serializer:
    """A way to make bytes of a value.

    Args:
        name: as settings name it.
        content_type: as messages name it.
        encoding: ``utf-8`` where the bytes are text, ``binary`` where they are not.
        encode: value -> bytes; raises ``EncodeError``.
        decode: bytes -> value; raises ``DecodeError``.
    """

    name: str
    content_type: str
    encoding: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


_BUILT_IN: Final = (
    Serializer("json", "application/json", "utf-8", lambda value: rich_json.dumps(value).encode(), rich_json.loads),
    Serializer("pickle", "application/x-python-serialize", "binary", formats.pickle_encode, formats.pickle_decode),
    Serializer("yaml", "application/x-yaml", "utf-8", formats.yaml_encode, formats.yaml_decode),
    Serializer("msgpack", "application/x-msgpack", "binary", formats.msgpack_encode, formats.msgpack_decode),
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
    """Add a serializer, for every application of this process. Do it where tasks are declared: in each process.

    Args:
        name: as ``task_serializer`` and ``accept_content`` name it.
        encode: value -> bytes; what it raises becomes an ``EncodeError``.
        decode: bytes -> value; what it raises becomes a ``DecodeError``, and the message a dead letter.
        content_type: as messages name it.
        encoding: ``utf-8`` where the bytes are text, ``binary`` where they are not.

    Raises:
        ImproperlyConfigured: the name or the content type is taken.
    """
    if name in {*_by_name, AUTH} or content_type in {*_by_content_type, AUTH_CONTENT_TYPE}:
        raise ImproperlyConfigured(f"serializer {name!r} ({content_type}): the name or the content type is taken")

    def guarded_encode(value: Any) -> bytes:
        try:
            return encode(value)
        except Exception as error:  # the application's own code
            raise EncodeError(f"not serialisable as {name}: {error}") from error

    def guarded_decode(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception as error:  # likewise
            raise DecodeError(f"not readable as {name}: {type(error).__name__}: {error}") from error

    serializer = Serializer(name, content_type, encoding, guarded_encode, guarded_decode)
    _by_name[name] = _by_content_type[content_type] = serializer


def unregister_serializer(name: str) -> None:
    """Take away a serializer that ``register_serializer`` added.

    Raises:
        ImproperlyConfigured: there is none of that name, or it is built in.
    """
    serializer = _by_name.get(name)
    if serializer is None or serializer in _BUILT_IN:
        raise ImproperlyConfigured(f"no serializer {name!r} was registered")
    del _by_name[name], _by_content_type[serializer.content_type]


def serializer_named(name: str) -> Serializer:
    """The serializer that settings call ``name``.

    Raises:
        ImproperlyConfigured: there is none, or it is ``auth``, which is not to be had without keys.
    """
    if name == AUTH:
        raise ImproperlyConfigured(AUTH_NEEDS)
    try:
        return _by_name[name]
    except KeyError:
        raise ImproperlyConfigured(f"unknown serializer {name!r}; known: {', '.join(sorted(_by_name))}") from None


def serializer_for(content_type: str, accept: Collection[str]) -> Serializer:
    """The serializer of a content type, if it is accepted.

    Args:
        content_type: as the message names it.
        accept: the names or content types of the serializers that may be read (``accept_content``).

    Raises:
        ContentDisallowed: it is unknown, or not accepted.
    """
    serializer = _by_content_type.get(content_type) or _by_name.get(content_type)
    if serializer is not None and (serializer.name in accept or serializer.content_type in accept):
        return serializer
    known = "not accepted" if serializer else "unknown"
    raise ContentDisallowed(f"content type {content_type!r} is {known} here (accept_content: {', '.join(accept)})")


def check_accepted(accept: Collection[str]) -> None:
    """Whether everything in ``accept_content`` can be read here; ``auth`` is the codec's to check.

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
    """Whether a serializer can be used here.

    Raises:
        ImproperlyConfigured: it is unknown, or its package is not installed.
    """
    serializer = serializer_named(name)
    if serializer in _BUILT_IN:
        serializer.encode(None)
