"""The contract of a pool: it runs invocations within their time limits and returns an outcome for each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from taskq_cloud.core.model.outcome import Invocation, Outcome

if TYPE_CHECKING:  # few applications have hooks
    from taskq_cloud.core.model.hooks import HookTable

GRACE_SECONDS = 1.0
"""How long a thread, process or coroutine may take to end once it was told to. A stopping worker waits this long."""


class Runner(Protocol):
    """Runs task functions: the application's side of a pool. ``taskq_cloud.core.execution.runner`` implements it.

    An exception that a task raises becomes an outcome. That includes ``SoftTimeLimitExceeded``, which the pool raises
    inside the task.
    """

    @property
    def hooks(self) -> HookTable:
        """The application's hooks; the pools call those about processes, and the runner those about runs."""
        ...

    @property
    def packages(self) -> Collection[str]:
        """The top-level packages and modules that declare tasks: a time limit is raised in a thread only in these."""
        ...

    def is_async(self, task: str) -> bool:
        """Return whether the function of the named task is a coroutine function."""
        ...

    def run(self, invocation: Invocation) -> Outcome:
        """Run the task's function in this thread. A coroutine function runs on an event loop owned by this thread.

        Raises:
            TimeLimitExceeded: the pool raised it in the task.
            SystemExit: the task asked the process to exit.
        """
        ...

    async def arun(self, invocation: Invocation) -> Outcome:
        """Run the task's coroutine function on the running event loop. Cancelling this call cancels the task.

        Raises:
            asyncio.CancelledError: the call was cancelled, or the task raised it. Only the pool can tell which.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A place of a pool in which a run can begin at once. ``pid`` is the id of the process that the run will be in."""

    pid: int


class Pool(Protocol):
    """Runs tasks, up to ``concurrency`` of them at a time.

    A pool in whose child processes tasks run has the attribute ``runs_here``, which is False. The hooks
    ``process_started`` and ``process_stopping`` are then left to the pool, which calls them in each child process.

    A pool that can change its size has the method ``resize(concurrency)``, as ``ResizablePool`` says. Only such a pool
    can be scaled by ``--autoscale``, or told to grow and shrink.

    A pool never raises because of a task: an exception, a process that died and a time limit that passed are outcomes.
    """

    concurrency: int

    async def start(self) -> None:
        """Start the pool's processes or threads. Raise an error if they can't run the application at all."""
        ...

    async def reserve(self) -> Place | None:
        """Wait for a place and reserve it for one run; None if the pool has stopped.

        The caller never has more than ``concurrency`` places and runs together.
        """
        ...

    def free(self, place: Place) -> None:
        """Give up a reserved place, because the run does not take place."""
        ...

    async def run(self, invocation: Invocation, place: Place | None = None) -> Outcome:
        """Run one task in a reserved place, or in the next one that is free.

        Cancelling this call ends the run as fast as the pool can: a process is killed, a coroutine is cancelled, a
        thread runs on and its outcome is dropped. The caller then gives the message back to its queue.
        """
        ...

    async def stop(self) -> None:
        """End all processes and threads. Runs still under way are ended, and their outcome is ``Abandoned``."""
        ...


@runtime_checkable
class ResizablePool(Pool, Protocol):
    """A pool that can change how many tasks it runs at a time."""

    async def resize(self, concurrency: int) -> None:
        """Run so many tasks at a time from now on.

        Tasks that run go on, and so do places that are reserved. A pool that grows need not be done when this returns:
        ``reserve`` waits for the new places. A pool that shrinks gives up the places that are free first, and others
        when their runs have ended.

        Raises:
            ImproperlyConfigured: the pool can't run so many.
        """
        ...
