"""Payload stores in each of the object stores: stored, repeated, missing and deleted objects, and missing buckets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from unittest import mock

import pytest

from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.model.payload_references import Payload, WantedPayload
from taskq_cloud.errors import ClaimError, ImproperlyConfigured, StoreNotFound
from taskq_cloud.stores.payloads.objects import ObjectPayloads
from taskq_cloud.stores.payloads.registry import payload_store_from_url
from taskq_cloud.testing.driving import Drive, driving


class Count:
    """The bytes that this process has received on its sockets."""

    received = 0


@contextmanager
def counted_bytes() -> Iterator[Count]:
    """Count the bytes that synchronous and asynchronous clients receive while the context lasts."""
    count, recv_into, recv = Count(), socket.socket.recv_into, socket.socket.recv

    def counting_into(self: socket.socket, *arguments: Any) -> int:
        size = recv_into(self, *arguments)
        count.received += size
        return size

    def counting(self: socket.socket, *arguments: Any) -> bytes:
        data = recv(self, *arguments)
        count.received += len(data)
        return data

    with mock.patch.multiple(socket.socket, recv_into=counting_into, recv=counting):
        yield count


MakeURL: TypeAlias = tuple[Callable[[str], str], str]


@pytest.fixture(params=["s3", "azureblob", "gs"])
def make_url(request: pytest.FixtureRequest) -> MakeURL:
    """The fixture that makes a bucket, and the URL of a payload store with a placeholder for the bucket's name."""
    if request.param == "s3":
        return request.getfixturevalue("make_bucket"), "s3://{}/large"
    if request.param == "azureblob":
        return request.getfixturevalue("make_container"), "azureblob://{}/large"
    return request.getfixturevalue("make_gcs_bucket"), "gs://{}/large"


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, make_url: MakeURL) -> Iterator[Drive]:
    _, url = make_url
    with driving(request.param, payload_store_from_url(url.format("any-bucket")).services) as drive:
        yield drive


@pytest.fixture
def store(make_url: MakeURL) -> ObjectPayloads:
    make, url = make_url
    return payload_store_from_url(url.format(make("payloads")))


def test_payloads_are_read_back_byte_for_byte(store: ObjectPayloads, run: Drive) -> None:
    bucket = store.place.partition("://")[2]
    # The last body ends with blanks like those that the result store on S3 appends, and removes when it reads.
    bodies = {"large/a": bytes(range(256)), "large/b": b"", "large/c": b"x\n" + b" \t" * 32}
    payloads = [Payload(key, body) for key, body in bodies.items()]
    assert run(store.put(payloads)) == [None] * 3
    assert run(store.put(payloads[:1])) == [None]
    wanted = [WantedPayload(bucket, each.key, 1_000) for each in [*payloads, Payload("large/none", b"")]]
    assert run(store.get(wanted)) == [*(each.data for each in payloads), None]
    assert run(store.get(wanted[:1])) == [payloads[0].data]
    run(store.delete(["large/a", "large/none"]))
    assert run(store.get(wanted[:2])) == [None, b""]
    run(store.delete(["large/a"]))
    assert run(store.put([])) == [] and run(store.get([])) == []


def test_object_of_another_bucket_is_read(store: ObjectPayloads, make_url: MakeURL, run: Drive) -> None:
    make, url = make_url
    other = payload_store_from_url(url.format(make("other")))
    run(other.put([Payload("k", b"there")]))
    assert run(store.get([WantedPayload(other.place.partition("://")[2], "k", 5)])) == [b"there"]


def test_object_larger_than_wanted_is_not_read(store: ObjectPayloads, run: Drive) -> None:
    bucket = store.place.partition("://")[2]
    run(store.put([Payload("large/a", b"x" * 1_000_000)]))
    with counted_bytes() as count:
        too_large, whole, empty = run(
            store.get([WantedPayload(bucket, "large/a", most) for most in (13, 1_000_000, 0)])
        )
    assert whole == b"x" * 1_000_000
    for answer in (too_large, empty):
        assert isinstance(answer, Refused) and isinstance(answer.error, ClaimError)
        assert "bytes" in str(answer.error)
    assert count.received < 1_500_000, "the large object was sent once, and a few bytes of it twice"


def test_error_for_missing_bucket_names_it(make_url: MakeURL, run: Drive) -> None:
    _, url = make_url
    store = payload_store_from_url(url.format("missing-bucket"))
    (answer,) = run(store.put([Payload("k", b"")]))
    assert isinstance(answer, Refused) and isinstance(answer.error, StoreNotFound)
    with pytest.raises(StoreNotFound, match="missing-bucket"):
        run(store.get([WantedPayload("missing-bucket", "k", 5)]))


def test_lifecycle_rules_cover_arguments_and_results() -> None:
    store = payload_store_from_url("s3://bucket/shop")
    rules = store.lifecycle_rules(30, 86_400)
    assert [(rule.prefix, rule.days) for rule in rules] == [("shop/arguments/", 30), ("shop/results/", 2)]
    assert [rule.prefix for rule in store.lifecycle_rules(30, None)] == ["shop/arguments/"]
    assert repr(store) == "<ObjectPayloads s3://bucket/shop/>"


@pytest.mark.parametrize("url", ["memory://", "dynamodb://table", "s3://", "bucket"])
def test_url_that_is_not_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        payload_store_from_url(url)
