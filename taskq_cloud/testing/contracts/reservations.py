"""The part of ``ResultStoreContract`` about the slots of rate limits."""

from __future__ import annotations

from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS, take_slot
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive

MOST_AT_ONCE = 12
TOLERANCE_SECONDS = 1e-5
"""The rounding error of a slot: the sum of a few floats in seconds since the epoch."""


class ReservationsContract:
    """Tests of slots, with the fixtures of ``ResultStoreContract``."""

    @pytest.fixture
    def limit(self) -> str:
        """A key that no other test uses."""
        return f"task shop.notify: {uuid4()}"

    @pytest.fixture
    def slot_store(self, store: ResultStore) -> ResultStore:
        """The store, if it gives out slots."""
        if not store.capabilities.reservations_per_second:
            pytest.skip("the store doesn't support rate limits")
        return store

    def test_slots_of_a_key_are_one_interval_apart(
        self, slot_store: ResultStore, run: Drive, clock: FakeClock, limit: str
    ) -> None:
        slots = [run(slot_store.reserve(limit, 0.25, 0)) for _ in range(4)]
        assert slots == pytest.approx([clock() + 0.25 * number for number in range(4)], abs=TOLERANCE_SECONDS)

    def test_slots_after_an_idle_time_are_bounded_by_the_credit(
        self, slot_store: ResultStore, run: Drive, clock: FakeClock, limit: str
    ) -> None:
        run(slot_store.reserve(limit, 10, 20))
        clock.advance(3600)
        slots = [run(slot_store.reserve(limit, 10, 20)) for _ in range(4)]
        assert slots == pytest.approx([clock() + after for after in (-20, -10, 0, 10)], abs=TOLERANCE_SECONDS)

    def test_each_key_has_its_own_slots(
        self, slot_store: ResultStore, run: Drive, clock: FakeClock, limit: str
    ) -> None:
        for key in (limit, f"{limit}2", f"{limit}/größer 'q\" {'x' * 100}"):
            assert run(slot_store.reserve(key, 60, 0)) == pytest.approx(clock(), abs=TOLERANCE_SECONDS)

    def test_changed_interval_counts_from_the_next_slot(
        self, slot_store: ResultStore, run: Drive, clock: FakeClock, limit: str
    ) -> None:
        # Old and new workers have different rates while a deployment changes the rate.
        slots = [run(slot_store.reserve(limit, interval, 0)) for interval in (60, 1, 60)]
        assert slots == pytest.approx([clock(), clock() + 60, clock() + 61], abs=TOLERANCE_SECONDS)

    def test_slot_too_far_ahead_is_not_given_out(
        self, slot_store: ResultStore, run: Drive, clock: FakeClock, limit: str
    ) -> None:
        run(slot_store.reserve(limit, FARTHEST_SLOT_SECONDS + 60, 0))
        assert run(slot_store.reserve(limit, 1, 0)) is None
        clock.advance(120)
        assert run(slot_store.reserve(limit, 1, 0)) == pytest.approx(
            clock() + FARTHEST_SLOT_SECONDS - 60, abs=TOLERANCE_SECONDS
        )

    @settings(
        max_examples=10,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(
        credit_seconds=st.sampled_from([0.0, 0.5, 3.0]),
        pauses=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, 5.0]), min_size=1, max_size=10),
    )
    def test_slot_is_chosen_as_take_slot_chooses(
        self, slot_store: ResultStore, run: Drive, clock: FakeClock, credit_seconds: float, pauses: list[float]
    ) -> None:
        limit, following = str(uuid4()), None
        for pause in pauses:
            clock.advance(pause)
            expected = take_slot(following, credit_seconds, clock())
            assert expected is not None
            following = expected + 1
            slot = run(slot_store.reserve(limit, 1, credit_seconds))
            assert slot == pytest.approx(expected, abs=TOLERANCE_SECONDS)

    def test_concurrent_reservations_get_different_slots(
        self, slot_store: ResultStore, run: Drive, clock: FakeClock, limit: str
    ) -> None:
        at_once = int(min(MOST_AT_ONCE, slot_store.capabilities.reservations_per_second + 1))
        for _ in range(2):
            slots = sorted(run.together([slot_store.reserve(limit, 1, 2) for _ in range(at_once)]))
            assert all(later - earlier > 1 - TOLERANCE_SECONDS for earlier, later in pairwise(slots))
            assert slots[0] == pytest.approx(clock() - 2, abs=TOLERANCE_SECONDS)
            assert slots[-1] == pytest.approx(clock() - 2 + at_once - 1, abs=TOLERANCE_SECONDS)
            clock.advance(3600)
