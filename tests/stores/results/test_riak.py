"""Results in Riak: the contract, the documents of Celery's backend, and the failures of a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulators.documents import Riak
from taskq_cloud.stores.http_servers import HTTPServer
from taskq_cloud.stores.results.riak import RiakResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Riak]:
    with Riak() as server:
        yield server


class TestRiak(ResultStoreContract):
    @pytest.fixture
    def store(self, server: Riak, clock: FakeClock) -> RiakResults:
        return RiakResults(HTTPServer(server.url), clock=clock)
