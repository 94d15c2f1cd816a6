"""Results in Cosmos DB: the contract, the items of Celery's backend, and expiry, against an emulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from azure.cosmos import CosmosClient

from taskq_cloud.core.records.record import SUCCESS
from taskq_cloud.core.servers.http import CosmosAccount
from taskq_cloud.errors import Unreachable
from taskq_cloud.stores.results.cosmosdb import CosmosDBResults
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100, ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow

TASK = "3f1c8a6e-0000-4000-8000-000000000002"


@pytest.fixture
def database() -> str:
    return f"celery-{uuid4()}"


# The SDK passes the bytes to aiohttp, which recommends a file for so many.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestCosmosDB(ResultStoreContract):
    @pytest.fixture
    def store(self, cosmosdb: CosmosAccount, database: str, clock: FakeClock) -> CosmosDBResults:
        return CosmosDBResults(cosmosdb, database, clock=clock)


@pytest.fixture
def store(cosmosdb: CosmosAccount, database: str) -> CosmosDBResults:
    return CosmosDBResults(cosmosdb, database, clock=lambda: THE_YEAR_2100)


@pytest.fixture
def run(store: CosmosDBResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


@pytest.fixture
def container(cosmosdb: CosmosAccount, database: str) -> Any:
    """The container as other programs see it."""
    client = CosmosClient(cosmosdb.endpoint, cosmosdb.key, enable_endpoint_discovery=False)
    return client.get_database_client(database).get_container_client("celerycol")


def test_item_has_celerys_id_and_value_and_lives_until_it_expires(
    store: CosmosDBResults, run: Drive, container: Any
) -> None:
    record = a_record(id=TASK, expires_at=THE_YEAR_2100 + 60.5)
    run(store.save([record]))

    item = container.read_item(f"celery-task-meta-{TASK}", f"celery-task-meta-{TASK}")

    assert item["value"] == record.payload
    assert item["ttl"] == 61


def test_value_that_celery_has_written_is_read(store: CosmosDBResults, run: Drive, container: Any) -> None:
    run(store.save([a_record("STARTED", id=TASK)]))
    ended = a_record(SUCCESS, id=TASK, value="Celery's")
    container.upsert_item({"id": f"celery-task-meta-{TASK}", "value": ended.payload})

    assert run(store.load([TASK])) == {TASK: ended}
    assert run(store.save([a_record(SUCCESS, id=TASK)])) == [False]


def test_account_without_answer_is_unreachable(colour: str) -> None:
    store = CosmosDBResults(CosmosAccount("http://127.0.0.1:9", "c2VjcmV0", discovery=False))
    with driving(colour, store.services) as run, pytest.raises(Unreachable, match="celerydb/celerycol") as caught:
        run(store.load(["a"]))
    assert "c2VjcmV0" not in f"{caught.value}{store.services}"


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour
