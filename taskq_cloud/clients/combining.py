"""Carries out parts of several flows by one operation: the step ``Together`` of ``core.flows``, for both drivers.

A part that comes while nothing is under way is carried out at once, with those that come at the same time. Parts that
come meanwhile wait until the operation under way ends, and are then carried out together: the slower the service, the
more parts share a request. An operation that takes long holds up nobody for more than ``LONGEST_WAIT_SECONDS``.

If an operation on several parts fails, each part is carried out by itself, so that one part can't make others fail.
Only an outage is everybody's. An operation may also answer a part by its error.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeAlias, TypeVar

from taskq_cloud.core.flows import Flow, Together
from taskq_cloud.errors import Unreachable

F = TypeVar("F", Future[Any], asyncio.Future[Any])

LONGEST_WAIT_SECONDS: Final = 0.02
"""How long a part waits for an operation that is under way."""

COLLECTING_SECONDS: Final = 0.003
"""How long the part of a flow that goes on later waits for others, unless somebody waits for its answer."""

Operation: TypeAlias = Callable[[Sequence[Any]], Flow[Sequence[Any]]]
Parts: TypeAlias = list[tuple[Any, F]]
"""Parts of one operation, each with the future of its answer."""


class AsyncCombiner:
    """Combines the parts of the flows on one event loop.

    Args:
        run: drives a flow of calls.
    """

    def __init__(self, run: Callable[[Flow[Any]], Awaitable[Any]]) -> None:
        self._run = run
        # Operation -> the parts that are to be carried out next. An operation that is not in it isn't under way.
        self._waiting: dict[Operation, Parts[asyncio.Future[Any]]] = {}
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
        waiting.append((step.part, answer))
        return await answer

    def _start(self, operation: Operation) -> None:
        """Carry out the parts that wait."""
        self._starts.pop(operation).cancel()
        parts, self._waiting[operation] = self._waiting[operation], []
        task = asyncio.get_running_loop().create_task(self._carry_out(operation, parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, operation: Operation, parts: Parts[asyncio.Future[Any]]) -> None:
        try:
            _hand_over(parts, await self._run(_answers(operation, [part for part, _ in parts])))
        except BaseException as error:  # nobody may wait for ever
            _hand_over(parts, [error] * len(parts))
            raise
        finally:
            self._go_on(operation)

    def _go_on(self, operation: Operation) -> None:
        """Carry out the parts that waited for the operation that has ended."""
        if operation in self._starts:
            self._start(operation)
        elif not self._waiting.get(operation, True):
            del self._waiting[operation]


class Combiner:
    """Combines the parts of flows that run in threads, with a thread for each operation.

    Args:
        run: drives a flow of calls.
    """

    def __init__(self, run: Callable[[Flow[Any]], Any]) -> None:
        self._run = run
        self._changed = threading.Condition()
        self._collected: dict[Operation, Parts[Future[Any]]] | None = None
        self._hurried = False
        self._under_way = 0

    def begin(self, step: Together) -> Future[Any]:
        """Have a part carried out soon; ``hurry`` when its answer is waited for."""
        future: Future[Any] = Future()
        with self._changed:
            if self._collected is None:
                # It waits for the lock. A time limit may be raised here at any moment, and must leave no parts behind.
                threading.Thread(target=self._carry_out, name="taskq-together", daemon=True).start()
                self._collected = {}
            self._collected.setdefault(step.operation, []).append((step.part, future))
        return future

    def hurry(self) -> None:
        """Wait for no further parts."""
        with self._changed:
            self._hurried = self._collected is not None
            self._changed.notify_all()

    def perform(self, step: Together) -> Any:
        """Carry out a part, and return its answer or raise its error."""
        future = self.begin(step)
        self.hurry()
        return future.result()

    def _carry_out(self) -> None:
        collected = self._collect()
        try:
            for operation, parts in collected.items():
                _hand_over(parts, self._run(_answers(operation, [part for part, _ in parts])))
        except BaseException as error:  # noqa: BLE001 - nobody may wait for ever
            for parts in collected.values():
                _hand_over(parts, [error] * len(parts))
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _collect(self) -> Mapping[Operation, Parts[Future[Any]]]:
        """Wait a moment for further parts, and somewhat longer while an operation is under way."""
        with self._changed:
            began_at = time.monotonic()
            while (waited := time.monotonic() - began_at) < LONGEST_WAIT_SECONDS:
                left = 0.0 if self._hurried else COLLECTING_SECONDS - waited
                if left <= 0 and not self._under_way:
                    break
                self._changed.wait(LONGEST_WAIT_SECONDS - waited if self._under_way else left)
            collected, self._collected, self._hurried = self._collected or {}, None, False
            self._under_way += 1
            return collected


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


def _hand_over(parts: Parts[F], answers: Sequence[Any]) -> None:
    """Give each flow its answer, unless it waits no more."""
    for (_, future), answer in zip(parts, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
