"""The AWS client: the services ``sqs``, ``dynamodb``, ``s3``, ``scheduler`` and others, by two drivers.

A call's operation is the name of the SDK's method, its parameters are the method's keyword arguments, and its answer is
the SDK's dict. A stream in the answer (the body of an object, the payload of a function) has been read to its end.

The lean driver (``clients.lean``) makes the calls that tasks make, and leaves all others to the SDK
(``clients.aws_sdk``). Where the environment alone says how to reach AWS, the SDK is imported by the first call that the
lean driver leaves. Elsewhere the SDK is opened first, and finds credentials, profiles and endpoints. After
``core.flows.RenewCredentials`` the next call opens a new client, which reads them again.

``aws_trouble`` decides what an error means for a retry; the adapters decide what it means for a queue or a table.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

from taskq_cloud.clients.aws_waits import (
    CONNECT_TIMEOUT_SECONDS,
    POLL_TIMEOUT_SECONDS,
    READ_TIMEOUT_SECONDS,
    waits_of,
)
from taskq_cloud.clients.base import LEAN, AsyncClient, Client
from taskq_cloud.clients.lean import environment
from taskq_cloud.clients.lean.client import NOT_MADE, LeanClient
from taskq_cloud.clients.lean.endpoints import Target
from taskq_cloud.clients.lean.requests import Setting
from taskq_cloud.core.flows import Call
from taskq_cloud.errors import MissingExtra

if TYPE_CHECKING:
    import asyncio

    from taskq_cloud.clients.lean.async_client import AsyncLeanClient

__all__ = [
    "CONNECT_TIMEOUT_SECONDS",
    "POLL_TIMEOUT_SECONDS",
    "READ_TIMEOUT_SECONDS",
    "AWSClient",
    "AsyncAWSClient",
    "open_async_client",
    "open_client",
]


def open_client(service: str, options: Mapping[str, Any]) -> AWSClient:
    """Open a client of one AWS service.

    Args:
        service: the SDK's name of the service.
        options: ``region``, ``endpoint_url``, ``connect_timeout_seconds``, ``read_timeout_seconds``, for S3
            ``addressing_style``, and ``lean``; each may be missing.

    Raises:
        ImproperlyConfigured: the region is missing, the profile is unknown, or the endpoint is malformed.
        AccessDenied: a source of credentials is configured and provides none.
        MissingExtra: the SDK is not installed. Some later call would need it.
    """
    _check_installed("botocore", "an AWS service")
    may_be_lean = options.get(LEAN, True)
    target = environment.target_of(service, options) if may_be_lean else None
    if target is not None:
        return AWSClient(LeanClient(_setting(target, options)), partial(_open_sdk, service, options))
    sdk = _open_sdk(service, options)
    found = sdk.target(service, options) if may_be_lean else None
    return AWSClient(None if found is None else LeanClient(_setting(found, options), sdk), sdk=sdk)


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncAWSClient:
    """Open a client of one AWS service for an event loop; see ``open_client``."""
    from taskq_cloud.clients.lean.async_client import AsyncLeanClient  # imports asyncio

    _check_installed("aiobotocore", f"the AWS service {service} on an event loop")
    may_be_lean = options.get(LEAN, True)
    target = environment.target_of(service, options) if may_be_lean else None
    if target is not None:
        return AsyncAWSClient(AsyncLeanClient(_setting(target, options)), partial(_open_async_sdk, service, options))
    sdk = await _open_async_sdk(service, options)
    found = sdk.target(service, options) if may_be_lean else None
    return AsyncAWSClient(None if found is None else AsyncLeanClient(_setting(found, options), sdk), sdk=sdk)


def _check_installed(package: str, feature: str) -> None:
    """Look for an SDK without importing it, which would take much longer.

    Raises:
        MissingExtra: it is not installed.
    """
    if find_spec(package) is None:
        raise MissingExtra(feature, "aws")


def _open_sdk(service: str, options: Mapping[str, Any]) -> Any:
    from taskq_cloud.clients import aws_sdk

    return aws_sdk.open_client(service, options)


async def _open_async_sdk(service: str, options: Mapping[str, Any]) -> Any:
    from taskq_cloud.clients import aws_sdk

    return await aws_sdk.open_async_client(service, options)


def _setting(target: Target, options: Mapping[str, Any]) -> Setting:
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return Setting(target, waits_of(options))
    from taskq_cloud.clients.aws_lineage import trace_header  # only functions need it

    return Setting(target, waits_of(options), trace_header)


class AWSClient:
    """A client whose calls are made by the lean driver or by the SDK. Threads may share it.

    Args:
        lean: the lean driver; None: the SDK makes all calls.
        open_sdk: opens the SDK's client; None: it is open.
        sdk: the SDK's client, if it is open.
    """

    def __init__(
        self, lean: LeanClient | None, open_sdk: Callable[[], Client] | None = None, sdk: Client | None = None
    ) -> None:
        self._lean = lean
        self._open_sdk = open_sdk
        self._sdk = sdk
        self._opening = Lock()

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
            Exception: the exception that was raised into the call, such as a time limit.
        """
        if self._lean is not None:
            answer = self._lean.call(call)
            if answer is not NOT_MADE:
                return answer
        return (self._sdk or self._opened_sdk()).call(call)

    def close(self) -> None:
        """Close the connections."""
        for each in (self._lean, self._sdk):
            if each is not None:
                each.close()

    def _opened_sdk(self) -> Client:
        with self._opening:
            if self._sdk is None:
                assert self._open_sdk is not None
                self._sdk = self._open_sdk()
            return self._sdk


class AsyncAWSClient:
    """A client whose calls are made by the lean driver or by the SDK, on the event loop that opened it.

    Args:
        lean: the lean driver; None: the SDK makes all calls.
        open_sdk: opens the SDK's client; None: it is open.
        sdk: the SDK's client, if it is open.
    """

    def __init__(
        self,
        lean: AsyncLeanClient | None,
        open_sdk: Callable[[], Awaitable[AsyncClient]] | None = None,
        sdk: AsyncClient | None = None,
    ) -> None:
        self._lean = lean
        self._open_sdk = open_sdk
        self._sdk = sdk
        self._opening: asyncio.Lock | None = None

    async def call(self, call: Call) -> Any:
        """Make one call, once: see ``AWSClient.call``."""
        if self._lean is not None:
            answer = await self._lean.call(call)
            if answer is not NOT_MADE:
                return answer
        return await (self._sdk or await self._opened_sdk()).call(call)

    async def close(self) -> None:
        """Close the connections."""
        for each in (self._lean, self._sdk):
            if each is not None:
                await each.close()

    async def _opened_sdk(self) -> AsyncClient:
        import asyncio

        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._sdk is None:
                assert self._open_sdk is not None
                self._sdk = await self._open_sdk()
            return self._sdk
