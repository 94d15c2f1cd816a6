"""Rates: the texts that give one, and the bound that its slots keep."""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

import pytest
from celery.utils.time import rate as celerys_rate
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.model.rates import FARTHEST_SLOT_SECONDS, LocalSlots, Rate, parse_rate, take_slot
from taskq_cloud.errors import ImproperlyConfigured


@pytest.mark.parametrize("value", ["10/s", "100/m", "1000/h", "10", 10, 2.5, "0.5/m", "1/h"])
def test_rate_is_read_as_celery_reads_it(value: Any) -> None:
    rate = parse_rate(value, of="rate_limit")
    assert rate is not None
    assert rate.per_second == pytest.approx(celerys_rate(value))


@pytest.mark.parametrize("value", [None, 0, "0", "0/m", 0.0])
def test_rate_of_none_or_zero_is_no_limit(value: Any) -> None:
    assert not celerys_rate(value)
    assert parse_rate(value, of="rate_limit") is None


@pytest.mark.parametrize(
    "value", ["10/d", "ten/s", "10 / s", "", "/m", "-1/s", -1, "1e3/s", "10/s ", math.nan, math.inf, True, [10], "٣/s"]
)
def test_malformed_rate_is_refused_with_examples(value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"task shop\.notify: rate_limit=.* isn't a rate: write '10/s'"):
        parse_rate(value, of="task shop.notify: rate_limit")


@pytest.mark.parametrize(
    ("value", "burst", "credit", "good"),
    [("20/s", 40, 1, 2), ("100/m", 4, 1.4, 2.4), ("1/m", 1, 0, 60), ("1/h", 1, 0, 3600)],
)
def test_default_burst_is_two_seconds_of_the_rate_or_one(value: str, burst: int, credit: float, good: float) -> None:
    rate = parse_rate(value, of="rate_limit")
    assert rate is not None
    assert rate.burst == burst
    assert (rate.credit_seconds, rate.good_for_seconds) == pytest.approx((credit, good))


@pytest.mark.parametrize(
    ("value", "burst", "message"),
    [
        ("20/s", 39, "at least 40, as many tasks as 2 s allow"),
        ("1/m", 0, "at least 1"),
        ("1/m", 1.5, "at least 1"),
        ("1/m", True, "at least 1"),
        ("1/h", 25, "at most 24, as many tasks as a day allows"),
        ("0.01/h", 2, "at most 1"),
    ],
)
def test_burst_out_of_bounds_is_refused(value: str, burst: Any, message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        parse_rate(value, burst, of="rate_limit")


RATES = st.builds(
    lambda per_second, more: Rate(per_second, max(1, math.ceil(2 * per_second)) + more),
    st.sampled_from([1 / 60, 0.5, 100 / 60, 3.0, 20.0]),
    st.integers(0, 5),
)


def most_in_a_window(starts: list[float], seconds: float) -> int:
    """The number of starts in the fullest half-open window."""
    return max(sum(first <= each < first + seconds for each in starts) for first in starts)


@given(
    rate=RATES,
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=60),
    late=st.randoms(use_true_random=False),
)
def test_starts_in_any_window_are_at_most_rate_and_burst(rate: Rate, pauses: list[float], late: random.Random) -> None:
    slots, now, starts, given_out = LocalSlots(), 1000.0, [], []
    for pause in pauses:
        now += pause if late.random() < 0.5 else 0
        slot = slots.take("key", rate.interval_seconds, rate.credit_seconds, now)
        assert slot is not None
        given_out.append(slot)
        # A task may begin as long as its slot is good, but not before it has asked for the slot.
        starts.append(max(now, slot + late.uniform(0, rate.good_for_seconds)))

    assert all(later - earlier >= rate.interval_seconds - 1e-6 for earlier, later in pairwise(given_out))
    for seconds in (0.01, 0.5, 1.0, 7.3, 60.0, 600.0):
        assert most_in_a_window(starts, seconds) <= math.ceil(seconds * rate.per_second + 1e-6) + rate.burst


def test_starts_in_a_window_can_reach_the_bound() -> None:
    rate = Rate(1.0, 3)
    # Tasks that begin late coincide with a task that begins in time: the slots of 0, 1, 2 and 3 are all used at 3.
    slots = LocalSlots()
    held = [slots.take("key", 1, rate.credit_seconds, now) for now in (2.0, 2.0, 2.0, 3.0)]
    assert held == [0, 1, 2, 3]
    assert most_in_a_window([3.0] * 4, 0.001) == math.ceil(0.001) + rate.burst


def test_slot_is_bounded_by_credit_and_by_distance() -> None:
    assert take_slot(None, 5, 100) == 95
    assert take_slot(1.0, 5, 100) == 95
    assert take_slot(97.0, 5, 100) == 97
    assert take_slot(101 + FARTHEST_SLOT_SECONDS, 5, 100) is None


def test_keys_with_past_slots_are_forgotten() -> None:
    slots = LocalSlots()
    for number in range(3000):
        slots.take(f"tenant {number}", 1, 1, now=number * 0.1)
    assert len(slots._next) < 1100
    assert slots.take("tenant 2999", 1, 0, now=299.9) == pytest.approx(299.9)
