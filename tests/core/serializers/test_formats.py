"""msgpack, YAML, pickle and compression: bytes equal to kombu's, and a DecodeError for every hostile body."""

from __future__ import annotations

import base64
import json
import lzma
import pickle
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgpack
import pytest
import yaml
from celery import Celery
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kombu.exceptions import DecodeError as KombuDecodeError
from kombu.exceptions import EncodeError as KombuEncodeError

from taskq_cloud.core import serializers
from taskq_cloud.core.messages import events, protocol
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.serializers import formats
from taskq_cloud.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured, MissingExtra
from tests.core.untyped_kombu import Connection, serialization
from tests.core.untyped_kombu import compression as kombu_compression

FORMATS = ["json", "msgpack", "yaml", "pickle"]
COMPRESSIONS = ["zlib", "gzip", "bzip2", "bzip", "lzma", "xz", "zstd", "zstandard"]
CONTENT_TYPES = ["application/x-gzip", "application/x-bz2", "application/x-lzma", "application/zstd"]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc\u0142", max_size=3), inner, max_size=3),
    max_leaves=8,
)
RICH: dict[str, list[Any]] = {
    "yaml": [
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        datetime(2026, 1, 1, 12),
        date(2026, 1, 1),
        b"\xff\x00",
        {"a", "b"},
    ],
    "msgpack": [b"\xff\x00", b"text"],
    "pickle": [datetime(2026, 1, 1, tzinfo=UTC), Decimal("1.5"), {1, 2}, (1, 2), {(1, 2): 3}],
}


class Form(serializers.PlainForm):
    def __init__(self, form: Any) -> None:
        self._form = form

    def __json__(self) -> Any:
        return self._form


@pytest.mark.parametrize("name", FORMATS)
def test_value_with_a_plain_form_is_written_in_that_form(name: str) -> None:
    serializer = serializers.serializer_named(name)
    written = serializer.encode([Form({"task": "add", "args": [Form(["inner", 1])]}), {"of": Form({})}])
    assert serializer.decode(written) == [{"task": "add", "args": [["inner", 1]]}, {"of": {}}]
    assert b"taskq_cloud" not in written, "a reader need not have the class"


@pytest.mark.parametrize("name", FORMATS)
def test_plain_form_beyond_the_serializer_is_refused(name: str) -> None:
    with pytest.raises(EncodeError):
        serializers.serializer_named(name).encode([Form({"of": lambda: None})])


def theirs(value: Any, name: str) -> bytes:
    content_type, encoding, data = serialization.dumps(value, serializer=name)
    ours = serializers.serializer_named(name)
    assert (ours.content_type, ours.encoding) == (content_type, encoding)
    return data.encode() if isinstance(data, str) else data


def read_by_kombu(data: bytes, name: str) -> Any:
    ours = serializers.serializer_named(name)
    return serialization.loads(data, ours.content_type, ours.encoding, force=True)


# -- written and read by kombu and by us


@given(value=plain, name=st.sampled_from(FORMATS))
def test_value_is_read_alike_by_kombu_and_by_us(value: Any, name: str) -> None:
    serializer = serializers.serializer_named(name)
    assert serializer.decode(serializer.encode(value)) == value
    assert read_by_kombu(serializer.encode(value), name) == value
    assert serializer.decode(theirs(value, name)) == value
    if name != "json":  # kombu writes spaces into JSON
        assert serializer.encode(value) == theirs(value, name)


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, each in RICH.items() for v in each])
def test_rich_value_is_written_as_kombu_writes_it(name: str, value: Any) -> None:
    serializer = serializers.serializer_named(name)
    assert serializer.encode([value]) == theirs([value], name)
    assert serializer.decode(serializer.encode([value])) == [value] == read_by_kombu(serializer.encode([value]), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("msgpack", datetime(2026, 1, 1, tzinfo=UTC)),
        ("msgpack", Decimal(1)),
        ("msgpack", 2**64),
        ("msgpack", {1, 2}),
        ("msgpack", object()),
        ("yaml", Decimal(1)),
        ("yaml", object()),
        ("pickle", lambda: None),
    ],
)
def test_value_that_kombu_cannot_write_is_refused_at_the_call(name: str, value: Any) -> None:
    with pytest.raises(KombuEncodeError):
        serialization.dumps(value, serializer=name)
    with pytest.raises(EncodeError, match=f"not serialisable as {name}".replace("yaml", "YAML")):
        serializers.serializer_named(name).encode(value)


def test_value_that_kombu_writes_but_cannot_read_is_refused_at_the_call() -> None:
    with pytest.raises(KombuDecodeError):
        read_by_kombu(theirs({1: 2}, "msgpack"), "msgpack")
    with pytest.raises(EncodeError, match="int is not allowed for map key"):
        serializers.serializer_named("msgpack").encode({1: 2})
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodeError, match="a value that contains itself"):
        serializers.serializer_named("yaml").encode(circle)


def test_value_that_occurs_twice_is_read_in_both_places() -> None:
    twice = [1, 2]
    for name in FORMATS:
        serializer = serializers.serializer_named(name)
        assert serializer.decode(serializer.encode([twice, twice])) == [[1, 2], [1, 2]]
        assert serializer.decode(theirs([twice, twice], name)) == [[1, 2], [1, 2]]


@given(data=st.binary(), name=st.sampled_from(COMPRESSIONS))
def test_compressed_bytes_are_equal_to_kombus(data: bytes, name: str) -> None:
    packed, content_type = serializers.compress(data, name)
    assert kombu_compression.decompress(packed, content_type) == data
    their_packed, their_type = kombu_compression.compress(data, name)
    assert (their_type, their_packed) == (content_type, packed)
    assert serializers.decompress(their_packed, their_type) == data


# -- whole messages, with Celery

SENT = Message(
    task="proj.add",
    id="4cc7438e-afd4-4f8f-a2f3-f46567e7ca77",
    args=["Łódź", 2, 1.5, None, {"a": [True]}],
    kwargs={"c": "x" * 100},
    embed=Embed(callbacks=[{"task": "next", "args": [], "kwargs": {}, "options": {}}]),
)


@pytest.fixture(scope="module")
def sqs_channel() -> Iterator[Any]:
    queues = {"celery": {"url": "https://sqs.eu-west-1.amazonaws.com/1/celery"}}
    options = {"predefined_queues": queues, "region": "eu-west-1"}
    with Connection("sqs://key:secret@", transport_options=options) as connection:
        yield connection.channel()


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
@pytest.mark.parametrize("name", FORMATS)
def test_message_of_every_format_is_readable_by_a_celery_worker(
    sqs_channel: Any, name: str, compression: str | None
) -> None:
    text = protocol.encode(SENT, "celery", serializer=name, compression=compression)
    raw = {"Body": text, "ReceiptHandle": "receipt", "MessageId": "m1", "Attributes": {}}
    payload = sqs_channel._message_to_python(raw, "celery", "https://sqs.eu-west-1.amazonaws.com/1/celery")
    message = sqs_channel.message_to_python(payload)
    message.accept = serialization.prepare_accept_content(FORMATS)
    args, kwargs, embed = message.payload
    assert (list(args), kwargs, Embed(**embed)) == (SENT.args, SENT.kwargs, SENT.embed)


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
@pytest.mark.parametrize("name", FORMATS)
def test_message_of_a_celery_producer_is_read_in_every_format(name: str, compression: str | None) -> None:
    app = Celery("proj", set_as_current=False, broker="memory://")
    made = app.amqp.as_task_v2(SENT.id, SENT.task, SENT.args, SENT.kwargs, callbacks=SENT.embed.callbacks)
    with Connection("memory://") as connection:
        producer = connection.Producer(serializer=name)
        headers = dict(made.headers)
        body, content_type, encoding = producer._prepare(made.body, name, None, None, compression, headers)
        prepared = producer.channel.prepare_message(body, 0, content_type, encoding, headers, dict(made.properties))
        prepared["body"], prepared["properties"]["body_encoding"] = producer.channel.encode_body(
            prepared["body"], "base64"
        )
    got = events.read(json.dumps(prepared), "m1", (name,), {})
    assert (got.task, got.id, list(got.args), got.kwargs) == (SENT.task, SENT.id, SENT.args, SENT.kwargs)
    assert got.embed == SENT.embed


# -- hostile bodies


def decoded_or_refused(name: str, data: bytes) -> None:
    """Decode bytes; any error but a ``DecodeError`` fails the test."""
    with suppress(DecodeError):
        serializers.serializer_named(name).decode(data)


@settings(max_examples=300)
@given(data=st.binary(max_size=60), name=st.sampled_from(["json", "msgpack", "yaml"]))
@example(data=b"\xd6\xff\xff\xff\xff\xff", name="msgpack")
@example(data=b"\xc7\x0c\xff\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", name="msgpack")
@example(data=b"\xdd\xff\xff\xff\xff", name="msgpack")
@example(data=b"\xc0\xc0", name="msgpack")
@example(data=b"!!timestamp x", name="yaml")
@example(data=b"!!int ''", name="yaml")
@example(data=b"!!bool maybe", name="yaml")
@example(data=b"!!float '1:1e999'", name="yaml")
@example(data=b"!!binary '?'", name="yaml")
@example(data=b"2026-99-99", name="yaml")
@example(data=b"{[1]: 2}", name="yaml")
@example(data=b"? {a: 1}\n: 2", name="yaml")
@example(data=b"*unknown", name="yaml")
@example(data=b"--- 1\n--- 2", name="yaml")
@example(data=b"\xff\xfe\x00", name="yaml")
@example(data=b"", name="yaml")
def test_random_bytes_give_a_value_or_a_decode_error(data: bytes, name: str) -> None:
    decoded_or_refused(name, data)


@settings(max_examples=200)
@given(value=plain, name=st.sampled_from(["msgpack", "yaml"]), at=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_body_with_a_changed_byte_gives_a_value_or_a_decode_error(value: Any, name: str, at: int, byte: int) -> None:
    data = bytearray(serializers.serializer_named(name).encode(value))
    data[at % len(data)] = byte
    decoded_or_refused(name, bytes(data))


@given(text=st.text("[]{}:,-?&*! \n\"'|>#%@ab019_.e+x", max_size=40))
def test_random_yaml_gives_a_value_or_a_decode_error(text: str) -> None:
    decoded_or_refused("yaml", text.encode())


def test_yaml_with_tags_of_python_is_refused() -> None:
    decode = serializers.serializer_named("yaml").decode
    for text in ("!!python/object/apply:os.getcwd []", "!!python/name:os.system", "!!python/tuple [1]", "!local x"):
        with pytest.raises(DecodeError, match="could not determine a constructor"):
            decode(text.encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 201 + "]" * 201, "nested more than 200 levels deep"),
        # PyYAML 6.0.4 has a limit of its own, which the next two texts reach first.
        ("[" * 100_000, "nested more than 200 levels deep|exceeded maximum nesting depth"),
        ("{a: " * 100_000, "nested more than 200 levels deep|exceeded maximum nesting depth"),
        ("- " * 100_000 + "1", "nested more than 200 levels deep"),
        ("? " * 100_000 + "1", "nested more than 200 levels deep"),
        ("&a [*a]", "contains itself"),
        ("&a {b: [*a]}", "contains itself"),
        ("1" * 5000, "a number of 5001 digits"),
        (":".join(["1"] * 5000), "a number of 10000 digits"),
        (":".join(["1"] * 5000) + ".5", "a number of 10002 digits"),
        ("[" + "1," * 10_000 + "]", "more than 10000 values"),
        ("[" + "[]," * 10_000 + "]", "more than 10000 values"),
        ("[" + "&a 1,*a," * 5_000 + "]", "more than 10000 values"),
        ("%TAG !a! b\n" * 11, "more than 10 directives"),
        ("0x" + "f" * 5000, "a number of"),
        ("x" * (formats.LARGEST_YAML_BYTES + 1), "at most 1048576 are read"),
    ],
    ids=lambda text: text[:20],
)
def test_yaml_too_costly_to_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        serializers.serializer_named("yaml").decode(text.encode())


def test_yaml_with_exponential_references_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(DecodeError, match="when its references are written out"):
        serializers.serializer_named("yaml").decode("\n".join(lines).encode())


def test_yaml_without_libyaml_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(yaml, "CSafeLoader")
    decode = serializers.serializer_named("yaml").decode
    assert decode(b"- 1\n- {a: b}") == [1, {"a": "b"}]
    with pytest.raises(DecodeError):
        decode(b"[" * 100_000)


@pytest.mark.parametrize("depth", [600, 2000, 100_000])
def test_msgpack_nested_too_deeply_is_refused(depth: int) -> None:
    with pytest.raises(DecodeError, match="not readable as msgpack"):
        serializers.serializer_named("msgpack").decode(b"\x91" * depth)


def test_msgpack_extension_other_than_timestamp_is_refused() -> None:
    decode = serializers.serializer_named("msgpack").decode
    with pytest.raises(DecodeError, match="extension type 5"):
        decode(msgpack.packb(msgpack.ExtType(5, b"x")))
    assert decode(msgpack.packb(msgpack.Timestamp(0))) == datetime(1970, 1, 1, tzinfo=UTC)
    with pytest.raises(DecodeError, match="not readable as msgpack"):
        decode(msgpack.packb(msgpack.Timestamp(2**62)))


@pytest.mark.parametrize("name", ["msgpack", "yaml", "pickle"])
def test_keyword_arguments_without_text_keys_are_refused(name: str) -> None:
    body: list[Any] = [[], {b"x": 1} if name != "yaml" else {1: 1}, {}]
    data = pickle.dumps(body) if name == "pickle" else theirs(body, name)
    serializer = serializers.serializer_named(name)
    document = {
        "body": base64.b64encode(data).decode(),
        "content-type": serializer.content_type,
        "headers": {"task": "t"},
        "properties": {"body_encoding": "base64"},
    }
    with pytest.raises(DecodeError, match="kwargs an object"):
        events.read(json.dumps(document), "m1", (name,), {})


@given(data=st.binary(max_size=80), content_type=st.sampled_from(CONTENT_TYPES))
@example(data=b"\x5d\x00\x00\x00\xff" + b"\xff" * 8 + b"\x00" * 20, content_type="application/x-lzma")
def test_random_compressed_data_gives_bytes_or_a_decode_error(data: bytes, content_type: str) -> None:
    with suppress(DecodeError):
        serializers.decompress(data, content_type)


@settings(max_examples=50)
@given(name=st.sampled_from(COMPRESSIONS), at=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_compressed_data_with_a_changed_byte_gives_bytes_or_a_decode_error(name: str, at: int, byte: int) -> None:
    packed, content_type = serializers.compress(b"some arguments " * 20, name)
    damaged = bytearray(packed)
    damaged[at % len(damaged)] = byte
    with suppress(DecodeError):
        serializers.decompress(bytes(damaged), content_type)


@pytest.mark.parametrize("name", ["zlib", "bzip2", "lzma", "zstd"])
def test_small_body_that_expands_too_far_is_refused(name: str) -> None:
    packed, content_type = serializers.compress(bytes(70_000_000), name)
    assert len(packed) < 100_000
    with pytest.raises(DecodeError, match="more than 67108864 bytes"):
        serializers.decompress(packed, content_type)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_truncated_compressed_body_is_refused(name: str) -> None:
    packed, content_type = serializers.compress(b"some arguments " * 20, name)
    with pytest.raises(DecodeError, match="damaged"):
        serializers.decompress(packed[:-1], content_type)


def test_lzma_header_that_asks_for_too_much_memory_is_refused() -> None:
    packed = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 256 * 1024 * 1024}])
    with pytest.raises(DecodeError, match="Memory usage limit"):
        serializers.decompress(packed, "application/x-lzma")


# -- packages that are not installed, and serializers that an application adds


@pytest.mark.parametrize(
    ("setting", "module", "extra"),
    [
        ({"serializer": "msgpack"}, "msgpack", "msgpack"),
        ({"accept_content": ("json", "msgpack")}, "msgpack", "msgpack"),
        ({"accept_content": ("application/x-yaml",)}, "yaml", "yaml"),
        ({"compression": "zstd"}, "backports", "zstd"),
    ],
    ids=str,
)
def test_missing_package_is_an_error_before_the_first_message(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, Any], module: str, extra: str
) -> None:
    for name in (module, "compression.zstd", "backports.zstd") if extra == "zstd" else (module,):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'taskq-cloud\[{extra}\]'"):
        Codec(**setting)


def test_body_in_a_compression_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    packed, content_type = serializers.compress(b"x", "zstd")
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ContentDisallowed, match=r"pip install 'taskq-cloud\[zstd\]'"):
        serializers.decompress(packed, content_type)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"serializer": "toml"}, "unknown serializer 'toml'"),
        ({"accept_content": ("jsno",)}, "accept_content: unknown serializer 'jsno'"),
        ({"compression": "zip"}, "unknown compression 'zip'"),
        ({"serializer": "auth"}, "needs the settings security_key"),
        ({"accept_content": ("auth",)}, "needs the settings security_key"),
    ],
    ids=str,
)
def test_wrong_setting_is_an_error_before_the_first_message(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        Codec(**setting)


@pytest.fixture
def upper() -> Iterator[None]:
    serializers.register_serializer(
        "upper",
        lambda value: json.dumps(value).upper().encode(),
        lambda data: json.loads(data.decode().lower()),
        content_type="application/x-upper",
    )
    yield
    serializers.unregister_serializer("upper")


@pytest.mark.usefixtures("upper")
def test_serializer_added_by_an_application_is_used() -> None:
    codec = Codec(serializer="upper", accept_content=("upper",))
    sent = Message(task="t", id="1", args=["a"], kwargs={})
    assert '[["A"], {}' in json.loads(codec.write(sent, "q"))["body"]
    assert codec.read(codec.write(sent, "q"), "m1").args == ["a"]
    with pytest.raises(EncodeError, match="not serialisable as upper"):
        codec.write(Message(task="t", id="1", args=[object()]), "q")
    with pytest.raises(DecodeError, match="not readable as upper: JSONDecodeError"):
        serializers.serializer_named("upper").decode(b"?")
    for name, content_type in [("upper", "text/x"), ("other", "application/x-upper"), ("auth", "text/x")]:
        with pytest.raises(ImproperlyConfigured, match="another serializer has the name"):
            serializers.register_serializer(name, bytes, bytes, content_type=content_type)


def test_built_in_serializer_cannot_be_removed() -> None:
    for name in ("json", "no-such"):
        with pytest.raises(ImproperlyConfigured, match="was registered"):
            serializers.unregister_serializer(name)
