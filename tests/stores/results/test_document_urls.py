"""The URLs of the stores of documents, as Celery writes them: what they mean, and which ones are refused."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.results.registry import store_from_url

PASSWORD = "s3cret"


def described(store: Any) -> tuple[str, str]:
    """The address that a store's client opens, and the store as its errors name it."""
    (service,) = store.services.values()
    options = dict(service.options)
    place = options.get("server") or options.get("account") or options["url"]
    address = getattr(place, "url", None) or getattr(place, "endpoint", None) or place
    return address, store.documents.errors.name.partition(" (")[0]


@pytest.mark.parametrize(
    ("url", "address", "name"),
    [
        ("elasticsearch://", "http://localhost:9200", "Elasticsearch index celery"),
        ("elasticsearch://es:9201/shop/backend", "http://es:9201", "Elasticsearch index shop"),
        ("elasticsearch+https://es/shop", "https://es:9200", "Elasticsearch index shop"),
        ("opensearch+https://me:s3cret@es:443/shop", "https://es:443", "Elasticsearch index shop"),
        ("couchdb://", "http://localhost:5984", "CouchDB database default"),
        ("couchdb://me:s3cret@couch:5985/shop?tls=true", "https://couch:5985", "CouchDB database shop"),
        ("arangodb://", "http://localhost:8529", "ArangoDB collection celery/celery"),
        ("arangodb://me:s3cret@arango:8530/shop/results", "http://arango:8530", "ArangoDB collection shop/results"),
        ("arangodb://[::1]/shop", "http://[::1]:8529", "ArangoDB collection shop/celery"),
        ("riak://", "http://localhost:8098", "Riak bucket celery"),
        ("riak://riak:8099/shop", "http://riak:8099", "Riak bucket shop"),
        (
            "cosmosdbsql://:s3cret@azure",
            "https://azure:443",
            "Cosmos DB container celerydb/celerycol",
        ),
        ("cosmosdbsql://:s3cret@127.0.0.1:8081/a/b", "http://127.0.0.1:8081", "Cosmos DB container a/b"),
        ("cosmosdbsql://:s3cret@azure/a", "https://azure:443", "Cosmos DB container a/celerycol"),
        ("mongodb://", "mongodb://localhost/", "MongoDB collection celery.celery_taskmeta"),
        (
            "mongodb://a,b/shop?replicaSet=r",
            "mongodb://a,b/shop?replicaSet=r",
            "MongoDB collection shop.celery_taskmeta",
        ),
        ("mongodb+srv://m/shop?collection=x&tls=true", "mongodb+srv://m/shop?tls=true", "MongoDB collection shop.x"),
    ],
)
def test_url_names_server_and_collection(url: str, address: str, name: str) -> None:
    assert described(store_from_url(url, {})) == (address, name)


@pytest.mark.parametrize(
    "url",
    [
        "elasticsearch://es/a/b/c",
        "elasticsearch://es/Shop",
        "elasticsearch://me:s3cret@es/_all",
        "elasticsearch://es?verify=perhaps",
        "couchdb://me:s3cret@couch/_users",
        "couchdb://couch?password=s3cret",
        "couchdb://couch:port/shop",
        "arangodb://me:s3cret@arango/a/b/c",
        "riak://riak/a/b",
        "riak://riak?protocol=pbc",
        "cosmosdbsql://",
        "cosmosdbsql://:a/s3cret@azure",
        "cosmosdbsql://:s3cret@azure/a/b/c",
        "mongodb://me:s3cret@host/a/b",
        "mongodb://me:s3cret@host/a?w=0",
    ],
)
def test_url_that_cannot_be_read_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url(url, {})
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "elasticsearch://me:s3cret@es/shop?api_key=s3cret",
        "couchdb://me:s3cret@couch/shop",
        "arangodb://me:s3cret@arango/shop",
        "riak://me:s3cret@riak/shop",
        "cosmosdbsql://:s3cret@azure",
    ],
)
def test_representation_of_clients_shows_no_secrets(url: str) -> None:
    store = store_from_url(url, {})
    assert PASSWORD not in f"{store.services}{store}"


def test_password_of_mongodb_is_in_no_error() -> None:
    store: Any = store_from_url("mongodb://me:s3cret@host/shop", {})
    assert PASSWORD not in f"{store.documents.errors}{[*store.services]}"


def test_cluster_of_couchdb_takes_no_joins() -> None:
    capabilities = store_from_url("couchdb://couch/shop?cluster=true", {}).capabilities
    assert not capabilities.joins
    assert not capabilities.claims
    assert capabilities.reservations_per_second == 0
    assert store_from_url("couchdb://couch/shop", {}).capabilities.joins
