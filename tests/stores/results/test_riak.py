"""Results in Riak: the contract, the documents of Celery's backend, and the failures of a server."""

from __future__ import annotations

import pytest

from emulators.documents import Riak
from taskq_cloud.stores.http_servers import HTTPServer
from taskq_cloud.stores.results.riak import RiakResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


class TestRiak(ResultStoreContract):
    @pytest.fixture
    def store(self, riak: Riak, clock: FakeClock) -> RiakResults:
        return RiakResults(HTTPServer(riak.url), clock=clock)
