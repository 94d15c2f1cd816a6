"""Calls as data: an adapter says what it wants called, a driver calls it.

An adapter's method is a generator (a *flow*). It yields steps and is sent their answers; it never touches an SDK,
so the one implementation serves synchronous callers (``run``) and asynchronous ones (``arun``), and a test can drive
it with recorded answers. A failed call is thrown into the flow at the line that yielded it, as a ``CallError``.

What lives here: the steps, the two drivers, and the one retry of failed calls (``retrying``). What does not: any SDK
(``taskq_cloud.clients``), any meaning of an answer (the adapters).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias, TypeVar

from taskq_cloud.core.backoff import DEFAULT_BACKOFF, Backoff

T = TypeVar("T")

Flow: TypeAlias = Generator[Any, Any, T]
"""A generator that yields steps and returns a ``T``."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of one service, as its SDK names it.

    Args:
        service: the client that takes it: ``"sqs"``, ``"dynamodb"``, ``"sqlite"``.
        operation: the SDK's method: ``"send_message_batch"``.
        parameters: the method's keyword arguments.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gather:
    """Several calls made at once. The answer is a list in their order, in which a failed call is its ``CallError``."""

    calls: Sequence[Call]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. The answer is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class RenewCredentials:
    """Forget the client whose credentials have expired, so that the next call reads them anew. The answer is None.

    Where another flow has done so already, nothing happens; calls under way with the old client come to their end.
    """

    service: str


class Trouble(Enum):
    """Why a call failed, as far as a retry is concerned."""

    TRANSIENT = "transient"
    """The connection broke or the service had an error of its own: the call may have taken effect."""
    THROTTLED = "throttled"
    """The service asked for fewer calls."""
    CREDENTIALS = "credentials"
    """The credentials have expired; new ones may be there."""
    REFUSED = "refused"
    """The service understood and said no; the same call gets the same answer."""


class CallError(Exception):
    """A call that failed, in the words of the service.

    Args:
        call: what was called.
        code: the service's own error code (``"AWS.SimpleQueueService.NonExistentQueue"``), or the exception's class
            name where no answer came.
        message: the service's own message.
        trouble: what a retry may expect.
        details: what the service says beside it, as plain data.
    """

    def __init__(
        self, call: Call, code: str, message: str, trouble: Trouble, details: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{call.service}.{call.operation}: {code}: {message}")
        self.call = call
        self.code = code
        self.message = message
        self.trouble = trouble
        self.details = details or {}


def run(flow: Flow[T], perform: Callable[[Any], Any]) -> T:
    """Drive a flow to its end in this thread.

    Args:
        flow: the flow.
        perform: takes a step, returns its answer or raises.

    Returns:
        What the flow returns.

    Raises:
        Exception: what the flow raises, or lets through from ``perform``.
    """
    try:
        step = next(flow)
        while True:
            try:
                answer = perform(step)
            except Exception as error:  # noqa: BLE001 - the flow decides, and what it does not catch comes back out
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


async def arun(flow: Flow[T], perform: Callable[[Any], Awaitable[Any]]) -> T:
    """Drive a flow to its end on the event loop: ``run`` with an asynchronous ``perform``."""
    try:
        step = next(flow)
        while True:
            try:
                answer = await perform(step)
            except Exception as error:  # noqa: BLE001 - as in run
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


_RNG = random.Random()


def retrying(flow: Flow[T], backoff: Backoff = DEFAULT_BACKOFF, rng: random.Random = _RNG) -> Flow[T]:
    """Wrap a flow so that its failed calls are made again; the flow sees only the last failure.

    Transient and throttled calls wait as ``backoff`` says. A call with expired credentials is made again at once, one
    time, with a renewed client. A refused call is not repeated. This is the only place that retries calls: the SDKs'
    own retries are off.
    """
    try:
        step = next(flow)
        while True:
            try:
                answer = yield from _attempt(step, backoff, rng)
            except Exception as error:  # noqa: BLE001 - the flow decides
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


def _attempt(step: Any, backoff: Backoff, rng: random.Random) -> Flow[Any]:
    if isinstance(step, Call):
        answers = yield from _attempt_calls([step], backoff, rng)
        if isinstance(answers[0], CallError):
            raise answers[0]
        return answers[0]
    if isinstance(step, Gather):
        return (yield from _attempt_calls(step.calls, backoff, rng))
    return (yield step)


def _attempt_calls(calls: Sequence[Call], backoff: Backoff, rng: random.Random) -> Flow[list[Any]]:
    """Make the calls, then the failed ones again; the answers in order, a last failure as a value."""
    answers: list[Any] = [None] * len(calls)
    open_positions = list(range(len(calls)))
    renewed: set[str] = set()
    for attempt in range(backoff.attempts):
        if len(open_positions) == 1:
            position = open_positions[0]
            try:
                answers[position] = yield calls[position]
            except CallError as error:
                answers[position] = error
        else:
            round_answers = yield Gather([calls[position] for position in open_positions])
            for position, answer in zip(open_positions, round_answers, strict=True):
                answers[position] = answer
        failed = [p for p in open_positions if isinstance(answers[p], CallError)]
        expired = {calls[p].service for p in failed if answers[p].trouble is Trouble.CREDENTIALS} - renewed
        open_positions = [
            p
            for p in failed
            if answers[p].trouble in (Trouble.TRANSIENT, Trouble.THROTTLED)
            or (answers[p].trouble is Trouble.CREDENTIALS and calls[p].service in expired)
        ]
        if not open_positions:
            break
        for service in sorted(expired):
            yield RenewCredentials(service)
        renewed |= expired
        only_expired = all(answers[p].trouble is Trouble.CREDENTIALS for p in open_positions)
        if attempt + 1 < backoff.attempts and not only_expired:
            yield Sleep(backoff.seconds(attempt, rng))
    return answers
