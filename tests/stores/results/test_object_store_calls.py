"""The object stores' calls without a service: error codes, the number of calls, and URLs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from taskq_cloud.core.flows import Call, Trouble, run
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records.record import STARTED
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, OperationalError, PayloadTooLarge
from taskq_cloud.stores.results._conditional_objects import LARGEST_RECORD_BYTES
from taskq_cloud.stores.results._objects import ObjectResults
from taskq_cloud.stores.results.azure_blob import AzureBlobResults
from taskq_cloud.stores.results.gcs import GCSResults
from taskq_cloud.stores.results.registry import store_from_url
from taskq_cloud.stores.results.s3 import S3Results
from taskq_cloud.testing.contracts.result_store import a_record
from tests.stores.recorder import Recorder, failing

# Error codes


STORES: dict[str, ObjectResults] = {
    "s3": S3Results("shop"),
    "azure": AzureBlobResults("shop"),
    "gcs": GCSResults("shop"),
}

PERMISSIONS = {"s3": "s3:PutObject", "azure": "containers/blobs/write", "gcs": "storage.objects.create"}


def recorder(*answers: Any) -> Recorder:
    """Answer the calls in turn, and all further calls with the last answer; a text is the code of a failure."""
    left = list(answers)

    def answer(call: Call) -> Any:
        given = left.pop(0) if len(left) > 1 else left[0]
        if not isinstance(given, str):
            return given
        return failing(given, trouble=Trouble.CREDENTIALS if given == "ExpiredToken" else Trouble.REFUSED)(call)

    return Recorder(answer)


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
def test_error_for_denied_call_names_permission_and_code(name: str, code: str) -> None:
    store = STORES[name]
    with pytest.raises(AccessDenied, match=f"shop.*{PERMISSIONS[name]}.* was denied: {code}: in the service's"):
        run(store.save([a_record()]), recorder(code))


@pytest.mark.parametrize(
    ("name", "code"), [("s3", "RequestTimeTooSkewed"), ("azure", "RequestDateHeaderTooOld"), ("gcs", "ClockIsWrong")]
)
def test_error_for_clock_skew_names_the_clock(name: str, code: str) -> None:
    store = STORES[name]
    with pytest.raises(AccessDenied, match="this machine's clock is off"):
        run(store.load(["a"]), recorder(code))


@pytest.mark.parametrize(
    ("name", "code"), [("s3", "KeyTooLongError"), ("azure", "LeaseIdMissing"), ("gcs", "BadRequest")]
)
def test_error_for_other_refusals_has_the_services_message(name: str, code: str) -> None:
    store = STORES[name]
    with pytest.raises(OperationalError, match=f"shop.* was refused: {code}: in the service's own words"):
        run(store.save([a_record()]), recorder(code))


# The number of calls


def test_saving_a_new_record_takes_one_call() -> None:
    recorded = recorder({})
    assert run(S3Results("shop").save([a_record()]), recorded) == [True]
    assert recorded.operations == ["put_object"]
    assert recorded.calls[0].parameters["IfNoneMatch"] == "*"


def test_save_after_failed_condition_reads_and_overwrites_what_it_read() -> None:
    older = a_record(STARTED)
    stored = {
        "Body": older.payload.encode(),
        "Metadata": {"state": "STARTED", "version": "0", "fence": "0"},
        "ETag": '"seen"',
    }
    recorded = recorder("PreconditionFailed", stored, {})
    assert run(S3Results("shop").save([a_record(id=older.id)]), recorded) == [True]
    assert recorded.operations == ["put_object", "get_object", "put_object"]
    assert recorded.calls[2].parameters["IfMatch"] == '"seen"'


def test_save_after_conflict_repeats_the_write_without_a_read() -> None:
    recorded = recorder("ConditionalRequestConflict", {})
    assert run(S3Results("shop").save([a_record()]), recorded) == [True]
    assert recorded.operations == ["put_object", "put_object"]
    assert recorded.calls[0].parameters.keys() == recorded.calls[1].parameters.keys()
    assert recorded.calls[1].parameters["IfNoneMatch"] == "*"


def test_object_deleted_during_save_is_created_again() -> None:
    older = a_record(STARTED)
    stored = {"Body": b"{}", "Metadata": {"state": "STARTED", "version": "0", "fence": "0"}, "ETag": "x"}
    recorded = recorder("PreconditionFailed", stored, "NoSuchKey", "NoSuchKey", {})
    assert run(S3Results("shop").save([a_record(id=older.id)]), recorded) == [True]
    assert recorded.calls[-1].parameters["IfNoneMatch"] == "*"


def test_object_that_keeps_changing_is_given_up_after_ten_attempts() -> None:
    recorded = recorder("ConditionalRequestConflict")
    with pytest.raises(OperationalError, match=r"celery-task-meta-.* could not be written: other writers"):
        run(S3Results("shop").save([a_record()]), recorded)
    assert len(recorded.calls) == 10
    assert recorded.pauses == 8


def test_payload_over_the_limit_is_refused() -> None:
    large = a_record(payload='"' + "x" * LARGEST_RECORD_BYTES + '"')
    with pytest.raises(PayloadTooLarge, match=f"{large.id} is {LARGEST_RECORD_BYTES + 2} bytes"):
        run(S3Results("shop").save([a_record(), large]), recorder({}))


def listed(member: int, size: int = 100) -> dict[str, Any]:
    key = f"taskq-join-place-j/{member}"
    return {"Key": key, "Size": size, "LastModified": datetime.fromtimestamp(member, UTC), "ETag": f'"{member}"'}


def test_member_that_is_not_watched_joins_in_one_call() -> None:
    recorded = recorder({})
    assert not run(S3Results("shop", clock=lambda: 2.0).join("j", "1", 3, None), recorded)
    assert recorded.operations == ["put_object"]
    assert recorded.calls[0].parameters["IfNoneMatch"] == "*"


def test_join_counts_the_members_on_all_pages_of_the_listing() -> None:
    page = {"Contents": [listed(0)], "NextContinuationToken": "more"}
    oldest = {"Body": b"[[1.0, null]]", "Metadata": {}, "ETag": listed(0)["ETag"]}
    recorded = recorder({}, page, {"Contents": [listed(1)]}, oldest)
    assert run(S3Results("shop", clock=lambda: 2.0).join("j", "2", 3, None), recorded)
    assert recorded.operations == ["put_object", "list_objects_v2", "list_objects_v2", "get_object"]
    assert recorded.calls[2].parameters["ContinuationToken"] == "more"
    assert recorded.calls[3].parameters["Key"] == "taskq-join-place-j/0"


def test_object_of_another_program_is_not_counted() -> None:
    others = [{**listed(0), "Key": f"taskq-join-place-j/{name}"} for name in ("notes", "17", "0/a")]
    recorded = recorder({}, {"Contents": others}, {})
    assert not run(S3Results("shop", clock=lambda: 2.0).join("j", "1", 2, None), recorded)
    assert recorded.operations == ["put_object", "list_objects_v2", "put_object"]
    assert recorded.calls[2].parameters["Key"] == "taskq-join-place-j/0"


def test_member_that_completes_a_join_is_told_so_despite_a_lost_answer() -> None:
    mine = {"Body": b"[[1.0, null]]", "Metadata": {}, "ETag": "x"}
    recorded = recorder("PreconditionFailed", mine)
    assert run(S3Results("shop", clock=lambda: 1.0).join("j", "0", 1, None), recorded)
    assert recorded.operations == ["put_object", "get_object"]


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
def test_url_names_bucket_and_client_options(
    url: str, kind: type[ResultStore], services: dict[str, dict[str, str]]
) -> None:
    store = store_from_url(url, {})
    assert type(store) is kind
    assert {name: dict(each.options) for name, each in store.services.items()} == services


@pytest.mark.parametrize(
    ("url", "prefix"), [("s3://shop", ""), ("s3://shop/", ""), ("s3://shop/a", "a/"), ("s3://shop/a/b%20c/", "a/b c/")]
)
def test_path_of_url_becomes_a_prefix_that_ends_in_a_slash(url: str, prefix: str) -> None:
    store = store_from_url(url, {})
    assert isinstance(store, ObjectResults)
    assert store._key("1") == f"{prefix}celery-task-meta-1"


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
def test_invalid_url_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        store_from_url(url, {})
    assert "s3cret" not in str(caught.value)
