"""The contract of the pipeline, in memory and on SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.brokers.sqlite import SQLiteBroker
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.stores.results.sqlite import SQLiteResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.pipeline import PipelineContract


class TestInMemory(PipelineContract):
    crash_before_too = False
    steps_apart = 4

    @pytest.fixture
    def broker(self, clock: FakeClock) -> MemoryBroker:
        return MemoryBroker(clock)

    @pytest.fixture
    def store(self, clock: FakeClock) -> MemoryResults:
        return MemoryResults(clock)


@pytest.mark.slow
class TestInMemoryAtLength(TestInMemory):
    interleavings = 50
    crash_before_too = True
    steps_apart = 1


@pytest.mark.slow
class TestOnSQLite(PipelineContract):
    interleavings = 3
    crash_before_too = False
    steps_apart = 8

    @pytest.fixture
    def broker(self, tmp_path: Path, clock: FakeClock) -> SQLiteBroker:
        return SQLiteBroker(tmp_path / "broker.db", clock)

    @pytest.fixture
    def store(self, tmp_path: Path, clock: FakeClock) -> SQLiteResults:
        return SQLiteResults(tmp_path / "results.db", clock)
