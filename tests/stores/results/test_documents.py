"""The shared part of stores on documents: records, locks and slots in batches, and joins in one document."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud.core.flows import run
from taskq_cloud.core.model.capabilities import StoreCapabilities
from taskq_cloud.core.records.record import STARTED, SUCCESS
from taskq_cloud.errors import OperationalError, PayloadTooLarge
from taskq_cloud.stores.results._documents import DocumentResults, fields_of, object_of
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100, ResultStoreContract, a_record
from tests.stores.collection_in_memory import CollectionInMemory
from tests.stores.recorder import no_calls

SIZE = 3


class Results(DocumentResults):
    capabilities = StoreCapabilities(
        largest_record_bytes=1_000_000,
        joins=True,
        claims=True,
        reservations_per_second=10,
        shared_between_processes=False,
        durable=False,
    )
    services: dict[str, Any] = {}  # noqa: RUF012 - the tests drive the flows themselves


@dataclass
class Drive:
    """Drives flows on a collection in memory."""

    collection: CollectionInMemory

    def __call__(self, flow: Any) -> Any:
        return run(flow, self.collection.perform)

    def together(self, flows: list[Generator[Any, Any, Any]]) -> list[Any]:
        """Drive several flows step by step, in an order by chance."""
        rng, answers, results = random.Random(1), dict[int, Any](), dict[int, Any]()
        while len(results) < len(flows):
            number = rng.choice([each for each in range(len(flows)) if each not in results])
            try:
                step = flows[number].send(answers.get(number))
            except StopIteration as end:
                results[number] = end.value
            else:
                answers[number] = self.collection.perform(step)
        return [results[number] for number in range(len(flows))]


@pytest.fixture(params=[False, True], ids=["any version", "read version"])
def collection(request: pytest.FixtureRequest) -> CollectionInMemory:
    return CollectionInMemory(deletes_versions=request.param)


class TestDocuments(ResultStoreContract):
    @pytest.fixture
    def store(self, collection: CollectionInMemory, clock: FakeClock) -> Results:
        return Results(collection, clock=clock)

    @pytest.fixture
    def run(self, collection: CollectionInMemory) -> Any:
        return Drive(collection)


def test_hundred_members_at_once_complete_a_join_once() -> None:
    collection = CollectionInMemory()
    store, size = Results(collection), 100
    answers = Drive(collection).together([store.join("j", str(member), size, None) for member in range(size)])
    assert sorted(answers) == [False] * (size - 1) + [True]


arrivals = st.lists(
    # The pause before the arrival, the member, and how many seconds longer than before the join is kept from then on.
    st.tuples(st.sampled_from([0.5, 1, 4]), st.integers(0, SIZE), st.sampled_from([0.0, 1, 5])),
    min_size=1,
    max_size=12,
)


@given(arrivals)
def test_join_expires_and_begins_anew_as_in_memory(steps: list[tuple[float, int, float]]) -> None:
    clock, collection = FakeClock(1_000.0), CollectionInMemory()
    store, memory = Results(collection, clock=clock), MemoryResults(clock)
    expires_at = 1_002.0
    for pause, member, longer in steps:
        clock.advance(pause)
        expires_at = max(expires_at, clock()) + longer
        complete = run(store.join("j", str(member), SIZE + 1, expires_at), collection.perform)
        assert complete == run(memory.join("j", str(member), SIZE + 1, expires_at), no_calls)


def test_member_that_arrives_again_writes_nothing() -> None:
    collection = CollectionInMemory()
    store = Results(collection)
    for _ in range(2):
        run(store.join("j", "0", 2, None), collection.perform)
    assert [call.operation for call in collection.calls] == ["get", "put", "get"]


def test_records_are_read_and_written_in_batches() -> None:
    collection = CollectionInMemory()
    store = Results(collection)
    records = [a_record() for _ in range(7)]
    run(store.save(records), collection.perform)
    run(store.load([each.id for each in records]), collection.perform)
    assert [call.operation for call in collection.calls] == ["put"] * 4 + ["get"] * 3


def test_records_of_one_id_are_written_one_after_the_other() -> None:
    collection = CollectionInMemory()
    store = Results(collection)
    started = a_record(STARTED)
    ended = a_record(SUCCESS, id=started.id)
    assert run(store.save([started, a_record(), ended, ended]), collection.perform) == [True, True, True, False]


def test_failure_of_one_record_costs_no_other() -> None:
    collection = CollectionInMemory()
    store = Results(collection)
    good, refused, large = a_record(), a_record(), a_record(value="x" * 1_000_001)
    collection.refused.add(store._key(refused.id))

    first, second, third = run(store.save_each([refused, large, good]), collection.perform)

    assert isinstance(first, OperationalError)
    assert "in the service's own words" in str(first)
    assert isinstance(second, PayloadTooLarge)
    assert third is True
    with pytest.raises(OperationalError, match="in the service's own words"):
        run(store.save([refused]), collection.perform)


def test_value_that_celery_has_changed_is_celerys() -> None:
    record = a_record(STARTED, expires_at=THE_YEAR_2100)
    stored = Results(CollectionInMemory())._object_of(record)
    fields = fields_of(stored)

    same = object_of(record.payload, fields, "1", THE_YEAR_2100)
    changed = object_of(a_record(SUCCESS, id=record.id).payload, fields, "2", THE_YEAR_2100)

    assert same.metadata["version"] == "0"
    assert same.expires_at == THE_YEAR_2100
    assert changed.metadata == {}
    assert changed.expires_at is None
