"""Results in CouchDB: the contract, the documents of Celery's backend, and expiry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from taskq_cloud.core.records.record import STARTED
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.stores.results.couchdb import CouchDBResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow

TASK = "3f1c8a6e-0000-4000-8000-000000000002"
ID = f"celery-task-meta-{TASK}"


class TestCouchDB(ResultStoreContract):
    @pytest.fixture
    def store(self, couchdb: HTTPServer, clock: FakeClock) -> CouchDBResults:
        return CouchDBResults(couchdb, f"celery-{uuid4()}", clock=clock)


@pytest.fixture
def database() -> str:
    return f"celery-{uuid4()}"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
def store(couchdb: HTTPServer, database: str, clock: FakeClock) -> CouchDBResults:
    return CouchDBResults(couchdb, database, clock=clock)


@pytest.fixture
def run(store: CouchDBResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


@pytest.fixture
def others(couchdb: HTTPServer, database: str) -> Iterator[httpx.Client]:
    """The database as other programs see it."""
    with httpx.Client(base_url=f"{couchdb.url}/{database}", headers={"Accept": "application/json"}) as client:
        yield client


def test_document_has_celerys_id_and_value(store: CouchDBResults, run: Drive, others: httpx.Client) -> None:
    record = a_record(id=TASK, value="größe")
    run(store.save([record]))

    assert others.get(f"/{ID}").json()["value"] == record.payload


def test_value_that_celery_has_updated_counts(store: CouchDBResults, run: Drive, others: httpx.Client) -> None:
    run(store.save([a_record(STARTED, 3, id=TASK)]))
    ended = a_record(id=TASK, value="Celery's")
    others.put(f"/{ID}", json={**others.get(f"/{ID}").json(), "value": ended.payload}).raise_for_status()

    assert run(store.load([TASK])) == {TASK: ended}
    assert run(store.save([a_record(id=TASK)])) == [False]


def test_document_of_celery_alone_is_read(store: CouchDBResults, run: Drive, others: httpx.Client) -> None:
    run(store.save([a_record()]))
    ended = a_record(id=TASK)
    others.put(f"/{ID}", json={"_id": ID, "value": ended.payload}).raise_for_status()

    assert run(store.load([TASK])) == {TASK: ended}


def test_expired_documents_are_removed(
    store: CouchDBResults, run: Drive, others: httpx.Client, clock: FakeClock
) -> None:
    run(store.save([a_record(id=TASK, expires_at=clock() + 60), a_record(id="stays")]))
    clock.advance(3_600)

    run(store.save([a_record(id="new", expires_at=clock() + 60)]))

    assert [others.get(f"/celery-task-meta-{each}").status_code for each in (TASK, "stays", "new")] == [404, 200, 200]
