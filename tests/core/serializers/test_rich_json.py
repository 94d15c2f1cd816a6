"""JSON with rich types, equal to kombu's; the look-up of serializers; and compression."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core import serializers
from taskq_cloud.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from tests.core.untyped_kombu import compression as kombu_compression
from tests.core.untyped_kombu import json as kombu_json

RICH = [
    datetime(2026, 1, 1, 12, 30, 15, 123456),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    date(2026, 1, 1),
    time(12, 30, 15, 5),
    time(12, 30, tzinfo=UTC),
    Decimal("1.50"),
    Decimal("-1E+30"),
    Decimal("NaN"),
    uuid.UUID("4cc7438e-afd4-4f8f-a2f3-f46567e7ca77"),
    b"text",
    b"\xff\x00",
    "Łódź 🎉",
    {"deep": [{"er": Decimal(1)}]},
]


@pytest.mark.parametrize("value", RICH, ids=repr)
def test_rich_value_is_read_alike_by_kombu_and_by_us(value: Any) -> None:
    assert repr(kombu_json.loads(serializers.dumps(value))) == repr(value)
    assert repr(serializers.loads(kombu_json.dumps(value))) == repr(value)
    assert serializers.loads(serializers.dumps(value).encode()) is not None


# Around a change of the clock, Python never calls times of two zones equal (PEP 495, "Inter-zone comparison").
datetimes = st.datetimes(timezones=st.none() | st.timezones()).filter(
    lambda value: value.utcoffset() == value.replace(fold=1 - value.fold).utcoffset()
)


@given(datetimes | st.times() | st.binary() | st.decimals(allow_nan=False))
def test_random_rich_value_is_written_as_kombu_writes_it(value: Any) -> None:
    assert serializers.loads(serializers.dumps(value)) == value
    # kombu's spaces are the only difference
    assert serializers.dumps(value) == kombu_json.dumps(value, separators=(",", ":"))


def test_class_with_json_method_is_written_by_it() -> None:
    class Money:
        def __json__(self) -> Any:
            return {"amount": 5}

    assert serializers.dumps([Money()]) == kombu_json.dumps([Money()], separators=(",", ":")) == '[{"amount":5}]'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "object object at"),
        ({1, 2}, "of type builtins.set"),
        ({(1, 2): 3}, "keys must be"),
        ([datetime], "datetime.datetime"),
        ({"__type__": "money", "__value__": 1}, "unknown __type__ 'money'"),
        ({"__type__": "date", "__value__": "soon"}, "isoformat"),
    ],
    ids=lambda value: None if type(value) is object else str(value),
)
def test_value_beyond_json_is_named_in_the_error(value: Any, words: str) -> None:
    with pytest.raises(EncodeError, match=words):
        serializers.dumps(value)


def test_value_that_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(EncodeError, match="not serialisable as JSON"):
        serializers.dumps(circle)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1,]",
        '{"__type__": "datetime", "__value__": 5}',
        '{"__type__": "uuid", "__value__": {"hex": 5}}',
        '{"__type__": "uuid", "__value__": {}}',
        '{"__type__": "uuid", "__value__": []}',
        '{"__type__": "decimal", "__value__": "x"}',
        '{"__type__": "bytes", "__value__": "\\ud800"}',
        '{"__type__": "base64", "__value__": "?"}',
        '{"__type__": ["x"], "__value__": 1}',
        "[" * 100_000,
        b"\xff\xfe\xfd",
    ],
    ids=lambda text: repr(text)[:40],
)
def test_malformed_text_is_a_decode_error(text: str | bytes) -> None:
    with pytest.raises(DecodeError, match="not readable as JSON"):
        serializers.loads(text)


def test_dict_that_resembles_a_rich_value_is_read_as_a_dict() -> None:
    value = {"__type__": "datetime", "__value__": "x", "more": 1}
    assert serializers.loads(serializers.dumps(value)) == value


def test_serializer_is_found_by_name_and_by_content_type() -> None:
    assert serializers.serializer_named("json").content_type == "application/json"
    assert serializers.serializer_for("application/json", ["json"]).name == "json"
    assert (
        serializers.serializer_for("application/x-python-serialize", ["application/x-python-serialize"]).name
        == "pickle"
    )
    with pytest.raises(ImproperlyConfigured, match="unknown serializer 'toml'; known: json, msgpack, pickle, yaml"):
        serializers.serializer_named("toml")
    with pytest.raises(ContentDisallowed, match=r"'application/toml' is unknown here \(accept_content: json, pickle\)"):
        serializers.serializer_for("application/toml", ["json", "pickle"])


def test_pickle_that_is_not_accepted_is_refused() -> None:
    with pytest.raises(ContentDisallowed, match="not accepted"):
        serializers.serializer_for("application/x-python-serialize", ["json"])


def test_pickle_that_raises_is_a_decode_error() -> None:
    pickle = serializers.serializer_named("pickle")
    with pytest.raises(DecodeError, match="not readable as pickle: ModuleNotFoundError"):
        pickle.decode(b"cno_such_module\nname\n.")
    with pytest.raises(EncodeError, match="not serialisable as pickle"):
        pickle.encode(lambda: None)


@given(data=st.binary(), name=st.sampled_from(["zlib", "gzip", "bzip2"]))
def test_compressed_bytes_are_read_alike_by_kombu_and_by_us(data: bytes, name: str) -> None:
    packed, content_type = serializers.compress(data, name)
    assert kombu_compression.decompress(packed, content_type) == data
    theirs, their_type = kombu_compression.compress(data, name)
    assert their_type == content_type
    assert serializers.decompress(theirs, their_type) == data


@given(data=st.binary(), content_type=st.sampled_from(["application/x-gzip", "application/x-bz2"]))
def test_damaged_compressed_body_is_a_decode_error(data: bytes, content_type: str) -> None:
    with pytest.raises(DecodeError, match="damaged"):
        serializers.decompress(b"\x00" + data, content_type)


def test_unknown_compression_is_named_in_the_error() -> None:
    with pytest.raises(ImproperlyConfigured, match="unknown compression 'zip'; known: bzip, bzip2, gzip, lzma, xz"):
        serializers.compress(b"", "zip")
    with pytest.raises(ContentDisallowed, match="the compression 'application/zip' is unknown"):
        serializers.decompress(b"", "application/zip")


def test_truncated_zlib_body_is_refused() -> None:
    packed, content_type = serializers.compress(b"x" * 1000, "zlib")
    with pytest.raises(DecodeError, match="damaged"):
        serializers.decompress(packed[:-5], content_type)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} isn't JSON")


@pytest.mark.parametrize(
    ("value", "strict"),
    [
        (float("nan"), None),
        ([1.5, float("inf"), {"x": -float("inf")}], [1.5, None, {"x": None}]),
        ({"NaN": "Infinity", "1e999": "NaN"}, {"NaN": "Infinity", "1e999": "NaN"}),
        ([1e308, -1e-300, 10**400, "\ud800", "ł"], [1e308, -1e-300, 10**400, "\ud800", "ł"]),
    ],
    ids=repr,
)
def test_strict_text_has_null_for_numbers_that_json_does_not_have(value: Any, strict: Any) -> None:
    text = serializers.strict(serializers.dumps(value))
    assert json.loads(text, parse_constant=refuse_constant) == strict


def test_number_beyond_floats_becomes_null() -> None:
    assert serializers.strict('[1e999,-1E+0999,"1e999",1.5]') == '[null,null,"1e999",1.5]'
