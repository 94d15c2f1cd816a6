"""Test the Cloud Storage client on fake-gcs-server, and how it reads the SDK's exceptions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as sdk_exceptions
from google.auth import exceptions as auth_exceptions
from google.cloud.storage import Blob
from requests import exceptions as http

from emulators.call_counter import CallCounter
from taskq_cloud.clients import gcs, pubsub
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured
from taskq_cloud.testing.driving import Drive, driving

sdk: Any = sdk_exceptions  # the constructors of these exceptions have no types
auth: Any = auth_exceptions


def one(step: Call) -> Flow[Any]:
    return (yield step)


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, gcs_environment: str) -> Iterator[Drive]:
    with driving(request.param, {"gcs": Service("gcs")}) as drive:
        yield drive


def call(operation: str, bucket: str, **parameters: Any) -> Flow[Any]:
    return one(Call("gcs", operation, {"bucket": bucket, **parameters}))


def test_list_blobs_returns_names_in_pages(
    run: Drive, make_gcs_bucket: Callable[..., str], gcs_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "_PAGE_SIZE", 2)
    bucket = make_gcs_bucket()
    for name in ("a/1", "a/2 %2F", "a/3", "b/1"):
        gcs_client.bucket(bucket).blob(name).upload_from_string(b"")

    first = run(call("list_blobs", bucket, prefix="a/", page_token=None))
    second = run(call("list_blobs", bucket, prefix="a/", page_token=first["page_token"]))
    none = run(call("list_blobs", bucket, prefix="c/", page_token=None))

    assert first["names"] == ["a/1", "a/2 %2F"]
    assert second == {"names": ["a/3"], "page_token": None}
    assert none == {"names": [], "page_token": None}


def test_missing_object_and_missing_bucket_have_different_codes(
    run: Drive, make_gcs_bucket: Callable[..., str]
) -> None:
    with pytest.raises(CallError) as caught:
        run(call("download", make_gcs_bucket(), name="nothing"))
    assert caught.value.code == "NoSuchObject"
    with pytest.raises(CallError) as caught:
        run(call("download", "no-such-bucket", name="nothing"))
    assert caught.value.code == "NoSuchBucket"


def test_write_based_on_overwritten_download_is_refused(
    run: Drive, make_gcs_bucket: Callable[..., str], gcs_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_gcs_bucket()
    given = {"name": "a", "data": b"old", "metadata": {"version": "1"}, "if_generation_match": 0}
    run(call("upload", bucket, **given))
    download: Callable[..., bytes] = Blob.download_as_bytes

    def overtaken(blob: Blob, **options: Any) -> bytes:
        gcs_client.bucket(bucket).blob("a").upload_from_string(b"new")
        return download(blob, **options)

    monkeypatch.setattr(Blob, "download_as_bytes", overtaken)
    try:
        generation = run(call("download", bucket, name="a"))["generation"]
    except CallError as error:  # the service itself refuses the second half of the read
        if error.code != "PreconditionFailed":
            raise
        return
    with pytest.raises(CallError, match="PreconditionFailed"):
        run(call("upload", bucket, **{**given, "if_generation_match": int(generation)}))


def test_object_replaced_during_download_is_not_reported_missing(
    run: Drive, make_gcs_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_gcs_bucket()
    run(call("upload", bucket, name="a", data=b"old", metadata={}, if_generation_match=0))

    def replaced(blob: Blob, **_: object) -> None:
        # The service doesn't keep a replaced generation, so the link to its content leads nowhere.
        raise sdk.NotFound(f"GET {blob.media_link}: No such object: {bucket}/a")

    monkeypatch.setattr(Blob, "download_as_bytes", replaced)
    with pytest.raises(CallError) as caught:
        run(call("download", bucket, name="a"))
    assert (caught.value.code, caught.value.trouble) == ("PreconditionFailed", Trouble.TRANSIENT)


def test_upload_makes_one_request(
    gcs_url: str, gcs_environment: str, make_gcs_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, threads = make_gcs_bucket(), set(threading.enumerate())
    with CallCounter(gcs_url) as counter:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", counter.endpoint_url)
        with driving("sync", {"gcs": Service("gcs")}) as run:
            run(call("upload", bucket, name="a", data=b"x", metadata={}, if_generation_match=0))
        for thread in set(threading.enumerate()) - threads:
            if thread.daemon and not thread.name.startswith("call-counter"):
                thread.join(10)
        assert counter.counts() == {f"POST /upload/storage/v1/b/{bucket}/o": 1}


def test_unknown_operation_is_refused(run: Drive, make_gcs_bucket: Callable[..., str]) -> None:
    with pytest.raises(CallError, match="UnknownOperation"):
        run(call("compose", make_gcs_bucket()))


MALFORMED = {
    "no JSON": b"hello",
    "no text": b"\xff\xfes3cret",
    "a list": b"[]",
    "nested": b"[" * 100_000,
    "no type": b"{}",
    "no fields": b'{"type": "service_account"}',
    "no source": b'{"type": "impersonated_service_account"}',
    "no text as audience": b'{"type": "external_account", "audience": 1, "subject_token_type": 2, "token_url": 3, '
    b'"credential_source": {"file": "x"}}',
}


@pytest.mark.parametrize("module", [gcs, pubsub], ids=["gcs", "pubsub"])
@pytest.mark.parametrize("content", [*MALFORMED.values(), None], ids=[*MALFORMED, "a folder"])
def test_malformed_credentials_file_is_named(
    module: Any, content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "key.json"
    path.mkdir() if content is None else path.write_bytes(content)
    for name in ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with pytest.raises(ImproperlyConfigured, match="check the file in GOOGLE_APPLICATION_CREDENTIALS") as caught:
        module.open_client("publisher", {})
    assert "s3cret" not in str(caught.value)


def test_missing_credentials_error_says_where_to_put_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    # Without this, google-auth looks for a virtual machine's metadata server for seconds.
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(AccessDenied, match="GOOGLE_APPLICATION_CREDENTIALS"):
        gcs.open_client("gcs", {})


@pytest.mark.parametrize(
    ("operation", "error", "code", "trouble"),
    [
        ("upload", sdk.PreconditionFailed("No."), "PreconditionFailed", Trouble.REFUSED),
        # The object was replaced between the requests for its metadata and its content.
        ("download", sdk.PreconditionFailed("No."), "PreconditionFailed", Trouble.TRANSIENT),
        ("upload", sdk.Forbidden("No."), "Forbidden", Trouble.REFUSED),
        ("upload", sdk.Unauthorized("No."), "Unauthorized", Trouble.CREDENTIALS),
        ("upload", sdk.TooManyRequests("No."), "TooManyRequests", Trouble.THROTTLED),
        ("upload", sdk.ServiceUnavailable("No."), "ServiceUnavailable", Trouble.TRANSIENT),
        ("upload", sdk.GoogleAPICallError("No."), "GoogleAPICallError", Trouble.REFUSED),
        ("upload", http.ConnectionError("reset"), "ConnectionError", Trouble.TRANSIENT),
        ("upload", http.ReadTimeout("slow"), "ReadTimeout", Trouble.TRANSIENT),
        ("upload", http.InvalidURL("x"), "InvalidURL", Trouble.REFUSED),
        ("upload", auth.TransportError("no token"), "TransportError", Trouble.TRANSIENT),
        ("upload", auth.RefreshError("expired"), "RefreshError", Trouble.CREDENTIALS),
        (
            "upload",
            auth.RefreshError("invalid_grant: check your iat and exp values and use a clock with reasonable skew"),
            "ClockIsWrong",
            Trouble.REFUSED,
        ),
    ],
)
def test_sdk_exception_has_its_code_and_trouble(operation: str, error: Exception, code: str, trouble: Trouble) -> None:
    failure = gcs._call_error(Call("gcs", operation), error)
    assert (failure.code, failure.trouble) == (code, trouble)
