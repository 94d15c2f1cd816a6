"""The client of Azure Blob Storage, by azure-storage-blob and its ``aio``: five operations on one storage account.

==================  =================================================  =============================================
operation           parameters                                         answer
==================  =================================================  =============================================
``download_blob``   container, blob, most_bytes                        content, metadata, etag
``upload_blob``     container, blob, data, metadata, etag              (nothing)
``delete_blob``     container, blob                                    (nothing)
``list_blobs``      container, name_starts_with, after                 objects, after
``get_container``   container                                          public_access: blob, container or None
==================  =================================================  =============================================

An upload with an etag replaces the blob that has this etag; with None it only creates a blob. A list's answer has the
name, the size, the time of the last change and the etag of each blob, and ``after``, the marker to request the next
page with, or None on the last page.

The options name the account. Access is by the shared access signature in AZURE_STORAGE_SAS_TOKEN, or else by the chain
of azure-identity: a workload or managed identity, the environment's service principal, a developer's login. Options
without an account mean the account in AZURE_STORAGE_CONNECTION_STRING.

The SDK's own retries are off. A ``CallError`` keeps no reference to the SDK's exception: its text may contain a URL,
and the URL a signature.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.request import getproxies

from taskq_cloud.clients.base import SDK, AsyncSDKClient, Operation, SDKClient, shortest, too_large
from taskq_cloud.clients.credential_files import reading_credentials
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    from azure.core import MatchConditions
    from azure.core import exceptions as sdk
except ImportError as error:
    raise MissingExtra("Azure Blob Storage", "azure") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 5.0

_PAGE_SIZE: Final = 5_000
"""The largest page of List Blobs (Azure Storage REST API, "List Blobs")."""

_SIGNATURE: Final = re.compile(r"(sig(?:nature)?=)[^&\s'\"]+", re.IGNORECASE)

_WRONG_CLOCK: Final = re.compile(r"request date header too old", re.IGNORECASE)
CLOCK_IS_WRONG: Final = "RequestDateHeaderTooOld"
"""Our own code for a request that was refused because of its time; the service's code is AuthenticationFailed for any
reason."""

_ACCOUNT_HINT: Final = (
    "put ?account_url=https://ACCOUNT.blob.core.windows.net into the URL, or set AZURE_STORAGE_CONNECTION_STRING"
)

_CREDENTIALS_HINT: Final = (
    "run under a managed or workload identity, log in with az login, or set AZURE_STORAGE_SAS_TOKEN or "
    "AZURE_STORAGE_CONNECTION_STRING"
)


_SOURCES: Final = "the variables that begin with AZURE_, the files that they name, and account_url"


def open_client(service: str, options: Mapping[str, Any]) -> AzureClient:
    """Open a client of one storage account.

    Args:
        service: the service's name, for errors.
        options: ``account_url``, which may be missing.

    Raises:
        ImproperlyConfigured: no account is named, or the connection string or the credentials can't be read.
    """
    from azure.identity import DefaultAzureCredential  # an event loop needs the classes of azure.identity.aio instead
    from azure.storage.blob import BlobServiceClient

    with ExitStack() as stack:
        client = _service_client(
            service, options, BlobServiceClient, lambda: stack.enter_context(DefaultAzureCredential())
        )
        stack.callback(client.close)
        return AzureClient(client, stack.pop_all().close)


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncAzureClient:
    """Open a client of one storage account for an event loop; see ``open_client``."""
    try:
        from azure.identity.aio import DefaultAzureCredential  # synchronous callers don't need aiohttp
        from azure.storage.blob.aio import BlobServiceClient
    except ImportError as error:
        raise MissingExtra("Azure Blob Storage on an event loop", "azure") from error

    async with AsyncExitStack() as stack:

        def credential() -> DefaultAzureCredential:
            chain = DefaultAzureCredential()
            stack.push_async_callback(chain.close)
            return chain

        # Without this, aiohttp reads ~/.netrc in a thread for every request, which costs a fifth of its CPU time. The
        # SDK's switch is also the one for proxies.
        environment = {"use_env_settings": bool(getproxies())}
        client = _service_client(service, options, BlobServiceClient, credential, environment)
        stack.push_async_callback(client.close)
        return AsyncAzureClient(client, stack.pop_all().aclose)


def _service_client(
    service: str,
    options: Mapping[str, Any],
    client_class: Any,
    credential: Callable[[], Any],
    more_settings: Mapping[str, Any] | None = None,
) -> Any:
    account_url = options.get("account_url")
    connection_string = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    settings = {
        "retry_total": 0,
        "connection_timeout": shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2),
        "read_timeout": shortest(READ_TIMEOUT_SECONDS, options, parts=2),
        **(more_settings or {}),
    }
    if account_url:
        token = os.environ.get("AZURE_STORAGE_SAS_TOKEN")
        with reading_credentials(service, _SOURCES):
            return client_class(account_url, credential=token or credential(), **settings)
    if not connection_string:
        raise ImproperlyConfigured(f"{service}: no storage account is configured: {_ACCOUNT_HINT}")
    try:
        return client_class.from_connection_string(connection_string, **settings)
    except ValueError:
        pass
    # The error neither has the SDK's one as its context nor shows the string, which contains the account's key.
    raise ImproperlyConfigured(
        f"{service}: AZURE_STORAGE_CONNECTION_STRING can't be read: copy it from the portal again"
    )


def _operation(client: Any, call: Call) -> Operation:
    given = call.parameters
    match call.operation:
        case "download_blob":
            most_bytes = given.get("most_bytes")
            # One byte more than the blob may have shows that it has more.
            part = {} if most_bytes is None else {"offset": 0, "length": most_bytes + 1}
            stream = yield _blob(client, given).download_blob(**part)
            if most_bytes is not None and stream.size > most_bytes:
                raise too_large(call, f"more than {most_bytes:,}")
            content = yield stream.readall()
            properties = stream.properties
            return {"content": content, "metadata": dict(properties.metadata or {}), "etag": properties.etag}
        case "upload_blob":
            yield _blob(client, given).upload_blob(**_upload(given))
            return None
        case "delete_blob":
            return (yield _blob(client, given).delete_blob())
        case "list_blobs":
            pages = _pages(client, given)
            objects = yield _next_page(pages)
            return {"objects": objects, "after": pages.continuation_token or None}
        case "get_container":
            properties = yield client.get_container_client(given["container"]).get_container_properties()
            return {"public_access": properties.public_access}
    raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)


def _blob(client: Any, given: Mapping[str, Any]) -> Any:
    return client.get_blob_client(given["container"], given["blob"])


def _upload(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["etag"] is None:
        condition: dict[str, Any] = {"overwrite": False}
    else:
        condition = {"overwrite": True, "etag": given["etag"], "match_condition": MatchConditions.IfNotModified}
    return {"data": given["data"], "metadata": given["metadata"], **condition}


def _pages(client: Any, given: Mapping[str, Any]) -> Any:
    container = client.get_container_client(given["container"])
    blobs = container.list_blobs(name_starts_with=given["name_starts_with"], results_per_page=_PAGE_SIZE)
    return blobs.by_page(given["after"])


def _next_page(pages: Any) -> Any:
    """Read the blobs on the next page, or start reading them: an asynchronous SDK's answer is an awaitable."""
    return _next_async_page(pages) if hasattr(pages, "__anext__") else list(map(_listed, next(pages, ())))


async def _next_async_page(pages: Any) -> list[tuple[str, int, datetime, str]]:
    return [_listed(blob) async for blob in await anext(pages)]


def _listed(blob: Any) -> tuple[str, int, datetime, str]:
    # A listing has an ETag without the quotes that it has elsewhere.
    return blob.name, blob.size, blob.last_modified, '"' + str(blob.etag).strip('"') + '"'


def _call_error(call: Call, error: sdk.AzureError | UnicodeDecodeError) -> CallError:
    if isinstance(error, UnicodeDecodeError):  # the answer isn't the store's
        return CallError(call, type(error).__name__, "the answer isn't UTF-8", Trouble.TRANSIENT)
    said = _SIGNATURE.sub(r"\1***", str(error.message))
    lines = said.splitlines() or [""]
    name, code = type(error).__name__, getattr(error, "error_code", None)
    if isinstance(error, sdk.ClientAuthenticationError) and code is None:
        # azure-identity got no token. The error has a status all the same, but not one of the store's.
        return CallError(call, name, f"{lines[0]}: {_CREDENTIALS_HINT}", Trouble.CREDENTIALS)
    if isinstance(error, sdk.HttpResponseError) and error.status_code is not None:
        code = CLOCK_IS_WRONG if _WRONG_CLOCK.search(said) else str(getattr(code, "value", code) or name)
        # The further lines are the string to sign, which stays secret, or the times that the service compared.
        times = [line.partition(":")[2] for line in lines[1:] if "time frame" in line or _WRONG_CLOCK.search(line)]
        return CallError(call, code, " ".join([lines[0], *times]), _trouble(code, error.status_code))
    if isinstance(error, sdk.ServiceRequestError | sdk.ServiceResponseError | sdk.IncompleteReadError):
        return CallError(call, name, lines[0], Trouble.TRANSIENT)
    return CallError(call, name, lines[0], Trouble.REFUSED)


def _trouble(code: str, status: int) -> Trouble:
    if code == "ServerBusy" or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Trouble.THROTTLED
    if code == "AuthenticationFailed" or status == HTTPStatus.UNAUTHORIZED:
        # The signature has expired or the key was changed; the environment may have the new one by now.
        return Trouble.CREDENTIALS
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status < HTTPStatus.BAD_REQUEST:
        # A status below 400 is a successful answer that broke off.
        return Trouble.TRANSIENT
    return Trouble.REFUSED


_AZURE: Final = SDK(
    operation=_operation, failures=(sdk.AzureError, UnicodeDecodeError), call_error=_call_error, chain_errors=False
)


class AzureClient(SDKClient):
    """A client of one storage account. Threads may share it."""

    sdk = _AZURE


class AsyncAzureClient(AsyncSDKClient):
    """A client of one storage account, used on the event loop that opened it."""

    sdk = _AZURE
