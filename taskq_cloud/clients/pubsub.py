"""The client of Google Pub/Sub, Cloud Tasks, Cloud Scheduler and Cloud Run, by Google's generated gRPC clients.

The services are ``publisher``, ``subscriber``, ``cloud_tasks``, ``cloud_scheduler`` and, for worker pools,
``cloud_run``.

A call's operation is the name of the generated client's method. Its parameters are ``request`` and, for a call that
waits, ``timeout`` in seconds. Its answer is the method's. The libraries' threads for batching, streaming and leasing
are not used: the adapter makes batches, and the worker keeps leases. Credentials are Google's default ones.
``PUBSUB_EMULATOR_HOST``, ``CLOUD_TASKS_EMULATOR_HOST``, ``CLOUD_SCHEDULER_EMULATOR_HOST`` and
``CLOUD_RUN_EMULATOR_HOST`` name servers that are used without TLS and without credentials.

gRPC doesn't survive a fork: a process that has opened a channel must not fork, except to execute another program.

This module decides what an error means for a retry; the adapters decide what it means for a queue. The SDKs' own
retries are off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

from taskq_cloud.clients.base import SDK, AsyncSDKClient, Operation, SDKClient, shortest
from taskq_cloud.clients.credential_files import google_reason, reading_credentials, unreadable
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, MissingExtra

try:
    import google.auth
    import grpc
    from google.api_core import exceptions as sdk
    from google.auth import exceptions as auth
except ImportError as error:
    raise MissingExtra("Google Pub/Sub", "gcp") from error

TIMEOUT_SECONDS: Final = 10.0
"""The timeout of a call that doesn't wait for messages."""

_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A connection that died silently is noticed within a minute, not when the kernel gives up.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # By default gRPC waits up to two minutes before it reconnects; work should go on as soon as the service is back.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True, slots=True)
class _API:
    """One of Google's APIs.

    Args:
        package: the package of its generated clients.
        name: its name in the names of the package's classes.
        emulator_variable: the environment variable that names an emulator.
    """

    package: str
    name: str
    emulator_variable: str


_APIS: Final = {
    "publisher": _API("google.pubsub_v1.services.publisher", "Publisher", "PUBSUB_EMULATOR_HOST"),
    "subscriber": _API("google.pubsub_v1.services.subscriber", "Subscriber", "PUBSUB_EMULATOR_HOST"),
    "cloud_tasks": _API("google.cloud.tasks_v2.services.cloud_tasks", "CloudTasks", "CLOUD_TASKS_EMULATOR_HOST"),
    "cloud_scheduler": _API(
        "google.cloud.scheduler_v1.services.cloud_scheduler", "CloudScheduler", "CLOUD_SCHEDULER_EMULATOR_HOST"
    ),
    "cloud_run": _API("google.cloud.run_v2.services.worker_pools", "WorkerPools", "CLOUD_RUN_EMULATOR_HOST"),
}
"""The API of each service."""

_TROUBLES: Final = {
    "ABORTED": Trouble.TRANSIENT,
    "CANCELLED": Trouble.TRANSIENT,
    "DEADLINE_EXCEEDED": Trouble.TRANSIENT,
    "INTERNAL": Trouble.TRANSIENT,
    "UNAVAILABLE": Trouble.TRANSIENT,
    "UNKNOWN": Trouble.TRANSIENT,
    "RESOURCE_EXHAUSTED": Trouble.THROTTLED,
    "UNAUTHENTICATED": Trouble.CREDENTIALS,
}
"""The meaning of status codes (Pub/Sub documentation, "Error codes"); a code that isn't here is a refusal."""

_PLUGIN_FAILED: Final = "Getting metadata from plugin failed"
"""gRPC's text if the credentials gave no token; the status that comes with it differs between gRPC's versions."""

_CREDENTIALS_HINT: Final = (
    "run under a service account, set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud auth application-default "
    "login"
)

_CREDENTIALS_FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"
_SOURCES: Final = f"the file in {_CREDENTIALS_FILE}, and gcloud's credentials"

_FAILURES: Final = (sdk.GoogleAPICallError, sdk.RetryError, auth.GoogleAuthError, grpc.RpcError)


def open_client(service: str, options: Mapping[str, Any]) -> GoogleClient:
    """Open a client of one service.

    Args:
        service: ``publisher``, ``subscriber``, ``cloud_tasks``, ``cloud_scheduler`` or ``cloud_run``.
        options: ``endpoint``, a host other than the service's global one; it may be missing.

    Raises:
        AccessDenied: no credentials were found.
        ImproperlyConfigured: the credentials that were found can't be used.
        MissingExtra: the service's package is not installed.
    """
    client, transport = _open(service, options, None, asynchronous=False)
    return GoogleClient(client, transport.close, shortest(TIMEOUT_SECONDS, options))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncGoogleClient:
    """Open a client of one service for an event loop; see ``open_client``."""
    # Credentials may come from a metadata server: asking it would block the loop.
    credentials = None if _emulator(service) else await asyncio.to_thread(_credentials, service)
    client, transport = _open(service, options, credentials, asynchronous=True)
    return AsyncGoogleClient(client, transport.close, shortest(TIMEOUT_SECONDS, options))


def _open(service: str, options: Mapping[str, Any], credentials: Any, *, asynchronous: bool) -> tuple[Any, Any]:
    """Open a generated client and its transport; without credentials, look for them if they are needed."""
    api = _APIS[service]
    client_name = f"{api.name}{'Async' if asynchronous else ''}Client"
    transport_name = f"{api.name}{'GrpcAsyncIOTransport' if asynchronous else 'GrpcTransport'}"
    try:
        client_class = getattr(import_module(api.package), client_name)
        transport_class = getattr(import_module(f"{api.package}.transports"), transport_name)
    except ImportError as error:
        raise MissingExtra(f"Google's {service}", "gcp") from error
    emulator = _emulator(service)
    if emulator:
        insecure_channel = grpc.aio.insecure_channel if asynchronous else grpc.insecure_channel
        channel = insecure_channel(emulator, options=_CHANNEL_OPTIONS)
    else:
        host = options.get("endpoint") or client_class.DEFAULT_ENDPOINT
        credentials = credentials or _credentials(service)
        channel = transport_class.create_channel(host, credentials=credentials, options=_CHANNEL_OPTIONS)
    transport = transport_class(channel=channel)
    return client_class(transport=transport), transport


def _emulator(service: str) -> str | None:
    return os.environ.get(_APIS[service].emulator_variable) or None


def _credentials(service: str) -> Any:
    where = f"Google Cloud, {service}"
    try:
        with reading_credentials(where, _SOURCES):
            credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except auth.GoogleAuthError as error:
        if os.environ.get(_CREDENTIALS_FILE):
            raise unreadable(where, google_reason(error), _SOURCES) from error
        if isinstance(error, auth.DefaultCredentialsError):
            raise AccessDenied(f"{where}: no credentials were found: {_CREDENTIALS_HINT}") from error
        raise ImproperlyConfigured(f"{where}: {error}") from error
    return credentials


def _operation(client: Any, call: Call, timeout_seconds: float) -> Operation:
    try:
        return (yield getattr(client, call.operation)(**{"timeout": timeout_seconds, **call.parameters, "retry": None}))
    except _FAILURES as error:
        # Without a connection the queue wasn't silent: the pull never reached it.
        if not (_is_expired_pull(call, error) and _is_connected(client)):
            raise
    # Pub/Sub holds a pull open for longer than any caller waits, so the end of the wait isn't a failure.
    return import_module("google.pubsub_v1.types").PullResponse()


def _is_expired_pull(call: Call, error: Exception) -> bool:
    # A server written in Go may pass on its own words instead of the status.
    expired = isinstance(error, sdk.DeadlineExceeded) or "deadline exceeded" in str(error).lower()
    return call.operation == "pull" and expired


def _is_connected(client: Any) -> bool:
    """Whether a client's channel is connected; a synchronous channel can't be asked and counts as connected."""
    get_state = getattr(client.transport.grpc_channel, "get_state", None)
    return get_state is None or get_state() is grpc.ChannelConnectivity.READY


def _call_error(call: Call, error: Exception) -> CallError:
    if isinstance(error, auth.GoogleAuthError):
        text = f"{error}: {_CREDENTIALS_HINT}"
        return CallError(call, type(error).__name__, text, Trouble.CREDENTIALS)
    status = getattr(error, "grpc_status_code", None)
    code = status.name if status is not None else type(error).__name__
    message = getattr(error, "message", None) or str(error)
    trouble = _TROUBLES.get(code, Trouble.REFUSED if status is not None else Trouble.TRANSIENT)
    if _PLUGIN_FAILED in message:
        trouble, message = Trouble.CREDENTIALS, f"{message}: {_CREDENTIALS_HINT}"
    details = getattr(error, "metadata", None)
    return CallError(call, code, message, trouble, dict(details) if details else None)


def _sdk(timeout_seconds: float) -> SDK:
    operation = partial(_operation, timeout_seconds=timeout_seconds)
    return SDK(operation=operation, failures=_FAILURES, call_error=_call_error)


class GoogleClient(SDKClient):
    """A generated client. Threads may share it.

    Args:
        client: the generated client.
        close: closes its connection.
        timeout_seconds: the timeout of a call that doesn't wait for messages.
    """

    def __init__(self, client: Any, close: Callable[[], object], timeout_seconds: float) -> None:
        super().__init__(client, close)
        self.sdk = _sdk(timeout_seconds)


class AsyncGoogleClient(AsyncSDKClient):
    """A generated asynchronous client, used on the event loop that opened it; see ``GoogleClient``."""

    def __init__(self, client: Any, close: Callable[[], Awaitable[object]], timeout_seconds: float) -> None:
        super().__init__(client, close)
        self.sdk = _sdk(timeout_seconds)
