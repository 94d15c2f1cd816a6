"""memcached as a result store, on a real server: the contract, and what the server keeps."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from taskq_cloud.stores.results.memcached import MemcachedResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


class TestMemcached(ResultStoreContract):
    @pytest.fixture
    def store(self, server_url: Callable[[str], str], clock: FakeClock) -> MemcachedResults:
        servers = [urlsplit(server_url("memcached")).netloc]
        return MemcachedResults(servers, {"global_keyprefix": str(uuid4())}, clock=clock)
