"""msgpack, YAML and pickle, as kombu writes and reads them; a hostile msgpack or YAML body gives a ``DecodeError``.

Neither msgpack nor YAML is given a marker for JSON's rich types. msgpack refuses dates and decimals, as kombu's does;
YAML can itself carry dates, times with a date, bytes and sets. Source: kombu 5.7, ``kombu.serialization``.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, Final

from taskq_cloud.core.serializers import compression
from taskq_cloud.core.serializers.rich_json import PlainForm
from taskq_cloud.errors import DecodeError, EncodeError, MissingExtra

PICKLE_PROTOCOL: Final = 4
"""kombu's protocol; workers of Celery on an older Python could not read a later one."""

LARGEST_YAML_BYTES: Final = 1024 * 1024
"""The largest YAML that is read."""
MOST_YAML_NODES: Final = 10_000
"""The most scalars, lists and mappings in YAML, each counted where it is referred to as well. They take about 0.3 s to
read, and 30 KB can hold that many."""
MOST_YAML_DIRECTIVES: Final = 10
"""The most directives in YAML: libyaml compares each with all others."""
LARGEST_YAML_DEPTH: Final = 200
"""The deepest YAML that is read: libyaml's loader recurses in C, and some ten thousand brackets end the process."""
LARGEST_YAML_NUMBER: Final = 4300
"""The longest number in YAML, in characters: CPython's limit for decimal digits."""
LARGEST_YAML_BASE_60: Final = 100
"""The longest number to base 60 (``1:30:00``), in characters: they are computed in Python, digit by digit."""


_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_USE_JSON: Final = "use the serializer json or msgpack for large values"


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


def check_msgpack(data: bytes, most_bytes: int) -> None:
    """Check that the values of msgpack don't take too much memory, without keeping them.

    Args:
        data: the msgpack.
        most_bytes: the size of the largest body.

    Raises:
        DecodeError: the values would take more than ``MEMORY_PER_BYTE`` times ``most_bytes``.
        MissingExtra: msgpack is not installed.
    """
    most_memory, memory = compression.MEMORY_PER_BYTE * most_bytes, 0
    if len(data) * compression.OBJECT_BYTES <= most_memory:
        return
    msgpack = _msgpack()

    def add(more: int) -> None:
        nonlocal memory
        memory += more
        if memory > most_memory:
            raise compression.too_much_memory(memory, most_memory)

    def counted(**hooks: Callable[[Any], None]) -> Any:
        unpacker = msgpack.Unpacker(raw=False, ext_hook=lambda *_: None, max_buffer_size=len(data), **hooks)
        unpacker.feed(data)
        return unpacker

    try:
        # A list can claim to be long without being so. Skipping it finds that, and reserves no memory for it.
        counted().skip()
        counted(
            list_hook=lambda values: add(compression.LIST_BYTES + compression.VALUE_BYTES * len(values)),
            object_hook=lambda pairs: add(
                compression.OBJECT_BYTES + (compression.KEY_BYTES + compression.VALUE_BYTES) * len(pairs)
            ),
        ).unpack()
    except DecodeError:
        raise
    except Exception as error:  # the bytes aren't msgpack, or not ours
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
        if "&id" in text or len(text) > MOST_YAML_NODES:
            # A value that occurs twice is written once, with a reference to it. In a value that contains itself,
            # references have no end: reading the text finds that. A long text may hold more than any receiver reads.
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
        DecodeError: the bytes aren't YAML, use a tag of Python's, are nested too deeply, or hold more than
            ``LARGEST_YAML_BYTES`` or ``MOST_YAML_NODES`` when references are written out.
        MissingExtra: PyYAML is not installed.
    """
    yaml = _yaml()
    if len(data) > LARGEST_YAML_BYTES:
        raise DecodeError(f"the YAML has {len(data)} bytes; at most {LARGEST_YAML_BYTES} are read: {_USE_JSON}")
    if data.startswith(b"%") + data.count(b"\n%") + data.count(b"\r%") > MOST_YAML_DIRECTIVES:
        raise DecodeError(f"the YAML has more than {MOST_YAML_DIRECTIVES} directives")
    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(data, Loader=kind))
        loader = kind(data)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node, {})
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


def _check_events(events: Any) -> None:
    """Count the nodes of a text, and their depth, before any of them is made."""
    depth, nodes = 0, 0
    for event in events:
        match type(event).__name__:
            case "SequenceStartEvent" | "MappingStartEvent":
                depth += 1
                nodes += 1
            case "SequenceEndEvent" | "MappingEndEvent":
                depth -= 1
            case _:
                nodes += 1
        if depth > LARGEST_YAML_DEPTH:
            raise DecodeError(f"the YAML is nested more than {LARGEST_YAML_DEPTH} levels deep")
        if nodes > MOST_YAML_NODES:
            raise DecodeError(f"the YAML holds more than {MOST_YAML_NODES} values: {_USE_JSON}")


def _check_nodes(node: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Count the bytes and nodes of a node with all references written out, as references can hide gigabytes."""
    if id(node) in known:
        if not known[id(node)][0]:
            raise DecodeError("the YAML holds a value that contains itself")
        return known[id(node)]
    known[id(node)] = (0, 0)
    size, nodes = 1, 1
    match node.id:
        case "scalar":
            size += len(node.value)
            longest = LARGEST_YAML_BASE_60 if ":" in node.value else LARGEST_YAML_NUMBER
            if node.tag in _NUMBERS and size > longest:
                raise DecodeError(f"the YAML holds a number of {size} digits; at most {longest} are read")
            parts: list[Any] = []
        case "mapping":
            parts = [each for pair in node.value for each in pair]
        case _:
            parts = node.value
    for part in parts:
        of_part = _check_nodes(part, known)
        size, nodes = size + of_part[0], nodes + of_part[1]
        # A value that many others refer to is refused as soon as it is too large, before the sums have many digits.
        if size > LARGEST_YAML_BYTES or nodes > MOST_YAML_NODES:
            raise DecodeError(
                f"the YAML holds more than {LARGEST_YAML_BYTES} bytes or {MOST_YAML_NODES} values when its references "
                f"are written out: {_USE_JSON}"
            )
    known[id(node)] = (size, nodes)
    return size, nodes


def _yaml() -> Any:
    try:
        import yaml  # optional
    except ImportError:
        raise MissingExtra("serializer 'yaml'", "yaml") from None
    return yaml
