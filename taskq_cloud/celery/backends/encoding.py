"""How a backend writes values and exceptions, and reads them again: the part of ``Backend`` that asks no store."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar, Final

from taskq_cloud.celery import exceptions, states
from taskq_cloud.celery.exceptions import ImproperlyConfigured, SecurityError
from taskq_cloud.celery.utils.serialization import (
    create_exception_cls,
    ensure_serializable,
    get_pickleable_exception,
    get_pickled_exception,
)
from taskq_cloud.core import serializers
from taskq_cloud.core.serializers import compression as compressions
from taskq_cloud.core.serializers.registry import AUTH, AUTH_CONTENT_TYPE, Serializer

EXCEPTION_ABLE_CODECS: Final = frozenset({"pickle"})
"""Serializers that can write an exception itself."""

COMPRESSED_PAYLOAD_MAGIC: Final = b"\x00celery-compressed\x00"
"""The bytes before a compressed payload, which go on with the compression's content type and a zero byte."""


def compress_payload(payload: str | bytes, compression: str) -> bytes:
    """Compress an encoded result; the payload itself says how it was compressed.

    Args:
        payload: the encoded result.
        compression: the name of a compression: ``"gzip"``.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    packed, content_type = compressions.compress(data, compression)
    return COMPRESSED_PAYLOAD_MAGIC + content_type.encode() + b"\x00" + packed


def decompress_payload(payload: Any) -> Any:
    """Expand what ``compress_payload`` has written; other payloads are returned as they are."""
    data = payload.tobytes() if isinstance(payload, memoryview) else payload
    if not isinstance(data, bytes | bytearray) or not data.startswith(COMPRESSED_PAYLOAD_MAGIC):
        return data
    content_type, _, packed = bytes(data[len(COMPRESSED_PAYLOAD_MAGIC) :]).partition(b"\x00")
    return compressions.decompress(packed, content_type.decode())


class Encoding:
    """The encoding of results.

    Attributes:
        app: the application.
        serializer: the name of the serializer of results.
        accept: the content types that are read.
        compression: the name of the compression; None: results are not compressed.
    """

    READY_STATES = states.READY_STATES
    UNREADY_STATES = states.UNREADY_STATES
    EXCEPTION_STATES = states.EXCEPTION_STATES

    supports_result_compression: ClassVar[bool] = False
    """Whether the backend can keep bytes of any kind, and so compressed results."""

    persistent: ClassVar[bool] = True

    app: Any
    serializer: str
    accept: frozenset[str] | set[str]
    compression: str | None

    def _prepare_encoding(self, serializer: str | None, accept: Any) -> None:
        conf = self.app.conf
        self.serializer = serializer or conf.result_serializer
        found = self._format()
        self.content_type, self.content_encoding = found.content_type, found.encoding
        self.encoder: Callable[[Any], bytes] = found.encode
        self.compression = self.prepare_compression(conf.get("result_compression"))
        for accepted in (accept, conf.result_accept_content, conf.accept_content):
            if accepted is not None:
                self.accept = {_content_type(each) for each in accepted}
                break
        else:
            self.accept = set()

    def _format(self) -> Serializer:
        return serializers.serializer_named(self.serializer)

    # -- values

    def encode(self, data: Any) -> Any:
        """Write a value: as text if the serializer writes text, otherwise as bytes."""
        _, _, payload = self._encode(data)
        return compress_payload(payload, self.compression) if self.compression else payload

    def _encode(self, data: Any) -> tuple[str, str, Any]:
        found = self._format()
        written = found.encode(data)
        return found.content_type, found.encoding, written.decode() if found.encoding == "utf-8" else written

    def decode(self, payload: Any) -> Any:
        """Read what ``encode`` has written; None stays None."""
        if payload is None:
            return None
        payload = decompress_payload(payload or str(payload))
        found = serializers.serializer_for(self.content_type, self.accept)
        return found.decode(payload.encode() if isinstance(payload, str) else payload)

    def decode_result(self, payload: Any) -> Any:
        """Read an encoded document, with its exception made anew."""
        return self.meta_from_decoded(self.decode(payload))

    def meta_from_decoded(self, meta: Any) -> Any:
        """Make the exception anew that a document describes, if it is that of a task which has failed."""
        if meta["status"] in self.EXCEPTION_STATES:
            meta["result"] = self.exception_to_python(meta["result"])
        return meta

    def prepare_value(self, result: Any) -> Any:
        """Write a result object as a tuple, unless it can be pickled."""
        from taskq_cloud.celery.result import ResultBase  # results ask backends

        if self.serializer != "pickle" and isinstance(result, ResultBase):
            return result.as_tuple()  # type: ignore[attr-defined, unused-ignore]
        return result

    def encode_result(self, result: Any, state: str) -> Any:
        """Bring the value or the exception of a task into the form in which it is stored."""
        if state in self.EXCEPTION_STATES and isinstance(result, BaseException):
            return self.prepare_exception(result)
        return self.prepare_value(result)

    # -- exceptions

    def prepare_exception(self, exc: BaseException, serializer: str | None = None) -> Any:
        """Describe an exception, or make it fit to be pickled.

        Args:
            exc: the exception.
            serializer: the serializer; None: the backend's.
        """
        if (self.serializer if serializer is None else serializer) in EXCEPTION_ABLE_CODECS:
            return get_pickleable_exception(exc)
        kind = type(exc)
        return {
            "exc_type": kind.__qualname__,
            "exc_message": ensure_serializable(exc.args, self.encode),
            "exc_module": kind.__module__,
        }

    def exception_to_python(self, exc: Any) -> Any:
        """Make an exception of its description; None of nothing.

        The class is looked up in modules that are imported already. A class that isn't there is made anew.

        Raises:
            SecurityError: the description names something else than a class of exceptions.
            TypeError: this isn't a description.
            ValueError: the description names no class.
        """
        if not exc:
            return None
        if isinstance(exc, BaseException):
            return get_pickled_exception(exc) if self.serializer in EXCEPTION_ABLE_CODECS else exc
        described = exc if isinstance(exc, dict) else _as_dict(exc)
        try:
            name = described["exc_type"]
        except KeyError as error:
            raise ValueError("Exception information must include the exception type") from error
        module, message = described.get("exc_module"), described.get("exc_message", "")
        kind = _class_named(module, name)
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            said = name if module is None else f"{module}.{name}"
            raise SecurityError(f"Expected an exception class, got {said} with payload {message}")
        try:
            return kind(*message) if isinstance(message, list | tuple) else kind(message)
        except Exception:  # the class may want other arguments than its instances keep
            return Exception(f"{kind}({message})")

    # -- settings

    def prepare_compression(self, compression: str | None) -> str | None:
        """Return the compression to use; None if there is none, or if the backend can't keep compressed results.

        Raises:
            ImproperlyConfigured: the compression is unknown.
        """
        if not compression:
            return None
        if not self.supports_result_compression:
            warnings.warn(
                f"The {type(self).__name__} result backend cannot store compressed payloads, so the\n"
                "result_compression setting is ignored and results are stored uncompressed.\n",
                UserWarning,
                stacklevel=2,
            )
            return None
        try:
            compressions.check_compression(compression)
        except ImproperlyConfigured as error:
            raise ImproperlyConfigured(
                f"Unknown compression method {compression!r} configured in result_compression: {error}"
            ) from error
        return compression

    def prepare_expires(self, value: Any, type: Callable[[Any], Any] | None = None) -> Any:
        """Return the seconds after which results expire; None: never.

        Args:
            value: seconds or a timedelta; None: the setting ``result_expires``.
            type: the type of the answer.
        """
        expires = self.app.conf.result_expires if value is None else value
        seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
        return type(seconds) if seconds is not None and type else seconds

    def prepare_persistent(self, enabled: bool | None = None) -> Any:
        """Return whether results outlive the backend's service: as given, as set, or the backend's default."""
        if enabled is not None:
            return enabled
        persistent = self.app.conf.result_persistent
        return self.persistent if persistent is None else persistent


def _content_type(name: str) -> str:
    if name == AUTH:  # messages are signed with it, and it has no serializer without the keys
        return AUTH_CONTENT_TYPE
    return name if "/" in name else serializers.serializer_named(name).content_type


def _as_dict(described: Any) -> dict[str, Any]:
    try:
        return dict(described)
    except TypeError as error:
        raise TypeError(
            "If the stored exception isn't an instance of BaseException, it must be a dictionary.\n"
            f"Instead got: {described}"
        ) from error


def _class_named(module: str | None, name: str) -> Any:
    if module is None:
        return create_exception_cls(name, __name__)
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return create_exception_cls(name, exceptions.__name__) if found is None else found
