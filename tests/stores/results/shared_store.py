"""The contract of result stores for stores that are expensive to open: the tests of a class share one store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100, ResultStoreContract
from taskq_cloud.testing.driving import Drive, driving

_IDS = ("Aufgabe-größer", "with 'quotes\" and spaces", "b'x'", "a" * 255, "100%/../?")
"""The ids that the contract uses for both drivers."""


class SharedStoreContract(ResultStoreContract):
    """The contract, with the fixture ``shared``: the store of all tests, on ``shared_clock``."""

    @pytest.fixture(scope="class")
    @classmethod
    def shared_clock(cls) -> FakeClock:
        """The clock of the store, which each test sets back to its start."""
        return FakeClock(THE_YEAR_2100)

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, shared_clock: FakeClock) -> ResultStore:
        """The adapter under test, on ``shared_clock``."""
        raise NotImplementedError

    @pytest.fixture(scope="class", params=["sync", "async"])
    @classmethod
    def run(cls, request: pytest.FixtureRequest, shared: ResultStore) -> Iterator[Drive]:
        """Drives flows to their ends."""
        with driving(request.param, shared.services) as drive:
            yield drive

    @pytest.fixture
    def clock(self, shared_clock: FakeClock) -> FakeClock:
        """The clock of the store."""
        shared_clock.advance(THE_YEAR_2100 - shared_clock())
        return shared_clock

    @pytest.fixture
    def store(self, request: pytest.FixtureRequest, clock: FakeClock, shared: ResultStore, run: Drive) -> ResultStore:
        """The adapter under test, its clock set back, without the records that other tests saved under these ids."""
        if request.node.originalname == "test_id_may_be_any_text":
            run(shared.delete(_IDS))
        return shared
