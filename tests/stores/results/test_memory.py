"""The result store in memory."""

from __future__ import annotations

import pytest

from taskq_cloud.core.flows import run as drive
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from tests.stores.recorder import no_calls
from tests.stores.results.clock_set_back import ClockSetBackContract


class TestMemory(ClockSetBackContract, ResultStoreContract):
    @pytest.fixture
    def store(self, clock: FakeClock) -> MemoryResults:
        return MemoryResults(clock=clock)


def test_expired_entries_are_removed_from_memory() -> None:
    clock = FakeClock()
    store = MemoryResults(clock=clock)
    drive(store.save([a_record(expires_at=clock() + 10) for _ in range(100)]), no_calls)
    drive(store.join("join", "member", 2, clock() + 10), no_calls)
    drive(store.claim("key", "owner", 10), no_calls)

    clock.advance(16 * 86_400)
    kept = a_record()
    drive(store.save([kept]), no_calls)

    assert store._entries.records == {kept.id: kept}
    assert store._entries.joins == {}
    assert store._entries.locks == {}


def test_stores_made_from_one_url_share_no_records() -> None:
    first, second = store_from_url("memory://", {}), store_from_url("memory://", {})
    record = a_record()
    drive(first.save([record]), no_calls)
    assert drive(second.load([record.id]), no_calls) == {}
