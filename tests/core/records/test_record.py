"""The rule that says which record may replace another, and the order of states that follows from it."""

from __future__ import annotations

from itertools import permutations

import pytest
from celery import states
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.records import record as records
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, RETRY, REVOKED, STARTED, SUCCESS, Record, version_of

STATES = [STARTED, "PROGRESS", RETRY, SUCCESS, FAILURE, REVOKED]


def record(state: str, attempt: int = 0, *, fence: int = 0, expires_at: float | None = None) -> Record:
    return Record("id", state, version_of(state, attempt), "{}", expires_at, fence)


some_records = st.builds(record, st.sampled_from(STATES), st.integers(0, 5), fence=st.integers(0, 2))


def may(stored: Record | None, new: Record, now: float = 0) -> bool:
    return records.may_replace(stored, new, now)


@pytest.mark.parametrize(
    ("stored", "new", "allowed"),
    [
        (None, record(STARTED), True),
        (record(STARTED), record(STARTED), True),
        (record(STARTED), record("PROGRESS"), True),
        (record("PROGRESS"), record(SUCCESS), True),
        (record(RETRY, 0), record(STARTED, 0), False),
        (record(RETRY, 0), record(STARTED, 1), True),
        (record(STARTED, 1), record(RETRY, 0), False),
        (record(RETRY, 3), record(SUCCESS, 0), True),
        (record(SUCCESS), record(FAILURE, 9), False),
        (record(FAILURE), record(FAILURE), False),
        (record(REVOKED), record(SUCCESS), False),
        (record(STARTED, fence=2), record(SUCCESS, fence=1), False),
        (record(STARTED, fence=1), record(SUCCESS, fence=2), True),
        (record(SUCCESS, expires_at=5), record(STARTED, fence=0), True),
    ],
)
def test_record_may_replace_another_by_version_and_fence(stored: Record | None, new: Record, allowed: bool) -> None:
    assert may(stored, new, now=10) is allowed


def test_final_record_can_be_replaced_once_expired() -> None:
    assert not may(record(SUCCESS, expires_at=11), record(STARTED), now=10)
    assert may(record(SUCCESS, expires_at=10), record(STARTED), now=10)


@given(stored=some_records, new=some_records)
def test_replacement_never_undoes_a_final_state_or_lowers_a_version(stored: Record, new: Record) -> None:
    if stored.final:
        assert not may(stored, new)
    elif may(stored, new):
        assert new.version >= stored.version
        assert new.fence >= stored.fence


@given(written=st.lists(some_records, min_size=1, max_size=5))
def test_final_state_stands_in_any_order_of_arrival(written: list[Record]) -> None:
    for order in permutations(written[:4]):
        kept: Record | None = None
        first_final = None
        for each in order:
            if may(kept, each):
                kept = each
                first_final = first_final or (each if each.final else None)
        assert first_final is None or kept is first_final


def test_version_of_many_attempts_stays_below_the_final_one() -> None:
    assert version_of(RETRY, 2**40) == FINAL_VERSION - 1
    assert not record(RETRY, 2**40).final
    assert version_of(STARTED, 0) < version_of(RETRY, 0) < version_of(STARTED, 1) < version_of(SUCCESS, 0)


def test_states_are_equal_to_celerys() -> None:
    for name in ("PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "REVOKED", "REJECTED", "RETRY", "IGNORED"):
        assert getattr(records, name) == getattr(states, name)
    for name in ("READY_STATES", "UNREADY_STATES", "EXCEPTION_STATES", "PROPAGATE_STATES"):
        assert getattr(records, name) == getattr(states, name)
