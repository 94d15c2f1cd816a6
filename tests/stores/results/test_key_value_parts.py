"""The parts that stores under Celery's keys share: fields within values, joins by lines, keys, and URLs. No server."""

from __future__ import annotations

import bz2
import json
import lzma
import re
import zlib
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.buckets import StoredObject
from taskq_cloud.stores.results._appended_joins import is_complete, line_of
from taskq_cloud.stores.results._embedded_fields import EXPIRY_PATTERN, embedded, object_in
from taskq_cloud.stores.results._keys import key_of, key_prefix
from taskq_cloud.stores.results._object_joins import Arrival
from taskq_cloud.stores.results.memcached import MemcachedResults, _expiry

BODIES = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4).map(
        lambda value: json.dumps(value).encode()
    ),
)
FIELDS = st.dictionaries(st.sampled_from(["state", "version", "fence"]), st.text("AZ09%.~-", max_size=80))
EXPIRIES = st.none() | st.floats(0, 1e11)


@settings(max_examples=50)
@given(body=BODIES, fields=FIELDS, expires_at=EXPIRIES)
def test_object_is_read_as_it_was_embedded(body: bytes, fields: dict[str, str], expires_at: float | None) -> None:
    new = StoredObject(body, fields, expires_at=expires_at)
    value = embedded(new)
    if fields or expires_at is not None:
        assert object_in(value, "7") == StoredObject(body, fields, "7", expires_at)
        found = re.search(EXPIRY_PATTERN, value[-1024:], re.DOTALL)
        assert (None if found is None else float(found[1])) == expires_at
    else:
        assert value == body


@settings(max_examples=50)
@given(body=BODIES)
def test_value_of_celery_has_no_fields(body: bytes) -> None:
    assert object_in(body, None) == StoredObject(body, {})
    assert re.search(EXPIRY_PATTERN, body, re.DOTALL) is None


@pytest.mark.parametrize(
    ("compress", "decompress"),
    [(zlib.compress, zlib.decompress), (bz2.compress, bz2.decompress), (lzma.compress, lzma.decompress)],
    ids=["zlib", "bzip2", "lzma"],
)
def test_decompressor_passes_over_the_fields(compress: object, decompress: object) -> None:
    assert callable(compress)
    assert callable(decompress)
    value = embedded(StoredObject(compress(b"a document"), {"fence": "1"}, expires_at=7.5))
    assert decompress(value) == b"a document"


def test_record_keeps_its_expiry_once() -> None:
    new = StoredObject(b'{"status":"SUCCESS"}', {"expires": "12.5"}, expires_at=12.5)
    assert embedded(new) == b'{"status":"SUCCESS","taskq":{"expires":"12.5"}}'
    assert object_in(embedded(new), None) == new


def test_join_is_complete_for_its_last_member_and_those_after() -> None:
    lines = [line_of(Arrival(member, 100 + member, 1000)) for member in range(4)]
    value = b"".join(lines)
    assert [is_complete(value, line, 4) for line in lines] == [False, False, False, True]
    again = line_of(Arrival(1, 500, 1400))
    assert is_complete(value + again, again, 4)
    assert not is_complete(value, again, 4)  # the store has dropped it since


def test_join_that_has_expired_begins_anew() -> None:
    value = b"".join(line_of(Arrival(member, 100, 200)) for member in range(2))
    late = line_of(Arrival(2, 200, 300))
    assert not is_complete(value + late, late, 3)
    more = [line_of(Arrival(member, 210 + member, 310)) for member in range(2)]
    assert [is_complete(value + late + b"".join(more[: n + 1]), more[n], 3) for n in range(2)] == [False, True]


def test_damaged_line_spoils_no_other() -> None:
    first, last = (line_of(Arrival(member, 100, None)) for member in range(2))
    for damage in (b'\n{"member": 1, "arr', b"\n\xff\xfe", b"\n7", b"\n[]", b"\n" + b"[" * 100_000):
        assert is_complete(first + damage + last, last, 2)


@pytest.mark.parametrize(
    ("given_prefix", "prefix"), [(None, ""), ("", ""), ("shop", "shop_"), ("shop:", "shop:"), ("a.b-", "a.b-")]
)
def test_prefix_ends_as_celerys_does(given_prefix: str | None, prefix: str) -> None:
    assert key_prefix({"global_keyprefix": given_prefix, "other": 1}) == prefix


def test_name_that_fits_no_key_is_there_by_its_digest() -> None:
    assert key_of("a-", "plain", most_bytes=7, fits=True) == "a-plain"
    digests = {key_of("a-", name, most_bytes=7, fits=False) for name in ("b", "c", "\udc80")}
    digests.add(key_of("a-", "plaün", most_bytes=7, fits=True))
    assert len(digests) == 4
    assert {len(each) for each in digests} == {len("a-sha256-") + 64}


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("memcached://cache", ("cache:11211",)),
        ("memcached://cache:1234/", ("cache:1234",)),
        ("cache+memcached://a:1;b:2/", ("a:1", "b:2")),
        ("cache+pymemcache://a:1,b", ("a:1", "b:11211")),
        ("memcached://[::1]:1234", ("[::1]:1234",)),
        ("memcached://[::1]", ("[::1]:11211",)),
        ("memcached:///run/memcached.sock", ("/run/memcached.sock",)),
    ],
)
def test_url_names_servers_as_celerys_does(url: str, servers: tuple[str, ...]) -> None:
    store = MemcachedResults.from_url(urlsplit(url), {})
    assert dict(store.services["memcached"].options) == {"servers": servers}


@pytest.mark.parametrize(
    "url",
    [
        "memcached://",
        "memcached://a;;b",
        "memcached://me:secret@a",
        "memcached://a:b",
        "memcached://:1",
        "memcached://a?b=c",
    ],
)
def test_url_without_servers_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        MemcachedResults.from_url(urlsplit(url), {})
    assert "secret" not in str(caught.value)


def test_other_caches_are_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="the cache is memcached"):
        MemcachedResults.from_url(urlsplit("cache+memory://"), {})


@pytest.mark.parametrize(
    ("expires_at", "expiry"),
    [(None, 0), (1_800_000_000.5, 1_800_000_003), (2.0**31, 0), (4e9, 0), (1000.0, 0)],
)
def test_expiry_is_a_time_that_the_server_reads(expires_at: float | None, expiry: int) -> None:
    assert _expiry(expires_at) == expiry
