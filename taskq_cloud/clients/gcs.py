"""Google Cloud Storage, as google-cloud-storage knows it: four operations.

==================  ===================================================  ===========================================
operation           parameters                                           answer
==================  ===================================================  ===========================================
``download``        bucket, name                                         content, metadata, generation
``upload``          bucket, name, data, metadata, if_generation_match    (nothing)
``delete``          bucket, name                                         (nothing)
``list_blobs``      bucket, prefix, page_token                           names, page_token: of the next page, or None
==================  ===================================================  ===========================================

A download takes two requests: the JSON API sends an object's metadata and its content apart. The second names the
generation that the first has seen. The SDK has no asynchronous client: on an event loop its calls run in threads.

Credentials are found by google-auth (a workload identity, a service account, a developer's ``gcloud auth
application-default login``); with STORAGE_EMULATOR_HOST there are none. The SDK's own retries are off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, MissingExtra

try:
    from google.api_core import exceptions as sdk
    from google.auth import exceptions as auth
    from google.cloud import storage
    from requests import exceptions as http
except ImportError as error:
    raise MissingExtra("Google Cloud Storage", "gcp") from error

TIMEOUT_SECONDS: Final = (5.0, 35.0)
"""To connect, and to wait for more of an answer."""

THREADS: Final = 10
"""Calls of an event loop made at once: as many connections as requests keeps open (``DEFAULT_POOLSIZE``)."""

_PAGE_SIZE: Final = 1_000
"""The largest that Objects: list has."""

NO_OBJECT: Final = "NoSuchObject"
NO_BUCKET: Final = "NoSuchBucket"
CLOCK_IS_WRONG: Final = "ClockIsWrong"
"""Codes of our own: the service says "not found" of both, and the third is a sentence of the token's issuer."""

_HOW_TO_GIVE_CREDENTIALS: Final = (
    "run under a service account or a workload identity, set GOOGLE_APPLICATION_CREDENTIALS, or log in with "
    "gcloud auth application-default login"
)

_FAILURES: Final = (sdk.GoogleAPIError, auth.GoogleAuthError, http.RequestException)


def open_client(service: str, options: Mapping[str, Any]) -> GCSClient:
    """Open a client.

    Args:
        service: the service's name, for errors.
        options: ``project``, the one to bill and to count quotas by, where given.

    Raises:
        AccessDenied: there are no credentials.
        ImproperlyConfigured: the client can't be made with what the environment says.
    """
    try:
        return GCSClient(storage.Client(project=options.get("project")))
    except auth.GoogleAuthError as error:
        raise AccessDenied(f"{service}: {error}: {_HOW_TO_GIVE_CREDENTIALS}") from error
    except ValueError as error:
        raise ImproperlyConfigured(f"{service}: {error}") from error


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncGCSClient:
    """``open_client`` for an event loop."""
    # Credentials may be asked of a metadata server, which takes its time.
    return AsyncGCSClient(await asyncio.to_thread(open_client, service, options))


class GCSClient:
    """The SDK's client. Threads may share it.

    Args:
        client: the SDK's client.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: it failed.
        """
        given = call.parameters
        try:
            bucket = self._client.bucket(given["bucket"])
            match call.operation:
                case "download":
                    return _download(bucket.blob(given["name"]))
                case "upload":
                    return _upload(bucket.blob(given["name"]), given)
                case "delete":
                    return bucket.blob(given["name"]).delete(retry=None, timeout=TIMEOUT_SECONDS)
                case "list_blobs":
                    return self._list(given["bucket"], given["prefix"], given["page_token"], _PAGE_SIZE)
        except sdk.NotFound as error:
            raise self._missing(call, error) from error
        except _FAILURES as error:
            raise _call_error(call, error) from error
        raise CallError(call, "UnknownOperation", "it is none of this module's operations", Trouble.REFUSED)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self, bucket: str, prefix: str, page_token: str | None, size: int) -> dict[str, Any]:
        found = self._client.list_blobs(
            bucket,
            prefix=prefix,
            page_token=page_token,
            page_size=size,
            fields="items(name),nextPageToken",
            retry=None,
            timeout=TIMEOUT_SECONDS,
        )
        names = [blob.name for blob in next(found.pages, ())]
        return {"names": names, "page_token": found.next_page_token}

    def _missing(self, call: Call, error: sdk.NotFound) -> CallError:
        """Which of the two is not found; where the text doesn't say, a listing does: a bucket can be listed, or not."""
        said = _said(error)
        if "No such object" in said:
            return CallError(call, NO_OBJECT, said, Trouble.REFUSED)
        try:
            self._list(call.parameters["bucket"], "", None, 1)
        except sdk.NotFound:
            return CallError(call, NO_BUCKET, said, Trouble.REFUSED)
        except _FAILURES as failure:
            return _call_error(call, failure)
        return CallError(call, NO_OBJECT, said, Trouble.REFUSED)


class AsyncGCSClient:
    """A ``GCSClient`` in threads.

    Args:
        client: the client.
    """

    def __init__(self, client: GCSClient) -> None:
        self._client = client
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="taskq-gcs")

    async def call(self, call: Call) -> Any:
        """Make one call, once: ``GCSClient.call``."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._client.call, call)

    async def close(self) -> None:
        """Close the connections, after the calls that are under way."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._client.close)
        self._threads.shutdown(wait=False)


def _download(blob: Any) -> dict[str, Any]:
    blob.reload(retry=None, timeout=TIMEOUT_SECONDS)
    # The SDK writes what the download's headers say over what was read before: a generation that another writer has
    # made in between would then stand beside the metadata of the one before it, and a write over it would be let pass.
    generation, metadata = blob.generation, dict(blob.metadata or {})
    try:
        content = blob.download_as_bytes(if_generation_match=generation, retry=None, timeout=TIMEOUT_SECONDS)
    except sdk.NotFound as error:
        # The SDK asks for the generation that it has read of, by the link to its content. Where that was replaced, it
        # is gone, but the object is not; where it was deleted, the next read says so.
        raise sdk.PreconditionFailed(_said(error)) from error  # type: ignore[no-untyped-call]
    return {"content": content, "metadata": metadata, "generation": generation}


def _upload(blob: Any, given: Mapping[str, Any]) -> None:
    blob.metadata = dict(given["metadata"])
    blob.upload_from_string(
        given["data"],
        content_type="application/json",
        if_generation_match=given["if_generation_match"],
        retry=None,
        timeout=TIMEOUT_SECONDS,
    )


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _call_error(call: Call, error: Exception) -> CallError:
    name, said = type(error).__name__, _said(error)
    if isinstance(error, sdk.GoogleAPICallError):
        return CallError(call, name, said, _trouble(call, int(error.code or 0)))
    if isinstance(error, auth.RefreshError) and "reasonable skew" in said:
        return CallError(call, CLOCK_IS_WRONG, said, Trouble.REFUSED)
    if isinstance(error, auth.TransportError):
        return CallError(call, name, said, Trouble.TRANSIENT)
    if isinstance(error, auth.GoogleAuthError):
        return CallError(call, name, f"{said}: {_HOW_TO_GIVE_CREDENTIALS}", Trouble.CREDENTIALS)
    if isinstance(error, http.ConnectionError | http.Timeout | http.ChunkedEncodingError):
        return CallError(call, name, said, Trouble.TRANSIENT)
    return CallError(call, name, said, Trouble.REFUSED)


def _trouble(call: Call, status: int) -> Trouble:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Trouble.THROTTLED
    if status == HTTPStatus.UNAUTHORIZED:
        return Trouble.CREDENTIALS
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return Trouble.TRANSIENT
    if status == HTTPStatus.PRECONDITION_FAILED and call.operation == "download":
        # Replaced between the two requests: the next two find the new one.
        return Trouble.TRANSIENT
    return Trouble.REFUSED
