"""The URLs and options of Cassandra, as Celery writes them: what they mean, and which ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.cassandra import CassandraResults
from taskq_cloud.stores.results.registry import store_from_url


def options_of(url: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """The options of the client that a store opens."""
    (service,) = store_from_url(url, options or {}).services.values()
    return dict(service.options)


def place_of(url: str, options: dict[str, Any] | None = None) -> str:
    """The table as errors name it."""
    store = store_from_url(url, options or {})
    assert isinstance(store, CassandraResults)
    return store.documents.errors.name


@pytest.mark.parametrize(
    ("url", "hosts", "port", "table"),
    [
        ("cassandra://host/shop", ("host",), 9042, "shop.celery_results"),
        ("cassandra://a,b:9142/Shop?table=Results", ("a", "b"), 9142, "Shop.results"),
        ("cassandra://me:s3cret@a:9142,b:9142/shop", ("a", "b"), 9142, "shop.celery_results"),
        ("cassandra://[::1],[::2]:9142/shop", ("::1", "::2"), 9142, "shop.celery_results"),
    ],
)
def test_url_names_hosts_and_table(url: str, hosts: tuple[str, ...], port: int, table: str) -> None:
    options = options_of(url)
    assert (options["hosts"], options["port"]) == (hosts, port)
    assert place_of(url).startswith(f"Cassandra table {table} (")


def test_options_are_celerys_settings() -> None:
    settings = {"table": "from_celery", "secure_bundle_path": "/bundle.zip", "options": {"compression": True}}
    options = options_of("cassandra:///shop", settings)
    assert (options["bundle"], options["options"]) == ("/bundle.zip", {"compression": True})
    assert place_of("cassandra:///shop", settings) == "Cassandra table shop.from_celery (/bundle.zip)"
    assert place_of("cassandra:///shop?table=mine", settings) == "Cassandra table shop.mine (/bundle.zip)"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("cassandra://me:s3cret@host", {}),
        ("cassandra://me:s3cret@host/a/b", {}),
        ("cassandra://me:s3cret@host/shop?table=a.b", {}),
        ("cassandra://me:s3cret@host/shop?entry_ttl=0", {}),
        ("cassandra://me:s3cret@host/shop?entry_ttl=soon", {}),
        ("cassandra://me:s3cret@host/shop?serial_consistency=QUORUM", {}),
        ("cassandra://me:s3cret@host/shop?keyspace=a", {}),
        ("cassandra://me:s3cret@a:1,b:2/shop", {}),
        ("cassandra://me:s3cret@host:port/shop", {}),
        ("cassandra://me:s3cret@,/shop", {}),
        ("cassandra:///shop", {}),
        ("cassandra://me:s3cret@host/shop", {"read_consistency": "SOME"}),
        ("cassandra://me:s3cret@host/shop", {"secure_bundle_path": "/bundle.zip"}),
    ],
)
def test_url_that_cannot_be_read_is_refused_without_showing_secrets(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url(url, options)
    assert "s3cret" not in str(caught.value)
