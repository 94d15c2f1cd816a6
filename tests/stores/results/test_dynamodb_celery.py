"""A DynamoDB table shared with Celery: Celery's own backend reads our records, and our store reads Celery's results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context

from emulators.aws import REGION
from taskq_cloud.core.payloads.compressed_results import CompressedResults
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, RETRY, STARTED, SUCCESS, version_of
from taskq_cloud.errors import DecodeError
from taskq_cloud.stores.results.dynamodb import DynamoDBResults
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import Drive, driving

TASK = "3f1c8a6e-0000-4000-8000-000000000001"


@pytest.fixture
def table(make_table: Callable[..., str], aws_environment: dict[str, str]) -> str:
    return make_table("celery")


@pytest.fixture
def celery_app(table: str, aws_environment: dict[str, str]) -> Iterator[Callable[..., Any]]:
    apps: list[Any] = []

    def make(**conf: Any) -> Any:
        app = Celery("shop", backend=f"dynamodb://@{REGION}/{table}?ttl_seconds=600", set_as_current=False)
        app.conf.update(dynamodb_endpoint_url=aws_environment["AWS_ENDPOINT_URL"], **conf)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.backend.client.close()
        app.close()


@pytest.fixture
def store(table: str) -> DynamoDBResults:
    return DynamoDBResults(table, key_format="celery")


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, store: DynamoDBResults) -> Iterator[Drive]:
    with driving(request.param, store.services) as drive:
        yield drive


def test_record_that_we_save_is_read_by_celery(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    record = a_record(value={"größe": [1, 2.5, None]}, id=TASK)
    run(store.save([record]))

    result = celery_app().AsyncResult(TASK)

    assert result.state == "SUCCESS"
    assert result.get(timeout=10) == {"größe": [1, 2.5, None]}
    assert result.date_done.isoformat() == "2026-03-01T12:00:00+00:00"


def test_failure_that_we_save_is_read_by_celery(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    error = {"exc_type": "ValueError", "exc_message": ["too wide"], "exc_module": "builtins"}
    run(store.save([a_record(FAILURE, value=error, id=TASK)]))

    result = celery_app().AsyncResult(TASK)

    assert result.state == "FAILURE"
    with pytest.raises(ValueError, match="too wide"):
        result.get(timeout=10)


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2"])
def test_result_that_celery_saves_is_read_by_us(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any], compression: str | None
) -> None:
    celery_app(result_compression=compression).backend.store_result(TASK, ["größe", 2], "SUCCESS")

    record = run(store.load([TASK]))[TASK]

    assert (record.id, record.state, record.version, record.fence) == (TASK, SUCCESS, FINAL_VERSION, 0)
    assert record.expires_at is not None
    document = json.loads(record.payload)
    assert document["result"] == ["größe", 2]
    assert document["task_id"] == TASK
    assert run(store.load([TASK, "absent"])) == {TASK: record}


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_compressed_record_that_we_save_is_read_by_celery(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any], compression: str
) -> None:
    record = a_record(value={"größe": "x" * 1000}, id=TASK)
    run(CompressedResults(store, compression).save([record]))

    assert celery_app().AsyncResult(TASK).get(timeout=10) == {"größe": "x" * 1000}
    assert run(store.load([TASK])) == {TASK: record}


def test_failure_that_celery_saves_is_read_by_us(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    celery_app().backend.store_result(TASK, ValueError("too wide"), "FAILURE", traceback="Traceback ...")

    record = run(store.load([TASK]))[TASK]

    assert record.final
    assert json.loads(record.payload)["result"]["exc_type"] == "ValueError"


def test_attempt_number_in_celerys_document_becomes_the_version(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    app = celery_app(result_extended=True)
    request = Context(id=TASK, retries=2, task="shop.resize", args=(), kwargs={}, children=[])
    app.backend.store_result(TASK, ValueError("later"), "RETRY", request=request)

    record = run(store.load([TASK]))[TASK]

    assert (record.state, record.version) == (RETRY, version_of(RETRY, 2))


def test_final_state_that_celery_saved_is_not_replaced(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    celery_app().backend.store_result(TASK, "celery's", "SUCCESS")

    assert run(store.save([a_record(SUCCESS, value="ours", id=TASK)])) == [False]
    assert json.loads(run(store.load([TASK]))[TASK].payload)["result"] == "celery's"


@pytest.mark.parametrize("state", ["STARTED", "RETRY", "PROGRESS"])
def test_unfinished_state_that_celery_saved_is_replaced(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any], state: str
) -> None:
    app = celery_app()
    app.backend.store_result(TASK, {"done": 1}, state)
    ours = a_record(SUCCESS, value="ours", id=TASK)

    assert run(store.save([ours, a_record()])) == [True, True]
    assert run(store.load([TASK])) == {TASK: ours}
    assert app.AsyncResult(TASK).get(timeout=10) == "ours"


def test_one_of_several_final_states_saved_at_once_over_celerys_start_wins(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    celery_app().backend.store_result(TASK, None, "STARTED")
    finals = [a_record(SUCCESS, value=number, id=TASK) for number in range(6)]

    saved = run.together([store.save([record]) for record in finals])

    assert sorted(saved) == [[False]] * 5 + [[True]]
    assert run(store.load([TASK])) == {TASK: finals[saved.index([True])]}


def test_celery_replaces_our_start_but_not_our_success(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    backend = celery_app().backend
    run(store.save([a_record(STARTED, id=TASK)]))
    backend.store_result(TASK, "celery's", "RETRY")
    assert run(store.load([TASK]))[TASK].state == RETRY

    ours = a_record(SUCCESS, 1, value="ours", id=TASK)
    run(store.save([ours]))
    backend.store_result(TASK, "too late", "STARTED")
    assert run(store.load([TASK])) == {TASK: ours}


def test_error_for_pickled_celery_result_names_task_and_setting(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any]
) -> None:
    celery_app(result_serializer="pickle", accept_content=["pickle"]).backend.store_result(TASK, {1, 2}, "SUCCESS")

    with pytest.raises(DecodeError, match=TASK) as caught:
        run(store.load([TASK]))
    assert "result_serializer" in str(caught.value)


def test_store_with_plain_keys_does_not_see_celerys_results(
    store: DynamoDBResults, run: Drive, celery_app: Callable[..., Any], table: str
) -> None:
    celery_app().backend.store_result(TASK, 1, "SUCCESS")
    assert run(DynamoDBResults(table).load([TASK])) == {}
