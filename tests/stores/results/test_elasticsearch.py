"""Results in Elasticsearch: the contract, the documents of Celery's backend, the index, and expiry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from taskq_cloud.core.records.record import FINAL_VERSION, STARTED
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.stores.results.elasticsearch import ElasticsearchResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow

TASK = "3f1c8a6e-0000-4000-8000-000000000002"
ID = f"celery-task-meta-{TASK}"


class TestElasticsearch(ResultStoreContract):
    @pytest.fixture
    def store(self, elasticsearch: HTTPServer, clock: FakeClock) -> ElasticsearchResults:
        return ElasticsearchResults(elasticsearch, f"celery-{uuid4()}", clock=clock)


@pytest.fixture
def index() -> str:
    return f"celery-{uuid4()}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def store(elasticsearch: HTTPServer, index: str, clock: FakeClock) -> ElasticsearchResults:
    return ElasticsearchResults(elasticsearch, index, clock=clock)


@pytest.fixture
def run(store: ElasticsearchResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


@pytest.fixture
def others(elasticsearch: HTTPServer, index: str) -> Iterator[httpx.Client]:
    """The index as other programs see it."""
    with httpx.Client(base_url=f"{elasticsearch.url}/{index}") as client:
        yield client


def test_document_has_celerys_id_and_result(store: ElasticsearchResults, run: Drive, others: httpx.Client) -> None:
    record = a_record(id=TASK, value="größe")
    run(store.save([record]))

    source = others.get(f"/_doc/{ID}").json()["_source"]

    assert source["result"] == record.payload
    assert source["@timestamp"].endswith("Z")


@pytest.mark.parametrize("as_text", [True, False])
def test_document_of_celery_is_read(
    store: ElasticsearchResults, run: Drive, others: httpx.Client, *, as_text: bool
) -> None:
    document: dict[str, Any] = {
        "status": "SUCCESS",
        "result": {"größe": 1},
        "traceback": None,
        "children": [],
        "task_id": TASK,
    }
    # With elasticsearch_save_meta_as_text off, Celery encodes the result and the traceback by themselves.
    shown: Any = json.dumps(document) if as_text else {**document, "result": json.dumps(document["result"])}
    others.put(f"/_create/{ID}", json={"result": shown, "@timestamp": "2026-03-01T12:00:00.000Z"})

    record = run(store.load([TASK]))[TASK]

    assert record.version == FINAL_VERSION
    assert json.loads(record.payload) == document
    if as_text:  # an index that has seen objects refuses texts
        assert run(store.save([a_record(id=TASK)])) == [False]


def test_value_that_celery_has_updated_counts(store: ElasticsearchResults, run: Drive, others: httpx.Client) -> None:
    run(store.save([a_record(STARTED, 3, id=TASK)]))
    ended = a_record(id=TASK, value="Celery's")
    others.post(f"/_update/{ID}", json={"doc": {"result": ended.payload}})

    assert run(store.load([TASK])) == {TASK: ended}


def test_index_is_searched_by_times_only(store: ElasticsearchResults, run: Drive, others: httpx.Client) -> None:
    run(store.save([a_record()]))
    ((_, mapping),) = others.get("/_mapping").json().items()
    assert mapping["mappings"]["properties"]["expires_at"]["type"] == "date"


def test_result_that_expires_after_all_calendars_is_kept(store: ElasticsearchResults, run: Drive) -> None:
    record = a_record(expires_at=2.0**62)
    assert run(store.save([record])) == [True]
    assert run(store.load([record.id])) == {record.id: record}


def test_expired_documents_are_removed(
    store: ElasticsearchResults, run: Drive, others: httpx.Client, clock: FakeClock
) -> None:
    run(store.save([a_record(id=TASK, expires_at=clock() + 60), a_record(id="stays")]))
    others.post("/_refresh")
    clock.advance(3_600)

    run(store.save([a_record(expires_at=clock() + 60)]))
    others.post("/_refresh")

    assert others.get("/_count").json()["count"] == 2
    assert others.get(f"/_doc/{ID}").status_code == 404
