"""The interface of a client, and the client classes that several SDKs share.

A client makes each call once and raises a ``CallError`` when the call fails. Calls are repeated by
``core.flows.retrying`` only. ``SDKClient`` and ``AsyncSDKClient`` serve an SDK that has a synchronous and an
asynchronous variant. ``ThreadedClient`` serves an event loop where the SDK is synchronous only. How an operation is
called, and what an exception means, is defined in the module of each SDK.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from taskq_cloud.core.flows import Call, CallError, Trouble, arun, run
from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.ports import Service

if TYPE_CHECKING:
    import asyncio
    import logging

Operation: TypeAlias = Generator[Any, Any, Any]
"""The steps of one call, written once for both variants of an SDK.

The generator yields what a method of the SDK returned and is sent the method's result. A synchronous method returns
its result at once; an asynchronous one returns an awaitable, which the client awaits. The generator returns the call's
answer.
"""


TOO_LARGE: Final = "ObjectTooLarge"
"""Our own code for an object that has more bytes than the call asks for; its content was not read."""


FILE_ERRORS: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""A file of credentials can't be opened. Other errors of the operating system may be a connection's."""

MALFORMED: Final = (ValueError, TypeError, AttributeError, LookupError, RecursionError, *FILE_ERRORS)
"""What SDKs raise over malformed settings and credentials where they don't look for the mistake."""

LONGEST_CALL: Final = "longest_call_seconds"
"""The option that tells a client of this package how long a call may take, unless the call is a long poll."""


LEAN: Final = "lean"
"""The option that tells a client of AWS whether it may make calls without the SDK."""


def shortest(timeout_seconds: float, options: Mapping[str, Any], *, parts: int = 1) -> float:
    """Return a timeout of a client, or less if the longest call allows less.

    Args:
        timeout_seconds: the client's own timeout.
        options: the options that the client is opened with.
        parts: how many waits of this kind a call may consist of: to connect and for the answer.
    """
    longest = options.get(LONGEST_CALL)
    return timeout_seconds if longest is None else min(timeout_seconds, longest / parts)


def with_longest_call(services: Mapping[str, Service], longest_seconds: float | None) -> dict[str, Service]:
    """Tell the clients of this package, and no others, how long a call may take."""
    if longest_seconds is None:
        return dict(services)
    more = ((LONGEST_CALL, longest_seconds),)
    return {
        name: service if "." in service.module else replace(service, options=(*service.options, *more))
        for name, service in services.items()
    }


def client_module(service: Service) -> Any:
    """Import the module that opens the clients of a service."""
    return import_module(service.module if "." in service.module else f"taskq_cloud.clients.{service.module}")


def without_lean_driver(services: Mapping[str, Service]) -> dict[str, Service]:
    """Tell the clients of AWS to make every call by the SDK."""
    return {
        name: replace(service, options=(*service.options, (LEAN, False))) if service.module == "aws" else service
        for name, service in services.items()
    }


def too_large(call: Call, size: str) -> CallError:
    """The error for an object that has more bytes than the call asks for, given its size in words."""
    return CallError(call, TOO_LARGE, f"the object has {size} bytes", Trouble.REFUSED)


_WARNING: Final = 30
"""``logging.WARNING``: this module is imported by processes that log nothing."""

_muted: Final[ContextVar[bool]] = ContextVar("taskq_muted", default=False)


def _is_heard(record: logging.LogRecord) -> bool:
    return record.levelno >= _WARNING or not _muted.get()


@contextmanager
def muted(*loggers: str) -> Iterator[None]:
    """Let loggers of an SDK keep to warnings in this block. Records that other threads cause are not affected."""
    import logging  # the SDK has imported it

    for name in loggers:
        logging.getLogger(name).addFilter(_is_heard)  # a logger takes the same filter once
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)


class Client(Protocol):
    """A synchronous client of one service."""

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
        """
        ...

    def close(self) -> None:
        """Close sockets and files."""
        ...


class AsyncClient(Protocol):
    """An asynchronous client of one service, used on one event loop."""

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
        """
        ...

    async def close(self) -> None:
        """Close sockets and files."""
        ...


@dataclass(frozen=True, slots=True)
class SDK:
    """One SDK: the functions that make its calls and read its exceptions.

    Args:
        operation: makes the steps of a call, given the SDK's own client and the call.
        failures: the exceptions that mean a failed call.
        call_error: turns such an exception into a ``CallError``.
        chain_errors: whether the ``CallError`` keeps the SDK's exception as its cause. False keeps secrets in the
            exception's text out of logs.
        wrapper: the class in which the SDK wraps each exception that it doesn't know, if there is one.
    """

    operation: Callable[[Any, Call], Operation]
    failures: tuple[type[Exception], ...]
    call_error: Callable[[Call, Any], CallError]
    chain_errors: bool = True
    wrapper: type[Exception] | None = None


class SDKClient:
    """A client of a synchronous SDK. Threads may share it. A subclass names the SDK.

    Args:
        client: the SDK's own client.
        close: closes the connections; None: the client's own ``close`` does.
    """

    sdk: SDK

    def __init__(self, client: Any, close: Callable[[], object] | None = None) -> None:
        self._client = client
        self._close = close

    def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
            Exception: the exception that was raised into the call, such as a time limit.
        """
        sdk, before = self.sdk, sys.exception()
        failure: BaseException
        try:
            return run(sdk.operation(self._client, call), _finished)
        except sdk.failures as error:
            failure, own = failure_of(sdk, call, error, before)
            if own and sdk.chain_errors:
                raise failure from error
        # Raised outside the handler, so that the SDK's exception isn't even the context of this one.
        raise failure

    def close(self) -> None:
        """Close the connections."""
        (self._close or self._client.close)()


class AsyncSDKClient:
    """A client of an asynchronous SDK, used on the event loop that opened it. A subclass names the SDK.

    Args:
        client: the SDK's own client.
        close: closes the connections.
    """

    sdk: SDK

    def __init__(self, client: Any, close: Callable[[], Awaitable[object]]) -> None:
        self._client = client
        self._close = close

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
            Exception: the exception that was raised into the call, such as a time limit.
        """
        sdk, before = self.sdk, sys.exception()
        failure: BaseException
        try:
            return await arun(sdk.operation(self._client, call), _awaitable)
        except sdk.failures as error:
            failure, own = failure_of(sdk, call, error, before)
            if own and sdk.chain_errors:
                raise failure from error
        raise failure

    async def close(self) -> None:
        """Close the connections."""
        await self._close()


class ThreadedClient:
    """Makes the calls of a synchronous client in threads, so that they don't block the event loop.

    Args:
        client: the synchronous client.
        threads: how many calls may be under way at once.
        name: the prefix of the threads' names.
    """

    def __init__(self, client: Client, threads: int, name: str) -> None:
        from concurrent.futures import ThreadPoolExecutor  # synchronous callers need no threads

        self._client = client
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def call(self, call: Call) -> Any:
        """Make one call, once.

        Raises:
            CallError: the call failed.
        """
        return await _loop().run_in_executor(self._threads, self._client.call, call)

    async def close(self) -> None:
        """Close the client after the calls that were made before."""
        await _loop().run_in_executor(self._threads, self._client.close)
        self._threads.shutdown(wait=False)


def _loop() -> asyncio.AbstractEventLoop:
    import asyncio  # synchronous callers have no loop

    return asyncio.get_running_loop()


def failure_of(sdk: SDK, call: Call, error: Exception, before: BaseException | None) -> tuple[BaseException, bool]:
    """Return the exception to raise in place of an SDK's, and whether it means that the call has failed.

    Args:
        sdk: the SDK.
        call: the call.
        error: the SDK's exception.
        before: the exception that was being handled before.
    """
    from taskq_cloud.clients.interruptions import interruption_in  # few calls fail

    interruption = interruption_in(error, before, sdk.wrapper)
    return (sdk.call_error(call, error), True) if interruption is None else (interruption, False)


def _finished(result: Any) -> Any:
    """Hand over the result of a synchronous method."""
    return result


def _awaitable(awaitable: Awaitable[Any]) -> Awaitable[Any]:
    """Hand over the awaitable that an asynchronous method returned; the driver awaits it."""
    return awaitable
