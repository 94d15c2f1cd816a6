"""Test the Azure client on Azurite, and how it reads the SDK's exceptions."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import ClientSession
from azure.core import exceptions as sdk

from taskq_cloud.clients import azure
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.testing.driving import Drive, driving

CALL = Call("azureblob", "download_blob")
SIGNATURE = "c2VjcmV0%2Bc2ln"


def one(step: Call) -> Flow[Any]:
    return (yield step)


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, azure_environment: str) -> Iterator[Drive]:
    with driving(request.param, {"azureblob": Service("azure")}) as drive:
        yield drive


def call(operation: str, container: str, **parameters: Any) -> Flow[Any]:
    return one(Call("azureblob", operation, {"container": container, **parameters}))


def test_list_blobs_returns_names_sizes_and_times_in_pages(
    run: Drive, make_container: Callable[..., str], azure_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure, "_PAGE_SIZE", 2)
    container = make_container()
    for size, name in enumerate(("a/1", "a/2 %2F", "a/3", "b/1"), 1):
        azure_service.get_blob_client(container, name).upload_blob(b"x" * size)

    first = run(call("list_blobs", container, name_starts_with="a/", after=None))
    second = run(call("list_blobs", container, name_starts_with="a/", after=first["after"]))
    none = run(call("list_blobs", container, name_starts_with="c/", after=None))

    assert [each[:2] for each in first["objects"]] == [("a/1", 1), ("a/2 %2F", 2)]
    assert [each[:2] for each in second["objects"]] == [("a/3", 3)]
    assert all(abs(each[2].timestamp() - time.time()) < 60 for each in first["objects"])
    read = run(call("download_blob", container, blob="a/1", most_bytes=None))
    assert first["objects"][0][3] == read["etag"]
    assert second["after"] is None
    assert none == {"objects": [], "after": None}


@pytest.mark.parametrize("proxies", [{}, {"https_proxy": "http://127.0.0.1:9"}], ids=["no proxy", "a proxy"])
async def test_event_loop_reads_no_netrc_for_requests_unless_there_is_a_proxy(
    azure_environment: str,
    make_container: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    proxies: dict[str, str],
) -> None:
    read: list[str] = []
    netrc = ClientSession._get_netrc_auth

    def counted(session: ClientSession, host: str) -> Any:
        read.append(host)
        return netrc(session, host)

    monkeypatch.setattr(ClientSession, "_get_netrc_auth", counted)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)
    client = await azure.open_async_client("azureblob", {})
    parameters = {"container": make_container(), "name_starts_with": "", "after": None}
    await client.call(Call("azureblob", "list_blobs", parameters))
    await client.close()
    assert bool(read) is bool(proxies)


def test_unknown_operation_is_refused(run: Drive, make_container: Callable[..., str]) -> None:
    with pytest.raises(CallError, match="UnknownOperation"):
        run(call("break_lease", make_container()))


def test_missing_account_error_says_where_to_put_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING", raising=False)
    with pytest.raises(ImproperlyConfigured, match=r"account_url=https://.* AZURE_STORAGE_CONNECTION_STRING"):
        azure.open_client("azureblob", {})


@pytest.mark.parametrize(
    "variables",
    [
        {"AZURE_CLIENT_CERTIFICATE_PATH": "/nowhere/cert.pem"},
        {"AZURE_CLIENT_CERTIFICATE_PATH": __file__},
        {"AZURE_CLIENT_CERTIFICATE_PATH": "/"},
        {"AZURE_CLIENT_SECRET": "s3cret", "AZURE_TENANT_ID": "../tenant"},
        {"AZURE_TOKEN_CREDENTIALS": "any"},
    ],
)
async def test_malformed_credentials_are_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    for name, value in {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", **variables}.items():
        monkeypatch.setenv(name, value)
    options = {"account_url": "https://shop.blob.core.windows.net"}
    with pytest.raises(ImproperlyConfigured, match="check the variables that begin with AZURE_") as caught:
        azure.open_client("azureblob", options)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ImproperlyConfigured, match="check the variables that begin with AZURE_"):
        await azure.open_async_client("azureblob", options)


@pytest.mark.parametrize("text", ["AccountKey=s3cret", "s3cret", "AccountName=shop;s3cret"])
def test_unreadable_connection_string_is_not_shown(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    with pytest.raises(ImproperlyConfigured, match="AZURE_STORAGE_CONNECTION_STRING can't be read") as caught:
        azure.open_client("azureblob", {})
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


def answered(
    status: int, code: str | None, message: str = "No.", *, kind: type[sdk.HttpResponseError] = sdk.HttpResponseError
) -> sdk.HttpResponseError:
    error = kind(message=message)
    vars(error).update(status_code=status, error_code=code)
    return error


@pytest.mark.parametrize(
    ("error", "code", "trouble"),
    [
        (answered(429, "TooManyRequests"), "TooManyRequests", Trouble.THROTTLED),
        (answered(503, "ServerBusy"), "ServerBusy", Trouble.THROTTLED),
        (answered(500, "OperationTimedOut"), "OperationTimedOut", Trouble.TRANSIENT),
        (answered(502, None), "HttpResponseError", Trouble.TRANSIENT),
        (answered(200, None), "HttpResponseError", Trouble.TRANSIENT),
        (answered(403, "AuthenticationFailed"), "AuthenticationFailed", Trouble.CREDENTIALS),
        (answered(401, "InvalidAuthenticationInfo"), "InvalidAuthenticationInfo", Trouble.CREDENTIALS),
        (answered(403, "AuthorizationFailure"), "AuthorizationFailure", Trouble.REFUSED),
        (answered(409, "BlobAlreadyExists"), "BlobAlreadyExists", Trouble.REFUSED),
        (
            answered(403, "AuthenticationFailed", "No.\nAuthenticationErrorDetail:Request date header too old: 'x'"),
            "RequestDateHeaderTooOld",
            Trouble.REFUSED,
        ),
        (
            answered(400, None, "invalid_client", kind=sdk.ClientAuthenticationError),
            "ClientAuthenticationError",
            Trouble.CREDENTIALS,
        ),
        (sdk.ServiceRequestError("refused"), "ServiceRequestError", Trouble.TRANSIENT),
        (sdk.ServiceResponseError("reset"), "ServiceResponseError", Trouble.TRANSIENT),
        (sdk.AzureError("else"), "AzureError", Trouble.REFUSED),
    ],
)
def test_sdk_exception_has_its_code_and_trouble(error: sdk.AzureError, code: str, trouble: Trouble) -> None:
    failure = azure._call_error(CALL, error)
    assert (failure.code, failure.trouble) == (code, trouble)


def test_signature_in_sdk_message_is_hidden() -> None:
    url = f"/shop/blob?sv=2021-08-06&sig={SIGNATURE}&sp=r"
    failure = azure._call_error(CALL, sdk.ServiceRequestError(f"Max retries exceeded with url: {url} (refused)"))
    assert SIGNATURE not in str(failure)
    assert "sig=***&sp=r (refused)" in str(failure)


def test_string_to_sign_is_hidden_but_time_frame_is_shown() -> None:
    detail = "AuthenticationErrorDetail:Signature did not match. String to sign used was rw\n/blob/shop"
    assert "rw" not in str(azure._call_error(CALL, answered(403, "AuthenticationFailed", f"No.\n{detail}")))
    detail = "AuthenticationErrorDetail:Signature not valid in the specified time frame: Expiry [Mon]"
    assert "Expiry [Mon]" in str(azure._call_error(CALL, answered(403, "AuthenticationFailed", f"No.\n{detail}")))


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("aws", "botocore", "aws"), ("azure", "azure.core", "azure"), ("gcs", "google.cloud.storage", "gcp")],
)
def test_missing_sdk_error_names_the_extra(module: str, package: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from taskq_cloud.errors import MissingExtra\n"
        f"try:\n"
        f"    from taskq_cloud.clients import {module}\n"
        f"    {module}.open_client('sqs', {{'region': 'eu-west-1'}})\n"
        "except MissingExtra as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert f"taskq-cloud[{extra}]" in shown
