"""The servers of document databases that tests of several stores need."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from emulators.documents import ArangoDB, Cassandra, Couchbase, Riak
from emulators.documents.cosmosdb import KEY, CorrectedCosmosDB
from taskq_cloud.core.servers.http import CosmosAccount, HTTPServer


@pytest.fixture
def arangodb() -> Iterator[ArangoDB]:
    with ArangoDB() as server:
        yield server


@pytest.fixture
def cassandra() -> Iterator[Cassandra]:
    with Cassandra() as server:
        yield server


@pytest.fixture
def couchbase() -> Iterator[Couchbase]:
    with Couchbase() as server:
        yield server


@pytest.fixture
def riak() -> Iterator[Riak]:
    with Riak() as server:
        yield server


@pytest.fixture(scope="session")
def cosmosdb(server_url: Callable[[str], str]) -> Iterator[CosmosAccount]:
    with CorrectedCosmosDB(server_url("cosmosdb")) as server:
        yield CosmosAccount(server.url, KEY, discovery=False)


@pytest.fixture
def elasticsearch(server_url: Callable[[str], str]) -> HTTPServer:
    return HTTPServer(server_url("elasticsearch").replace("elasticsearch:", "http:"))


@pytest.fixture
def couchdb(server_url: Callable[[str], str]) -> HTTPServer:
    return HTTPServer(server_url("couchdb").replace("couchdb:", "http:"))
