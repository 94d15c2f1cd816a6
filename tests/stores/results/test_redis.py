"""Redis as a result store, on a real server: the contract, and what Redis keeps."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from taskq_cloud.stores.results.redis import RedisResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract

pytestmark = pytest.mark.slow


class TestRedis(ResultStoreContract):
    @pytest.fixture
    def store(self, server_url: Callable[[str], str], clock: FakeClock) -> RedisResults:
        return RedisResults([server_url("redis")], {"global_keyprefix": str(uuid4())}, clock=clock)
