"""Waits of tests: until a condition is true, or the test fails because the condition never was."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeVar, overload

T = TypeVar("T")

DEADLINE_SECONDS: Final = 40.0
"""The longest wait unless a test gives another: on a busy machine, milliseconds of work can take seconds."""

_FIRST_PAUSE_SECONDS: Final = 0.005
_LONGEST_PAUSE_SECONDS: Final = 0.05


def until(
    condition: Callable[[], T],
    what: str | Callable[[], str] = "the condition",
    timeout_seconds: float = DEADLINE_SECONDS,
) -> T:
    """Wait until a condition is true, and return its value.

    Args:
        condition: is called again and again, with pauses of 5 to 50 ms.
        what: describes the condition in the error; a function is called once the time is over.
        timeout_seconds: the longest wait.

    Raises:
        AssertionError: the condition was not true within ``timeout_seconds``.
    """
    deadline, pauses = time.monotonic() + timeout_seconds, _pauses()
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise _too_late(what, timeout_seconds)
        time.sleep(next(pauses))
    return value


@overload
async def auntil(
    condition: Callable[[], Awaitable[T]],
    what: str | Callable[[], str] = "the condition",
    timeout_seconds: float = DEADLINE_SECONDS,
) -> T: ...


@overload
async def auntil(
    condition: Callable[[], T],
    what: str | Callable[[], str] = "the condition",
    timeout_seconds: float = DEADLINE_SECONDS,
) -> T: ...


async def auntil(
    condition: Callable[[], T | Awaitable[T]],
    what: str | Callable[[], str] = "the condition",
    timeout_seconds: float = DEADLINE_SECONDS,
) -> T:
    """Wait on the event loop until a condition is true: ``until`` for functions and coroutine functions."""
    deadline, pauses = time.monotonic() + timeout_seconds, _pauses()
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise _too_late(what, timeout_seconds)
        await asyncio.sleep(next(pauses))


def _pauses() -> Iterator[float]:
    pause_seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield pause_seconds
        pause_seconds = min(pause_seconds * 1.5, _LONGEST_PAUSE_SECONDS)


def _too_late(what: str | Callable[[], str], timeout_seconds: float) -> AssertionError:
    return AssertionError(f"not within {timeout_seconds:g} s: {what if isinstance(what, str) else what()}")
