"""Results in Riak: the contract, the values of the backend that Celery had, and what is not supported."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from emulators.documents import Riak
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.stores.results.riak import RiakResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow


class TestRiak(ResultStoreContract):
    @pytest.fixture
    def store(self, riak: Riak, clock: FakeClock) -> RiakResults:
        return RiakResults(HTTPServer(riak.url), clock=clock)


TASK = "3f1c8a6e-0000-4000-8000-000000000002"
PATH = f"/buckets/celery/keys/celery-task-meta-{TASK}"


@pytest.fixture
def store(riak: Riak) -> RiakResults:
    return RiakResults(HTTPServer(riak.url))


@pytest.fixture
def run(store: RiakResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


def test_value_is_the_document_as_text_of_json(riak: Riak, store: RiakResults, run: Drive) -> None:
    record = a_record(id=TASK, value="größe")
    run(store.save([record]))

    assert json.loads(riak.objects[PATH].body) == record.payload


@pytest.mark.parametrize("encoded", [True, False], ids=["text of JSON", "JSON"])
def test_value_without_our_fields_is_read(riak: Riak, store: RiakResults, run: Drive, *, encoded: bool) -> None:
    document = {"status": "SUCCESS", "result": {"größe": 1}, "task_id": TASK}
    text = json.dumps(document)
    httpx.put(
        f"{riak.url}{PATH}",
        content=json.dumps(text) if encoded else text,
        headers={"Content-Type": "application/json"},
    )

    record = run(store.load([TASK]))[TASK]

    assert json.loads(record.payload) == document
    assert run(store.save([a_record(id=TASK)])) == [False]


def test_store_takes_no_chords_locks_and_rate_limits(store: RiakResults) -> None:
    assert not store.capabilities.joins
    assert not store.capabilities.claims
    assert store.capabilities.reservations_per_second == 0
