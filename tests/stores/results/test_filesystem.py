"""A folder of files as a result store: the contract, and what is in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq_cloud.stores.results.filesystem import FileResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract


class TestFiles(ResultStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path, clock: FakeClock) -> FileResults:
        return FileResults(tmp_path / "results", clock=clock)
