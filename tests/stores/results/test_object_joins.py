"""The state of a join, derived from the keys of its objects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.flows import run
from taskq_cloud.stores.results._object_joins import Arrival, arrival_of, present
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.clock import FakeClock
from tests.stores.recorder import no_calls

SIZE = 3

arrivals = st.lists(
    # The pause before the arrival, the member, and how many seconds the join is kept from then on.
    st.tuples(st.sampled_from([0.5, 1, 4]), st.sampled_from("abcd"), st.sampled_from([None, 2, 5])),
    min_size=1,
    max_size=12,
)


@given(arrivals)
def test_join_by_object_keys_completes_when_join_in_memory_does(steps: list[tuple[float, str, int | None]]) -> None:
    clock = FakeClock(1_000.0)
    memory = MemoryResults(clock)
    keys = []
    for pause, member, kept_seconds in steps:
        clock.advance(pause)
        expires_at = None if kept_seconds is None else clock() + kept_seconds
        keys.append(Arrival(member, clock(), expires_at).key)

        counted = present([arrival_of(key) for key in reversed(keys)])

        complete = len({each.member for each in counted}) >= SIZE
        assert complete == run(memory.join("join", member, SIZE, expires_at), no_calls)


@given(st.text(), st.floats(0, 1e12), st.none() | st.floats(0, 1e12))
def test_arrival_read_from_its_key_is_unchanged(member: str, arrived_at: float, expires_at: float | None) -> None:
    arrival = Arrival(member, arrived_at, expires_at)
    assert arrival_of(arrival.key) == arrival
    assert arrival.key.count("/") == 1
