"""Results in MongoDB: the contract, the documents of Celery's backend, joins at once, and failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from celery import Celery
from celery.backends.mongodb import MongoBackend

from taskq_cloud.core import serializers
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, RETRY, STARTED, SUCCESS
from taskq_cloud.errors import DecodeError, ImproperlyConfigured
from taskq_cloud.stores.results.mongodb import MongoDBResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving

pytestmark = pytest.mark.slow

TASK = "3f1c8a6e-0000-4000-8000-000000000002"


@pytest.fixture
def url(server_url: Callable[[str], str]) -> str:
    return server_url("mongodb")


@pytest.fixture
def database() -> str:
    return f"celery-{uuid4()}"


class TestMongoDB(ResultStoreContract):
    @pytest.fixture
    def store(self, url: str, database: str, clock: FakeClock) -> MongoDBResults:
        return MongoDBResults(url, database, clock=clock)


@pytest.fixture
def store(url: str, database: str) -> MongoDBResults:
    return MongoDBResults(url, database)


@pytest.fixture
def run(store: MongoDBResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


@pytest.fixture
def collection(url: str, database: str) -> Iterator[Any]:
    client: pymongo.MongoClient[Any] = pymongo.MongoClient(url, tz_aware=True)
    yield client[database]["celery_taskmeta"]
    client.close()


@pytest.fixture
def celery_backend(url: str, database: str) -> Iterator[Callable[..., Any]]:
    """A function that makes Celery's backend on the store's database, with further settings."""
    made: list[tuple[Any, Any]] = []

    def make(**settings: Any) -> Any:
        app = Celery("shop", set_as_current=False)
        app.conf.update(**settings)
        made.append((app, MongoBackend(app=app, url=f"{url}/{database}")))
        return made[-1][1]

    yield make
    for app, backend in made:
        backend._get_connection().close()
        app.close()


# Celery reads ours


def test_record_that_we_save_is_read_by_celery(
    store: MongoDBResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    run(store.save([a_record(value={"größe": [1, 2.5, None]}, id=TASK)]))

    backend = celery_backend()

    assert backend.get_state(TASK) == "SUCCESS"
    assert backend.wait_for(TASK, timeout=10)["result"] == {"größe": [1, 2.5, None]}
    assert backend.get_task_meta(TASK)["date_done"].year == 2026


def test_celery_does_not_replace_a_result_of_ours(
    store: MongoDBResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    record = a_record(id=TASK)
    run(store.save([record]))

    celery_backend().store_result(TASK, "later", "SUCCESS")

    assert run(store.load([TASK])) == {TASK: record}


def test_field_that_has_no_type_in_mongodb_is_kept_as_text(store: MongoDBResults, run: Drive, collection: Any) -> None:
    payload = {"status": "SUCCESS", "result": 1, "args": [2**70], "kwargs": {"a\0b": 1}, "task_id": TASK}
    record = a_record(id=TASK, payload=serializers.dumps(payload))

    run(store.save([record]))

    assert run(store.load([TASK])) == {TASK: record}
    assert json.loads(collection.find_one({"_id": TASK})["args"]) == [2**70]


def test_payload_in_our_form_is_not_kept_twice(store: MongoDBResults, run: Drive, collection: Any) -> None:
    document = {"status": "SUCCESS", "result": "größe", "date_done": "2026-03-01T12:00:00.123456+00:00", "task_id": "t"}
    record = a_record(id="t", payload=serializers.dumps(document))

    run(store.save([record]))

    assert "payload" not in collection.find_one({"_id": "t"})["taskq"]
    assert run(store.load(["t"])) == {"t": record}


# We read Celery's


@pytest.mark.parametrize(
    ("state", "version"), [("SUCCESS", FINAL_VERSION), ("FAILURE", FINAL_VERSION), ("RETRY", 1), ("STARTED", 0)]
)
def test_result_of_celery_is_read(
    store: MongoDBResults, run: Drive, celery_backend: Callable[..., Any], state: str, version: int
) -> None:
    value = ValueError("größe") if state in ("FAILURE", "RETRY") else {"größe": 1}
    celery_backend().store_result(TASK, value, state)

    record = run(store.load([TASK]))[TASK]

    document = json.loads(record.payload)
    assert (record.state, record.version) == (state, version)
    assert document["status"] == state
    assert document["task_id"] == TASK
    if state == "SUCCESS":
        assert document["result"] == {"größe": 1}
        assert document["date_done"].startswith("20")


def test_compressed_result_of_celery_is_read(
    store: MongoDBResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    celery_backend(result_compression="gzip").store_result(TASK, "x" * 1000, "SUCCESS")

    assert json.loads(run(store.load([TASK]))[TASK].payload)["result"] == "x" * 1000


def test_pickled_result_of_celery_is_an_error_that_names_the_setting(
    store: MongoDBResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    celery_backend(result_serializer="pickle", accept_content=["pickle"]).store_result(TASK, 1, "SUCCESS")

    with pytest.raises(DecodeError, match=f"{TASK}.*result_serializer"):
        run(store.load([TASK]))


@pytest.mark.parametrize(
    ("stored", "new", "allowed"),
    [
        ("SUCCESS", FAILURE, False),
        ("FAILURE", SUCCESS, False),
        ("STARTED", SUCCESS, True),
        ("STARTED", STARTED, True),
        ("RETRY", STARTED, False),
        ("RETRY", RETRY, True),
    ],
)
def test_result_of_celery_is_replaced_as_one_of_ours(
    store: MongoDBResults, run: Drive, celery_backend: Callable[..., Any], stored: str, new: str, *, allowed: bool
) -> None:
    celery_backend().store_result(TASK, ValueError() if stored in ("FAILURE", "RETRY") else None, stored)

    assert run(store.save([a_record(new, id=TASK)])) == [allowed]


# At once, expiry, failures


def test_hundred_members_at_once_complete_a_join_once(store: MongoDBResults, run: Drive) -> None:
    answers = run.together([store.join("j", str(member), 100, time.time() + 60) for member in range(100)])
    assert sorted(answers) == [False] * 99 + [True]


def test_result_that_expires_after_all_calendars_is_kept(store: MongoDBResults, run: Drive) -> None:
    record = a_record(expires_at=2.0**62)
    assert run(store.save([record])) == [True]
    assert run(store.load([record.id])) == {record.id: record}


def test_server_is_told_when_documents_expire(store: MongoDBResults, run: Drive, collection: Any) -> None:
    expires_at = float(int(time.time()) + 3600)
    run(store.save([a_record(id=TASK, expires_at=expires_at)]))

    assert collection.find_one({"_id": TASK})["expires_at"].timestamp() == expires_at
    assert any(each.get("expireAfterSeconds") == 0 for each in collection.index_information().values())


def test_url_that_the_driver_refuses_is_a_setting_error_without_the_password() -> None:
    store = store_from_url("mongodb://me:s3cret@host:99999/shop", {})
    with driving("sync", store.services) as run, pytest.raises(ImproperlyConfigured) as caught:
        run(store.load(["a"]))
    assert "s3cret" not in str(caught.value)
