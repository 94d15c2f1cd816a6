"""Results in ArangoDB: the contract, the documents of Celery's backend, and the failures of a server."""

from __future__ import annotations

import pytest

from emulators.documents import ArangoDB
from taskq_cloud.stores.http_servers import HTTPServer
from taskq_cloud.stores.results.arangodb import ArangoDBResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


class TestArangoDB(ResultStoreContract):
    @pytest.fixture
    def store(self, arangodb: ArangoDB, clock: FakeClock) -> ArangoDBResults:
        return ArangoDBResults(HTTPServer(arangodb.url), clock=clock)
