"""Test the Cloud Storage client on fake-gcs-server, and how it reads the SDK's exceptions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as sdk_exceptions
from google.auth import credentials as google_credentials
from google.auth import exceptions as auth_exceptions
from google.cloud.storage import Client
from requests import PreparedRequest, Session
from requests import exceptions as http

from emulators.call_counter import CallCounter
from taskq_cloud.clients import gcs, pubsub
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured
from taskq_cloud.testing.driving import Drive, driving

sdk: Any = sdk_exceptions  # the constructors of these exceptions have no types
auth: Any = auth_exceptions
auth_credentials: Any = google_credentials


def one(step: Call) -> Flow[Any]:
    return (yield step)


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, gcs_environment: str) -> Iterator[Drive]:
    with driving(request.param, {"gcs": Service("gcs")}) as drive:
        yield drive


def call(operation: str, bucket: str, **parameters: Any) -> Flow[Any]:
    return one(Call("gcs", operation, {"bucket": bucket, **parameters}))


def test_list_blobs_returns_names_sizes_and_times_in_pages(
    run: Drive, make_gcs_bucket: Callable[..., str], gcs_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "_PAGE_SIZE", 2)
    bucket = make_gcs_bucket()
    for size, name in enumerate(("a/1", "a/2 %2F", "a/3", "b/1"), 1):
        gcs_client.bucket(bucket).blob(name).upload_from_string(b"x" * size)

    first = run(call("list_blobs", bucket, prefix="a/", page_token=None))
    second = run(call("list_blobs", bucket, prefix="a/", page_token=first["page_token"]))
    none = run(call("list_blobs", bucket, prefix="c/", page_token=None))

    assert [each[:2] for each in first["objects"]] == [("a/1", 1), ("a/2 %2F", 2)]
    assert [each[:2] for each in second["objects"]] == [("a/3", 3)]
    assert all(abs(each[2].timestamp() - time.time()) < 60 for each in first["objects"])
    read = run(call("download", bucket, name="a/1", most_bytes=None))
    assert first["objects"][0][3] == str(read["generation"])
    assert second["page_token"] is None
    assert none == {"objects": [], "page_token": None}


def test_missing_object_and_missing_bucket_have_different_codes(
    run: Drive, make_gcs_bucket: Callable[..., str]
) -> None:
    with pytest.raises(CallError) as caught:
        run(call("download", make_gcs_bucket(), name="nothing"))
    assert caught.value.code == "NoSuchObject"
    with pytest.raises(CallError) as caught:
        run(call("download", "no-such-bucket", name="nothing"))
    assert caught.value.code == "NoSuchBucket"


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


def test_download_makes_one_request_for_content_metadata_and_generation(
    run: Drive, make_gcs_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_gcs_bucket()
    name, metadata = "a b/%2F+é?#", {"state": "SUCCESS", "expires": "1.5"}
    run(call("upload", bucket, name=name, data=b"first", metadata={}, if_generation_match=0))
    first = run(call("download", bucket, name=name))
    over = {"metadata": metadata, "if_generation_match": first["generation"]}
    run(call("upload", bucket, name=name, data=b"second", **over))
    requests: list[str] = []
    send: Callable[..., Any] = Session.send

    def counted(session: Session, request: PreparedRequest, **options: Any) -> Any:
        requests.append(str(request.url))
        return send(session, request, **options)

    monkeypatch.setattr(Session, "send", counted)

    second = run(call("download", bucket, name=name, most_bytes=6))

    assert len(requests) == 1, requests
    assert (first["content"], first["metadata"]) == (b"first", {})
    assert (second["content"], second["metadata"]) == (b"second", metadata)
    assert first["generation"] < second["generation"]


def test_download_from_an_emulator_without_the_xml_api_says_so(
    gcs_url: str, gcs_environment: str, make_gcs_bucket: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = make_gcs_bucket()
    # fake-gcs-server answers requests of the XML API only under its public host, and the counter has another port.
    with CallCounter(gcs_url) as counter, driving("sync", {"gcs": Service("gcs")}) as run:
        run(call("upload", bucket, name="a", data=b"x", metadata={}, if_generation_match=0))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", counter.endpoint_url)
        with driving("sync", {"gcs": Service("gcs")}) as elsewhere:
            with pytest.raises(CallError, match=r"NoXMLAPI.*start fake-gcs-server with -public-host"):
                elsewhere(call("download", bucket, name="a"))
            with pytest.raises(CallError, match="NoSuchObject"):
                elsewhere(call("download", bucket, name="b"))


@pytest.mark.parametrize(("name", "code"), [("NoSuchKey", "NoSuchObject"), ("NoSuchBucket", "NoSuchBucket")])
def test_services_own_error_of_a_download_is_read_without_another_request(name: str, code: str) -> None:
    body = (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{name}</Code><Message>It is not there.</Message></Error>"
    )
    requests: list[str] = []

    class Service404(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Service404) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        session = Client(
            project="p",
            credentials=auth_credentials.AnonymousCredentials(),
            client_options={"api_endpoint": f"http://127.0.0.1:{server.server_port}"},
        )
        client = gcs.GCSClient(session, (5.0, 5.0))
        try:
            with pytest.raises(CallError, match=f"{name}: It is not there") as caught:
                client.call(Call("gcs", "download", {"bucket": "shop", "name": "a"}))
        finally:
            client.close()
            server.shutdown()
            thread.join()
    assert caught.value.code == code
    assert requests == ["/shop/a"]


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
    ("error", "code", "trouble"),
    [
        (sdk.PreconditionFailed("No."), "PreconditionFailed", Trouble.REFUSED),
        (sdk.Forbidden("No."), "Forbidden", Trouble.REFUSED),
        (sdk.Unauthorized("No."), "Unauthorized", Trouble.CREDENTIALS),
        (sdk.TooManyRequests("No."), "TooManyRequests", Trouble.THROTTLED),
        (sdk.ServiceUnavailable("No."), "ServiceUnavailable", Trouble.TRANSIENT),
        (sdk.GoogleAPICallError("No."), "GoogleAPICallError", Trouble.REFUSED),
        (http.ConnectionError("reset"), "ConnectionError", Trouble.TRANSIENT),
        (http.ReadTimeout("slow"), "ReadTimeout", Trouble.TRANSIENT),
        (http.InvalidURL("x"), "InvalidURL", Trouble.REFUSED),
        (auth.TransportError("no token"), "TransportError", Trouble.TRANSIENT),
        (auth.RefreshError("expired"), "RefreshError", Trouble.CREDENTIALS),
        (
            auth.RefreshError("invalid_grant: check your iat and exp values and use a clock with reasonable skew"),
            "ClockIsWrong",
            Trouble.REFUSED,
        ),
    ],
)
def test_sdk_exception_has_its_code_and_trouble(error: Exception, code: str, trouble: Trouble) -> None:
    failure = gcs._call_error(Call("gcs", "upload"), error)
    assert (failure.code, failure.trouble) == (code, trouble)
