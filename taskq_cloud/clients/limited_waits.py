"""Waits a limited time for the answers of calls: the step ``Within`` of ``core.flows``, for both drivers."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from taskq_cloud.core.flows import NO_ANSWER_YET, Call, CallError, Gather, Trouble, Within


def answers_within(
    step: Within, gather: Callable[[Gather], list[Any]], at_once: Callable[[Call], tuple[Any] | None]
) -> list[Any]:
    """Make the calls in a thread of their own: a call under way can't be ended from outside.

    Args:
        step: the calls, and the longest wait.
        gather: makes calls.
        at_once: makes a call whose answer nobody has to wait for, which takes less time than a thread would; None: this
            isn't one.
    """
    if len(step.calls) == 1:
        made_at_once = at_once(step.calls[0])
        if made_at_once is not None:
            return [*made_at_once]
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def make_calls() -> None:
        try:
            answers.put(gather(Gather(step.calls)))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            answers.put(error)

    threading.Thread(target=make_calls, name="taskq-call-within", daemon=True).start()
    try:
        answer = answers.get(timeout=step.seconds)
    except queue.Empty:
        return _no_answers(step)
    if isinstance(answer, BaseException):
        raise answer
    made: list[Any] = answer
    return made


async def async_answers_within(step: Within, perform: Callable[[Gather], Awaitable[Any]]) -> list[Any]:
    """Make the calls on the event loop, and cancel those that have no answer in time."""
    try:
        async with asyncio.timeout(step.seconds):
            made: list[Any] = await perform(Gather(step.calls))
            return made
    except TimeoutError:
        return _no_answers(step)


def _no_answers(step: Within) -> list[Any]:
    text = f"no answer within {step.seconds:.1f} s"
    return [CallError(call, NO_ANSWER_YET, text, Trouble.TRANSIENT) for call in step.calls]
