"""Google Pub/Sub, Cloud Tasks and Cloud Scheduler, by the generated gRPC clients.

The services are ``publisher``, ``subscriber``, ``cloud_tasks`` and ``cloud_scheduler``.

A call's operation is the client's method, its parameters ``request`` and, where it waits, ``timeout`` in seconds; its
answer the method's. The libraries' batching, streaming and leasing threads are not used: batches are the adapter's,
leases the worker's. Credentials are the SDK's default ones. ``PUBSUB_EMULATOR_HOST``, ``CLOUD_TASKS_EMULATOR_HOST`` and
``CLOUD_SCHEDULER_EMULATOR_HOST`` name servers without TLS and credentials.

gRPC does not outlive a fork: what opens a channel must not fork afterwards, or do so only to become another program.
What an error means for a retry is decided here; what it means for a queue, in the adapter. The SDKs' own retries are
off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.errors import AccessDenied, ImproperlyConfigured, MissingExtra

try:
    import google.auth
    import grpc
    from google.api_core import exceptions as sdk
    from google.auth import exceptions as auth
except ImportError as error:
    raise MissingExtra("Google Pub/Sub", "gcp") from error

TIMEOUT_SECONDS: Final = 30.0
"""Of a call that waits for nothing."""

_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A connection that died without a word is noticed within a minute, not when the kernel gives up.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC waits up to two minutes before it connects again; work is to go on when the service is back.
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),
)

_KINDS: Final = {
    "publisher": ("google.pubsub_v1.services.publisher", "Publisher", "PUBSUB_EMULATOR_HOST"),
    "subscriber": ("google.pubsub_v1.services.subscriber", "Subscriber", "PUBSUB_EMULATOR_HOST"),
    "cloud_tasks": ("google.cloud.tasks_v2.services.cloud_tasks", "CloudTasks", "CLOUD_TASKS_EMULATOR_HOST"),
    "cloud_scheduler": (
        "google.cloud.scheduler_v1.services.cloud_scheduler",
        "CloudScheduler",
        "CLOUD_SCHEDULER_EMULATOR_HOST",
    ),
}
"""Service -> package, name of the API, and the variable that names an emulator."""

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
"""Pub/Sub documentation, "Error codes"; every other code is a refusal."""

_PLUGIN_FAILED: Final = "Getting metadata from plugin failed"
"""gRPC's words where the credentials gave no token; the status it gives it differs between its versions."""

_HOW_TO_GIVE_CREDENTIALS: Final = (
    "run under a service account, set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud auth application-default "
    "login"
)

_FAILURES: Final = (sdk.GoogleAPICallError, sdk.RetryError, auth.GoogleAuthError, grpc.RpcError)


def open_client(service: str, options: Mapping[str, Any]) -> GoogleClient:
    """Open one service's client.

    Args:
        service: ``publisher``, ``subscriber``, ``cloud_tasks`` or ``cloud_scheduler``.
        options: ``endpoint``: another host than the service's global one.

    Raises:
        AccessDenied: no credentials were found.
        MissingExtra: the service's package is not installed.
    """
    client, transport = _open(service, options, "", "GrpcTransport", grpc.insecure_channel)
    return GoogleClient(client, transport)


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncGoogleClient:
    """``open_client`` for an event loop."""
    # Looking for credentials may mean asking a metadata server: not on the loop.
    credentials = None if _emulator(service) else await asyncio.to_thread(_credentials, service)
    client, transport = _open(service, options, "Async", "GrpcAsyncIOTransport", grpc.aio.insecure_channel, credentials)
    return AsyncGoogleClient(client, transport)


class GoogleClient:
    """A generated client. Threads may share it.

    Args:
        client: the SDK's client.
        transport: what closes it.
    """

    def __init__(self, client: Any, transport: Any) -> None:
        self._client = client
        self._transport = transport

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: it failed.
        """
        try:
            return getattr(self._client, call.operation)(**_arguments(call))
        except _FAILURES as error:
            if _has_waited(call, error):
                return _nothing_pulled()
            raise _call_error(call, error) from error

    def close(self) -> None:
        """Close the channel."""
        self._transport.close()


class AsyncGoogleClient:
    """A generated asynchronous client, of the event loop that opened it.

    Args:
        client: the SDK's client.
        transport: what closes it.
    """

    def __init__(self, client: Any, transport: Any) -> None:
        self._client = client
        self._transport = transport

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: it failed.
        """
        try:
            return await getattr(self._client, call.operation)(**_arguments(call))
        except _FAILURES as error:
            # Where nothing is connected, it is not the queue that was silent.
            if _has_waited(call, error) and self._connected():
                return _nothing_pulled()
            raise _call_error(call, error) from error

    async def close(self) -> None:
        """Close the channel."""
        await self._transport.close()

    def _connected(self) -> bool:
        state = self._transport.grpc_channel.get_state()
        return bool(state is grpc.ChannelConnectivity.READY)


def _open(
    service: str, options: Mapping[str, Any], colour: str, transport_name: str, insecure_channel: Any, found: Any = None
) -> tuple[Any, Any]:
    package, api, _ = _KINDS[service]
    try:
        module = import_module(package)
        transport_class = getattr(import_module(f"{package}.transports"), api + transport_name)
    except ImportError as error:
        raise MissingExtra(f"Google's {service}", "gcp") from error
    client_class = getattr(module, f"{api}{colour}Client")
    emulator = _emulator(service)
    if emulator:
        channel = insecure_channel(emulator, options=_CHANNEL_OPTIONS)
    else:
        host = options.get("endpoint") or client_class.DEFAULT_ENDPOINT
        credentials = found or _credentials(service)
        channel = transport_class.create_channel(host, credentials=credentials, options=_CHANNEL_OPTIONS)
    transport = transport_class(channel=channel)
    return client_class(transport=transport), transport


def _emulator(service: str) -> str | None:
    return os.environ.get(_KINDS[service][2]) or None


def _credentials(service: str) -> Any:
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except auth.DefaultCredentialsError as error:
        raise AccessDenied(f"Google Cloud, {service}: no credentials were found: {_HOW_TO_GIVE_CREDENTIALS}") from error
    except auth.GoogleAuthError as error:
        raise ImproperlyConfigured(f"Google Cloud, {service}: {error}") from error
    return credentials


def _arguments(call: Call) -> dict[str, Any]:
    return {"timeout": TIMEOUT_SECONDS, **call.parameters, "retry": None}


def _has_waited(call: Call, error: Exception) -> bool:
    # A server written in Go may pass its own words on, and not the status.
    over = isinstance(error, sdk.DeadlineExceeded) or "deadline exceeded" in str(error).lower()
    return call.operation == "pull" and over


def _nothing_pulled() -> Any:
    # Pub/Sub holds a pull open for longer than anybody asked for; that its time was over is no failure.
    return import_module("google.pubsub_v1.types").PullResponse()


def _call_error(call: Call, error: Exception) -> CallError:
    if isinstance(error, auth.GoogleAuthError):
        text = f"{error}: {_HOW_TO_GIVE_CREDENTIALS}"
        return CallError(call, type(error).__name__, text, Trouble.CREDENTIALS)
    status = getattr(error, "grpc_status_code", None)
    code = status.name if status is not None else type(error).__name__
    message = getattr(error, "message", None) or str(error)
    trouble = _TROUBLES.get(code, Trouble.REFUSED if status is not None else Trouble.TRANSIENT)
    if _PLUGIN_FAILED in message:
        trouble, message = Trouble.CREDENTIALS, f"{message}: {_HOW_TO_GIVE_CREDENTIALS}"
    details = getattr(error, "metadata", None)
    return CallError(call, code, message, trouble, dict(details) if details else None)
