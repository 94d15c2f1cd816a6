"""The contract of result stores. Derive a class from ``ResultStoreContract`` in the tests of the adapter::

    class TestSQLite(ResultStoreContract):
        @pytest.fixture
        def store(self, tmp_path, clock):
            return SQLiteResults(tmp_path / "results.db", clock=clock)

Each test runs with the synchronous and with the asynchronous driver, on a clock that the test moves. The tests expect
of a store what its capabilities declare. Whatever only one adapter does is tested in the adapter's own tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import (
    FAILURE,
    FINAL_VERSION,
    RETRY,
    STARTED,
    SUCCESS,
    Record,
    may_replace,
    version_of,
)
from taskq_cloud.errors import PayloadTooLarge
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.joins_and_locks import JoinsAndLocksContract
from taskq_cloud.testing.contracts.reservations import ReservationsContract
from taskq_cloud.testing.driving import Drive, driving

THE_YEAR_2100 = 4_102_444_800.0
"""The time at which the clock starts: so late that a real service expires nothing by its own clock."""

LARGEST_TRIED_BYTES = 8 * 1024 * 1024
"""The largest limit that a test tries out; a larger one would test the machine's memory."""


def document(value: Any, state: str = SUCCESS, task_id: str = "A") -> str:
    """The result document, in Celery's form, of a task that returned ``value``."""
    return json.dumps(
        {
            "status": state,
            "result": value,
            "traceback": None,
            "children": [],
            "date_done": "2026-03-01T12:00:00+00:00",
            "task_id": task_id,
        },
        ensure_ascii=False,
    )


def a_record(state: str = SUCCESS, attempt: int = 0, value: Any = 2, **changes: Any) -> Record:
    """Make the record of a task that no other test uses.

    Args:
        state: the state.
        attempt: the number of retries before.
        value: the result.
        changes: further fields of the record: ``id``, ``fence``, ``expires_at``.
    """
    task_id = changes.pop("id", None) or str(uuid4())
    record = Record(task_id, state, version_of(state, attempt), document(value, state, task_id))
    return replace(record, **changes)


@st.composite
def _writes(draw: st.DrawFn) -> tuple[float, Record]:
    """Draw a pause in seconds and the record that is saved after it; the test sets the record's id."""
    state = draw(st.sampled_from([STARTED, "PROGRESS", RETRY, SUCCESS, FAILURE]))
    record = a_record(state, draw(st.integers(0, 2)), draw(st.integers(0, 9)), id="unnamed")
    lives_seconds = draw(st.sampled_from([None, 1, 3]))
    expires_at = None if lives_seconds is None else float(lives_seconds)
    return draw(st.sampled_from([0, 0, 1, 2])), replace(record, expires_at=expires_at, fence=draw(st.integers(0, 2)))


class ResultStoreContract(JoinsAndLocksContract, ReservationsContract):
    """The tests of a result store. Define the fixture ``store``."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The clock of the store."""
        return FakeClock(THE_YEAR_2100)

    @pytest.fixture
    def store(self, clock: FakeClock) -> ResultStore:
        """The adapter under test, empty, on ``clock``."""
        raise NotImplementedError

    @pytest.fixture(params=["sync", "async"])
    def run(self, request: pytest.FixtureRequest, store: ResultStore) -> Iterator[Drive]:
        """Drives flows to their ends."""
        with driving(request.param, store.services) as drive:
            yield drive

    # Saving and loading

    @pytest.mark.parametrize("value", ["grüße, 你好, 🎉\n\t\"'", None, [1, {"a": [2.5]}], "", "x" * 300_000])
    def test_record_is_loaded_as_it_was_saved(self, store: ResultStore, run: Drive, value: Any) -> None:
        record = a_record(value=value, fence=7, expires_at=THE_YEAR_2100 + 60)

        assert run(store.save([record])) == [True]
        assert run(store.load([record.id])) == {record.id: record}

    def test_record_without_expiry_stays(self, store: ResultStore, run: Drive, clock: FakeClock) -> None:
        record = a_record()
        run(store.save([record]))

        clock.advance(10 * 365 * 86_400)
        run(store.save([a_record()]))

        assert run(store.load([record.id])) == {record.id: record}

    @pytest.mark.parametrize("task_id", ["Aufgabe-größer", "with 'quotes\" and spaces", "b'x'", "a" * 255, "100%/../?"])
    def test_id_may_be_any_text(self, store: ResultStore, run: Drive, task_id: str) -> None:
        record = a_record(id=task_id)

        assert run(store.save([record])) == [True]
        assert run(store.load([task_id, f"{task_id}2"])) == {task_id: record}

    def test_empty_batches_do_nothing(self, store: ResultStore, run: Drive) -> None:
        assert run(store.load([])) == {}
        assert run(store.save([])) == []
        run(store.delete([]))

    def test_unknown_id_is_absent_from_the_answer(self, store: ResultStore, run: Drive) -> None:
        assert run(store.load([str(uuid4())])) == {}
        assert run(store.load([str(uuid4()), str(uuid4())])) == {}

    def test_load_takes_many_ids_some_twice_some_unknown(self, store: ResultStore, run: Drive) -> None:
        records = [a_record(value=number) for number in range(250)]
        ids = [record.id for record in records]

        assert run(store.save(records)) == [True] * 250
        assert run(store.load([*ids, *ids[:30], str(uuid4())])) == {record.id: record for record in records}
        assert run(store.load([ids[0], ids[0]])) == {ids[0]: records[0]}

    def test_deleted_record_is_gone_and_can_be_saved_again(self, store: ResultStore, run: Drive) -> None:
        records = [a_record() for _ in range(60)]
        ids = [record.id for record in records]
        run(store.save(records))

        run(store.delete([*ids[:59], ids[0], str(uuid4())]))

        assert run(store.load(ids)) == {ids[59]: records[59]}
        assert run(store.save(records[:1])) == [True]
        assert run(store.load(ids[:1])) == {ids[0]: records[0]}

    def test_payload_over_the_limit_is_refused_before_anything_is_saved(self, store: ResultStore, run: Drive) -> None:
        limit = store.capabilities.largest_record_bytes
        if limit > LARGEST_TRIED_BYTES:
            pytest.skip(f"the store's limit of {limit} bytes is too large to try out")
        # Its characters are fewer than the limit, its bytes are more.
        small, large = a_record(), a_record(value="ü" * (limit // 2))
        fitting = replace(small, id=str(uuid4()), payload='"' + "x" * (limit - 2) + '"')

        with pytest.raises(PayloadTooLarge, match=large.id) as caught:
            run(store.save([small, large]))

        assert str(limit) in str(caught.value)
        assert str(len(large.payload.encode())) in str(caught.value)
        assert run(store.load([small.id, large.id])) == {}
        assert run(store.save([fitting])) == [True]
        assert run(store.load([fitting.id])) == {fitting.id: fitting}

    # Replacing records

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(writes=st.lists(_writes(), min_size=1, max_size=8))
    def test_save_is_decided_as_may_replace_decides(
        self, store: ResultStore, run: Drive, clock: FakeClock, writes: list[tuple[float, Record]]
    ) -> None:
        task_id = str(uuid4())
        kept: Record | None = None
        for pause, write in writes:
            clock.advance(pause)
            record = replace(write, id=task_id)
            if record.expires_at is not None:
                record = replace(record, expires_at=clock() + record.expires_at)
            allowed = may_replace(kept, record, clock())
            kept = record if allowed else kept
            there = kept is not None and (kept.expires_at is None or kept.expires_at > clock())

            assert run(store.save([record])) == [allowed]
            assert run(store.load([task_id])) == ({task_id: kept} if there else {})

    def test_final_state_is_never_replaced(self, store: ResultStore, run: Drive) -> None:
        final = a_record(SUCCESS, fence=1)
        run(store.save([final]))

        for late in (
            a_record(SUCCESS, id=final.id, fence=9),
            a_record(FAILURE, id=final.id, fence=9),
            a_record(STARTED, 5, id=final.id, fence=9),
            final,
        ):
            assert run(store.save([late])) == [False]

        assert run(store.load([final.id])) == {final.id: final}

    def test_later_attempt_is_not_replaced_by_an_earlier_one(self, store: ResultStore, run: Drive) -> None:
        second = a_record(STARTED, 1)
        run(store.save([second]))

        assert run(store.save([a_record(RETRY, 0, id=second.id)])) == [False]
        assert run(store.load([second.id])) == {second.id: second}
        assert run(store.save([a_record(RETRY, 1, id=second.id)])) == [True]

    def test_record_under_a_newer_lock_is_not_replaced_under_an_older_one(self, store: ResultStore, run: Drive) -> None:
        newer = a_record(STARTED, fence=2)
        run(store.save([newer]))

        assert run(store.save([a_record(SUCCESS, id=newer.id, fence=1)])) == [False]
        assert run(store.load([newer.id])) == {newer.id: newer}
        assert run(store.save([a_record(SUCCESS, id=newer.id, fence=2)])) == [True]

    def test_each_record_of_a_batch_is_decided_by_itself(self, store: ResultStore, run: Drive) -> None:
        done, running = a_record(SUCCESS), a_record(STARTED)
        run(store.save([done, running]))

        ended = a_record(SUCCESS, id=running.id)
        assert run(store.save([a_record(FAILURE, id=done.id), ended, a_record()])) == [False, True, True]
        assert run(store.load([done.id, running.id])) == {done.id: done, running.id: ended}

    def test_expired_record_is_absent_and_can_be_replaced(
        self, store: ResultStore, run: Drive, clock: FakeClock
    ) -> None:
        final = a_record(SUCCESS, fence=5, expires_at=clock() + 10)
        other = a_record(SUCCESS, expires_at=clock() + 10)
        run(store.save([final, other]))

        clock.advance(9)
        assert run(store.load([final.id])) == {final.id: final}
        clock.advance(1)
        assert run(store.load([final.id])) == {}
        assert run(store.load([final.id, other.id])) == {}

        anew = a_record(STARTED, id=final.id)
        assert run(store.save([anew])) == [True]
        assert run(store.load([final.id, other.id])) == {final.id: anew}

    def test_expiry_is_rounded_up_to_a_second_at_most(self, store: ResultStore, run: Drive, clock: FakeClock) -> None:
        record = a_record(expires_at=clock() + 10.25)
        run(store.save([record]))

        loaded = run(store.load([record.id]))[record.id]

        assert loaded.expires_at is not None
        assert 0 <= loaded.expires_at - (clock() + 10.25) < 1

    # Concurrent writes

    def test_one_of_concurrent_final_states_is_saved(self, store: ResultStore, run: Drive) -> None:
        task_id = str(uuid4())
        finals = [a_record(SUCCESS if number % 2 else FAILURE, value=number, id=task_id) for number in range(8)]

        saved = run.together([store.save([record]) for record in finals])

        assert sorted(saved) == [[False]] * 7 + [[True]]
        assert run(store.load([task_id])) == {task_id: finals[saved.index([True])]}

    def test_latest_of_concurrent_attempts_is_saved(self, store: ResultStore, run: Drive) -> None:
        task_id = str(uuid4())
        attempts = [a_record(STARTED, attempt, id=task_id) for attempt in (3, 0, 5, 2, 4, 1)]

        saved = run.together([store.save([record]) for record in attempts])

        assert saved[2] == [True]
        assert run(store.load([task_id])) == {task_id: attempts[2]}
        assert attempts[2].version < FINAL_VERSION
