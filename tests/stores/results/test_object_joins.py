"""The joins of the object stores: members that arrive in any order, twice, at once, or whose process dies."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.flows import Gather, run
from taskq_cloud.stores.results._conditional_objects import ConditionalObjects
from taskq_cloud.stores.results._object_joins import MARKER_BYTES, Arrival, Join, arrivals_at, place_of, present
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.clock import FakeClock
from tests.stores.bucket_in_memory import BucketInMemory
from tests.stores.recorder import no_calls

SIZE = 3


def arriving(bucket: BucketInMemory, member: int, size: int, at: float = 0, until: float | None = None) -> Any:
    return Join(ConditionalObjects(bucket), "join/", size, Arrival(member, at, until)).arrive()


class Delivery:
    """A message of a member that a process handles call by call, and that comes back if the process dies."""

    def __init__(self, bucket: BucketInMemory, member: int, size: int) -> None:
        self.member = member
        self.complete: bool | None = None
        self._bucket = bucket
        self._flow: Generator[Any, Any, bool] = arriving(bucket, member, size)
        self._answer: Any = None

    def make_one_call(self) -> bool:
        """Make one call; returns whether the flow has ended."""
        try:
            step = self._flow.send(self._answer)
        except StopIteration as end:
            self.complete = end.value
            return True
        self._answer = self._bucket.perform(step)
        return False


@given(
    size=st.integers(1, 9),
    seed=st.integers(0, 2**32),
    deaths=st.sampled_from([0.0, 0.1, 0.4]),
    copies=st.sampled_from([1, 2]),
    at_once=st.sampled_from([1, 3, 20]),
)
def test_join_is_complete_for_its_last_member_whoever_dies(
    size: int, seed: int, deaths: float, copies: int, at_once: int
) -> None:
    rng, bucket = random.Random(seed), BucketInMemory()
    waiting = [member for member in range(size) for _ in range(copies)]
    rng.shuffle(waiting)
    under_way: list[Delivery] = []
    ended: list[Delivery] = []
    while waiting or under_way:
        while waiting and len(under_way) < at_once:
            under_way.append(Delivery(bucket, waiting.pop(), size))
        delivery = rng.choice(under_way)
        if delivery.make_one_call():
            under_way.remove(delivery)
            ended.append(delivery)
            if delivery.complete:
                arrived = {each.member for each in [*ended, *under_way]}
                assert len(arrived) == size
        elif rng.random() < deaths:
            # The process dies after its call has taken effect, and the message is delivered again.
            under_way.remove(delivery)
            waiting.append(delivery.member)
    completions = Counter(each.complete for each in ended)
    assert completions[True] >= 1
    if not deaths and copies == 1:
        assert completions[True] == 1


@pytest.mark.parametrize("size", [1, 2, 10, 200])
@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_join_takes_one_call_for_most_members(size: int, order: str) -> None:
    bucket = BucketInMemory()
    members = list(range(size))
    if order == "random":
        random.Random(size).shuffle(members)
    elif order == "descending":
        members.reverse()
    answers = [run(arriving(bucket, member, size), bucket.perform) for member in members]
    assert answers == [False] * (size - 1) + [True]
    most = size + 2 if order == "ascending" else size + 5 * (2 + size.bit_length())
    assert len(bucket.operations) <= most, Counter(bucket.operations)


def test_member_that_arrives_again_after_the_last_learns_that_the_join_is_complete() -> None:
    bucket = BucketInMemory()
    for member in (1, 2, 0):
        run(arriving(bucket, member, SIZE), bucket.perform)
    assert all(run(arriving(bucket, member, SIZE), bucket.perform) for member in range(SIZE))


arrivals = st.lists(
    # The pause before the arrival, the member, and how many seconds longer than before the join is kept from then on.
    st.tuples(st.sampled_from([0.5, 1, 4]), st.integers(0, SIZE), st.sampled_from([0.0, 1, 5])),
    min_size=1,
    max_size=12,
)


@given(arrivals)
def test_join_expires_and_begins_anew_as_in_memory(steps: list[tuple[float, int, float]]) -> None:
    clock, bucket = FakeClock(1_000.0), BucketInMemory()
    memory = MemoryResults(clock)
    expires_at = 1_002.0
    for pause, member, longer in steps:
        clock.advance(pause)
        expires_at = max(expires_at, clock()) + longer
        complete = run(arriving(bucket, member, SIZE + 1, clock(), expires_at), bucket.perform)
        assert complete == run(memory.join("join", str(member), SIZE + 1, expires_at), no_calls)


def test_expired_arrivals_are_not_counted() -> None:
    new = Arrival(1, 2.0, None)
    assert present([new, Arrival(0, 1.0, 2.0)]) == {1}
    assert present([new, Arrival(0, 1.0, 2.5)]) == {0, 1}


times = st.tuples(st.floats(0, 1e12), st.none() | st.floats(0, 1e12))


@given(st.integers(0, 10**9), st.lists(times, min_size=1, max_size=10))
def test_arrivals_read_from_their_object_are_unchanged_and_smaller_than_a_marker(
    member: int, given_times: list[tuple[float, float | None]]
) -> None:
    members_arrivals = [Arrival(member, *each) for each in given_times]
    place = place_of(members_arrivals)
    assert arrivals_at(member, place) == members_arrivals
    assert len(place.body) < MARKER_BYTES - 100, "S3's adapter appends blanks"


def test_member_that_arrives_anew_during_a_look_does_not_make_up_for_another() -> None:
    bucket = BucketInMemory()
    for member in (0, 1):  # they arrived before the join expired
        bucket.perform(Gather([bucket.put(f"join/{member}", place_of([Arrival(member, 1, 10)]), None)]))

    def perform(step: Any) -> Any:
        answer = bucket.perform(step)
        if step.calls[0].operation == "list":
            run(arriving(bucket, 0, SIZE, at=100, until=1_000), bucket.perform)
        return answer

    assert run(arriving(bucket, 2, SIZE, at=100, until=1_000), perform) is False
    assert run(arriving(bucket, 1, SIZE, at=100, until=1_000), bucket.perform) is True
