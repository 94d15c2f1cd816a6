"""The pools of greenlets, gevent and eventlet: hundreds of tasks at a time in one child process.

Libraries of greenlets replace the standard library's blocking calls. In the worker's own process that would take the
place of the event loop that renews leases, so the tasks run in a child process, which is patched before it imports
anything (``greenlet_child``). The worker stays as it is, and can kill the child.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import ClassVar

from taskq_cloud.core.model.outcome import Abandoned, Invocation, Lost, Outcome
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.base import Place
from taskq_cloud.pools.child_handle import TaskNotStarted
from taskq_cloud.pools.child_supply import APP_RUNNER, ChildSupply, log_loss
from taskq_cloud.pools.greenlet_process import GreenletProcess, program_of


@dataclass(frozen=True, slots=True, eq=False)
class _PlaceInProcess(Place):
    process: GreenletProcess


class GreenletPool:
    """Runs each task in a greenlet of one child process. A process that dies is replaced at once.

    Args:
        app_path: where the process finds the application: ``"shop:app"``.
        concurrency: how many tasks run at a time.
        runner_factory: ``module:callable``; the process calls it with ``app_path`` to get its runner.

    Attributes:
        runs_here: False: tasks run in a child process.
        hub: the library of greenlets.
    """

    runs_here = False
    hub: ClassVar[str]

    def __init__(self, app_path: str, concurrency: int, *, runner_factory: str = APP_RUNNER) -> None:
        self.concurrency = concurrency
        start = partial(GreenletProcess.start, runner_factory, app_path, program=program_of(self.hub))
        self._supply = ChildSupply(start, app_path)
        # The process, once it is ready; a new future each time one has died. None: the pool has stopped.
        self._process: asyncio.Future[GreenletProcess | None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pids(self) -> list[int]:
        """The id of the process, and those of processes that are leaving."""
        return [process.pid for process in self._supply.children]

    async def start(self) -> None:
        """Start the process.

        Raises:
            ImproperlyConfigured: the library of greenlets is missing, or the process can't import the application.
        """
        if find_spec(self.hub) is None:
            raise ImproperlyConfigured(
                f"the {self.hub} pool needs the package {self.hub}: pip install 'taskq-cloud[{self.hub}]'"
            )
        self._process = asyncio.get_running_loop().create_future()
        try:
            [process] = await self._supply.start(1)
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep_alive(process))
        self._offer(process)

    async def reserve(self) -> Place | None:
        """Wait until there is a process. It has a place for each run."""
        while (process := await self._ready()) is not None:
            if not process.leaving.is_set():
                return _PlaceInProcess(process.pid, process)
            await asyncio.sleep(0)  # its keeper is about to replace it
        return None

    def free(self, place: Place) -> None:
        """Do nothing: the place has cost nothing."""

    async def run(self, invocation: Invocation, place: Place | None = None) -> Outcome:
        """Run one task in the process, or in its replacement if it has died before the task was begun."""
        while True:
            place = place or await self.reserve()
            if not isinstance(place, _PlaceInProcess):
                return Abandoned()
            process = place.process
            if not process.leaving.is_set():
                with suppress(TaskNotStarted):
                    return self._outcome(process, invocation, await process.run(invocation))
            place = None

    async def resize(self, concurrency: int) -> None:
        """Run so many tasks at a time from now on. Tasks that run go on."""
        self.concurrency = concurrency

    async def stop(self) -> None:
        """End the process: by closing its channel, or by killing it if tasks run."""
        self._stopping = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        for process in self._supply.children:
            process.abandon()
        await self._supply.stop()
        self._offer(None)

    def _outcome(self, process: GreenletProcess, invocation: Invocation, outcome: Outcome) -> Outcome:
        if not isinstance(outcome, Lost) or not process.leaving.is_set():
            return outcome
        if self._stopping:
            return Abandoned()
        log_loss(process.pid, invocation, outcome)
        return outcome

    async def _ready(self) -> GreenletProcess | None:
        return None if self._process is None else await asyncio.shield(self._process)

    def _offer(self, process: GreenletProcess | None) -> None:
        if process is not None:
            process.listen()
        if self._process is None or self._process.done():
            self._process = asyncio.get_running_loop().create_future()
        self._process.set_result(process)

    async def _keep_alive(self, process: GreenletProcess) -> None:
        """Replace the process each time it leaves."""
        failures = 0
        while True:
            await process.leaving.wait()
            self._process = asyncio.get_running_loop().create_future()
            self._supply.reap(process)
            # A process that dies before its first task counts as a failed start: its replacement may die as well.
            failures = 0 if process.tasks_started else failures + 1
            process = await self._supply.start_another(failures)
            self._offer(process)


class GeventPool(GreenletPool):
    """A pool of greenlets of gevent."""

    hub = "gevent"


class EventletPool(GreenletPool):
    """A pool of greenlets of eventlet."""

    hub = "eventlet"
