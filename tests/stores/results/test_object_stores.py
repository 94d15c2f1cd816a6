"""The three object stores on emulated services: the contract, the stored objects, failures, and lifecycle rules."""

from __future__ import annotations

import json
import logging
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from emulators import object_stores
from taskq_cloud.core.flows import CallError, Flow, Gather, Step
from taskq_cloud.core.records.record import FINAL_VERSION, STARTED
from taskq_cloud.errors import (
    AccessDenied,
    StoreNotFound,
    Unreachable,
)
from taskq_cloud.stores.buckets import Write
from taskq_cloud.stores.results.azure_blob import AzureBlobResults
from taskq_cloud.stores.results.gcs import GCSResults
from taskq_cloud.stores.results.s3 import S3Results
from taskq_cloud.testing.clock import FakeClock
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100, ResultStoreContract, a_record
from taskq_cloud.testing.driving import driving

Store: TypeAlias = S3Results | AzureBlobResults | GCSResults

SECRET = "c2VjcmV0LXNpZ25hdHVyZQ"


@pytest.mark.slow_async
@pytest.mark.second_stack
class TestS3(ResultStoreContract):
    @pytest.fixture
    def store(self, make_bucket: Callable[..., str], clock: FakeClock) -> Store:
        return S3Results(make_bucket(), "shop", clock=clock)


class TestAzureBlob(ResultStoreContract):
    @pytest.fixture
    def store(self, make_container: Callable[..., str], clock: FakeClock) -> Store:
        return AzureBlobResults(make_container(), "shop", clock=clock)


class TestGCS(ResultStoreContract):
    @pytest.fixture
    def store(self, make_gcs_bucket: Callable[..., str], clock: FakeClock) -> Store:
        return GCSResults(make_gcs_bucket(), "shop", clock=clock)


# The stored objects, seen through the services' own SDKs


@dataclass(frozen=True)
class Service:
    """One bucket of an emulated service, with ways to inspect it."""

    kind: Callable[..., Store]
    bucket: str
    stored: Callable[[str], tuple[bytes, dict[str, str]]]
    """Function: key -> body and metadata, read with the SDK."""
    unreachable: Callable[[str], Store]
    """Function: URL -> a store whose service is at that URL."""

    def store(self, prefix: str = "", **options: Any) -> Store:
        return self.kind(self.bucket, prefix, **options)


@pytest.fixture
def s3(make_bucket: Callable[..., str], s3_client: Any) -> Service:
    bucket = make_bucket()

    def stored(key: str) -> tuple[bytes, dict[str, str]]:
        answer = s3_client.get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer["Metadata"]

    return Service(S3Results, bucket, stored, lambda url: S3Results(bucket, endpoint_url=url))


@pytest.fixture
def azure(make_container: Callable[..., str], azure_service: Any, monkeypatch: pytest.MonkeyPatch) -> Service:
    container = make_container()

    def stored(key: str) -> tuple[bytes, dict[str, str]]:
        blob = azure_service.get_blob_client(container, key).download_blob()
        return blob.readall(), blob.properties.metadata

    def unreachable(url: str) -> Store:
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sv=2021-08-06&se=2099-01-01&sp=rwdl&sig={SECRET}")
        return AzureBlobResults(container, account_url=f"{url}/devstoreaccount1")

    return Service(AzureBlobResults, container, stored, unreachable)


@pytest.fixture
def gcs(make_gcs_bucket: Callable[..., str], gcs_client: Any, monkeypatch: pytest.MonkeyPatch) -> Service:
    bucket = make_gcs_bucket()

    def stored(key: str) -> tuple[bytes, dict[str, str]]:
        blob = gcs_client.bucket(bucket).get_blob(key)
        return blob.download_as_bytes(), blob.metadata

    def unreachable(url: str) -> Store:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        return GCSResults(bucket)

    return Service(GCSResults, bucket, stored, unreachable)


@pytest.fixture(params=["s3", "azure", "gcs"])
def service(request: pytest.FixtureRequest) -> Service:
    service: Service = request.getfixturevalue(request.param)
    return service


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    colour: str = request.param
    return colour


def test_object_has_celerys_key_and_document_and_our_fields_as_metadata(service: Service) -> None:
    store = service.store("shop/results", clock=lambda: THE_YEAR_2100)
    record = a_record(value="größe", fence=3, expires_at=THE_YEAR_2100 + 60.5)
    with driving("sync", store.services) as drive:
        drive(store.save([record]))

    body, metadata = service.stored(f"shop/results/celery-task-meta-{record.id}")

    assert json.loads(body) == json.loads(record.payload)
    assert metadata == {
        "state": "SUCCESS",
        "version": str(FINAL_VERSION),
        "fence": "3",
        "expires": repr(THE_YEAR_2100 + 60.5),
    }


# Azure's SDK passes the bytes to aiohttp, which recommends a file for so many.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_large_payload_is_read_back_unchanged(service: Service, colour: str) -> None:
    store = service.store()
    record = a_record(value="ü" * 5_000_000)
    with driving(colour, store.services) as drive:
        assert drive(store.save([record])) == [True]
        assert drive(store.load([record.id])) == {record.id: record}


def test_custom_state_may_have_any_name(service: Service, colour: str) -> None:
    store = service.store()
    record = a_record("HÄLFTE %2F")
    with driving(colour, store.services) as drive:
        drive(store.save([record]))
        assert drive(store.load([record.id])) == {record.id: record}


def test_attempts_with_equal_documents_have_different_tags(service: Service, colour: str) -> None:
    # An ETag that is a digest of the body alone would let the first attempt write over the third.
    store = service.store()
    first = a_record(STARTED, 0)
    second, third = (a_record(STARTED, attempt, id=first.id) for attempt in (1, 2))
    assert first.payload == third.payload
    key = store._key(first.id)
    with driving(colour, store.services) as drive:
        drive(store.save([first]))
        seen = drive(store.objects.read([key]))[key]
        assert seen is not None
        drive(store.save([third]))
        assert drive(store.objects.change({key: lambda _: None}, {key: seen})) == {key: None}
        call = store.objects.put_call(Write(key, seen, seen))
        (answer,) = drive(once(Gather([call])))
        assert isinstance(answer, CallError)
        assert drive(store.save([second])) == [False]
        assert drive(store.load([first.id])) == {first.id: third}


def once(step: Step) -> Flow[Any]:
    return (yield step)


# Failures of the services


def every_method(store: Store) -> dict[str, Flow[Any]]:
    return {
        "load": store.load(["a"]),
        "save": store.save([a_record()]),
        "delete": store.delete(["a"]),
        "join": store.join("j", "0", 2, None),
        "claim": store.claim("c", "me", 30),
        "reserve": store.reserve("k", 1, 0),
    }


@pytest.mark.parametrize("method", ["load", "save", "delete", "join", "claim", "reserve"])
def test_error_for_missing_bucket_names_it_and_how_to_create_it(service: Service, colour: str, method: str) -> None:
    store = service.kind("nobody-made-me")
    with driving(colour, store.services) as drive:
        if service.kind is GCSResults and method == "delete":
            pytest.skip(
                "deleting a missing object succeeds, and fake-gcs-server gives the same answer for a missing bucket"
            )
        with pytest.raises(StoreNotFound, match="nobody-made-me") as caught:
            drive(every_method(store)[method])
    assert "create" in str(caught.value)


@pytest.mark.parametrize("method", ["load", "save"])
def test_endpoint_without_answer_is_unreachable(
    service: Service, colour: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = service.unreachable(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with driving(colour, store.services) as drive, pytest.raises(Unreachable, match=service.bucket) as caught:
            drive(every_method(store)[method])
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(store) + repr(store.services)
    assert SECRET not in shown


def test_error_for_read_only_credentials_names_the_missing_permission(
    azure: Service, azure_service: Any, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = generate_container_sas(
        object_stores.AZURITE_ACCOUNT,
        azure.bucket,
        account_key=object_stores.AZURITE_KEY,
        permission=ContainerSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", token)
    store = azure.store(account_url=azure_service.url.rstrip("/"))
    with driving(colour, store.services) as drive:
        assert drive(store.load(["a"])) == {}
        with pytest.raises(AccessDenied, match=f"{azure.bucket} .*containers/blobs/write was denied") as caught:
            drive(store.save([a_record()]))
    signature = token.partition("sig=")[2]
    assert signature not in "".join(traceback.format_exception(caught.value))


# Lifecycle rules


def test_lifecycle_rules_are_accepted_by_s3(s3: Service, s3_client: Any) -> None:
    rules = s3.store("shop").lifecycle(86_400)
    s3_client.put_bucket_lifecycle_configuration(Bucket=s3.bucket, LifecycleConfiguration={"Rules": rules})

    kept = s3_client.get_bucket_lifecycle_configuration(Bucket=s3.bucket)["Rules"]

    assert {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in kept} == {
        "shop/celery-task-meta-": 1,
        "shop/taskq-join": 16,
        "shop/taskq-claim-": 16,
        "shop/taskq-rate-": 16,
    }


def test_lifecycle_rules_for_azure_and_google_have_their_prefixes() -> None:
    (results, *_) = AzureBlobResults("results", "shop").lifecycle(7 * 86_400 + 1)
    assert results["definition"]["filters"]["prefixMatch"] == ["results/shop/celery-task-meta-"]
    assert results["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"] == 8

    (results, joins, *_) = GCSResults("results").lifecycle(3600)
    assert results == {"action": {"type": "Delete"}, "condition": {"age": 1, "matchesPrefix": ["celery-task-meta-"]}}
    assert joins["condition"]["matchesPrefix"] == ["taskq-join"]
