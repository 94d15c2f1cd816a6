"""Results in CouchDB: the contract, the documents of Celery's backend, and the failures of a server."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from taskq_cloud.stores.http_servers import HTTPServer
from taskq_cloud.stores.results.couchdb import CouchDBResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


@pytest.fixture
def server(server_url: Callable[[str], str]) -> HTTPServer:
    return HTTPServer(server_url("couchdb").replace("couchdb:", "http:"))


class TestCouchDB(ResultStoreContract):
    @pytest.fixture
    def store(self, server: HTTPServer, clock: FakeClock) -> CouchDBResults:
        return CouchDBResults(server, f"celery-{uuid4()}", clock=clock)
