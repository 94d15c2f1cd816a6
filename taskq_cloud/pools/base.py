"""What a pool is: it takes an invocation and answers with an outcome, within the invocation's time limits."""

from __future__ import annotations

from typing import Protocol

from taskq_cloud.core.model.outcome import Invocation, Outcome

GRACE_SECONDS = 1.0
"""How long what was told to end may take for it: short, because a stopping worker waits for it."""


class Runner(Protocol):
    """Runs task functions: the application's side of a pool (``taskq_cloud.core.execution.runner``).

    What a task raises is an outcome. That includes ``SoftTimeLimitExceeded``, which the pool raises in the task.
    """

    def is_async(self, task: str) -> bool:
        """Whether the task's function is a coroutine function."""
        ...

    def run(self, invocation: Invocation) -> Outcome:
        """Run the function in this thread, a coroutine function on an event loop of this thread's own.

        Raises only what is no outcome of the task: ``TimeLimitExceeded`` where the pool threw it in, ``SystemExit``.
        """
        ...

    async def arun(self, invocation: Invocation) -> Outcome:
        """Run the coroutine function on the running loop. Cancelling it cancels the task.

        Lets ``CancelledError`` through; the pool knows whether it was asked for.
        """
        ...


class Pool(Protocol):
    """A place where tasks run, ``concurrency`` at a time.

    A pool never raises for what a task does: an exception, a dead process and a passed time limit are outcomes.
    """

    concurrency: int

    async def start(self) -> None:
        """Start processes or threads. Raises if they can't run the application at all."""
        ...

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one task. The caller never has more than ``concurrency`` runs under way.

        Cancelling ends the run as fast as the pool can (a process is killed, a coroutine cancelled, a thread left to
        its own end and its outcome dropped); the caller then gives the message back.
        """
        ...

    async def stop(self) -> None:
        """End all processes and threads. Runs still under way are ended as if cancelled and come to ``Abandoned``."""
        ...
