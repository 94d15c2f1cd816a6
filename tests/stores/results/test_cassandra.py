"""Results in Cassandra: the contract, the rows of Celery's backend, expiry, and failures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from emulators.documents import Cassandra
from taskq_cloud.stores.results.cassandra import CassandraResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


@pytest.fixture
def cassandra() -> Iterator[Cassandra]:
    with Cassandra() as server:
        yield server


def address_of(server: Cassandra, **more: Any) -> dict[str, Any]:
    """The address of a server, and further options of the client."""
    return {"hosts": ("127.0.0.1",), "port": server.port, **more}


class TestCassandra(ResultStoreContract):
    @pytest.fixture
    def store(self, cassandra: Cassandra, clock: FakeClock) -> CassandraResults:
        return CassandraResults(address_of(cassandra), "celery", clock=clock)
