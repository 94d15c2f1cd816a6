"""The processes pool: each task runs in a child process, which can be killed and whose death costs only that task.

Child processes are started from scratch (``python -m taskq_cloud.pools.child``) and share only one socket each with the
worker. So no process with threads is forked, and a killed process can't leave a lock taken.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from taskq_cloud.core.model.outcome import Abandoned, Invocation, Lost, Outcome, TimedOut
from taskq_cloud.pools.base import Place
from taskq_cloud.pools.child_handle import TaskNotStarted
from taskq_cloud.pools.child_process import PROGRAM, ChildProcess
from taskq_cloud.pools.child_supply import APP_RUNNER, ChildSupply, log_loss

logger = logging.getLogger(__name__)


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
        self._max_tasks = max_tasks_per_child
        self._max_memory_kib = max_memory_per_child_kib
        # None marks the end: stop() puts it into the queue once, and each run that takes it puts it back.
        self._idle: asyncio.Queue[ChildProcess | None] = asyncio.Queue()
        start = partial(
            ChildProcess.start,
            runner_factory,
            app_path,
            program=PROGRAM,
            measures_memory=max_memory_per_child_kib is not None,
        )
        self._supply = ChildSupply(start, app_path)
        # The task that replaces a process -> its process; None: one that is being started.
        self._keepers: dict[asyncio.Task[None], ChildProcess | None] = {}
        self._stopping = False

    @property
    def pids(self) -> list[int]:
        """The ids of the processes, including the processes that are leaving."""
        return [child.pid for child in self._supply.children]

    async def start(self) -> None:
        """Start the processes.

        Raises:
            ImproperlyConfigured: a process can't import the application.
        """
        try:
            started = await self._supply.start(self.concurrency)
        except BaseException:
            await self.stop()
            raise
        for child in started:
            self._keep(child)

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

    async def resize(self, concurrency: int) -> None:
        """Have so many processes: new ones are started, and of those that are there some end once they are idle."""
        self.concurrency = concurrency
        for _ in range(-self._surplus):
            self._keep(None)
        while self._surplus > 0 and not self._idle.empty():
            child = self._idle.get_nowait()
            if child is None:
                self._idle.put_nowait(None)
                return
            self._retire(child)

    async def stop(self) -> None:
        """End the processes: idle processes by closing their channel, busy processes by killing them."""
        self._stopping = True
        keepers = list(self._keepers)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        idle: set[ChildProcess] = set()
        while not self._idle.empty():
            child = self._idle.get_nowait()
            if child is not None:
                idle.add(child)
        for child in self._supply.children:
            if child in idle or child.leaving.is_set():
                child.retire()
            else:
                child.kill()
        await self._supply.stop()
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
            log_loss(child.pid, invocation, outcome)
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
        too_many = len(self._keepers) > self.concurrency and self._surplus > 0
        if spent or grown or too_many or self._stopping:
            self._retire(child)
        else:
            self._idle.put_nowait(child)

    @staticmethod
    def _retire(child: ChildProcess) -> None:
        logger.info(
            "process %d retires after %d tasks%s",
            child.pid,
            child.tasks_started,
            f" with {child.resident_kib} KiB resident" if child.resident_kib else "",
            extra={"action": "pool.child_retired", "pid": child.pid},
        )
        child.retire()

    @property
    def _surplus(self) -> int:
        """How many processes there are too many, those that are being started included."""
        staying = sum(child is None or not child.leaving.is_set() for child in self._keepers.values())
        return staying - self.concurrency

    def _keep(self, child: ChildProcess | None) -> None:
        """Have a process, or one that is still to be started, replaced each time it leaves."""
        keeper = asyncio.create_task(self._keep_alive(child))
        self._keepers[keeper] = child
        keeper.add_done_callback(self._keepers.pop)

    async def _keep_alive(self, child: ChildProcess | None) -> None:
        """Offer the process to the runs, and replace it each time it leaves, unless there are too many."""
        keeper = asyncio.current_task()
        assert keeper is not None  # this is a coroutine
        failures = 0
        while True:
            if child is None:
                child = await self._supply.start_another(failures)
                self._keepers[keeper] = child
            self._reuse(child)
            await child.leaving.wait()
            self._supply.reap(child)
            if len(self._keepers) > self.concurrency:
                return
            # A process that dies before its first task counts as a failed start: its replacement may die as well.
            failures = 0 if child.tasks_started else failures + 1
            child = self._keepers[keeper] = None
