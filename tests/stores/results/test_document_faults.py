"""Failures of stores that speak HTTP: refused, throttled, lost and oversized requests, and missing permissions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulators.documents import Answer, ArangoDB, Riak
from taskq_cloud.core.flows import Call, CallError, Trouble, run
from taskq_cloud.core.servers.http import HTTPServer
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    StoreNotFound,
    Unreachable,
)
from taskq_cloud.stores.results.arangodb import ArangoDBResults
from taskq_cloud.stores.results.couchdb import CouchDBResults
from taskq_cloud.stores.results.elasticsearch import ElasticsearchResults
from taskq_cloud.stores.results.riak import RiakResults
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import Drive, driving
from tests.brokers.redis_proxy import BreakingProxy
from tests.stores.recorder import Recorder

pytestmark = pytest.mark.slow

USER, PASSWORD = "shop", "s3cret"
BUSY = Answer(429, {"error": True, "errorNum": 21004, "errorMessage": "queue time exceeded"})
UNAVAILABLE = Answer(503, b"<html>a proxy's page</html>")


@pytest.fixture
def server() -> Iterator[ArangoDB]:
    with ArangoDB(user=USER, password=PASSWORD) as server:
        yield server


@pytest.fixture
def store(server: ArangoDB) -> ArangoDBResults:
    return ArangoDBResults(HTTPServer(server.url, USER, PASSWORD))


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour


@pytest.fixture
def drive(store: ArangoDBResults, colour: str) -> Iterator[Drive]:
    with driving(colour, store.services) as drive:
        yield drive


def test_wrong_password_is_access_denied_without_showing_it(server: ArangoDB, colour: str) -> None:
    store = ArangoDBResults(HTTPServer(server.url, USER, "wr0ng"))
    with (
        driving(colour, store.services) as drive,
        pytest.raises(AccessDenied, match=r"celery/celery .*HTTP 401: 11: not authorized.*check the cred") as caught,
    ):
        drive(store.save([a_record()]))
    assert "wr0ng" not in str(caught.value)


def test_missing_collection_is_created_with_an_index_for_expiry(
    server: ArangoDB, store: ArangoDBResults, drive: Drive
) -> None:
    record = a_record()
    assert drive(store.load([record.id])) == {}
    assert drive(store.save([record])) == [True]
    assert drive(store.load([record.id])) == {record.id: record}
    assert server.indexes == {"celery": [{"type": "ttl", "fields": ["expires_at"], "expireAfter": 0}]}


def test_collection_that_may_not_be_created_is_an_error_that_says_how(
    server: ArangoDB, store: ArangoDBResults, drive: Drive
) -> None:
    server.read_only = True
    with pytest.raises(StoreNotFound, match=r'could not be created \(HTTP 403: 11: forbidden\); .*db\._create\("cel'):
        drive(store.save([a_record()]))


def test_missing_database_is_an_error_that_says_how_to_create_it(server: ArangoDB, colour: str) -> None:
    store = ArangoDBResults(HTTPServer(server.url, USER, PASSWORD), "elsewhere")
    with (
        driving(colour, store.services) as drive,
        pytest.raises(StoreNotFound, match=r'elsewhere/celery .*1228: database not found.*_createDatabase\("elsewh'),
    ):
        drive(store.load(["a"]))


def test_user_that_may_only_read_reads(server: ArangoDB, store: ArangoDBResults, drive: Drive) -> None:
    record = a_record()
    drive(store.save([record]))
    server.read_only = True

    assert drive(store.load([record.id])) == {record.id: record}
    with pytest.raises(AccessDenied, match=r"writing documents .*access level rw.* was denied"):
        drive(store.save([a_record()]))


def test_server_that_is_busy_is_asked_again(server: ArangoDB, store: ArangoDBResults, drive: Drive) -> None:
    record = a_record()
    drive(store.save([a_record()]))
    server.failures += [BUSY, UNAVAILABLE]

    assert drive(store.save([record])) == [True]
    assert drive(store.load([record.id])) == {record.id: record}


def test_server_that_stays_busy_is_unreachable(server: ArangoDB, store: ArangoDBResults) -> None:
    server.failures += [UNAVAILABLE] * 5
    with driving("sync", store.services) as drive, pytest.raises(Unreachable, match=r"after the retries .HTTP 503"):
        drive(store.load(["a"]))


def test_redirect_is_not_followed(server: ArangoDB, store: ArangoDBResults, drive: Drive) -> None:
    server.failures.append(Answer(302, headers={"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(OperationalError, match="HTTP 302"):
        drive(store.load(["a"]))


def test_request_that_is_too_large_is_payload_too_large(server: ArangoDB, store: ArangoDBResults, drive: Drive) -> None:
    drive(store.save([a_record()]))
    server.failures.append(Answer(413))
    with pytest.raises(PayloadTooLarge, match="TASKQ_PAYLOADS"):
        drive(store.save([a_record()]))


@pytest.mark.parametrize("method", ["join", "claim"])
def test_answer_that_is_lost_counts_nothing_twice(server: ArangoDB, colour: str, method: str) -> None:
    with BreakingProxy(server.port) as proxy:
        store = ArangoDBResults(HTTPServer(proxy.url.replace("redis:", "http:").removesuffix("/0"), USER, PASSWORD))
        with driving(colour, store.services) as drive:
            drive(store.save([a_record()]))
            proxy.lose_answers(1, b"POST /_db/celery/_api/document")
            if method == "join":
                assert drive(store.join("j", "0", 2, None)) is False
                assert drive(store.join("j", "1", 2, None)) is True
            else:
                assert drive(store.claim("c", "me", 30)) == 1
                assert drive(store.claim("c", "you", 30)) is None
    assert proxy.broken == 1


@pytest.mark.parametrize(
    "store",
    [
        ArangoDBResults(HTTPServer("http://127.0.0.1:9")),
        CouchDBResults(HTTPServer("http://127.0.0.1:9")),
        ElasticsearchResults(HTTPServer("http://127.0.0.1:9")),
        RiakResults(HTTPServer("http://127.0.0.1:9")),
    ],
    ids=["arangodb", "couchdb", "elasticsearch", "riak"],
)
def test_server_without_answer_is_unreachable(store: ArangoDBResults) -> None:
    with (
        driving("sync", store.services) as drive,
        pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:9.*ConnectErr"),
    ):
        drive(store.load(["a"]))


def test_server_without_tls_is_refused_over_https(server: ArangoDB, colour: str) -> None:
    store = ArangoDBResults(HTTPServer(server.url.replace("http:", "https:")))
    with driving(colour, store.services) as drive, pytest.raises(OperationalError, match="https://"):
        drive(store.load(["a"]))


def test_missing_file_of_authorities_is_a_setting_error(colour: str) -> None:
    store = ArangoDBResults(HTTPServer("https://127.0.0.1:9", ca_file="/nowhere/ca.pem"))
    with driving(colour, store.services) as drive, pytest.raises(ImproperlyConfigured, match=r"nowhere|No such file"):
        drive(store.load(["a"]))


# What the parts of a request say


def answering(*answers: object) -> Recorder:
    """Answer the calls in turn, and all further calls with the last answer."""
    left = list(answers)
    return Recorder(lambda call: {"status": 200, "headers": {}, "body": left.pop(0) if len(left) > 1 else left[0]})


def test_bulk_part_that_found_its_queue_full_is_written_again() -> None:
    store = ElasticsearchResults(HTTPServer("http://es"))
    full = {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue full"}}}
    recorder = answering({}, {"items": [full]}, {"items": [{"create": {"status": 201}}]})
    assert run(store.save([a_record()]), recorder) == [True]


def test_shard_without_answer_is_not_taken_for_a_missing_record() -> None:
    store = ElasticsearchResults(HTTPServer("http://es"))
    failed = {"_id": "x", "error": {"type": "no_shard_available_action_exception", "reason": "No shard"}}
    with pytest.raises(Unreachable, match="no_shard_available"):
        run(store.load(["x"]), answering({"docs": [failed]}))


def test_document_that_couchdb_refuses_costs_no_other() -> None:
    store = CouchDBResults(HTTPServer("http://couch"))
    refused = {"id": "x", "error": "forbidden", "reason": "a validation function"}
    first, second = run(store.save_each([a_record(), a_record()]), answering([refused, {"ok": True}], {"docs": []}))
    assert isinstance(first, AccessDenied)
    assert second is True


def test_index_that_may_not_be_created_is_used_if_it_is_there() -> None:
    store = ElasticsearchResults(HTTPServer("http://es"))

    def answer(call: Call) -> object:
        if call.operation == "create index":
            return CallError(call, "HTTP 403", "no permission", Trouble.REFUSED)
        return {"status": 200, "headers": {}, "body": {"items": [{"create": {"status": 201}}]}}

    assert run(store.save([a_record()]), Recorder(answer)) == [True]


def test_siblings_of_riak_are_an_error_that_names_the_setting(riak: Riak) -> None:
    store = RiakResults(HTTPServer(riak.url))
    riak.failures.append(Answer(300, b"Siblings:\na\nb\n"))
    with driving("sync", store.services) as drive, pytest.raises(OperationalError, match=r"allow_mult.*HTTP 300"):
        drive(store.load(["a"]))
