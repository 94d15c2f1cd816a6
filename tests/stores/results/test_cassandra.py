"""Results in Cassandra: the contract, the rows of Celery's backend, expiry, and failures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.backends.cassandra import CassandraBackend

from emulators.documents import Cassandra
from emulators.documents.cassandra_frames import overloaded, read_timeout, unavailable, write_timeout
from taskq_cloud.clients.base import with_longest_call
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, RETRY, STARTED
from taskq_cloud.errors import AccessDenied, DecodeError, ImproperlyConfigured, StoreNotFound, Unreachable
from taskq_cloud.stores.results.cassandra import CassandraResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import ResultStoreContract, a_record
from taskq_cloud.testing.driving import Drive, driving
from tests.stores.results.addresses import cassandra_address
from tests.stores.results.silent_server import Overdue, alarm, silent_port

pytestmark = pytest.mark.slow

TASK = "3f1c8a6e-0000-4000-8000-000000000002"
CELERYS_TABLE = (
    "CREATE TABLE celery_results (task_id text, status text, result blob, date_done timestamp, traceback blob, "
    "children blob, PRIMARY KEY ((task_id), date_done)) WITH CLUSTERING ORDER BY (date_done DESC)"
)


class TestCassandra(ResultStoreContract):
    @pytest.fixture
    def store(self, cassandra: Cassandra, clock: FakeClock) -> CassandraResults:
        return CassandraResults(cassandra_address(cassandra), "celery", clock=clock)


@pytest.fixture
def store(cassandra: Cassandra) -> CassandraResults:
    return CassandraResults(cassandra_address(cassandra), "celery")


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour


@pytest.fixture
def run(store: CassandraResults) -> Iterator[Drive]:
    with driving("sync", store.services) as drive:
        yield drive


@pytest.fixture
def drive(store: CassandraResults, colour: str) -> Iterator[Drive]:
    with driving(colour, store.services) as drive:
        yield drive


@pytest.fixture
def celery_backend(cassandra: Cassandra) -> Iterator[Callable[..., Any]]:
    """A function that makes Celery's backend on the store's table, with further settings."""
    made: list[tuple[Any, Any]] = []

    def make(**settings: Any) -> Any:
        app = Celery("shop", set_as_current=False)
        app.conf.update(cassandra_options={"protocol_version": 4}, **settings)
        backend = CassandraBackend(
            app=app, servers=["127.0.0.1"], port=cassandra.port, keyspace="celery", table="celery_results"
        )
        made.append((app, backend))
        return backend

    yield make
    for app, backend in made:
        if backend._cluster is not None:
            backend._cluster.shutdown()
        app.close()


# Celery reads ours


def test_record_that_we_save_is_read_by_celery(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    run(store.save([a_record(STARTED, 0, id=TASK)]))
    run(store.save([a_record(value={"größe": [1, 2.5, None]}, id=TASK)]))

    backend = celery_backend()

    assert backend.get_state(TASK) == "SUCCESS"
    assert backend.wait_for(TASK, timeout=10)["result"] == {"größe": [1, 2.5, None]}


def test_failure_that_we_save_is_raised_by_celery(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    error = {"exc_type": "ValueError", "exc_message": ["größe"], "exc_module": "builtins"}
    run(store.save([a_record(FAILURE, FINAL_VERSION, value=error, id=TASK)]))

    result = celery_backend().get_result(TASK)

    assert (type(result), result.args) == (ValueError, ("größe",))


def test_celery_does_not_replace_a_result_of_ours(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    record = a_record(id=TASK)
    run(store.save([record]))

    celery_backend().store_result(TASK, "later", "SUCCESS")

    assert run(store.load([TASK])) == {TASK: record}


def test_row_of_a_machine_whose_clock_is_ahead_is_not_the_latest_one(
    cassandra: Cassandra, store: CassandraResults, run: Drive
) -> None:
    ahead = CassandraResults(cassandra_address(cassandra), "celery", clock=lambda: time.time() + 300)
    run(ahead.save([a_record(STARTED, 0, id=TASK)]))
    run(store.save([a_record(id=TASK, value="the end")]))

    latest = cassandra.rows(TASK)[0]

    assert (latest["status"], latest["result"]) == ("SUCCESS", b'"the end"')


def test_payload_in_our_form_is_not_kept_twice(cassandra: Cassandra, store: CassandraResults, run: Drive) -> None:
    payload = '{"status":"SUCCESS","result":"größe","traceback":null,"children":[],"task_id":"t"}'
    record = a_record(id="t", payload=payload)

    run(store.save([record]))

    assert "größe" not in cassandra.rows("t")[0]["taskq"]
    assert run(store.load(["t"])) == {"t": record}


@pytest.mark.parametrize("payload", ['{ "status": "SUCCESS" }', "no JSON", '{"result":1,"status":"SUCCESS"}'])
def test_payload_of_another_program_is_kept_as_it_is(
    cassandra: Cassandra, store: CassandraResults, run: Drive, payload: str
) -> None:
    record = a_record(id=TASK, payload=payload)
    run(store.save([record]))
    assert run(store.load([TASK])) == {TASK: record}
    assert cassandra.rows(TASK)[0]["status"] == "SUCCESS"


# We read Celery's


@pytest.mark.parametrize(
    ("state", "version"), [("SUCCESS", FINAL_VERSION), ("FAILURE", FINAL_VERSION), ("RETRY", 1), ("STARTED", 0)]
)
def test_result_of_celery_is_read(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any], state: str, version: int
) -> None:
    value = ValueError("größe") if state in ("FAILURE", "RETRY") else {"größe": 1}
    celery_backend().store_result(TASK, value, state)

    record = run(store.load([TASK]))[TASK]

    document = json.loads(record.payload)
    assert (record.state, record.version) == (state, version)
    assert document["status"] == state
    assert document["task_id"] == TASK
    assert document["date_done"].startswith("20")
    if state == "SUCCESS":
        assert document["result"] == {"größe": 1}


def test_compressed_result_of_celery_is_read(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    celery_backend(result_compression="gzip").store_result(TASK, "größe" * 100, "SUCCESS")
    assert json.loads(run(store.load([TASK]))[TASK].payload)["result"] == "größe" * 100


def test_result_that_celery_has_pickled_says_what_to_set(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    celery_backend(result_serializer="pickle").store_result(TASK, "größe", "SUCCESS")
    with pytest.raises(DecodeError, match=r"Celery's result of task .*result_serializer to 'json'"):
        run(store.load([TASK]))


def test_result_that_celery_has_stored_stays(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    celery_backend().store_result(TASK, "first", "SUCCESS")

    assert run(store.save([a_record(id=TASK)])) == [False]
    assert json.loads(run(store.load([TASK]))[TASK].payload)["result"] == "first"


def test_state_that_celery_has_stored_is_replaced(
    store: CassandraResults, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    backend = celery_backend()
    backend.store_result(TASK, None, "STARTED")
    record = a_record(RETRY, 1, id=TASK)

    assert run(store.save([record])) == [True]
    assert run(store.load([TASK])) == {TASK: record}
    backend.store_result(TASK, "Celery's", "SUCCESS")
    assert json.loads(run(store.load([TASK]))[TASK].payload)["result"] == "Celery's"


# The table


def test_table_of_celery_gets_our_columns(
    cassandra: Cassandra, store: CassandraResults, drive: Drive, celery_backend: Callable[..., Any]
) -> None:
    celery_backend().store_result(TASK, "Celery's", "SUCCESS")
    record = a_record()

    assert drive(store.load([TASK]))[TASK].state == "SUCCESS"
    assert drive(store.save([record])) == [True]

    assert cassandra.tables["celery", "celery_results"].static == {"taskq_tag", "taskq"}
    assert drive(store.load([record.id])) == {record.id: record}


def test_table_that_may_not_be_created_is_an_error_that_says_how(
    cassandra: Cassandra, store: CassandraResults, drive: Drive
) -> None:
    cassandra.read_only = True
    with pytest.raises(StoreNotFound, match=r"Unauthorized: .*CREATE permission.*create it: CREATE TABLE IF NOT EXIS"):
        drive(store.save([a_record()]))


def test_missing_keyspace_is_an_error_that_names_it(cassandra: Cassandra, colour: str) -> None:
    store = CassandraResults(cassandra_address(cassandra), "elsewhere")
    with (
        driving(colour, store.services) as drive,
        pytest.raises(StoreNotFound, match=r"elsewhere\.celery_results .*keyspace elsewhere does not exist"),
    ):
        drive(store.load(["a"]))


def test_user_that_may_only_read_reads(cassandra: Cassandra, store: CassandraResults, drive: Drive) -> None:
    record = a_record()
    drive(store.save([record]))
    cassandra.read_only = True

    assert drive(store.load([record.id])) == {record.id: record}
    with pytest.raises(AccessDenied, match=r"writing the table .permissions MODIFY and SELECT. was denied: Unauthor"):
        drive(store.save([a_record()]))


def test_cells_expire_with_the_record(cassandra: Cassandra, run: Drive) -> None:
    store = CassandraResults(cassandra_address(cassandra), "celery", entry_ttl=60)
    now = time.time()
    for task, expires_at in (("soon", now + 20), ("later", now + 3600), ("never", None)):
        run(store.save([a_record(id=task, expires_at=expires_at)]))
    run(store.claim("lock", "me", 3600))

    table = cassandra.tables["celery", "celery_results"]
    ends: dict[str, tuple[int, int]] = {}
    for key, partition in table.partitions.items():
        cells = [partition.static, *partition.rows.values()]
        times = [(cell.expires_at or now) - now for row in cells for cell in row.values()]
        ends[key] = (round(min(times)), round(max(times)))

    for key, seconds in (("soon", 20), ("later", 60), ("never", 60)):
        assert seconds <= ends[key][0] <= ends[key][1] <= seconds + 3
    assert ends["taskq-claim-lock"][0] > 3600


# Failures


def test_wrong_password_is_access_denied_without_showing_it(colour: str) -> None:
    with Cassandra("shop", "s3cret") as server:
        store = CassandraResults(cassandra_address(server, user="shop", password="wr0ng"), "celery")
        with (
            driving(colour, store.services) as drive,
            pytest.raises(AccessDenied, match=r"AuthenticationFailed: .*incorrect.*check the cred") as caught,
        ):
            drive(store.save([a_record()]))
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("named", [False, True], ids=["in the URL", "auth_provider"])
def test_user_is_known_by_the_password(colour: str, *, named: bool) -> None:
    with Cassandra("shop", "s3 cret") as server:
        login = "" if named else "shop:s3%20cret@"
        kwargs = {"username": "shop", "password": "s3 cret"}
        options = {"auth_provider": "PlainTextAuthProvider", "auth_kwargs": kwargs} if named else {}
        store = store_from_url(f"cassandra://{login}127.0.0.1:{server.port}/celery?table=Results", options)
        record = a_record()
        with driving(colour, store.services) as drive:
            assert drive(store.save([record])) == [True]
            assert drive(store.load([record.id])) == {record.id: record}
        assert list(server.tables) == [("celery", "results")]


def test_failure_that_passes_is_tried_again(cassandra: Cassandra, store: CassandraResults, drive: Drive) -> None:
    record = a_record()
    drive(store.save([a_record()]))
    cassandra.failures += [read_timeout(), unavailable(), overloaded()]

    assert drive(store.load([record.id])) == {}
    cassandra.failures += [read_timeout(), unavailable(), overloaded()]
    assert drive(store.save([record])) == [True]
    assert drive(store.load([record.id])) == {record.id: record}


def test_replicas_that_stay_away_are_unreachable(cassandra: Cassandra, store: CassandraResults, run: Drive) -> None:
    run(store.save([a_record()]))
    cassandra.failures += [unavailable()] * 5
    with pytest.raises(Unreachable, match=r"no answer to reading the table .* after the retries .Unavailable: "):
        run(store.load(["a"]))


@pytest.mark.parametrize("carried_out", [True, False], ids=["written", "not written"])
@pytest.mark.parametrize("operation", ["save", "join", "claim"])
def test_write_that_timed_out_counts_once(
    cassandra: Cassandra, store: CassandraResults, drive: Drive, operation: str, *, carried_out: bool
) -> None:
    drive(store.save([a_record()]))
    record = a_record()
    timeout = write_timeout(carries_out=carried_out)
    if operation == "save":
        assert drive(store.load([record.id])) == {}
        cassandra.failures += [read_timeout(), timeout]
        assert drive(store.save([record])) == [True]
        assert drive(store.load([record.id])) == {record.id: record}
    elif operation == "join":
        cassandra.failures += [read_timeout(), timeout]
        assert drive(store.join("j", "0", 2, None)) is False
        assert drive(store.join("j", "1", 2, None)) is True
    else:
        cassandra.failures.append(timeout)
        assert drive(store.claim("c", "me", 30)) == 1
        assert drive(store.claim("c", "you", 30)) is None


def test_server_without_answer_is_unreachable() -> None:
    store = CassandraResults({"hosts": ("127.0.0.1",), "port": 9}, "celery")
    with (
        driving("sync", store.services) as drive,
        pytest.raises(Unreachable, match=r"127\.0\.0\.1:9.*NoHostAvailable.*Connection refused"),
    ):
        drive(store.load(["a"]))


def test_server_that_comes_back_is_found_again() -> None:
    with Cassandra() as server:
        store = CassandraResults(cassandra_address(server), "celery")
    with driving("sync", store.services) as drive:
        with pytest.raises(Unreachable):
            drive(store.load(["a"]))
        with Cassandra(port=server.port):
            assert drive(store.load(["a"])) == {}


def test_unknown_class_of_authentication_is_a_setting_error(cassandra: Cassandra, colour: str) -> None:
    store = CassandraResults(cassandra_address(cassandra, auth_provider="Elsewhere", auth_kwargs={"a": 1}), "celery")
    with driving(colour, store.services) as drive, pytest.raises(ImproperlyConfigured, match="no class 'Elsewhere'"):
        drive(store.load(["a"]))


def test_server_that_restarts_is_found_again(cassandra: Cassandra, store: CassandraResults, drive: Drive) -> None:
    record = a_record()
    drive(store.save([a_record()]))
    cassandra.stop()
    with Cassandra(port=cassandra.port) as again:
        again.tables |= cassandra.tables
        assert drive(store.save([record])) == [True]
        assert drive(store.load([record.id])) == {record.id: record}


# A server that takes connections and never answers


@pytest.fixture
def silent() -> Iterator[ResultStore]:
    with silent_port() as port:
        yield store_from_url(f"cassandra://me:s3cret@127.0.0.1:{port}/celery", {})


def test_exception_of_an_alarm_during_a_call_comes_out_as_itself(silent: ResultStore) -> None:
    connections = Connections(with_longest_call(silent.services, 60))
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
