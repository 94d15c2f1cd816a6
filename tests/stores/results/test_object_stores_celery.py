"""A bucket shared with Celery: Celery's own backends read our records, and our stores read Celery's results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from celery import Celery
from celery.backends.azureblockblob import AzureBlockBlobBackend
from celery.backends.gcs import GCSBackend, GCSBackendBase
from celery.backends.s3 import S3Backend

from taskq_cloud.core.payloads.compressed_results import CompressedResults
from taskq_cloud.core.records.record import FAILURE, FINAL_VERSION, RETRY, STARTED, SUCCESS
from taskq_cloud.errors import DecodeError
from taskq_cloud.stores.results.azure_blob import AzureBlobResults
from taskq_cloud.stores.results.gcs import GCSResults
from taskq_cloud.stores.results.s3 import S3Results
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.driving import Drive, driving

TASK = "3f1c8a6e-0000-4000-8000-000000000002"


Store: TypeAlias = S3Results | AzureBlobResults | GCSResults
Shared: TypeAlias = tuple[Store, dict[str, str], Callable[[Any], Any], Callable[[Any], None]]
"""A store; Celery's settings for its bucket; a function that makes Celery's backend for an application; and a function
that closes the backend."""


class WithoutFirestore(GCSBackendBase):  # type: ignore[misc]  # Celery has no types
    """Celery's ``GCSBackend`` without Firestore, where Celery counts the members of a chord."""

    supports_result_compression = GCSBackend.supports_result_compression


@pytest.fixture
def s3(make_bucket: Callable[..., str], aws_environment: dict[str, str]) -> Shared:
    bucket = make_bucket("celery")
    settings = {
        "s3_access_key_id": "test",
        "s3_secret_access_key": "test",
        "s3_bucket": bucket,
        "s3_base_path": "shop/",
        "s3_endpoint_url": aws_environment["AWS_ENDPOINT_URL"],
        "s3_region": aws_environment["AWS_REGION"],
    }

    def close(backend: Any) -> None:
        backend._s3_resource.meta.client.close()

    return S3Results(bucket, "shop"), settings, lambda app: S3Backend(app=app), close


@pytest.fixture
def azure(make_container: Callable[..., str], azure_environment: str) -> Shared:
    container = make_container("celery")
    settings = {"azureblockblob_container_name": container, "azureblockblob_base_path": "shop/"}

    def make(app: Any) -> Any:
        return AzureBlockBlobBackend(url=f"azureblockblob://{azure_environment}", app=app)

    def close(backend: Any) -> None:
        backend._blob_service_client.close()

    return AzureBlobResults(container, "shop"), settings, make, close


@pytest.fixture
def gcs(make_gcs_bucket: Callable[..., str], gcs_environment: str) -> Shared:
    bucket = make_gcs_bucket("celery")
    settings = {"gcs_bucket": bucket, "gcs_project": "shop", "gcs_base_path": "shop"}
    return (
        GCSResults(bucket, "shop"),
        settings,
        lambda app: WithoutFirestore(app=app),
        lambda backend: backend.client.close(),
    )


@pytest.fixture(params=["s3", "azure", "gcs"])
def shared(request: pytest.FixtureRequest) -> Shared:
    shared: Shared = request.getfixturevalue(request.param)
    return shared


@pytest.fixture
def store(shared: Shared) -> Store:
    return shared[0]


@pytest.fixture
def celery_backend(shared: Shared) -> Iterator[Callable[..., Any]]:
    """A function that makes Celery's backend on the store's bucket, with further settings."""
    _, settings, make_backend, close = shared
    made: list[tuple[Any, Any]] = []

    def make(**conf: Any) -> Any:
        app = Celery("shop", set_as_current=False)
        app.conf.update(**settings, **conf)
        made.append((app, make_backend(app)))
        return made[-1][1]

    yield make
    for app, backend in made:
        close(backend)
        app.close()


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, store: Store) -> Iterator[Drive]:
    with driving(request.param, store.services) as drive:
        yield drive


def test_record_that_we_save_is_read_by_celery(store: Store, run: Drive, celery_backend: Callable[..., Any]) -> None:
    run(store.save([a_record(value={"größe": [1, 2.5, None]}, id=TASK)]))

    backend = celery_backend()

    assert backend.get_state(TASK) == "SUCCESS"
    assert backend.wait_for(TASK, timeout=10)["result"] == {"größe": [1, 2.5, None]}


def test_compressed_record_that_we_save_is_read_by_celerys_backend_for_google(gcs: Shared) -> None:
    store, settings, make_backend, close = gcs
    with driving("sync", store.services) as run:
        run(CompressedResults(store, "gzip").save([a_record(value={"größe": "x" * 1000}, id=TASK)]))
    app = Celery("shop", set_as_current=False)
    app.conf.update(**settings)
    backend = make_backend(app)
    try:
        assert backend.wait_for(TASK, timeout=10)["result"] == {"größe": "x" * 1000}
    finally:
        close(backend)
        app.close()


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_compressed_record_is_read_and_replaced(store: Store, run: Drive, compression: str) -> None:
    compressing = CompressedResults(store, compression)
    started, ended = a_record(STARTED, id=TASK), a_record(value="x" * 100_000, id=TASK)
    assert run(compressing.save([started])) == [True]
    assert run(store.load([TASK])) == {TASK: started}
    assert run(compressing.save([ended])) == [True]
    assert run(store.load([TASK])) == {TASK: ended}


def test_failure_that_we_save_is_read_by_celery(store: Store, run: Drive, celery_backend: Callable[..., Any]) -> None:
    error = {"exc_type": "ValueError", "exc_message": ["too wide"], "exc_module": "builtins"}
    run(store.save([a_record(FAILURE, value=error, id=TASK)]))

    result = celery_backend().get_result(TASK)

    assert isinstance(result, ValueError)
    assert result.args == ("too wide",)


def test_result_that_celery_saves_is_read_by_us(store: Store, run: Drive, celery_backend: Callable[..., Any]) -> None:
    celery_backend().store_result(TASK, ["größe", 2], "SUCCESS")

    record = run(store.load([TASK]))[TASK]

    assert (record.id, record.state, record.version, record.fence) == (TASK, SUCCESS, FINAL_VERSION, 0)
    assert json.loads(record.payload)["result"] == ["größe", 2]


def test_compressed_result_that_celery_saves_is_read_by_us(gcs: Shared) -> None:
    store, settings, make_backend, close = gcs
    app = Celery("shop", set_as_current=False)
    app.conf.update(**settings, result_compression="gzip")
    backend = make_backend(app)
    backend.store_result(TASK, "x" * 1000, "SUCCESS")
    with driving("sync", store.services) as drive:
        assert json.loads(drive(store.load([TASK]))[TASK].payload)["result"] == "x" * 1000
    close(backend)
    app.close()


def test_final_state_that_celery_saved_is_not_replaced(
    store: Store, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    celery_backend().store_result(TASK, "celery's", "SUCCESS")

    assert run(store.save([a_record(SUCCESS, value="ours", id=TASK)])) == [False]
    assert json.loads(run(store.load([TASK]))[TASK].payload)["result"] == "celery's"


@pytest.mark.parametrize("state", ["STARTED", "RETRY"])
def test_unfinished_state_that_celery_saved_is_replaced(
    store: Store, run: Drive, celery_backend: Callable[..., Any], state: str
) -> None:
    backend = celery_backend()
    backend.store_result(TASK, {"done": 1}, state)
    ours = a_record(SUCCESS, value="ours", id=TASK)

    assert run(store.save([ours])) == [True]
    assert run(store.load([TASK])) == {TASK: ours}
    assert backend.get_result(TASK) == "ours"


def test_celery_replaces_our_start_but_not_our_success(
    store: Store, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    backend = celery_backend()
    run(store.save([a_record(STARTED, id=TASK)]))
    backend.store_result(TASK, "celery's", "RETRY")
    assert run(store.load([TASK]))[TASK].state == RETRY

    ours = a_record(SUCCESS, 1, value="ours", id=TASK)
    run(store.save([ours]))
    backend.store_result(TASK, "too late", "STARTED")
    assert run(store.load([TASK])) == {TASK: ours}


def test_error_for_pickled_celery_result_names_task_and_setting(
    store: Store, run: Drive, celery_backend: Callable[..., Any]
) -> None:
    backend = celery_backend(result_serializer="pickle", accept_content=["pickle"])
    backend.store_result(TASK, {1, 2}, "SUCCESS")

    with pytest.raises(DecodeError, match=TASK) as caught:
        run(store.load([TASK]))
    assert "result_serializer" in str(caught.value)
