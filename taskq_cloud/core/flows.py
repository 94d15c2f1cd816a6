"""Calls as data: an adapter says which call it wants made, and a driver makes it.

An adapter's method is a generator, a *flow*. It yields steps and is sent their answers, and it never touches an SDK. So
one implementation serves synchronous callers (``run``) and asynchronous ones (``arun``), and a test can drive it with
recorded answers. A failed call is thrown into the flow as a ``CallError``, at the line that yielded it.

This module has the steps, the two drivers, and the one retry of failed calls (``retrying``). The SDKs are behind
``taskq_cloud.clients``, and the adapters know what an answer means.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from taskq_cloud.core.backoff import DEFAULT_BACKOFF, RNG, Backoff
from taskq_cloud.core.lazy.values import dataclass, field

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of one service, as its SDK names it.

    Args:
        service: the client that makes the call: ``"sqs"``, ``"dynamodb"``, ``"sqlite"``.
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


class CanWait(Protocol):
    """A listener, as far as a driver knows it: something that can be waited for, in a thread or on an event loop."""

    def wait(self, seconds: float, /) -> bool:
        """Wait in this thread; True: something was heard within this time."""
        ...

    async def wait_on_loop(self, seconds: float, /) -> bool:
        """Wait on the running event loop; True: something was heard within this time."""
        ...


@dataclass(frozen=True, slots=True)
class Sleep:
    """A pause. It ends early when its listener hears something; then the answer is True, and otherwise False or None.

    Args:
        seconds: how long it lasts.
        until: the listener that ends it (``core.model.announcements``); None: it lasts as long as it says.
    """

    seconds: float
    until: CanWait | None = None


@dataclass(frozen=True, slots=True)
class RenewCredentials:
    """Forget the client whose credentials have expired, so that the next call reads them again. The answer is None.

    Nothing happens if another flow has done so already. Calls under way with the old client come to their end.
    """

    service: str


@dataclass(frozen=True, slots=True)
class Compute:
    """A computation that may take long, such as the decoding of a large message. The answer is its value.

    On an event loop it is made in a thread, so that the loop goes on meanwhile; ``function`` must not need the loop.
    The pipeline yields it only where its driver asked for that.
    """

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Within:
    """Calls made at once whose answers are waited for during a limited time. The answer is that of ``Gather``.

    A call without an answer by then is answered by a ``CallError`` with the code ``NO_ANSWER_YET``. It may still take
    effect: its caller can't wait any longer.
    """

    calls: Sequence[Call]
    seconds: float


@dataclass(frozen=True, slots=True)
class Together:
    """One part of an operation on many, which a driver may carry out with parts of other flows. The answer is its own.

    Args:
        operation: takes parts, and answers each, in order. Parts of equal operations may be carried out together.
        part: this flow's part.
        last: whether this is the flow's last effect, so that a driver may go on with other work until it is done.
    """

    operation: Callable[[Sequence[Any]], Flow[Sequence[Any]]]
    part: Any
    last: bool = False


Step: TypeAlias = Call | Gather | Sleep | RenewCredentials | Compute | Within | Together
"""A step that any flow may yield. The pipeline's flows also yield runs of tasks (``execution.context``)."""

Flow: TypeAlias = Generator[Step, Any, T]
"""A generator that yields steps, is sent their answers, and returns a ``T``."""


NO_ANSWER_YET: Final = "NoAnswerYet"
"""Our own code for a call whose caller has stopped waiting."""


class Trouble(Enum):
    """The reason why a call failed, as far as it matters to a retry."""

    TRANSIENT = "transient"
    """The connection broke, or the service had an internal error: the call may have taken effect."""
    THROTTLED = "throttled"
    """The service asked for fewer calls."""
    CREDENTIALS = "credentials"
    """The credentials have expired; there may be new ones."""
    REFUSED = "refused"
    """The service refused the call, and would refuse it again."""


class CallError(Exception):
    """A call that failed, in the words of the service.

    Args:
        call: the call.
        code: the service's own error code (``"AWS.SimpleQueueService.NonExistentQueue"``), or the name of the
            exception's class if no answer came.
        message: the service's own message.
        trouble: the reason for the failure, which decides about a retry.
        details: further parts of the service's answer, as plain data.
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


def run(flow: Generator[S, Any, T], perform: Callable[[S], Any]) -> T:
    """Drive a flow to its end in this thread.

    Args:
        flow: the flow.
        perform: takes a step, and returns its answer or raises.

    Returns:
        The value that the flow returns.

    Raises:
        Exception: the exception that the flow raises, or does not catch when ``perform`` raises it.
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


async def arun(flow: Generator[S, Any, T], perform: Callable[[S], Awaitable[Any]]) -> T:
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


def retrying(
    flow: Generator[S, Any, T],
    backoff: Backoff = DEFAULT_BACKOFF,
    rng: random.Random = RNG,
    *,
    longest_seconds: float | None = None,
) -> Generator[S | Step, Any, T]:
    """Wrap a flow so that its failed calls are made again; the flow sees only the last failure.

    Transient and throttled calls wait as ``backoff`` says. A call with expired credentials is made again at once, one
    time, with a renewed client. A refused call is not repeated. This is the only place that retries calls: the SDKs'
    own retries are off. A call that succeeds the first time takes one ``yield`` and nothing else.

    Args:
        flow: the flow.
        backoff: how often a call is made, and the waits between its attempts.
        rng: draws the jitter.
        longest_seconds: how long a call may take with all its attempts; None: as long as they take. The clients end
            the first attempt in this time.
    """
    try:
        step = next(flow)
        while True:
            ends_at = None if longest_seconds is None else time.monotonic() + longest_seconds
            try:
                if isinstance(step, Gather):
                    answers = yield from _make_all(step.calls)
                    answer: Any = yield from _repeat_failed(step.calls, answers, backoff, rng, ends_at)
                else:
                    answer = yield step
            except CallError as error:
                (answer,) = yield from _repeat_failed([error.call], [error], backoff, rng, ends_at)
                if isinstance(answer, CallError):
                    step = flow.throw(answer)
                    continue
            except Exception as error:  # noqa: BLE001 - the flow decides
                step = flow.throw(error)
                continue
            step = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


def _make_all(calls: Sequence[Call]) -> Flow[list[Any]]:
    """Make calls at once, and return their answers in order; a failed call is answered by its ``CallError``."""
    if len(calls) != 1:
        return list((yield Gather(calls)))
    try:
        return [(yield calls[0])]
    except CallError as error:
        return [error]


def _make_again(calls: Sequence[Call], pause_seconds: float, ends_at: float | None) -> Flow[list[Any] | None]:
    """Make calls after a pause, and return their answers in order; None: there is no answer before ``ends_at``."""
    if ends_at is None:
        if pause_seconds:
            yield Sleep(pause_seconds)
        return (yield from _make_all(calls))
    if pause_seconds >= ends_at - time.monotonic():
        return None
    if pause_seconds:
        yield Sleep(pause_seconds)
    answers: list[Any] = yield Within(calls, max(ends_at - time.monotonic(), 0.0))
    return None if all(isinstance(each, CallError) and each.code == NO_ANSWER_YET for each in answers) else answers


def _repeat_failed(
    calls: Sequence[Call], answers: list[Any], backoff: Backoff, rng: random.Random, ends_at: float | None
) -> Flow[list[Any]]:
    """Make the failed calls again until they succeed or may not be repeated; a last failure stays as a value.

    Args:
        calls: all calls, each made once.
        answers: their answers, in order; changed in place.
        backoff: how often a call is made, and the waits between its attempts.
        rng: draws the jitter.
        ends_at: the end of the time for the calls, by the monotonic clock; None: there is no end.
    """
    to_repeat, renewed = list(range(len(calls))), set[str]()
    for attempt in range(backoff.attempts):
        failed = [position for position in to_repeat if isinstance(answers[position], CallError)]
        expired = {calls[p].service for p in failed if answers[p].trouble is Trouble.CREDENTIALS} - renewed
        to_repeat = [
            p
            for p in failed
            if answers[p].trouble in (Trouble.TRANSIENT, Trouble.THROTTLED)
            or (answers[p].trouble is Trouble.CREDENTIALS and calls[p].service in expired)
        ]
        if not to_repeat:
            break
        for service in sorted(expired):
            yield RenewCredentials(service)
        renewed |= expired
        if attempt + 1 == backoff.attempts:
            break
        at_once = all(answers[p].trouble is Trouble.CREDENTIALS for p in to_repeat)
        pause_seconds = 0.0 if at_once else backoff.seconds(attempt, rng)
        again = yield from _make_again([calls[position] for position in to_repeat], pause_seconds, ends_at)
        if again is None:  # the failure of the attempt before says more
            break
        for position, answer in zip(to_repeat, again, strict=True):
            answers[position] = answer
    return answers
