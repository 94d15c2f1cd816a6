"""Finds the exception that was raised into a call from outside, such as a time limit, behind an SDK's own exception.

An SDK takes any exception that ends its wait for a socket for a broken connection, and wraps it. But an exception that
a pool or a signal handler has raised is meant for the task: the call has not failed, and must not be repeated.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from types import CodeType
from typing import Any, Final

from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded

_LIBRARIES: Final = frozenset(
    {"aiobotocore", "aiohttp", "anyio", "azure", "botocore", "certifi", "eventlet", "gevent", "google", "grpc"}
    | {"httpcore", "httpx", "pymongo", "requests", "urllib3"}
)
"""Packages whose exceptions say that a connection is broken, as those of the standard library do."""


def interruption_in(
    error: BaseException, before: BaseException | None, wrapper: type[BaseException] | None = None
) -> BaseException | None:
    """Return the exception that was raised into a call; None if the call has failed by itself.

    Args:
        error: the SDK's exception.
        before: the exception that was being handled when the call began; the SDK's exception leads on to it.
        wrapper: the class in which the SDK wraps each exception that it doesn't know.
    """
    handlers = frozenset(_code_of_signal_handlers())
    wrapped: BaseException | None = None
    each: BaseException | None = error
    seen = set[int]()
    while each is not None and each is not before and id(each) not in seen:
        seen.add(id(each))
        if isinstance(each, SoftTimeLimitExceeded | TimeLimitExceeded):
            return each
        package = type(each).__module__.partition(".")[0]
        # A library may have given its own exception the traceback of the one that it wraps.
        if package not in _LIBRARIES and _passed(each, handlers):
            return each
        if each is wrapped and package not in _LIBRARIES and package not in sys.stdlib_module_names:
            return each
        inner = _inner(each)
        wrapped = inner if type(each) is wrapper else None
        each = inner
    return None


def _inner(error: BaseException) -> BaseException | None:
    """The exception that led to another one."""
    # botocore raises its exceptions a second time, where their context is replaced, and keeps what it has wrapped here.
    kept = getattr(error, "kwargs", None)
    wrapped = kept.get("error") if isinstance(kept, dict) else None
    return wrapped if isinstance(wrapped, BaseException) else error.__cause__ or error.__context__


def _passed(error: BaseException, codes: frozenset[CodeType]) -> bool:
    """Whether an exception was raised in one of these functions, or in a function that one of them has called."""
    step = error.__traceback__ if codes else None
    while step is not None:
        if step.tb_frame.f_code in codes:
            return True
        step = step.tb_next
    return False


def _code_of_signal_handlers() -> Iterator[CodeType]:
    # Only the main thread runs signal handlers.
    for number in signal.valid_signals() if threading.current_thread() is threading.main_thread() else ():
        handler: Any = signal.getsignal(number)
        if not callable(handler):  # the default, or ignored
            continue
        function = getattr(handler, "func", handler)  # the function of a functools.partial
        code = getattr(function, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
        if isinstance(code, CodeType):
            yield code
