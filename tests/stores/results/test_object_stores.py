"""The three object stores side by side: one contract, and what each makes of its own service's answers."""

import json
import logging
import socket
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from taskq_cloud.core.flows import Call, CallError, Gather, Sleep, Trouble, run
from taskq_cloud.core.records.record import FINAL_VERSION, STARTED
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    OperationalError,
    PayloadTooLarge,
    StoreNotFound,
    Unreachable,
)
from taskq_cloud.stores.results._objects import LARGEST_RECORD_BYTES, ObjectResults
from taskq_cloud.stores.results.azure_blob import AzureBlobResults
from taskq_cloud.stores.results.gcs import GCSResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.stores.results.s3 import S3Results
from taskq_cloud.testing import emulators
from taskq_cloud.testing.contracts.result_store import THE_YEAR_2100, ResultStoreContract, a_record
from taskq_cloud.testing.driving import driving

SECRET = "c2VjcmV0LXNpZ25hdHVyZQ"


@pytest.mark.second_stack
class TestS3(ResultStoreContract):
    @pytest.fixture
    def store(self, make_bucket, clock):
        return S3Results(make_bucket(), "shop", clock=clock)


class TestAzureBlob(ResultStoreContract):
    @pytest.fixture
    def store(self, make_container, clock):
        return AzureBlobResults(make_container(), "shop", clock=clock)


class TestGCS(ResultStoreContract):
    @pytest.fixture
    def store(self, make_gcs_bucket, clock):
        return GCSResults(make_gcs_bucket(), "shop", clock=clock)


# The service itself, seen beside the store


@dataclass(frozen=True)
class Service:
    """An emulated service: a bucket of it, a store on that bucket, and what else is asked of it."""

    kind: type[ObjectResults]
    bucket: str
    stored: Any
    """Key -> body and metadata, read with the SDK itself."""
    unreachable: Any
    """Address -> a store there."""

    def store(self, prefix: str = "", **options: Any) -> ObjectResults:
        return self.kind(self.bucket, prefix, **options)


@pytest.fixture
def s3(make_bucket, s3_client):
    bucket = make_bucket()

    def stored(key):
        answer = s3_client.get_object(Bucket=bucket, Key=key)
        return answer["Body"].read(), answer["Metadata"]

    return Service(S3Results, bucket, stored, lambda url: S3Results(bucket, endpoint_url=url))


@pytest.fixture
def azure(make_container, azure_service, monkeypatch):
    container = make_container()

    def stored(key):
        blob = azure_service.get_blob_client(container, key).download_blob()
        return blob.readall(), blob.properties.metadata

    def unreachable(url):
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sv=2021-08-06&se=2099-01-01&sp=rwdl&sig={SECRET}")
        return AzureBlobResults(container, account_url=f"{url}/devstoreaccount1")

    return Service(AzureBlobResults, container, stored, unreachable)


@pytest.fixture
def gcs(make_gcs_bucket, gcs_client, monkeypatch):
    bucket = make_gcs_bucket()

    def stored(key):
        blob = gcs_client.bucket(bucket).get_blob(key)
        return blob.download_as_bytes(), blob.metadata

    def unreachable(url):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        return GCSResults(bucket)

    return Service(GCSResults, bucket, stored, unreachable)


@pytest.fixture(params=["s3", "azure", "gcs"])
def service(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["sync", "async"])
def colour(request):
    return request.param


def test_an_object_has_celerys_key_and_document_and_our_fields_as_metadata(service):
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


# Azure's SDK hands aiohttp the bytes, and aiohttp would rather have a file of them.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_a_large_payload_comes_back_whole(service, colour):
    store = service.store()
    record = a_record(value="ü" * 5_000_000)
    with driving(colour, store.services) as drive:
        assert drive(store.save([record])) == [True]
        assert drive(store.load([record.id])) == {record.id: record}


def test_a_state_of_the_tasks_own_may_have_any_name(service, colour):
    store = service.store()
    record = a_record("HÄLFTE %2F")
    with driving(colour, store.services) as drive:
        drive(store.save([record]))
        assert drive(store.load([record.id])) == {record.id: record}


def test_attempts_with_one_document_are_told_apart(service, colour):
    # An ETag that is a digest of the body alone would let the first attempt write over the third.
    store = service.store()
    first = a_record(STARTED, 0)
    second, third = (a_record(STARTED, attempt, id=first.id) for attempt in (1, 2))
    assert first.payload == third.payload
    key = store._key(first.id)
    with driving(colour, store.services) as drive:
        drive(store.save([first]))
        seen = drive(store._read([key]))[key]
        drive(store.save([third]))
        assert drive(store._change({key: lambda _: None}, {key: seen})) == {key: None}
        call = store._put(key, seen, seen)
        (answer,) = drive(once(Gather([call])))
        assert isinstance(answer, CallError)
        assert drive(store.save([second])) == [False]
        assert drive(store.load([first.id])) == {first.id: third}


def once(step):
    return (yield step)


# Failures of the real thing


def every_method(store):
    return {
        "load": store.load(["a"]),
        "save": store.save([a_record()]),
        "delete": store.delete(["a"]),
        "join": store.join("j", "m", 2, None),
        "claim": store.claim("c", "me", 30),
        "reserve": store.reserve("k", 1, 0),
    }


@pytest.mark.parametrize("method", ["load", "save", "delete", "join", "claim", "reserve"])
def test_a_missing_bucket_is_named_with_how_to_create_it(service, colour, method):
    store = service.kind("nobody-made-me")
    with driving(colour, store.services) as drive:
        if service.kind is GCSResults and method == "delete":
            pytest.skip("deleting is done when there is nothing, and fake-gcs-server doesn't say what there is not")
        with pytest.raises(StoreNotFound, match="nobody-made-me") as caught:
            drive(every_method(store)[method])
    assert "create" in str(caught.value)


@pytest.mark.parametrize("method", ["load", "save"])
def test_an_endpoint_that_gives_no_answer_is_unreachable(service, colour, method, caplog):
    caplog.set_level(logging.DEBUG)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = service.unreachable(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with driving(colour, store.services) as drive, pytest.raises(Unreachable, match=service.bucket) as caught:
            drive(every_method(store)[method])
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(store) + repr(store.services)
    assert SECRET not in shown


def test_credentials_that_may_only_read_are_denied_by_name(azure, azure_service, colour, monkeypatch):
    token = generate_container_sas(
        emulators.AZURITE_ACCOUNT,
        azure.bucket,
        account_key=emulators.AZURITE_KEY,
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


# What the services' codes mean


STORES = {
    "s3": (S3Results("shop"), Call("s3", "put_object")),
    "azure": (AzureBlobResults("shop"), Call("azureblob", "upload_blob")),
    "gcs": (GCSResults("shop"), Call("gcs", "upload")),
}

PERMISSIONS = {"s3": "s3:PutObject", "azure": "containers/blobs/write", "gcs": "storage.objects.create"}


class Recorded:
    """Answers a flow's steps; keeps what was called."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self.calls = []
        self.slept = 0

    def __call__(self, step):
        if isinstance(step, Sleep):
            self.slept += 1
            return None
        assert isinstance(step, Gather)
        self.calls += step.calls
        return [self._answer(call) for call in step.calls]

    def _answer(self, call):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, str):
            trouble = Trouble.CREDENTIALS if answer == "ExpiredToken" else Trouble.REFUSED
            return CallError(call, answer, "in the service's own words", trouble)
        return answer

    @property
    def operations(self):
        return [call.operation for call in self.calls]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("s3", "AccessDenied"),
        ("s3", "SignatureDoesNotMatch"),
        ("s3", "ExpiredToken"),
        ("azure", "AuthorizationPermissionMismatch"),
        ("azure", "AuthorizationFailure"),
        ("gcs", "Forbidden"),
    ],
)
def test_a_missing_permission_is_named(name, code):
    store, _ = STORES[name]
    with pytest.raises(AccessDenied, match=f"shop.*{PERMISSIONS[name]}.* was denied: {code}: in the service's"):
        run(store.save([a_record()]), Recorded(code))


@pytest.mark.parametrize(
    ("name", "code"), [("s3", "RequestTimeTooSkewed"), ("azure", "RequestDateHeaderTooOld"), ("gcs", "ClockIsWrong")]
)
def test_a_clock_that_is_wrong_is_said_to_be(name, code):
    store, _ = STORES[name]
    with pytest.raises(AccessDenied, match="this machine's clock is off"):
        run(store.load(["a"]), Recorded(code))


@pytest.mark.parametrize(
    ("name", "code"), [("s3", "KeyTooLongError"), ("azure", "LeaseIdMissing"), ("gcs", "BadRequest")]
)
def test_another_refusal_comes_in_the_services_words(name, code):
    store, _ = STORES[name]
    with pytest.raises(OperationalError, match=f"shop.* was refused: {code}: in the service's own words"):
        run(store.save([a_record()]), Recorded(code))


# How many calls, and which


def test_a_result_that_is_written_once_takes_one_call():
    recorded = Recorded({})
    assert run(S3Results("shop").save([a_record()]), recorded) == [True]
    assert recorded.operations == ["put_object"]
    assert recorded.calls[0].parameters["IfNoneMatch"] == "*"


def test_who_loses_reads_and_writes_over_what_was_read():
    older = a_record(STARTED)
    stored = {
        "Body": older.payload.encode(),
        "Metadata": {"state": "STARTED", "version": "0", "fence": "0"},
        "ETag": '"seen"',
    }
    recorded = Recorded("PreconditionFailed", stored, {})
    assert run(S3Results("shop").save([a_record(id=older.id)]), recorded) == [True]
    assert recorded.operations == ["put_object", "get_object", "put_object"]
    assert recorded.calls[2].parameters["IfMatch"] == '"seen"'


def test_two_that_race_make_the_same_write_again_without_reading():
    recorded = Recorded("ConditionalRequestConflict", {})
    assert run(S3Results("shop").save([a_record()]), recorded) == [True]
    assert recorded.operations == ["put_object", "put_object"]
    assert recorded.calls[0].parameters.keys() == recorded.calls[1].parameters.keys()
    assert recorded.calls[1].parameters["IfNoneMatch"] == "*"


def test_what_is_deleted_under_a_writer_is_created_anew():
    older = a_record(STARTED)
    stored = {"Body": b"{}", "Metadata": {"state": "STARTED", "version": "0", "fence": "0"}, "ETag": "x"}
    recorded = Recorded("PreconditionFailed", stored, "NoSuchKey", "NoSuchKey", {})
    assert run(S3Results("shop").save([a_record(id=older.id)]), recorded) == [True]
    assert recorded.calls[-1].parameters["IfNoneMatch"] == "*"


def test_an_object_that_keeps_changing_is_given_up_after_pauses():
    recorded = Recorded("ConditionalRequestConflict")
    with pytest.raises(OperationalError, match=r"celery-task-meta-.* could not be written: other writers"):
        run(S3Results("shop").save([a_record()]), recorded)
    assert len(recorded.calls) == 10
    assert recorded.slept == 8


def test_a_payload_over_the_limit_is_refused_before_a_call():
    large = a_record(payload='"' + "x" * LARGEST_RECORD_BYTES + '"')
    with pytest.raises(PayloadTooLarge, match=f"{large.id} is {LARGEST_RECORD_BYTES + 2} bytes"):
        run(S3Results("shop").save([a_record(), large]), Recorded({}))


def test_a_join_is_counted_over_all_pages_of_its_listing():
    page = {"Contents": [{"Key": "taskq-join-j/a/1.0_never"}], "NextContinuationToken": "more"}
    last = {"Contents": [{"Key": "taskq-join-j/b/2.0_never"}]}
    recorded = Recorded({}, page, last, {})
    assert run(S3Results("shop", clock=lambda: 2.0).join("j", "b", 2, None), recorded)
    assert recorded.operations == ["put_object", "list_objects_v2", "list_objects_v2", "put_object"]
    assert recorded.calls[2].parameters["ContinuationToken"] == "more"


def test_who_completes_a_join_but_does_not_hear_of_it_has_completed_it():
    listed = {"Contents": [{"Key": "taskq-join-j/a/1.0_never"}]}
    mine = {"Body": b"a", "Metadata": {}, "ETag": "x"}
    recorded = Recorded({}, listed, "PreconditionFailed", mine, mine)
    assert run(S3Results("shop", clock=lambda: 1.0).join("j", "a", 1, None), recorded)


# URLs


@pytest.mark.parametrize(
    ("url", "kind", "services"),
    [
        ("s3://shop-results", S3Results, {"s3": {}}),
        (
            "s3://shop-results/a/b/?region=eu-west-1&endpoint_url=http://127.0.0.1:9000&addressing_style=path",
            S3Results,
            {"s3": {"region": "eu-west-1", "endpoint_url": "http://127.0.0.1:9000", "addressing_style": "path"}},
        ),
        ("azureblob://results/a", AzureBlobResults, {"azureblob": {}}),
        (
            "azureblockblob://results?account_url=https://shop.blob.core.windows.net",
            AzureBlobResults,
            {"azureblob": {"account_url": "https://shop.blob.core.windows.net"}},
        ),
        ("gs://shop.results/a?project=shop-1", GCSResults, {"gcs": {"project": "shop-1"}}),
    ],
)
def test_a_url_names_the_bucket_and_where_it_is(url, kind, services):
    store = store_from_url(url, {})
    assert type(store) is kind
    assert {name: dict(each.options) for name, each in store.services.items()} == services


@pytest.mark.parametrize(
    ("url", "prefix"), [("s3://shop", ""), ("s3://shop/", ""), ("s3://shop/a", "a/"), ("s3://shop/a/b%20c/", "a/b c/")]
)
def test_the_path_is_a_prefix_that_ends_in_a_slash(url, prefix):
    assert store_from_url(url, {})._key("1") == f"{prefix}celery-task-meta-1"


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://ab",
        "s3://key:s3cret@bucket/prefix",
        "s3://bucket?secret_access_key=s3cret",
        "gs://",
        "gs://UPPER",
        "gs://bucket?credentials=s3cret",
        "azureblob://",
        "azureblob://results?sas=s3cret",
        "azureblob://results?account_url=ftp://shop",
        "azureblob://results?account_url=https://shop.blob.core.windows.net%3Fsig%3Ds3cret",
        "azureblob://results?account_url=https://shop.blob.core.windows.net?sv=2021&sig=s3cret",
        "azureblockblob://DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=s3cret/s3cret==",
        "azureblockblob://DefaultAzureCredential@https://shop.blob.core.windows.net",
    ],
)
def test_what_a_url_can_not_be(url):
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url(url, {})
    assert "s3cret" not in str(caught.value)


# Lifecycle


def test_the_lifecycle_is_one_that_s3_takes(s3, s3_client):
    rules = s3.store("shop").lifecycle(86_400)
    s3_client.put_bucket_lifecycle_configuration(Bucket=s3.bucket, LifecycleConfiguration={"Rules": rules})

    kept = s3_client.get_bucket_lifecycle_configuration(Bucket=s3.bucket)["Rules"]

    assert {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in kept} == {
        "shop/celery-task-meta-": 1,
        "shop/taskq-join": 16,
        "shop/taskq-claim-": 16,
        "shop/taskq-rate-": 16,
    }


def test_the_lifecycle_of_azure_names_the_container_and_that_of_google_matches_prefixes():
    (results, *_) = AzureBlobResults("results", "shop").lifecycle(7 * 86_400 + 1)
    assert results["definition"]["filters"]["prefixMatch"] == ["results/shop/celery-task-meta-"]
    assert results["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"] == 8

    (results, joins, *_) = GCSResults("results").lifecycle(3600)
    assert results == {"action": {"type": "Delete"}, "condition": {"age": 1, "matchesPrefix": ["celery-task-meta-"]}}
    assert joins["condition"]["matchesPrefix"] == ["taskq-join"]
