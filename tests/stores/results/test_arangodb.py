"""Results in ArangoDB: the contract, the documents of Celery's backend, and keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulators.documents import ArangoDB
from taskq_cloud.core.records.record import STARTED
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.stores.results.arangodb import ArangoDBResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100, ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow


class TestArangoDB(ResultStoreContract):
    @pytest.fixture
    def store(self, arangodb: ArangoDB, clock: FakeClock) -> ArangoDBResults:
        return ArangoDBResults(HTTPServer(arangodb.url), clock=clock)


TASK = "3f1c8a6e-0000-4000-8000-000000000002"
KEY = f"celery-task-meta-{TASK}"


@pytest.fixture
def store(arangodb: ArangoDB) -> ArangoDBResults:
    return ArangoDBResults(HTTPServer(arangodb.url))


@pytest.fixture
def run(store: ArangoDBResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


def test_document_has_celerys_key_and_task(arangodb: ArangoDB, store: ArangoDBResults, run: Drive) -> None:
    record = a_record(id=TASK, expires_at=THE_YEAR_2100)
    run(store.save([record]))

    document = arangodb.collections["celery"][KEY]

    assert document["task"] == record.payload
    assert document["expires_at"] == THE_YEAR_2100


def test_value_that_celery_has_updated_counts(arangodb: ArangoDB, store: ArangoDBResults, run: Drive) -> None:
    run(store.save([a_record(STARTED, 3, id=TASK)]))
    ended = a_record(id=TASK, value="Celery's")
    arangodb.collections["celery"][KEY]["task"] = ended.payload

    assert run(store.load([TASK])) == {TASK: ended}


@pytest.mark.parametrize("task_id", ["~" * 300, "größe" * 60, "a" * 238])
def test_key_is_one_that_the_server_takes(store: ArangoDBResults, run: Drive, task_id: str) -> None:
    record = a_record(id=task_id)
    assert run(store.save([record])) == [True]
    assert run(store.load([task_id])) == {task_id: record}
