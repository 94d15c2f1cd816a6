"""Results in Couchbase: the contract, the documents of Celery's backend, keys, expiry, and failures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulators.documents import Couchbase
from taskq_cloud.stores.results.couchbase import CouchbaseResults, CouchbaseServers
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


@pytest.fixture
def couchbase() -> Iterator[Couchbase]:
    with Couchbase() as server:
        yield server


def servers_of(server: Couchbase, user: str = "shop", password: str = "s3cret") -> CouchbaseServers:
    """The address of a server."""
    return CouchbaseServers(f"couchbase://127.0.0.1:{server.port}", user, password)


class TestCouchbase(ResultStoreContract):
    @pytest.fixture
    def store(self, couchbase: Couchbase, clock: FakeClock) -> CouchbaseResults:
        return CouchbaseResults(servers_of(couchbase), couchbase.bucket, clock=clock)
