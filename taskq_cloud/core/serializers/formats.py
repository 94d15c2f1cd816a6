"""msgpack, YAML and pickle, as kombu writes and reads them; a hostile msgpack or YAML body gives a ``DecodeError``.

Neither msgpack nor YAML is given a marker for JSON's rich types. msgpack refuses dates and decimals, as kombu's does;
YAML can itself carry dates, times with a date, bytes and sets. Source: kombu 5.7, ``kombu.serialization``.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

from taskq_cloud.core.serializers.compression import LARGEST_EXPANDED_BYTES
from taskq_cloud.core.serializers.rich_json import PlainForm
from taskq_cloud.errors import DecodeError, EncodeError, MissingExtra

PICKLE_PROTOCOL: Final = 4
"""kombu's protocol; workers of Celery on an older Python could not read a later one."""

LARGEST_YAML_BYTES: Final = 4 * 1024 * 1024
"""The largest YAML that is read: it takes about a second for each megabyte, during which no lease is renewed."""
LARGEST_YAML_DEPTH: Final = 200
"""The deepest YAML that is read: libyaml's loader recurses in C, and some ten thousand brackets end the process."""
LARGEST_YAML_NUMBER: Final = 4300
"""The longest number in YAML, in characters: CPython's limit for decimal digits doesn't cover numbers to base 60."""


class _Pickler(pickle.Pickler):
    """A pickler of plain forms: receivers don't need the classes, and get equal values from every serializer."""

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, PlainForm):
            return NotImplemented
        form = value.__json__()
        return type(form), (form,)


def pickle_encode(value: Any) -> bytes:
    """Write a value as pickle.

    Raises:
        EncodeError: a part of the value can't be pickled.
    """
    data = io.BytesIO()
    try:
        _Pickler(data, protocol=PICKLE_PROTOCOL).dump(value)
    except Exception as error:  # pickling a value may raise anything
        raise EncodeError(f"not serialisable as pickle: {error}") from error
    return data.getvalue()


def pickle_decode(data: bytes) -> Any:
    """Read a pickle, which runs code: accept its content type only if you trust every sender.

    Raises:
        DecodeError: the bytes aren't a pickle, or a class they need is missing here.
    """
    try:
        return pickle.loads(data)
    except Exception as error:  # unpickling may raise anything
        raise DecodeError(f"not readable as pickle: {type(error).__name__}: {error}") from error


def msgpack_encode(value: Any) -> bytes:
    """Write a value as msgpack.

    Raises:
        EncodeError: msgpack has no type for a part of the value, or couldn't read it again (keys that aren't text).
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
    """Read msgpack; a timestamp becomes a ``datetime``, and any other extension type is refused.

    Raises:
        DecodeError: the bytes aren't msgpack.
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
    raise TypeError(f"msgpack has no type for {type(value).__module__}.{type(value).__qualname__}")


def _refuse_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"the extension type {code} is not supported")


def _msgpack() -> Any:
    try:
        import msgpack  # optional
    except ImportError:
        raise MissingExtra("serializer 'msgpack'", "msgpack") from None
    return msgpack


def yaml_encode(value: Any) -> bytes:
    """Write a value as safe YAML.

    Raises:
        EncodeError: safe YAML has no type for a part of the value, or the value contains itself.
        MissingExtra: PyYAML is not installed.
    """
    yaml = _yaml()
    try:
        text = _yaml_text(yaml, value)
        if "&id" in text:
            # A value that occurs twice is written once, with a reference to it. In a value that contains itself,
            # references have no end: reading the text finds that.
            yaml_decode(text.encode())
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise EncodeError(f"not serialisable as YAML: {error}") from error
    return text.encode()


def _yaml_text(yaml: Any, value: Any) -> str:
    """Dump a value as ``yaml.safe_dump`` does, with the plain form of values that have one."""
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
    """Read safe YAML.

    Raises:
        DecodeError: the bytes aren't YAML, use a tag of Python's, are nested too deeply, or have more than
            ``LARGEST_EXPANDED_BYTES`` when references are written out.
        MissingExtra: PyYAML is not installed.
    """
    yaml = _yaml()
    if len(data) > LARGEST_YAML_BYTES:
        raise DecodeError(f"the YAML has {len(data)} bytes; at most {LARGEST_YAML_BYTES} are read")
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
            raise DecodeError(f"the YAML is nested more than {LARGEST_YAML_DEPTH} levels deep")


def _check_size(node: Any, known: dict[int, int]) -> int:
    """Count the bytes of a node with all references written out, as references can hide gigabytes."""
    if id(node) in known:
        if not known[id(node)]:
            raise DecodeError("the YAML holds a value that contains itself")
        return known[id(node)]
    known[id(node)] = 0
    match node.id:
        case "scalar":
            size = len(node.value) + 1
            if node.tag == "tag:yaml.org,2002:int" and size > LARGEST_YAML_NUMBER:
                raise DecodeError(f"the YAML holds a number of {size} digits; at most {LARGEST_YAML_NUMBER} are read")
        case "mapping":
            size = 1 + sum(_check_size(each, known) for pair in node.value for each in pair)
        case _:
            size = 1 + sum(_check_size(each, known) for each in node.value)
    if size > LARGEST_EXPANDED_BYTES:
        raise DecodeError(f"the YAML has more than {LARGEST_EXPANDED_BYTES} bytes when its references are written out")
    known[id(node)] = size
    return size


def _yaml() -> Any:
    try:
        import yaml  # optional
    except ImportError:
        raise MissingExtra("serializer 'yaml'", "yaml") from None
    return yaml
