"""Waits a limited time for the answers of calls: the step ``Within`` of ``core.flows``, for both drivers."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from taskq_cloud.clients.base import Client
from taskq_cloud.core.flows import NO_ANSWER_YET, CallError, Gather, Trouble, Within


def answers_within(step: Within, gather: Callable[[Gather], list[Any]], client: Callable[[str], Client]) -> list[Any]:
    """Make the calls in a thread of their own: a call under way can't be ended from outside.

    Clients of this machine's files (``is_local``) are called here. They never wait for long, and for them the thread
    would take longer than the call.
    """
    if all(getattr(client(call.service), "is_local", False) for call in step.calls):
        return gather(Gather(step.calls))
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
