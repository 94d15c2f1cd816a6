"""The child processes of a pool: they are started and replaced, and none of them outlives the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from taskq_cloud.core.model.outcome import Invocation, Lost
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.base import GRACE_SECONDS
from taskq_cloud.pools.child_handle import ChildHandle, DiedWhileLoading, LoadError
from taskq_cloud.pools.guard import Guard

logger = logging.getLogger("taskq_cloud.pools")

C = TypeVar("C", bound=ChildHandle)

APP_RUNNER: Final = "taskq_cloud.bootstrap.loading:load_runner"
FIRST_BACKOFF_SECONDS: Final = 0.1
LONGEST_BACKOFF_SECONDS: Final = 30.0
FIRST_STARTS: Final = 3
"""How often a process is started if it is killed while the worker starts. After that, the worker ends."""


class ChildSupply(Generic[C]):
    """Starts the child processes of a pool, and waits for the end of those that leave.

    Args:
        start: starts a process.
        app_path: where the processes find the application; errors name it.

    Attributes:
        children: the processes, including those that are leaving.
    """

    def __init__(self, start: Callable[[], Awaitable[C]], app_path: str) -> None:
        self.children: set[C] = set()
        self._start = start
        self._app_path = app_path
        self._reapers: set[asyncio.Task[None]] = set()
        self._guard = Guard()

    async def start(self, count: int) -> list[C]:
        """Start the first processes.

        Raises:
            ImproperlyConfigured: a process can't import the application. Call ``stop`` then.
        """
        await self._guard.start()
        results = await asyncio.gather(*(self._start_first() for _ in range(count)), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures and isinstance(failures[0], LoadError):
            raise ImproperlyConfigured(
                f"the worker's child processes can't import the application {self._app_path!r}: {failures[0]}"
            ) from failures[0]
        if failures:
            raise failures[0]
        return [result for result in results if not isinstance(result, BaseException)]

    async def start_another(self, failures: int = 0) -> C:
        """Start a process, and try again until it has imported the application.

        Args:
            failures: how many starts have failed before this one.
        """
        while True:
            if failures:
                await asyncio.sleep(min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (failures - 1)))
            try:
                return await self._start_child()
            except (LoadError, OSError) as error:
                failures += 1
                self._log_failed_start(error, failures)

    def reap(self, child: C) -> None:
        """Wait for the end of a process that is leaving, in the background."""
        reaper = asyncio.create_task(self._reap(child))
        self._reapers.add(reaper)
        reaper.add_done_callback(self._reapers.discard)

    async def stop(self) -> None:
        """Wait for the end of all processes, which were told to leave."""
        await asyncio.gather(*self._reapers, *(self._reap(child) for child in set(self.children)))
        await self._guard.stop()

    async def _start_first(self) -> C:
        for failures in range(1, FIRST_STARTS):
            try:
                return await self._start_child()
            except DiedWhileLoading as error:
                self._log_failed_start(error, failures)
        return await self._start_child()

    async def _start_child(self) -> C:
        child = await self._start()
        self.children.add(child)
        self._guard.add(child.pid)
        return child

    async def _reap(self, child: C) -> None:
        await child.reap(GRACE_SECONDS)
        self._guard.remove(child.pid)
        self.children.discard(child)

    def _log_failed_start(self, error: Exception, failures: int) -> None:
        logger.error(
            "a new child process can't import the application %s (attempt %d); tasks wait until one can: %s",
            self._app_path,
            failures,
            error,
            extra={"action": "pool.child_start_failed"},
        )


def log_loss(pid: int, invocation: Invocation, outcome: Lost) -> None:
    """Log that a task was lost with the process that ran it."""
    logger.error(
        "task %s (%s) was lost because process %d died: %s",
        invocation.message.task,
        invocation.message.id,
        pid,
        outcome.reason,
        extra={"action": "pool.child_lost", "queue": invocation.queue, "task_id": invocation.message.id},
    )
