"""The asyncio pool: many coroutine functions at a time, on the worker's own event loop.

A time limit or a cancellation reaches a coroutine where it awaits: the soft limit as ``SoftTimeLimitExceeded``, the
hard limit as a cancellation. A coroutine that blocks the loop also blocks the worker, lease renewal included. It can
cancel only its own tasks (``own_tasks``). Plain functions run in threads, by the rules of the threads pool.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from weakref import WeakSet

from taskq_cloud.core.execution.run_context import ended_runs
from taskq_cloud.core.model.outcome import Abandoned, Invocation, Outcome, TimedOut
from taskq_cloud.pools.base import GRACE_SECONDS, Place, Runner
from taskq_cloud.pools.own_tasks import keep_tasks_apart, start_run
from taskq_cloud.pools.task_calls import acall, outcome_of_error
from taskq_cloud.pools.threads import ThreadPool

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Run:
    """A coroutine that runs, and the future that its caller waits for: its end, its time limit, or the pool's end."""

    invocation: Invocation
    waited_for: asyncio.Future[None]

    def stop_waiting(self) -> None:
        if not self.waited_for.done():
            self.waited_for.set_result(None)


class AsyncioPool:
    """Runs coroutine functions on the running event loop.

    Args:
        runner: runs the task functions.
        concurrency: how many tasks run at a time, plain functions included.
        grace_seconds: how long a cancelled coroutine may clean up. After that it is left behind with a warning.
    """

    def __init__(self, runner: Runner, concurrency: int, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self.concurrency = concurrency
        self._runner = runner
        self._grace_seconds = grace_seconds
        self._threads = ThreadPool(runner, concurrency, grace_seconds=grace_seconds)
        self._running: dict[asyncio.Task[Outcome], _Run] = {}
        self._cancelled: WeakSet[asyncio.Task[Outcome]] = WeakSet()
        self._runs = False

    async def start(self) -> None:
        """Get ready on the running event loop, which is the one that tasks will run on."""
        keep_tasks_apart(asyncio.get_running_loop())
        self._runs = True

    async def reserve(self) -> Place | None:
        """Return a place in this process at once: coroutines and threads are started when they are needed."""
        return await self._threads.reserve()

    def free(self, place: Place) -> None:
        """Do nothing: the place has cost nothing."""

    async def run(self, invocation: Invocation, place: Place | None = None) -> Outcome:
        """Run one task: a coroutine function on the event loop, a plain function in a thread."""
        if not self._runner.is_async(invocation.message.task):
            return await self._threads.run(invocation)
        if not self._runs:
            return Abandoned()
        loop, limit = asyncio.get_running_loop(), invocation.time_limit
        run = _Run(invocation, loop.create_future())
        name = f"taskq-task {invocation.message.id}"
        task = start_run(acall(self._runner, invocation), invocation, name, self._has_ended)
        self._running[task] = run
        timer = None if limit is None else loop.call_later(limit, run.stop_waiting)
        try:
            await run.waited_for
            if task.done():
                return self._outcome_of(task)
            if limit is None or not self._runs:
                return Abandoned()
            known = ended_runs.get(id(invocation))
            await self._end({task})
            return known or TimedOut(limit)
        except asyncio.CancelledError:
            await self._end({task})
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def resize(self, concurrency: int) -> None:
        """Run so many tasks at a time from now on. Tasks that run go on."""
        self.concurrency = concurrency
        await self._threads.resize(concurrency)

    async def stop(self) -> None:
        """Cancel the coroutines and end the threads. Those that go on after the grace period are left behind."""
        await asyncio.gather(self._threads.stop(), self._end(set(self._running)))
        self._runs = False
        for run in self._running.values():
            run.stop_waiting()

    def _has_ended(self, task: asyncio.Task[Outcome]) -> None:
        self._running.pop(task).stop_waiting()

    def _outcome_of(self, task: asyncio.Task[Outcome]) -> Outcome:
        try:
            return task.result()
        except asyncio.CancelledError as error:
            # While the run is waited for, only stop() cancels it; or the task itself does, and so it has failed.
            return Abandoned() if task in self._cancelled else outcome_of_error(error)

    async def _end(self, tasks: set[asyncio.Task[Outcome]]) -> None:
        for task in tasks:
            self._cancelled.add(task)
            task.cancel()
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=self._grace_seconds)
        for task in left:
            invocation = self._running[task].invocation
            logger.warning(
                "task %s (%s) was cancelled, but its coroutine goes on; its outcome will be dropped. Let the task "
                "re-raise asyncio.CancelledError",
                invocation.message.task,
                invocation.message.id,
                extra={
                    "action": "pool.coroutine_abandoned",
                    "queue": invocation.queue,
                    "task_id": invocation.message.id,
                },
            )
