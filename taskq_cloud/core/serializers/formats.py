"""msgpack, YAML and pickle, as kombu writes and reads them; a hostile msgpack or YAML body is a ``DecodeError``.

Neither msgpack nor YAML has a marker of its own for JSON's rich types. msgpack refuses dates and decimals, as kombu's
does; YAML carries dates, times with a date, bytes and sets by itself. Source: kombu 5.7, ``kombu.serialization``.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from taskq_cloud.core.serializers.compression import LARGEST_EXPANDED_BYTES
from taskq_cloud.core.serializers.rich_json import PlainForm
from taskq_cloud.errors import DecodeError, EncodeError, MissingExtra

PICKLE_PROTOCOL: Final = 4
"""kombu's; a later one would shut out Celery's workers on an older Python."""

LARGEST_YAML_BYTES: Final = 4 * 1024 * 1024
"""YAML is read at about a megabyte a second, and whoever reads it renews no lease meanwhile."""
LARGEST_YAML_DEPTH: Final = 200
"""libyaml's loader recurses in C: a few ten thousand brackets overflow the stack and end the process."""
LARGEST_YAML_NUMBER: Final = 4300
"""Characters: CPython's own limit for decimal digits, which YAML's numbers to base 60 would get around."""


class _Pickler(pickle.Pickler):
    """Writes plain forms: the receiver need not have the classes, and gets the same with every serializer."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, PlainForm):
            return NotImplemented
        form = value.__json__()
        return type(form), (form,)


def pickle_encode(value: Any) -> bytes:
    """Pickle.

    Raises:
        EncodeError: a part of the value can't be pickled.
    """
    data = io.BytesIO()
    try:
        _Pickler(data, protocol=PICKLE_PROTOCOL).dump(value)
    except Exception as error:  # a pickle may raise anything at all
        raise EncodeError(f"not serialisable as pickle: {error}") from error
    return data.getvalue()


def pickle_decode(data: bytes) -> Any:
    """Unpickle. A pickle runs code: its content type must be accepted by whoever trusts every sender.

    Raises:
        DecodeError: it is no pickle, or needs what is not here.
    """
    try:
        return pickle.loads(data)
    except Exception as error:  # likewise
        raise DecodeError(f"not readable as pickle: {type(error).__name__}: {error}") from error


def msgpack_encode(value: Any) -> bytes:
    """Pack.

    Raises:
        EncodeError: msgpack has no type for a part of the value, or nobody could read it back (keys that are no text).
        MissingExtra: msgpack is not installed.
    """
    msgpack = _msgpack()
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True, default=_plain)
        msgpack_decode(packed)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise EncodeError(f"not serialisable as msgpack: {error}") from error
    return packed


def msgpack_decode(data: bytes) -> Any:
    """Unpack; a timestamp is a ``datetime``, any other extension type is refused.

    Raises:
        DecodeError: it is no msgpack.
        MissingExtra: msgpack is not installed.
    """
    msgpack = _msgpack()
    try:
        return msgpack.unpackb(data, raw=False, timestamp=3, ext_hook=_refuse_extension)
    except (msgpack.UnpackException, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise DecodeError(f"not readable as msgpack: {type(error).__name__}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, PlainForm):
        return value.__json__()
    raise TypeError(f"can not serialize '{type(value).__module__}.{type(value).__qualname__}' object")


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"extension type {code}")


def _msgpack() -> Any:
    try:
        import msgpack  # optional
    except ImportError:
        raise MissingExtra("serializer 'msgpack'", "msgpack") from None
    return msgpack


def yaml_encode(value: Any) -> bytes:
    """Write YAML of the safe kind.

    Raises:
        EncodeError: safe YAML has no type for a part of the value, or the value holds itself.
        MissingExtra: PyYAML is not installed.
    """
    yaml = _yaml()
    try:
        text = _yaml_text(yaml, value)
        if "&id" in text:
            # A value that stands in several places is written once and referred to; one within itself has no end.
            yaml_decode(text.encode())
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"not serialisable as YAML: {error}") from error
    return text.encode()


def _yaml_text(yaml: Any, value: Any) -> str:
    """``yaml.safe_dump``, and of what has a plain form that."""
    stream = io.StringIO()
    dumper = yaml.SafeDumper(stream)
    plain = {PlainForm: lambda dumper, value: dumper.represent_data(value.__json__())}
    dumper.yaml_multi_representers = {**dumper.yaml_multi_representers, **plain}
    try:
        dumper.open()
        dumper.represent(value)
        dumper.close()
    finally:
        dumper.dispose()
    return stream.getvalue()


def yaml_decode(data: bytes) -> Any:
    """Read YAML of the safe kind.

    Raises:
        DecodeError: it is no YAML, uses a tag of Python's, is nested too deeply, or grows by its references past
            ``LARGEST_EXPANDED_BYTES``.
        MissingExtra: PyYAML is not installed.
    """
    yaml = _yaml()
    if len(data) > LARGEST_YAML_BYTES:
        raise DecodeError(f"{len(data)} bytes of YAML are over the {LARGEST_YAML_BYTES} that are read")
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(yaml.parse(data, Loader=kind))
        loader = kind(data)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except DecodeError:
        raise
    except (
        yaml.YAMLError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DecodeError(f"not readable as YAML: {type(error).__name__}: {error}") from error


def _check_depth(events: Any) -> None:
    depth = 0
    for event in events:
        match type(event).__name__:
            case "SequenceStartEvent" | "MappingStartEvent":
                depth += 1
            case "SequenceEndEvent" | "MappingEndEvent":
                depth -= 1
        if depth > LARGEST_YAML_DEPTH:
            raise DecodeError(f"the YAML is nested more than {LARGEST_YAML_DEPTH} deep")


def _check_size(node: Any, known: dict[int, int]) -> int:
    """The bytes of a node, with what it refers to written out each time: references are a compression, too."""
    if id(node) in known:
        if not known[id(node)]:
            raise DecodeError("the YAML holds a value within itself")
        return known[id(node)]
    known[id(node)] = 0
    match node.id:
        case "scalar":
            size = len(node.value) + 1
            if node.tag == "tag:yaml.org,2002:int" and size > LARGEST_YAML_NUMBER:
                raise DecodeError(f"the YAML holds a number of {size} digits")
        case "mapping":
            size = 1 + sum(_check_size(each, known) for pair in node.value for each in pair)
        case _:
            size = 1 + sum(_check_size(each, known) for each in node.value)
    if size > LARGEST_EXPANDED_BYTES:
        raise DecodeError(f"the YAML's references grow past {LARGEST_EXPANDED_BYTES} bytes")
    known[id(node)] = size
    return size


def _yaml() -> Any:
    try:
        import yaml  # optional
    except ImportError:
        raise MissingExtra("serializer 'yaml'", "yaml") from None
    return yaml
