"""The client of Google Cloud Storage, by google-cloud-storage: five operations.

==================  ===================================================  ===========================================
operation           parameters                                           answer
==================  ===================================================  ===========================================
``download``        bucket, name, most_bytes                             content, metadata, generation
``upload``          bucket, name, data, metadata, if_generation_match    (nothing)
``delete``          bucket, name                                         (nothing)
``list_blobs``      bucket, prefix, page_token                           objects, page_token
``get_bucket``      bucket                                               lifecycle_rules, uniform_access, ...
==================  ===================================================  ===========================================

A list's answer has the name, the size, the time of the last change and the generation of each object, and the
``page_token`` of the next page, or None on the last page. A download is a request of the XML API, which sends an
object's metadata with its content; the SDK's own download uses the JSON API, which takes two requests. The SDK has no
asynchronous client; on an event loop its calls run in threads.

google-auth finds the credentials (a workload identity, a service account, a developer's ``gcloud auth
application-default login``). With STORAGE_EMULATOR_HOST there are none. The SDK's own retries are off.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from taskq_cloud.clients.base import ThreadedClient, shortest, too_large
from taskq_cloud.clients.credential_files import google_reason, reading_credentials, unreadable
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import AccessDenied, MissingExtra

try:
    from google.api_core import exceptions as sdk
    from google.auth import exceptions as auth
    from google.cloud import storage
    from requests import exceptions as http
except ImportError as error:
    raise MissingExtra("Google Cloud Storage", "gcp") from error

TIMEOUT_SECONDS: Final = (5.0, 5.0)
"""The longest time to connect, and the longest wait for the next part of an answer."""

THREADS: Final = 10
"""How many calls of an event loop run at once: as many as requests keeps connections open (``DEFAULT_POOLSIZE``)."""

_PAGE_SIZE: Final = 1_000
"""The largest page of Objects: list (Cloud Storage JSON API)."""

NO_OBJECT: Final = "NoSuchObject"
NO_BUCKET: Final = "NoSuchBucket"
CLOCK_IS_WRONG: Final = "ClockIsWrong"
"""Our own codes. The service says "not found" in the first two cases; the third is a sentence of the token's issuer."""

_CREDENTIALS_HINT: Final = (
    "run under a service account or a workload identity, set GOOGLE_APPLICATION_CREDENTIALS, or log in with "
    "gcloud auth application-default login"
)

_CREDENTIALS_FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_SOURCES: Final = f"the file in {_CREDENTIALS_FILE}, gcloud's credentials, and STORAGE_EMULATOR_HOST"

_WITHOUT_BUCKET_METADATA: Final = "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"
"""The SDK's own switch. Without it, google-cloud-storage 3.17 starts a thread at the first call on a bucket, to read
the bucket's metadata for traces. No flow has asked for that request, the SDK repeats it, and it needs the permission
``storage.buckets.get``."""

_METADATA: Final = "x-goog-meta-"
"""The beginning of the headers that have an object's own metadata (Cloud Storage XML API, "HTTP headers")."""

_XML_ERROR: Final = re.compile("<Code>(.*?)</Code><Message>(.*?)</Message>", re.DOTALL)

_NO_XML_HINT: Final = (
    "doesn't answer requests of the XML API; start fake-gcs-server with -public-host and the host of "
    "STORAGE_EMULATOR_HOST"
)

_FAILURES: Final = (sdk.GoogleAPIError, auth.GoogleAuthError, http.RequestException)


def open_client(service: str, options: Mapping[str, Any]) -> GCSClient:
    """Open a client of Cloud Storage.

    Args:
        service: the service's name, for errors.
        options: ``project``, the project that is billed and whose quotas count; it may be missing.

    Raises:
        AccessDenied: no credentials were found.
        ImproperlyConfigured: the credentials, or the environment's settings for the client, can't be read.
    """
    os.environ.setdefault(_WITHOUT_BUCKET_METADATA, "true")
    try:
        timeouts = tuple(shortest(each, options, parts=2) for each in TIMEOUT_SECONDS)
        with reading_credentials(service, _SOURCES):
            return GCSClient(storage.Client(project=options.get("project")), timeouts)
    except auth.GoogleAuthError as error:
        reason = google_reason(error)
        if os.environ.get(_CREDENTIALS_FILE):
            raise unreadable(service, reason, _SOURCES) from error
        raise AccessDenied(f"{service}: {reason}: {_CREDENTIALS_HINT}") from error


async def open_async_client(service: str, options: Mapping[str, Any]) -> ThreadedClient:
    """Open a client of Cloud Storage for an event loop; see ``open_client``."""
    # Credentials may come from a metadata server: asking it would block the loop.
    client = await asyncio.to_thread(open_client, service, options)
    return ThreadedClient(client, THREADS, "taskq-gcs")


class GCSClient:
    """A client of Cloud Storage. Threads may share it.

    Args:
        client: the SDK's own client.
        timeouts: the longest time to connect, and the longest wait for the next part of an answer.
    """

    def __init__(self, client: Any, timeouts: tuple[float, ...]) -> None:
        self._client = client
        self._timeouts = timeouts

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
        """
        given, before = call.parameters, sys.exception()
        try:
            bucket = self._client.bucket(given["bucket"])
            match call.operation:
                case "download":
                    return _download(call, self._client, self._timeouts)
                case "upload":
                    return _upload(bucket.blob(given["name"]), given, self._timeouts)
                case "delete":
                    return bucket.blob(given["name"]).delete(retry=None, timeout=self._timeouts)
                case "list_blobs":
                    return self._list(given["bucket"], given["prefix"], given["page_token"], _PAGE_SIZE)
                case "get_bucket":
                    return _metadata(bucket, self._timeouts)
        except sdk.NotFound as error:
            raise self._missing(call, error) from error
        except _FAILURES as error:
            from taskq_cloud.clients.interruptions import interruption_in  # few calls fail

            interruption = interruption_in(error, before)
            if interruption is None:
                raise _call_error(call, error) from error
            raise interruption from interruption.__cause__
        raise CallError(call, "UnknownOperation", "this module has no such operation", Trouble.REFUSED)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self, bucket: str, prefix: str, page_token: str | None, size: int) -> dict[str, Any]:
        found = self._client.list_blobs(
            bucket,
            prefix=prefix,
            page_token=page_token,
            page_size=size,
            fields="items(name,size,updated,generation),nextPageToken",
            retry=None,
            timeout=self._timeouts,
        )
        objects = [(blob.name, blob.size, blob.updated, str(blob.generation)) for blob in next(found.pages, ())]
        return {"objects": objects, "page_token": found.next_page_token}

    def _missing(self, call: Call, error: sdk.NotFound) -> CallError:
        """Tell a missing object from a missing bucket; if the error's text doesn't, listing the bucket does."""
        message, given = _first_line(error), call.parameters
        if "No such object" in message or "NoSuchKey" in message:
            return CallError(call, NO_OBJECT, message, Trouble.REFUSED)
        if "NoSuchBucket" in message:
            return CallError(call, NO_BUCKET, message, Trouble.REFUSED)
        try:
            found = self._list(given["bucket"], given.get("name", ""), None, 1)
        except sdk.NotFound:
            return CallError(call, NO_BUCKET, message, Trouble.REFUSED)
        except _FAILURES as failure:
            return _call_error(call, failure)
        if call.operation == "download" and given["name"] in (name for name, *_ in found["objects"]):
            hint = f"{message}, though it exists: {self._client.api_endpoint} {_NO_XML_HINT}"
            return CallError(call, "NoXMLAPI", hint, Trouble.TRANSIENT)  # perhaps it was written just now
        return CallError(call, NO_OBJECT, message, Trouble.REFUSED)


def _metadata(bucket: Any, timeouts: tuple[float, ...]) -> dict[str, Any]:
    bucket.reload(retry=None, timeout=timeouts)
    access = bucket.iam_configuration
    return {
        "lifecycle_rules": [dict(rule) for rule in bucket.lifecycle_rules],
        "public_access_prevention": access.public_access_prevention,
        "uniform_access": access.uniform_bucket_level_access_enabled,
    }


def _download(call: Call, client: Any, timeouts: tuple[float, ...]) -> dict[str, Any]:
    path = f"{call.parameters['bucket']}/{quote(call.parameters['name'], safe='/~')}"
    session = client._http  # noqa: SLF001  # the SDK's own session, which has the credentials
    with session.get(f"{client.api_endpoint}/{path}", stream=True, timeout=timeouts) as answer:
        if answer.status_code != HTTPStatus.OK:
            raise _failure(answer)
        size = int(answer.headers.get("Content-Length", 0))
        most_bytes = call.parameters.get("most_bytes")
        if most_bytes is not None and size > most_bytes:
            raise too_large(call, f"{size:,}")
        content: bytes = answer.content
    # Names of headers have no case. Ours of metadata are in lower case.
    named = ((name.lower(), value) for name, value in answer.headers.items())
    metadata = {name.removeprefix(_METADATA): value for name, value in named if name.startswith(_METADATA)}
    return {"content": content, "metadata": metadata, "generation": int(answer.headers["X-Goog-Generation"])}


def _failure(answer: Any) -> sdk.GoogleAPICallError:
    found = _XML_ERROR.search(answer.text)
    reason = ": ".join(found.groups()) if found else answer.text
    failure: sdk.GoogleAPICallError = sdk.from_http_status(  # type: ignore[no-untyped-call]
        answer.status_code, f"GET {answer.url}: {reason or 'no reason was given'}", response=answer
    )
    return failure


def _upload(blob: Any, given: Mapping[str, Any], timeouts: tuple[float, ...]) -> None:
    blob.metadata = dict(given["metadata"])
    blob.upload_from_string(
        given["data"],
        content_type="application/json",
        if_generation_match=given["if_generation_match"],
        retry=None,
        timeout=timeouts,
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _call_error(call: Call, error: Exception) -> CallError:
    name, message = type(error).__name__, _first_line(error)
    if isinstance(error, sdk.GoogleAPICallError):
        return CallError(call, name, message, _trouble(int(error.code or 0)))
    if isinstance(error, auth.RefreshError) and "reasonable skew" in message:
        return CallError(call, CLOCK_IS_WRONG, message, Trouble.REFUSED)
    if isinstance(error, auth.TransportError):
        return CallError(call, name, message, Trouble.TRANSIENT)
    if isinstance(error, auth.GoogleAuthError):
        return CallError(call, name, f"{message}: {_CREDENTIALS_HINT}", Trouble.CREDENTIALS)
    if isinstance(error, http.ConnectionError | http.Timeout | http.ChunkedEncodingError):
        return CallError(call, name, message, Trouble.TRANSIENT)
    return CallError(call, name, message, Trouble.REFUSED)


def _trouble(status: int) -> Trouble:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Trouble.THROTTLED
    if status == HTTPStatus.UNAUTHORIZED:
        return Trouble.CREDENTIALS
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return Trouble.TRANSIENT
    return Trouble.REFUSED
