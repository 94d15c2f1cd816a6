"""The AWS client: the services ``sqs``, ``dynamodb``, ``s3`` and ``scheduler``, by botocore and aiobotocore.

A call's operation is the name of the SDK's method, its parameters are the method's keyword arguments, and its answer is
the SDK's dict. A stream in the answer (the body of an object, the payload of a function) has been read to its end.
The SDK itself finds credentials, profiles and ``AWS_ENDPOINT_URL`` when a client is opened. After
``core.flows.RenewCredentials`` the next call opens a new client with a new session, which reads them again.

``aws_errors`` decides what an error means for a retry; the adapters decide what it means for a queue or a table. The
SDKs' own retries are off. boto3 is not used: it would add some 60 modules to botocore's.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import cache, partial
from threading import Lock
from typing import Any, Final, TypeVar

from taskq_cloud.clients.base import (
    FILE_ERRORS,
    MALFORMED,
    SDK,
    AsyncSDKClient,
    Operation,
    SDKClient,
    muted,
    shortest,
    too_large,
)
from taskq_cloud.core.flows import Call, CallError
from taskq_cloud.errors import MissingExtra

try:
    from botocore import exceptions as sdk
    from botocore.loaders import Loader, create_loader
    from botocore.parsers import ResponseParserError
except ImportError as error:
    raise MissingExtra("an AWS service", "aws") from error

S = TypeVar("S")

CONNECT_TIMEOUT_SECONDS: Final = 5.0
READ_TIMEOUT_SECONDS: Final = 5.0
"""The longest wait for the next bytes of an answer. An endpoint that accepts connections and doesn't answer holds up a
caller for this long each time that ``core.flows.retrying`` makes the call."""
POLL_TIMEOUT_SECONDS: Final = 35.0
"""The longest wait for the answer to a long poll. SQS's longest poll takes 20 s (SQS Developer Guide, "Amazon SQS short
and long polling"). Long polls have a client of their own, since botocore sets timeouts for a client and not for a
call."""

LARGEST_POOL: Final = 200
"""The most connections that one client keeps. aiohttp makes further calls wait, and each queue's long poll occupies one
connection."""

_RANGE: Final = re.compile(r"bytes=0-(\d+)")
"""The range of a read of at most so many bytes of an object, and of one byte more, which shows that it has more."""

_FOUND_CREDENTIALS: Final = ("botocore.credentials", "aiobotocore.credentials")
"""Loggers that say at INFO, for each client, where its credentials have been found."""

_FAILURES: Final = (sdk.ClientError, sdk.BotoCoreError, ResponseParserError, UnicodeDecodeError, *FILE_ERRORS)


def open_client(service: str, options: Mapping[str, Any]) -> AWSClient:
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
        except (sdk.BotoCoreError, *MALFORMED) as error:
            raise _opening_error(service, error, before) from error
        return _for_lambda(client)

    return AWSClient(create(shortest(READ_TIMEOUT_SECONDS, options, parts=2)), partial(create, POLL_TIMEOUT_SECONDS))


async def open_async_client(service: str, options: Mapping[str, Any]) -> AsyncAWSClient:
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
        except (sdk.BotoCoreError, *MALFORMED) as error:
            raise _opening_error(service, error, before) from error
        return _for_lambda(client)

    client = await create(shortest(READ_TIMEOUT_SECONDS, options, parts=2))
    return AsyncAWSClient(client, stack.aclose, partial(create, POLL_TIMEOUT_SECONDS))


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
    longest_connect = shortest(CONNECT_TIMEOUT_SECONDS, options, parts=2)
    return {
        "region_name": options.get("region") or None,
        "endpoint_url": options.get("endpoint_url") or None,
        "config": config(
            connect_timeout=options.get("connect_timeout_seconds") or longest_connect,
            read_timeout=options.get("read_timeout_seconds") or longest_read,
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
            _check_size(call, answer, value)
            read[name] = yield value.read()
        else:
            read[name] = value
    return read


def _check_size(call: Call, answer: Mapping[str, Any], stream: Any) -> None:
    """Compare an object's size with the range that was asked for, before any of its content is read."""
    wanted = _RANGE.fullmatch(call.parameters.get("Range", ""))
    if wanted is None:
        return
    # "bytes 0-99/2000000000"; an endpoint that knows no ranges sends the whole object, without this header.
    total = answer.get("ContentRange", "").rpartition("/")[2]
    size = int(total) if total.isdigit() else answer.get("ContentLength", 0)
    if size > int(wanted[1]):
        stream.close()
        raise too_large(call, f"{size:,}")


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


class AWSClient(SDKClient):
    """A botocore client, and a second one that the first long poll opens. Threads may share it.

    Args:
        client: the client.
        open_poller: opens the client for long polls; None: ``client`` makes them, too.
    """

    sdk = _AWS

    def __init__(self, client: Any, open_poller: Callable[[], Any] | None = None) -> None:
        super().__init__(client)
        self._open_poller = open_poller
        self._poller: AWSClient | None = None
        self._opening = Lock()

    def call(self, call: Call) -> Any:
        """Make one call, once: see ``SDKClient.call``."""
        if self._open_poller is None or not _polls(call):
            return super().call(call)
        with self._opening:
            if self._poller is None:
                self._poller = AWSClient(self._open_poller())
        return self._poller.call(call)

    def close(self) -> None:
        """Close the connections of both clients."""
        super().close()
        if self._poller is not None:
            self._poller.close()


class AsyncAWSClient(AsyncSDKClient):
    """An aiobotocore client, and a second one that the first long poll opens; used on the event loop that opened it.

    Args:
        client: the client.
        close: closes the connections of both.
        open_poller: opens the client for long polls; None: ``client`` makes them, too.
    """

    sdk = _AWS

    def __init__(
        self,
        client: Any,
        close: Callable[[], Awaitable[object]],
        open_poller: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        super().__init__(client, close)
        self._open_poller = open_poller
        self._poller: AsyncAWSClient | None = None
        self._opening = asyncio.Lock()

    async def call(self, call: Call) -> Any:
        """Make one call, once: see ``AsyncSDKClient.call``."""
        if self._open_poller is None or not _polls(call):
            return await super().call(call)
        async with self._opening:
            if self._poller is None:
                self._poller = AsyncAWSClient(await self._open_poller(), self._close)
        return await self._poller.call(call)
