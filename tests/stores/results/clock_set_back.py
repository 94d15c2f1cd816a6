"""What the local stores do when the machine's clock is set back: locks and slots last as long as they were meant to."""

from __future__ import annotations

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.driving import Drive


class ClockSetBackContract:
    """Tests of a store whose clock is set back by an hour."""

    def test_lock_of_another_owner_lapses_in_time_when_clock_is_set_back(
        self, store: ResultStore, run: Drive, clock: FakeClock
    ) -> None:
        assert run(store.claim("key", "a", 30)) == 1
        clock.advance(-3600)
        assert run(store.claim("key", "b", 30)) is None, "the lock has not lapsed"
        clock.advance(28)
        assert run(store.claim("key", "b", 30)) is None, "the lock has not lapsed"
        clock.advance(2)
        assert run(store.claim("key", "b", 30)) == 2

    def test_slots_of_a_rate_begin_now_when_clock_is_set_back(
        self, store: ResultStore, run: Drive, clock: FakeClock
    ) -> None:
        slots = [run(store.reserve("key", 10, 0)) for _ in range(3)]
        assert slots == [clock(), clock() + 10, clock() + 20]
        clock.advance(-3600)
        slot = run(store.reserve("key", 10, 0))
        assert slot is not None
        assert clock() + 28 <= slot <= clock() + 30
