"""The URLs of Couchbase, as Celery writes them: what they mean, and which ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import store_from_url


def options_of(url: str) -> dict[str, Any]:
    """The options of the client that a store opens."""
    (service,) = store_from_url(url, {}).services.values()
    return dict(service.options)


@pytest.mark.parametrize(
    ("url", "address", "bucket"),
    [
        ("couchbase://me:s3cret@host", "couchbase://host", "default"),
        ("couchbase://me:s3cret@host:8091/shop", "couchbase://host", "shop"),
        ("couchbase://me:s3cret@host:11300/shop", "couchbase://host:11300", "shop"),
        ("couchbase://me:s3cret@a,b:8091,[::1]/shop", "couchbase://a,b,[::1]", "shop"),
        (
            "couchbases://me:s3cret@cb.example.cloud.couchbase.com/shop",
            "couchbases://cb.example.cloud.couchbase.com",
            "shop",
        ),
        ("couchbase://me:s3cret@host:18091/shop?tls=true", "couchbases://host", "shop"),
    ],
)
def test_url_names_hosts_and_bucket(url: str, address: str, bucket: str) -> None:
    options = options_of(url)
    assert (options["url"], options["bucket"]) == (address, bucket)


def test_login_and_options_are_decoded() -> None:
    options = options_of("couchbases://me%40here:s3%2Fcret@host/shop?verify=false&ca_file=/ca.pem&durability=majority")
    assert (options["user"], options["password"]) == ("me@here", "s3/cret")
    assert (options["verify"], options["ca_file"], options["durability"]) == (False, "/ca.pem", "majority")


@pytest.mark.parametrize(
    "url",
    [
        "couchbase://me:s3cret@host/a/b",
        "couchbase://me:s3cret@host/a?durability=all",
        "couchbase://me:s3cret@host/a?verify=perhaps",
        "couchbase://me:s3cret@host/a?bucket=b",
    ],
)
def test_url_that_cannot_be_read_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url(url, {})
    assert "s3cret" not in str(caught.value)


def test_store_does_not_show_its_password() -> None:
    store = store_from_url("couchbase://me:s3cret@host/shop", {})
    assert "s3cret" not in repr([*store.services, store])
