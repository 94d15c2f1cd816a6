"""Results in Couchbase: the contract, the documents of Celery's backend, keys, expiry, and failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.backends.couchbase import CouchbaseBackend
from couchbase.auth import PasswordAuthenticator
from couchbase.cluster import Cluster
from couchbase.exceptions import DocumentNotFoundException
from couchbase.options import ClusterOptions

from emulators.documents import Couchbase
from emulators.documents.couchbase import TEMPORARY_FAILURE, TOO_BIG
from taskq_cloud.clients.base import with_longest_call
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import FINAL_VERSION, STARTED
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, PayloadTooLarge, StoreNotFound, Unreachable
from taskq_cloud.stores.results.couchbase import CouchbaseResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving
from tests.stores.results.addresses import couchbase_servers
from tests.stores.results.silent_server import Overdue, alarm, silent_port

pytestmark = pytest.mark.slow

TASK = "3f1c8a6e-0000-4000-8000-000000000002"
KEY = f"celery-task-meta-{TASK}"
DAY = 86_400


class TestCouchbase(ResultStoreContract):
    @pytest.fixture
    def store(self, couchbase: Couchbase, clock: FakeClock) -> CouchbaseResults:
        return CouchbaseResults(couchbase_servers(couchbase), couchbase.bucket, clock=clock)


@pytest.fixture
def store(couchbase: Couchbase) -> CouchbaseResults:
    return CouchbaseResults(couchbase_servers(couchbase), couchbase.bucket)


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour


@pytest.fixture
def run(store: CouchbaseResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


@pytest.fixture
def drive(store: CouchbaseResults, colour: str) -> Iterator[Drive]:
    with driving(colour, store.services) as drive:
        yield drive


class BackendOnThisSDK(CouchbaseBackend):  # type: ignore[misc]
    """Celery's backend, which is written for version 3 of the SDK: it connects, reads and writes in other words."""

    def get(self, key: str) -> Any:
        try:
            return self.connection.get(key).content_as[str]
        except DocumentNotFoundException:
            return None

    def set(self, key: str, value: str) -> None:
        self.connection.upsert(key, value, expiry=timedelta(seconds=self.expires))


@pytest.fixture
def celery_backend(couchbase: Couchbase) -> Iterator[Callable[..., Any]]:
    """A function that makes Celery's backend on the store's bucket."""
    cluster = Cluster(
        f"couchbase://127.0.0.1:{couchbase.port}", ClusterOptions(PasswordAuthenticator("shop", "s3cret"))
    )
    apps: list[Any] = []

    def make() -> Any:
        apps.append(Celery("shop", set_as_current=False))
        backend = BackendOnThisSDK(app=apps[-1], url=f"couchbase://shop:s3cret@127.0.0.1:{couchbase.port}/celery")
        backend._connection = cluster.bucket("celery").default_collection()
        return backend

    yield make
    cluster.close()
    for app in apps:
        app.close()


# Celery


def test_record_that_we_save_is_read_by_celery(
    store: CouchbaseResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    run(store.save([a_record(value={"größe": [1, 2.5, None]}, id=TASK)]))

    backend = celery_backend()

    assert backend.get_state(TASK) == "SUCCESS"
    assert backend.wait_for(TASK, timeout=10)["result"] == {"größe": [1, 2.5, None]}


@pytest.mark.parametrize(("state", "version"), [("SUCCESS", FINAL_VERSION), ("RETRY", 1), ("STARTED", 0)])
def test_result_of_celery_is_read(
    store: CouchbaseResults, run: Drive, celery_backend: Callable[..., Any], state: str, version: int
) -> None:
    celery_backend().store_result(TASK, ValueError("größe") if state == "RETRY" else {"größe": 1}, state)

    record = run(store.load([TASK]))[TASK]

    assert (record.state, record.version) == (state, version)
    assert run(store.save([a_record(id=TASK)])) == [state != "SUCCESS"]


def test_value_that_celery_writes_over_ours_counts(
    store: CouchbaseResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    run(store.save([a_record(STARTED, 3, id=TASK)]))
    celery_backend().store_result(TASK, "Celery's", "SUCCESS")

    record = run(store.load([TASK]))[TASK]

    assert (record.state, json.loads(record.payload)["result"]) == ("SUCCESS", "Celery's")


def test_document_that_is_no_text_is_read(couchbase: Couchbase, store: CouchbaseResults, run: Drive) -> None:
    document = {"status": "SUCCESS", "result": {"größe": 1}, "task_id": TASK}
    couchbase.store(KEY, json.dumps(document).encode())
    assert json.loads(run(store.load([TASK]))[TASK].payload) == document


# Documents


@pytest.mark.parametrize("task_id", ["~" * 300, "größe" * 60, "a" * 238, "a b/c%"])
def test_key_is_one_that_the_server_takes(
    couchbase: Couchbase, store: CouchbaseResults, run: Drive, task_id: str
) -> None:
    record = a_record(id=task_id)
    assert run(store.save([record])) == [True]
    assert run(store.load([task_id])) == {task_id: record}
    assert all(len(key.encode()) <= 250 for key in couchbase.documents)


@pytest.mark.parametrize("payload", ["no JSON", "[1]", "größe" * 40])
def test_payload_of_another_program_is_kept_as_it_is(store: CouchbaseResults, run: Drive, payload: str) -> None:
    record = a_record(id=TASK, payload=payload)
    run(store.save([record]))
    assert run(store.load([TASK])) == {TASK: record}


@pytest.mark.parametrize("days", [1, 29, 30, 31, 400])
def test_document_expires_when_the_record_does(
    couchbase: Couchbase, store: CouchbaseResults, run: Drive, days: int
) -> None:
    expires_at = time.time() + days * DAY
    run(store.save([a_record(id=TASK, expires_at=expires_at)]))
    assert abs(couchbase.documents[KEY].expires_at - expires_at) < 3


def test_document_of_a_record_without_expiry_stays(couchbase: Couchbase, store: CouchbaseResults, run: Drive) -> None:
    run(store.save([a_record(STARTED, 0, id=TASK, expires_at=time.time() + DAY)]))
    run(store.save([a_record(id=TASK)]))
    assert couchbase.documents[KEY].expires_at == 0


# Failures


def test_wrong_password_is_access_denied_without_showing_it(couchbase: Couchbase, colour: str) -> None:
    store = CouchbaseResults(couchbase_servers(couchbase, password="wr0ng"), couchbase.bucket)
    with (
        driving(colour, store.services) as drive,
        pytest.raises(AccessDenied, match=r"Couchbase bucket celery .*Authentication: .*check the cred") as caught,
    ):
        drive(store.save([a_record()]))
    assert "wr0ng" not in str(caught.value)


def test_url_without_a_user_is_refused(colour: str) -> None:
    store = store_from_url("couchbase://host/shop", {})
    with driving(colour, store.services) as drive, pytest.raises(ImproperlyConfigured, match="nobody without a name"):
        drive(store.load(["a"]))


def test_missing_bucket_is_an_error_that_says_how_to_create_it(couchbase: Couchbase, colour: str) -> None:
    store = CouchbaseResults(couchbase_servers(couchbase), "elsewhere")
    with (
        driving(colour, store.services) as drive,
        pytest.raises(StoreNotFound, match=r"bucket elsewhere .*does not exist.*bucket-create --bucket elsewhere"),
    ):
        drive(store.load(["a"]))


def test_user_that_may_only_read_reads(couchbase: Couchbase, store: CouchbaseResults, drive: Drive) -> None:
    record = a_record()
    drive(store.save([record]))
    couchbase.read_only = True

    assert drive(store.load([record.id])) == {record.id: record}
    with pytest.raises(AccessDenied, match=r"writing documents .role Data Writer of the bucket. was denied"):
        drive(store.save([a_record()]))


def test_server_that_is_busy_is_asked_again(couchbase: Couchbase, store: CouchbaseResults, drive: Drive) -> None:
    record = a_record()
    couchbase.failures += [TEMPORARY_FAILURE, TEMPORARY_FAILURE]

    assert drive(store.save([record])) == [True]
    assert drive(store.load([record.id])) == {record.id: record}


def test_document_that_is_too_large_is_payload_too_large(
    couchbase: Couchbase, store: CouchbaseResults, drive: Drive
) -> None:
    couchbase.failures.append(TOO_BIG)
    with pytest.raises(PayloadTooLarge, match="TASKQ_PAYLOADS"):
        drive(store.save([a_record()]))


@pytest.mark.parametrize("operation", ["join", "claim"])
def test_answer_that_is_lost_counts_nothing_twice(
    couchbase: Couchbase, store: CouchbaseResults, drive: Drive, operation: str
) -> None:
    drive(store.save([a_record()]))
    couchbase.lost_answers = 1
    if operation == "join":
        assert drive(store.join("j", "0", 2, None)) is False
        assert drive(store.join("j", "1", 2, None)) is True
    else:
        assert drive(store.claim("c", "me", 30)) == 1
        assert drive(store.claim("c", "you", 30)) is None
    assert couchbase.lost_answers == 0


def test_server_without_answer_is_unreachable() -> None:
    store = store_from_url("couchbase://shop:s3cret@127.0.0.1:9/celery", {})
    services = {
        name: type(each)(each.module, (*each.options, ("longest_call_seconds", 0.4)))
        for name, each in store.services.items()
    }
    with driving("sync", services) as drive, pytest.raises(Unreachable, match=r"couchbase://127\.0\.0\.1:9. gave no"):
        drive(store.load(["a"]))


def test_server_that_restarts_is_found_again(couchbase: Couchbase, store: CouchbaseResults, drive: Drive) -> None:
    record = a_record()
    drive(store.save([a_record()]))
    couchbase.stop()
    with Couchbase(port=couchbase.port) as again:
        assert drive(store.save([record])) == [True]
        assert len(again.documents) == 1


# A server that takes connections and never answers


@pytest.fixture
def silent() -> Iterator[ResultStore]:
    with silent_port() as port:
        yield store_from_url(f"couchbase://me:s3cret@127.0.0.1:{port}/celery", {})


def test_exception_of_an_alarm_during_a_call_comes_out_as_itself(silent: ResultStore) -> None:
    connections = Connections(with_longest_call(silent.services, 1))  # the SDK waits without a look at signals
    try:
        with alarm(0.2), pytest.raises(Overdue):
            connections.run(silent.load(["a"]))
    finally:
        connections.close()


def test_call_ends_after_the_longest_time_for_calls(silent: ResultStore) -> None:
    connections = Connections(with_longest_call(silent.services, 0.5))
    try:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            connections.run(silent.load(["a"]), longest_seconds=0.5)
    finally:
        connections.close()
    assert time.monotonic() - began < 3
