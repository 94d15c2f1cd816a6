"""Azure Blob Storage, as azure-storage-blob and its ``aio`` know it: four operations on one account.

==================  =================================================  =============================================
operation           parameters                                         answer
==================  =================================================  =============================================
``download_blob``   container, blob                                    content, metadata, etag
``upload_blob``     container, blob, data, metadata, and either etag   (nothing)
                    of the one to replace or None: only a new one
``delete_blob``     container, blob                                    (nothing)
``list_blobs``      container, name_starts_with, after                 names, after: of the next page, or None
==================  =================================================  =============================================

The account is the one that the options name, opened by a shared access signature in AZURE_STORAGE_SAS_TOKEN, or else by
azure-identity's chain: a workload or managed identity, the environment's service principal, a developer's login. Where
they name none, it is that of AZURE_STORAGE_CONNECTION_STRING.

The SDK's own retries are off. Its exceptions are not chained to ours: their text may have a URL, and a URL a signature.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from http import HTTPStatus
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import ImproperlyConfigured, MissingExtra

try:
    from azure.core import MatchConditions
    from azure.core import exceptions as sdk
except ImportError as error:
    raise MissingExtra("Azure Blob Storage", "azure") from error

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 35.0

_PAGE_SIZE: Final = 5_000
"""The largest that List Blobs has (its REST API reference)."""

_SIGNATURE: Final = re.compile(r"(sig(?:nature)?=)[^&\s'\"]+", re.IGNORECASE)

_CLOCK: Final = re.compile(r"request date header too old", re.IGNORECASE)
CLOCK_IS_WRONG: Final = "RequestDateHeaderTooOld"
"""Our own code of an AuthenticationFailed that says so: the service has none for it."""

_HOW_TO_NAME_THE_ACCOUNT: Final = (
    "put ?account_url=https://ACCOUNT.blob.core.windows.net into the URL, or set AZURE_STORAGE_CONNECTION_STRING"
)

_HOW_TO_GIVE_CREDENTIALS: Final = (
    "run under a managed or workload identity, log in with az login, or set AZURE_STORAGE_SAS_TOKEN or "
    "AZURE_STORAGE_CONNECTION_STRING"
)


def open_client(service: str, options: Mapping[str, Any]) -> AzureClient:
    """Open one account's client.

    Args:
        service: the service's name, for errors.
        options: ``account_url``, where given.

    Raises:
        ImproperlyConfigured: no account is named, or the connection string can't be read.
    """
    from azure.identity import DefaultAzureCredential  # an event loop opens the other ones
    from azure.storage.blob import BlobServiceClient

    with ExitStack() as stack:
        client = _service_client(
            service, options, BlobServiceClient, lambda: stack.enter_context(DefaultAzureCredential())
        )
        stack.callback(client.close)
        return AzureClient(client, stack.pop_all())


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncAzureClient:
    """``open_client`` for an event loop."""
    try:
        from azure.identity.aio import DefaultAzureCredential  # synchronous callers do without aiohttp
        from azure.storage.blob.aio import BlobServiceClient
    except ImportError as error:
        raise MissingExtra("Azure Blob Storage on an event loop", "azure") from error

    async with AsyncExitStack() as stack:

        def credential() -> DefaultAzureCredential:
            chain = DefaultAzureCredential()
            stack.push_async_callback(chain.close)
            return chain

        client = _service_client(service, options, BlobServiceClient, credential)
        stack.push_async_callback(client.close)
        return AsyncAzureClient(client, stack.pop_all())


class AzureClient:
    """One account. Threads may share it.

    Args:
        client: the SDK's client of the account.
        stack: what closes it.
    """

    def __init__(self, client: Any, stack: ExitStack) -> None:
        self._client = client
        self._stack = stack

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: it failed.
        """
        given = call.parameters
        try:
            match call.operation:
                case "download_blob":
                    stream = _blob(self._client, given).download_blob()
                    return _downloaded(stream, stream.readall())
                case "upload_blob":
                    _blob(self._client, given).upload_blob(**_upload(given))
                    return None
                case "delete_blob":
                    return _blob(self._client, given).delete_blob()
                case "list_blobs":
                    pages = _pages(self._client, given)
                    return {"names": list(next(pages, ())), "after": pages.continuation_token or None}
            failure = _unknown(call)
        except sdk.AzureError as error:
            failure = _call_error(call, error)
        # Raised out here, so that the SDK's exception is not even its context.
        raise failure

    def close(self) -> None:
        """Close the connections."""
        self._stack.close()


class AsyncAzureClient:
    """One account, of the event loop that opened it.

    Args:
        client: the SDK's client of the account.
        stack: what closes it.
    """

    def __init__(self, client: Any, stack: AsyncExitStack) -> None:
        self._client = client
        self._stack = stack

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: it failed.
        """
        given = call.parameters
        try:
            match call.operation:
                case "download_blob":
                    stream = await _blob(self._client, given).download_blob()
                    return _downloaded(stream, await stream.readall())
                case "upload_blob":
                    await _blob(self._client, given).upload_blob(**_upload(given))
                    return None
                case "delete_blob":
                    return await _blob(self._client, given).delete_blob()
                case "list_blobs":
                    pages = _pages(self._client, given)
                    names = [name async for name in await anext(pages)]
                    return {"names": names, "after": pages.continuation_token or None}
            failure = _unknown(call)
        except sdk.AzureError as error:
            failure = _call_error(call, error)
        raise failure

    async def close(self) -> None:
        """Close the connections."""
        await self._stack.aclose()


def _service_client(service: str, options: Mapping[str, Any], kind: Any, chain: Callable[[], Any]) -> Any:
    account_url = options.get("account_url")
    connection_string = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    settings = {
        "retry_total": 0,
        "connection_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
    }
    if account_url:
        return kind(account_url, credential=os.environ.get("AZURE_STORAGE_SAS_TOKEN") or chain(), **settings)
    if not connection_string:
        raise ImproperlyConfigured(f"{service}: no storage account is known: {_HOW_TO_NAME_THE_ACCOUNT}")
    try:
        return kind.from_connection_string(connection_string, **settings)
    except ValueError:
        pass
    # Not chained, and without the string: it has the account's key.
    raise ImproperlyConfigured(
        f"{service}: AZURE_STORAGE_CONNECTION_STRING can't be read: copy it from the portal again"
    )


def _blob(client: Any, given: Mapping[str, Any]) -> Any:
    return client.get_blob_client(given["container"], given["blob"])


def _upload(given: Mapping[str, Any]) -> dict[str, Any]:
    if given["etag"] is None:
        condition: dict[str, Any] = {"overwrite": False}
    else:
        condition = {"overwrite": True, "etag": given["etag"], "match_condition": MatchConditions.IfNotModified}
    return {"data": given["data"], "metadata": given["metadata"], **condition}


def _downloaded(stream: Any, content: bytes) -> dict[str, Any]:
    properties = stream.properties
    return {"content": content, "metadata": dict(properties.metadata or {}), "etag": properties.etag}


def _pages(client: Any, given: Mapping[str, Any]) -> Any:
    container = client.get_container_client(given["container"])
    names = container.list_blob_names(name_starts_with=given["name_starts_with"], results_per_page=_PAGE_SIZE)
    return names.by_page(given["after"])


def _unknown(call: Call) -> CallError:
    return CallError(call, "UnknownOperation", "it is none of this module's operations", Trouble.REFUSED)


def _call_error(call: Call, error: sdk.AzureError) -> CallError:
    said = _SIGNATURE.sub(r"\1***", str(error.message))
    lines = said.splitlines() or [""]
    name, code = type(error).__name__, getattr(error, "error_code", None)
    if isinstance(error, sdk.ClientAuthenticationError) and code is None:
        # Not the store's answer: azure-identity has no token, whatever the status that it got.
        return CallError(call, name, f"{lines[0]}: {_HOW_TO_GIVE_CREDENTIALS}", Trouble.CREDENTIALS)
    if isinstance(error, sdk.HttpResponseError) and error.status_code is not None:
        code = CLOCK_IS_WRONG if _CLOCK.search(said) else str(getattr(code, "value", code) or name)
        # What it adds about a signature is the string that was signed; about a time it is worth reading.
        times = [line.partition(":")[2] for line in lines[1:] if "time frame" in line or _CLOCK.search(line)]
        return CallError(call, code, " ".join([lines[0], *times]), _trouble(code, error.status_code))
    if isinstance(error, sdk.ServiceRequestError | sdk.ServiceResponseError | sdk.IncompleteReadError):
        return CallError(call, name, lines[0], Trouble.TRANSIENT)
    return CallError(call, name, lines[0], Trouble.REFUSED)


def _trouble(code: str, status: int) -> Trouble:
    if code == "ServerBusy" or status == HTTPStatus.TOO_MANY_REQUESTS:
        return Trouble.THROTTLED
    if code == "AuthenticationFailed" or status == HTTPStatus.UNAUTHORIZED:
        # A signature that has run out, a key that was changed: the environment may have the new one by now.
        return Trouble.CREDENTIALS
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status < HTTPStatus.BAD_REQUEST:
        # Below: the answer was a good one, but broke off.
        return Trouble.TRANSIENT
    return Trouble.REFUSED
