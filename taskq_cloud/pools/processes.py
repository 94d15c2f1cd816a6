"""The processes pool: each task runs in a child process, which can be killed and whose death costs only that task.

Child processes are started from scratch (``python -m taskq_cloud.pools.child``) and share only one socket each with the
worker. So no process with threads is forked, and a killed process can't leave a lock taken.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from taskq_cloud.core.model.outcome import Abandoned, Invocation, Lost, Outcome, TimedOut
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.base import GRACE_SECONDS, Place
from taskq_cloud.pools.child_process import ChildProcess, DiedWhileLoading, LoadError, TaskNotStarted
from taskq_cloud.pools.guard import Guard

logger = logging.getLogger(__name__)

APP_RUNNER = "taskq_cloud.bootstrap.loading:load_runner"
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 30.0
FIRST_STARTS = 3
"""How often a process is started if it is killed while the worker starts. After that, the worker ends."""


@dataclass(frozen=True, slots=True, eq=False)
class _ReservedChild(Place):
    child: ChildProcess


class ProcessPool:
    """Runs each task in one of ``concurrency`` processes. A process that dies or retires is replaced at once.

    Args:
        app_path: where the processes find the application: ``"shop:app"``.
        concurrency: how many processes there are.
        max_tasks_per_child: a process retires after this many tasks; None: never.
        max_memory_per_child_kib: a process retires after a task that leaves more than this resident, in KiB; None:
            never.
        runner_factory: ``module:callable``; each process calls it with ``app_path`` to get its runner.

    Attributes:
        runs_here: False: tasks run in child processes.
    """

    runs_here = False

    def __init__(
        self,
        app_path: str,
        concurrency: int,
        max_tasks_per_child: int | None = None,
        max_memory_per_child_kib: int | None = None,
        *,
        runner_factory: str = APP_RUNNER,
    ) -> None:
        self.concurrency = concurrency
        self._app_path = app_path
        self._runner_factory = runner_factory
        self._max_tasks = max_tasks_per_child
        self._max_memory_kib = max_memory_per_child_kib
        # None marks the end: stop() puts it into the queue once, and each run that takes it puts it back.
        self._idle: asyncio.Queue[ChildProcess | None] = asyncio.Queue()
        self._children: set[ChildProcess] = set()
        self._keepers: list[asyncio.Task[None]] = []
        self._reapers: set[asyncio.Task[None]] = set()
        self._guard = Guard()
        self._stopping = False

    @property
    def pids(self) -> list[int]:
        """The ids of the processes, including the processes that are leaving."""
        return [child.pid for child in self._children]

    async def start(self) -> None:
        """Start the processes.

        Raises:
            ImproperlyConfigured: a process can't import the application.
        """
        await self._guard.start()
        starts = [self._start_first() for _ in range(self.concurrency)]
        results = await asyncio.gather(*starts, return_exceptions=True)
        started = [result for result in results if isinstance(result, ChildProcess)]
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.stop()
            if isinstance(failures[0], LoadError):
                raise ImproperlyConfigured(
                    f"the worker's child processes can't import the application {self._app_path!r}: {failures[0]}"
                ) from failures[0]
            raise failures[0]
        self._keepers = [asyncio.create_task(self._keep_alive(child)) for child in started]

    async def reserve(self) -> Place | None:
        """Wait for an idle process and keep it for one run."""
        while (child := await self._idle.get()) is not None:
            if not child.leaving.is_set():
                return _ReservedChild(child.pid, child)
        self._idle.put_nowait(None)
        return None

    def free(self, place: Place) -> None:
        """Let another run have the process."""
        if isinstance(place, _ReservedChild) and not place.child.leaving.is_set():
            self._idle.put_nowait(place.child)

    async def run(self, invocation: Invocation, place: Place | None = None) -> Outcome:
        """Run one task in its reserved process, or in the next idle one if that has died."""
        while True:
            place = place or await self.reserve()
            if not isinstance(place, _ReservedChild):
                return Abandoned()
            if not place.child.leaving.is_set():
                with suppress(TaskNotStarted):
                    return await self._run_on(place.child, invocation)
            place = None

    async def stop(self) -> None:
        """End the processes: idle processes by closing their channel, busy processes by killing them."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        idle: set[ChildProcess] = set()
        while not self._idle.empty():
            child = self._idle.get_nowait()
            if child is not None:
                idle.add(child)
        for child in self._children:
            if child in idle or child.leaving.is_set():
                child.retire()
            else:
                child.kill()
        await asyncio.gather(*self._reapers, *(self._reap(child) for child in set(self._children)))
        await self._guard.stop()
        self._idle.put_nowait(None)

    async def _run_on(self, child: ChildProcess, invocation: Invocation) -> Outcome:
        try:
            if invocation.time_limit is None:
                outcome = await child.run(invocation)
            else:
                outcome = await self._run_within(child, invocation, invocation.time_limit)
        except asyncio.CancelledError:
            child.kill()
            raise
        if isinstance(outcome, Lost):
            if self._stopping:
                return Abandoned()
            self._log_loss(child, invocation, outcome)
            child.retire()
        elif not child.leaving.is_set():
            self._reuse(child)
        return outcome

    @staticmethod
    async def _run_within(child: ChildProcess, invocation: Invocation, limit: float) -> Outcome:
        try:
            async with asyncio.timeout(limit) as deadline:
                return await child.run(invocation)
        except TimeoutError:
            child.kill()
            if not deadline.expired():
                raise
            # Wait for the process's death before the outcome is known: the task must not do anything after that.
            await child.reap()
            return TimedOut(limit)

    def _reuse(self, child: ChildProcess) -> None:
        spent = self._max_tasks is not None and child.tasks_started >= self._max_tasks
        grown = self._max_memory_kib is not None and child.resident_kib > self._max_memory_kib
        if spent or grown or self._stopping:
            logger.info(
                "process %d retires after %d tasks%s",
                child.pid,
                child.tasks_started,
                f" with {child.resident_kib} KiB resident" if child.resident_kib else "",
                extra={"action": "pool.child_retired", "pid": child.pid},
            )
            child.retire()
        else:
            self._idle.put_nowait(child)

    async def _keep_alive(self, child: ChildProcess) -> None:
        """Offer the process to the runs, and replace it each time it leaves."""
        failures = 0
        while True:
            self._idle.put_nowait(child)
            await child.leaving.wait()
            reaper = asyncio.create_task(self._reap(child))
            self._reapers.add(reaper)
            reaper.add_done_callback(self._reapers.discard)
            # A process that dies before its first task counts as a failed start: its replacement may die as well.
            failures = 0 if child.tasks_started else failures + 1
            child = await self._start_replacement(failures)

    async def _start_first(self) -> ChildProcess:
        for failures in range(1, FIRST_STARTS):
            try:
                return await self._start_child()
            except DiedWhileLoading as error:
                self._log_failed_start(error, failures)
        return await self._start_child()

    async def _start_replacement(self, failures: int) -> ChildProcess:
        while True:
            if failures:
                await asyncio.sleep(min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (failures - 1)))
            try:
                return await self._start_child()
            except (LoadError, OSError) as error:
                failures += 1
                self._log_failed_start(error, failures)

    async def _start_child(self) -> ChildProcess:
        child = await ChildProcess.start(
            self._runner_factory, self._app_path, measures_memory=self._max_memory_kib is not None
        )
        self._children.add(child)
        self._guard.add(child.pid)
        return child

    async def _reap(self, child: ChildProcess) -> None:
        await child.reap(GRACE_SECONDS)
        self._guard.remove(child.pid)
        self._children.discard(child)

    def _log_failed_start(self, error: Exception, failures: int) -> None:
        logger.error(
            "a new child process can't import the application %s (attempt %d); tasks wait until one can: %s",
            self._app_path,
            failures,
            error,
            extra={"action": "pool.child_start_failed"},
        )

    def _log_loss(self, child: ChildProcess, invocation: Invocation, outcome: Lost) -> None:
        logger.error(
            "task %s (%s) was lost because process %d died: %s",
            invocation.message.task,
            invocation.message.id,
            child.pid,
            outcome.reason,
            extra={"action": "pool.child_lost", "queue": invocation.queue, "task_id": invocation.message.id},
        )
