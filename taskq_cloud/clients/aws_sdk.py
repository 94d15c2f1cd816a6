"""Makes the calls on AWS that the lean driver leaves: by botocore, and on an event loop by aiobotocore.

The SDK itself finds credentials, profiles and ``AWS_ENDPOINT_URL`` when a client is opened. The SDKs' own retries are
off. boto3 is not used: it would add some 60 modules to botocore's.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache, partial
from threading import Lock
from typing import Any, Final, TypeVar

from taskq_cloud.clients.aws_waits import waits_of
from taskq_cloud.clients.base import (
    FILE_ERRORS,
    MALFORMED,
    SDK,
    AsyncSDKClient,
    Operation,
    SDKClient,
    failure_of,
    muted,
)
from taskq_cloud.clients.lean.endpoints import LARGEST_POOL, Target
from taskq_cloud.clients.lean.signing import Keys
from taskq_cloud.clients.object_sizes import size_error
from taskq_cloud.core.flows import Call, CallError
from taskq_cloud.errors import MissingExtra

try:
    from botocore import exceptions as sdk
    from botocore.loaders import Loader, create_loader
    from botocore.parsers import ResponseParserError
except ImportError as error:
    raise MissingExtra("an AWS service", "aws") from error

S = TypeVar("S")

_FOUND_CREDENTIALS: Final = ("botocore.credentials", "aiobotocore.credentials")
"""Loggers that say at INFO, for each client, where its credentials have been found."""

_FAILURES: Final = (sdk.ClientError, sdk.BotoCoreError, ResponseParserError, UnicodeDecodeError, *FILE_ERRORS)

_NOT_RENEWED: Final = (*_FAILURES, RuntimeError)
"""The errors of the SDK when it can't renew credentials; it raises a RuntimeError if the new ones have expired, too."""


def open_client(service: str, options: Mapping[str, Any]) -> BotocoreClient:
    """Open a client of one AWS service.

    Args:
        service: the SDK's name of the service.
        options: ``region``, ``endpoint_url``, ``connect_timeout_seconds``, ``read_timeout_seconds``, and for S3
            ``addressing_style``; each may be missing.

    Raises:
        ImproperlyConfigured: the region is missing, the profile is unknown, or the endpoint is malformed.
        AccessDenied: a source of credentials is configured and provides none.
    """
    from botocore.config import Config  # an event loop needs aiobotocore's classes instead
    from botocore.session import Session

    def create(longest_read: float) -> Any:
        before = sys.exception()
        try:
            with muted(*_FOUND_CREDENTIALS):
                session = with_shared_models(Session())
                client = session.create_client(service, **_arguments(options, Config, longest_read))
                sessions.append((session, session.get_credentials()))
        except (sdk.BotoCoreError, *MALFORMED) as error:
            raise _opening_error(service, error, before) from error
        return _for_lambda(client)

    sessions: list[tuple[Any, Any]] = []
    waits = waits_of(options)
    return BotocoreClient(create(waits.read), partial(create, waits.poll), *sessions[0])


async def open_async_client(service: str, options: Mapping[str, Any]) -> AiobotocoreClient:
    """Open a client of one AWS service for an event loop; see ``open_client``."""
    try:
        from aiobotocore.config import AioConfig  # synchronous callers don't need aiobotocore
        from aiobotocore.session import AioSession
    except ImportError as error:
        raise MissingExtra(f"the AWS service {service} on an event loop", "aws") from error

    stack = AsyncExitStack()

    async def create(longest_read: float) -> Any:
        session = with_shared_models(AioSession())
        before = sys.exception()
        try:
            with muted(*_FOUND_CREDENTIALS):
                opening = session.create_client(service, **_arguments(options, AioConfig, longest_read))
                client = await stack.enter_async_context(opening)
                sessions.append((session, await session.get_credentials()))
        except (sdk.BotoCoreError, *MALFORMED) as error:
            raise _opening_error(service, error, before) from error
        return _for_lambda(client)

    sessions: list[tuple[Any, Any]] = []
    waits = waits_of(options)
    client = await create(waits.read)
    return AiobotocoreClient(client, stack.aclose, partial(create, waits.poll), *sessions[0])


def with_shared_models(session: S) -> S:
    """Let an SDK session use the descriptions of AWS services that this process has already read.

    By default each session reads its own: some 2 MB of JSON before the first client is open, which is most of the time
    that opening takes. The credentials and the configuration stay the session's own.
    """
    sdk_session: Any = session
    sdk_session.register_component("data_loader", _models(sdk_session.get_config_variable("data_path")))
    return session


@cache
def _models(folders: str | None) -> Loader:
    return create_loader(folders)


def _for_lambda(client: S) -> S:
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        from taskq_cloud.clients.aws_lineage import leave_out_lineage  # only functions need it

        leave_out_lineage(client)
    return client


def _arguments(options: Mapping[str, Any], config: Any, longest_read: float) -> dict[str, Any]:
    return {
        "region_name": options.get("region") or None,
        "endpoint_url": options.get("endpoint_url") or None,
        "config": config(
            connect_timeout=waits_of(options).connect,
            read_timeout=longest_read,
            max_pool_connections=LARGEST_POOL,
            retries={"mode": "standard", "total_max_attempts": 1},
            s3={"addressing_style": options.get("addressing_style") or "auto"},
        ),
    }


def _operation(client: Any, call: Call) -> Operation:
    answer = yield getattr(client, call.operation)(**call.parameters)
    read = {}
    for name, value in answer.items():
        if _is_stream(value):
            refused = size_error(call, answer.get("ContentRange", ""), answer.get("ContentLength", 0))
            if refused is not None:
                value.close()
                raise refused
            read[name] = yield value.read()
        else:
            read[name] = value
    return read


def _is_stream(value: Any) -> bool:
    return callable(getattr(value, "read", None))


def _opening_error(service: str, error: Exception, before: BaseException | None) -> BaseException:
    from taskq_cloud.clients.aws_errors import opening_error  # few clients can't be opened

    return opening_error(service, error, before)


def _call_error(call: Call, error: Exception) -> CallError:
    from taskq_cloud.clients.aws_errors import call_error  # few calls fail

    return call_error(call, error)


_AWS: Final = SDK(operation=_operation, failures=_FAILURES, call_error=_call_error, wrapper=sdk.HTTPClientError)


def _polls(call: Call) -> bool:
    """Whether a call is a long poll: the service may wait for messages before it answers."""
    return bool(call.parameters.get("WaitTimeSeconds"))


class BotocoreClient(SDKClient):
    """A botocore client, and a second one that the first long poll opens. Threads may share it.

    Long polls have a client of their own, since botocore sets timeouts for a client and not for a call.

    Args:
        client: the client.
        open_poller: opens the client for long polls; None: ``client`` makes them, too.
        session: the session that opened the client.
        credentials: the session's credentials; None: there are none.
    """

    sdk = _AWS

    def __init__(
        self,
        client: Any,
        open_poller: Callable[[], Any] | None = None,
        session: Any = None,
        credentials: Any = None,
    ) -> None:
        super().__init__(client)
        self._open_poller = open_poller
        self._poller: BotocoreClient | None = None
        self._opening = Lock()
        self._session = session
        self._credentials = credentials

    def call(self, call: Call) -> Any:
        """Make one call, once: see ``SDKClient.call``."""
        if self._open_poller is None or not _polls(call):
            return super().call(call)
        with self._opening:
            if self._poller is None:
                self._poller = BotocoreClient(self._open_poller())
        return self._poller.call(call)

    def target(self, service: str, options: Mapping[str, Any]) -> Target | None:
        """Return what the lean driver needs to take over; None: it can't, with these settings of the SDK."""
        from taskq_cloud.clients.lean.sdk_settings import target_of  # few environments are not plain

        return target_of(service, options, self._session, self._client, self._credentials)

    def keys(self, call: Call) -> Keys:
        """Return the credentials, renewed if they are about to expire.

        Raises:
            CallError: they can't be renewed.
        """
        before = sys.exception()
        try:
            return _keys(self._credentials.get_frozen_credentials())
        except _NOT_RENEWED as error:
            raise failure_of(_AWS, call, error, before)[0] from error

    def close(self) -> None:
        """Close the connections of both clients."""
        super().close()
        if self._poller is not None:
            self._poller.close()


class AiobotocoreClient(AsyncSDKClient):
    """An aiobotocore client, and a second one that the first long poll opens; used on the event loop that opened it.

    Args:
        client: the client.
        close: closes the connections of both.
        open_poller: opens the client for long polls; None: ``client`` makes them, too.
        session: the session that opened the client.
        credentials: the session's credentials; None: there are none.
    """

    sdk = _AWS

    def __init__(
        self,
        client: Any,
        close: Callable[[], Awaitable[object]],
        open_poller: Callable[[], Awaitable[Any]] | None = None,
        session: Any = None,
        credentials: Any = None,
    ) -> None:
        super().__init__(client, close)
        self._open_poller = open_poller
        self._poller: AiobotocoreClient | None = None
        self._opening = asyncio.Lock()
        self._session = session
        self._credentials = credentials

    async def call(self, call: Call) -> Any:
        """Make one call, once: see ``AsyncSDKClient.call``."""
        if self._open_poller is None or not _polls(call):
            return await super().call(call)
        async with self._opening:
            if self._poller is None:
                self._poller = AiobotocoreClient(await self._open_poller(), self._close)
        return await self._poller.call(call)

    def target(self, service: str, options: Mapping[str, Any]) -> Target | None:
        """Return what the lean driver needs to take over: see ``BotocoreClient.target``."""
        from taskq_cloud.clients.lean.sdk_settings import target_of

        return target_of(service, options, self._session, self._client, self._credentials)

    async def keys(self, call: Call) -> Keys:
        """Return the credentials, renewed if they are about to expire: see ``BotocoreClient.keys``."""
        before = sys.exception()
        try:
            return _keys(await self._credentials.get_frozen_credentials())
        except _NOT_RENEWED as error:
            raise failure_of(_AWS, call, error, before)[0] from error


def _keys(frozen: Any) -> Keys:
    return Keys(frozen.access_key, frozen.secret_key, frozen.token or None)
