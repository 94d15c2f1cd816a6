"""Results in Elasticsearch: the contract, the documents of Celery's backend, and the failures of a server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from taskq_cloud.stores.http_servers import HTTPServer
from taskq_cloud.stores.results.elasticsearch import ElasticsearchResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


class TestElasticsearch(ResultStoreContract):
    @pytest.fixture
    def store(self, elasticsearch: HTTPServer, clock: FakeClock) -> ElasticsearchResults:
        return ElasticsearchResults(elasticsearch, f"celery-{uuid4()}", clock=clock)
