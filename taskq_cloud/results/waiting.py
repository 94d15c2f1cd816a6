"""The preconditions of waiting for results: an application, a result store, no task around; and the pauses of polls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from taskq_cloud import errors
from taskq_cloud.core.execution.run_context import current_invocation
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Step, Within, retrying, run
from taskq_cloud.core.model.option_values import DELAY, WAIT, check
from taskq_cloud.core.ports import ResultStore, ScheduleStore
from taskq_cloud.runtime.protocols import Backend, V

FIRST_POLL_SECONDS: Final = 0.02
POLL_GROWTH: Final = 1.5

TIGHT_POLL_SECONDS: Final = 0.001
TIGHT_POLL_GROWTH: Final = 2
"""A wait for one task looks after 1, 2, 4, 8 and 16 ms before it begins with the pauses above: a task that takes a
millisecond is not to take twenty, and a wait for a longer task costs five reads more."""

LEAST_WAIT_SECONDS: Final = 0.5
"""The least time for a call's answer: a caller who doesn't want to wait at all does want an answer."""

_joins_allowed: Final[ContextVar[bool]] = ContextVar("taskq_joins_allowed", default=False)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Allow ``get`` to wait inside a task, within a ``with`` block: for code that knows another worker to be free."""
    token = _joins_allowed.set(True)
    try:
        yield
    finally:
        _joins_allowed.reset(token)


def joins_allowed() -> bool:
    """Whether the calling code is within a ``with`` block of ``allow_join_result``."""
    return _joins_allowed.get()


def refuse_inside_a_task(disable_sync_subtasks: bool) -> None:
    """Refuse to wait inside a task, where waiting could block every worker for good.

    Args:
        disable_sync_subtasks: False allows it.

    Raises:
        RuntimeError: a task runs in this context.
    """
    if disable_sync_subtasks and current_invocation.get() is not None and not joins_allowed():
        raise RuntimeError(
            "get() inside a task waits for a worker that may be waiting for this task: let a chain or a callback "
            "pass the value on, or pass disable_sync_subtasks=False, or wait within allow_join_result()"
        )


def refuse_on_message(on_message: object) -> None:
    """Refuse the argument ``on_message``, which only Celery's message-based backends can honour.

    Raises:
        ImproperlyConfigured: the argument was given.
    """
    if on_message is not None:
        raise errors.ImproperlyConfigured(
            "on_message is not supported: result stores send no messages; use on_interval, which is called after each "
            "poll of the store"
        )


def needed(app: Backend | None, call: str) -> Backend:
    """Return the application, which has to be given, since there is no current application as in Celery.

    Args:
        app: the application.
        call: the call that needs it, up to its last argument, for the error: ``"AsyncResult('id'"``.

    Raises:
        TypeError: there is no application.
    """
    if app is None:
        raise TypeError(
            f"{call}) doesn't belong to an application: write {call}, app=app), or call it on the application"
        )
    return app


class NoApplication:
    """Stands for the application of a set that has no results, and so nothing to read from a store."""

    @property
    def store(self) -> ResultStore:
        """The result store, which is missing.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("a set without results doesn't belong to an application: make it with app=...")

    @property
    def scheduler(self) -> ScheduleStore | None:
        """None: no message of this set waits in a scheduler."""
        return None

    def run(self, flow: Flow[V]) -> V:
        """Drive a flow that makes no calls."""
        return run(flow, _no_answer)

    async def arun(self, flow: Flow[V]) -> V:
        """Drive a flow that makes no calls, on an event loop."""
        return self.run(flow)

    def result_expires_at(self) -> float | None:
        """None: no record is written for this set."""
        return None


def _no_answer(step: Step) -> object:
    raise AssertionError(f"nothing can answer {step!r}")


def refuse_without_store(backend: Backend) -> None:
    """Refuse an operation that needs stored results.

    Raises:
        ImproperlyConfigured: the application keeps no results.
    """
    if not backend.store.capabilities.keeps_records:
        raise errors.ImproperlyConfigured(
            "no result store is configured: set TASKQ_RESULTS, for example dynamodb://my-table"
        )


def deadline_after(timeout: float | None) -> float:
    """The time at which a wait ends, by the monotonic clock: ``timeout`` seconds from now; None: infinity.

    Raises:
        OptionError: the timeout is not a number of seconds.
    """
    if timeout is None or timeout == math.inf:
        return math.inf
    seconds: float = check(DELAY, "timeout", timeout)
    return time.monotonic() + seconds


def in_time(flow: Flow[V], task: str, timeout: float | None, deadline: float) -> Flow[V]:
    """Wrap a read of the store so that it takes no longer than the caller waits.

    Args:
        flow: the read.
        task: the id of the task that is waited for.
        timeout: the longest time to wait, in seconds, for the error; None: as long as the read takes.
        deadline: the end of that time, by the monotonic clock.
    """
    if timeout is None or deadline == math.inf:
        return flow

    def too_late() -> Exception:
        return errors.TimeoutError(
            f"task {task} is unknown after {timeout} s: the result store gave no answer; it may still end"
        )

    return _within(flow, lambda: deadline - time.monotonic(), too_late)


def _within(
    flow: Generator[Step, Any, V], left: Callable[[], float], too_late: Callable[[], Exception]
) -> Generator[Step, Any, V]:
    """Wrap a flow so that neither a call nor its repetitions take longer than the caller waits.

    Args:
        flow: the flow; its failed calls are repeated while there is time.
        left: the seconds that are left.
        too_late: makes the error that is raised when there is no time left.
    """
    flow = retrying(flow)
    try:
        step = next(flow)
        while True:
            if isinstance(step, Call | Gather):
                calls = [step] if isinstance(step, Call) else step.calls
                answers = yield Within(calls, max(left(), LEAST_WAIT_SECONDS))
                if left() <= 0 and any(isinstance(each, CallError) for each in answers):
                    raise too_late()
                if isinstance(step, Gather):
                    step = flow.send(answers)
                elif isinstance(answers[0], CallError):
                    step = flow.throw(answers[0])
                else:
                    step = flow.send(answers[0])
            elif isinstance(step, Sleep):
                step = flow.send((yield Sleep(max(min(step.seconds, left()), 0), step.until)))
            else:
                step = flow.send((yield step))
    except StopIteration as stop:
        result: V = stop.value
        return result
    finally:
        flow.close()


def pauses(longest: float, first: float | None = None) -> Iterator[float]:
    """Yield the seconds between polls of the store, which grow up to ``longest``, without end.

    Args:
        longest: the longest pause.
        first: the first pause; None: ``FIRST_POLL_SECONDS``.

    Raises:
        OptionError: ``longest`` is not a number of seconds.
    """
    longest = check(WAIT, "interval", longest)
    pause = min(FIRST_POLL_SECONDS if first is None else check(WAIT, "interval", first), longest)
    while True:
        yield pause
        growth = POLL_GROWTH if pause >= FIRST_POLL_SECONDS else TIGHT_POLL_GROWTH
        pause = min(pause * growth, longest)
