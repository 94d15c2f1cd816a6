"""Carries out parts of several flows by one operation: the step ``Together`` of ``core.flows``, for both drivers.

A part that comes while nothing is under way is carried out at once, with those that come at the same time. Parts that
come meanwhile wait until the operation under way ends, and are then carried out together: the slower the service, the
more parts share a request. An operation that takes long holds up nobody for more than ``LONGEST_WAIT_SECONDS``.

If an operation on several parts fails, each part is carried out by itself, so that one part can't make others fail.
Only an outage is everybody's.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from taskq_cloud.core.flows import Flow, Together
from taskq_cloud.errors import Unreachable

LONGEST_WAIT_SECONDS: Final = 0.02
"""How long a part waits for an operation that is under way."""

COLLECTING_SECONDS: Final = 0.003
"""How long the part of a flow that goes on later waits for others, unless somebody waits for its answer."""

IDLE_SECONDS: Final = 1.0
"""How long the thread of a ``Combiner`` waits for the next part before it ends."""

Operation: TypeAlias = Callable[[Sequence[Any]], Flow[Sequence[Any]]]


class AsyncCombiner:
    """Combines the parts of the flows on one event loop.

    Args:
        run: drives a flow of calls.
    """

    def __init__(self, run: Callable[[Flow[Any]], Awaitable[Any]]) -> None:
        self._run = run
        # Operation -> the parts that are to be carried out next. An operation that is not in it isn't under way.
        self._waiting: dict[Operation, list[tuple[Together, asyncio.Future[Any]]]] = {}
        self._starts: dict[Operation, asyncio.Handle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def perform(self, step: Together) -> Any:
        """Carry out a part, and return its answer or raise its error."""
        loop, operation = asyncio.get_running_loop(), step.operation
        answer: asyncio.Future[Any] = loop.create_future()
        waiting = self._waiting.get(operation)
        if waiting is None:
            waiting = self._waiting[operation] = []
            # Flows that go on in the same turn of the loop come along.
            self._starts[operation] = loop.call_soon(self._start, operation)
        elif not waiting and operation not in self._starts:
            self._starts[operation] = loop.call_later(LONGEST_WAIT_SECONDS, self._start, operation)
        waiting.append((step, answer))
        return await answer

    def _start(self, operation: Operation) -> None:
        """Carry out the parts that wait."""
        self._starts.pop(operation).cancel()
        parts, self._waiting[operation] = self._waiting[operation], []
        task = asyncio.get_running_loop().create_task(self._carry_out(operation, parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, operation: Operation, parts: Sequence[tuple[Together, asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._run(_answers(operation, [step.part for step, _ in parts]))
            for (_, future), answer in zip(parts, answers, strict=True):
                _hand_over(answer, future)
        finally:
            self._go_on(operation)

    def _go_on(self, operation: Operation) -> None:
        """Carry out the parts that waited for the operation that has ended."""
        if operation in self._starts:
            self._start(operation)
        elif not self._waiting.get(operation, True):
            del self._waiting[operation]


class Combiner:
    """Combines the parts of flows that run in threads. A thread of its own carries them out while there are any.

    Args:
        run: drives a flow of calls.
    """

    def __init__(self, run: Callable[[Flow[Any]], Any]) -> None:
        self._run = run
        self._parts: queue.SimpleQueue[tuple[Together, Future[Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = False

    def begin(self, step: Together) -> Future[Any]:
        """Have a part carried out soon; ``hurry`` when its answer is waited for."""
        future: Future[Any] = Future()
        with self._lock:
            self._parts.put((step, future))
            if not self._running:
                threading.Thread(target=self._carry_out_all, name="taskq-together", daemon=True).start()
                self._running = True
        return future

    def hurry(self) -> None:
        """Wait for no further parts."""
        self._parts.put(None)

    def perform(self, step: Together) -> Any:
        """Carry out a part, and return its answer or raise its error."""
        future = self.begin(step)
        self.hurry()
        return future.result()

    def _carry_out_all(self) -> None:
        while parts := self._collected():
            together: dict[Operation, list[tuple[Together, Future[Any]]]] = {}
            for step, future in parts:
                together.setdefault(step.operation, []).append((step, future))
            for operation, members in together.items():
                answers = self._run(_answers(operation, [step.part for step, _ in members]))
                for (_, future), answer in zip(members, answers, strict=True):
                    _hand_over(answer, future)

    def _collected(self) -> list[tuple[Together, Future[Any]]]:
        """Wait for a part, and for those that come soon after it; no part: this thread is to end."""
        parts: list[tuple[Together, Future[Any]]] = []
        end_at = time.monotonic() + IDLE_SECONDS
        while True:
            left = end_at - time.monotonic()
            try:
                part = self._parts.get(left > 0, left) if left > 0 else self._parts.get_nowait()
            except queue.Empty:
                if parts:
                    return parts
                with self._lock:
                    self._running = not self._parts.empty()
                    if not self._running:
                        return []
                continue
            if part is None:
                end_at = 0 if parts else end_at
                continue
            end_at = end_at if parts else time.monotonic() + COLLECTING_SECONDS
            parts.append(part)


def _answers(operation: Operation, parts: Sequence[Any]) -> Flow[list[Any]]:
    """Carry out parts together, or each by itself if that fails; a part that fails is answered by its error."""
    try:
        return list((yield from operation(parts)))
    except Exception as error:  # noqa: BLE001 - raised in the flows of the parts
        if len(parts) == 1 or isinstance(error, Unreachable):
            return [error] * len(parts)
    answers: list[Any] = []
    for part in parts:
        answers += yield from _answers(operation, [part])
    return answers


def _hand_over(answer: Any, future: Future[Any] | asyncio.Future[Any]) -> None:
    """Give a flow its answer, unless it waits no more."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
