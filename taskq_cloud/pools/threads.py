"""The threads pool: tasks share the worker's process, and each runs in its own thread.

A thread can't be killed. A time limit is an exception raised inside the thread, as soon as it executes the
application's own code (``thread_limits``): not while it sleeps, waits for a socket, or is in a library. So the hard
limit decides the outcome at once and leaves the thread behind. A thread that does not end is reported. If tasks must
end in time, use the processes pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import threading

from taskq_cloud.core.execution.run_context import ended_runs
from taskq_cloud.core.model.outcome import Abandoned, Invocation, Outcome, TimedOut
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskq_cloud.pools.base import GRACE_SECONDS, Place, Runner
from taskq_cloud.pools.task_calls import TaskLoop, call, outcome_of_error
from taskq_cloud.pools.thread_limits import ThreadLimits, make_thread_limits

REQUEST_AGAIN_SECONDS = 0.05
"""How long to wait before a limit that the thread could not take yet is requested once more."""

logger = logging.getLogger(__name__)


class ThreadPool:
    """Runs each task in a thread. Threads are started when first needed and then reused.

    Each thread has its own event loop for coroutine functions.

    Args:
        runner: runs the task functions.
        concurrency: how many tasks run at a time.
        grace_seconds: how long a thread that was told to end may take. After that a warning is logged.
    """

    def __init__(self, runner: Runner, concurrency: int, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self.concurrency = concurrency
        self._runner = runner
        self._grace_seconds = grace_seconds
        self._idle: list[_TaskThread] = []
        self._busy: set[_TaskThread] = set()
        self._ending: set[_TaskThread] = set()
        self._stopped = False
        self._place = Place(os.getpid())

    @property
    def abandoned_threads(self) -> int:
        """How many threads were told to end during a task and have not ended yet."""
        return len(self._ending)

    async def start(self) -> None:
        """Do nothing: threads are started by the first runs."""

    async def reserve(self) -> Place | None:
        """Return a place in this process at once: threads are started when they are needed."""
        return None if self._stopped else self._place

    def free(self, place: Place) -> None:
        """Do nothing: the place has cost nothing."""

    async def run(self, invocation: Invocation, place: Place | None = None) -> Outcome:
        """Run one task in an idle thread, or in a new one."""
        if self._stopped:
            return Abandoned()
        thread = self._idle.pop() if self._idle else _TaskThread(self._runner)
        self._busy.add(thread)
        answer = thread.begin(invocation)
        limit, soft_limit = invocation.time_limit, invocation.soft_time_limit
        timers: list[asyncio.TimerHandle] = []
        if limit is not None:
            timers.append(asyncio.get_running_loop().call_later(limit, thread.end_in_time, limit))
        if soft_limit is not None and not self._runner.is_async(invocation.message.task):
            timers.append(asyncio.get_running_loop().call_later(soft_limit, thread.raise_soft_limit))
        try:
            return await answer
        finally:
            for timer in timers:
                timer.cancel()
            self._busy.discard(thread)
            if thread.running:
                self._abandon(thread)
            elif thread.interrupted or self._stopped:
                thread.retire()
            else:
                self._idle.append(thread)

    async def resize(self, concurrency: int) -> None:
        """Run so many tasks at a time from now on. Tasks that run go on; threads that are idle and too many end."""
        self.concurrency = concurrency
        while self._idle and len(self._idle) + len(self._busy) > concurrency:
            self._idle.pop().retire()

    async def stop(self) -> None:
        """End the threads. Runs under way are ``Abandoned``; threads that go on after the grace are left behind."""
        self._stopped = True
        for thread in self._busy:
            thread.answer(Abandoned())
            self._abandon(thread)
        idle, self._idle = self._idle, []
        for thread in idle:
            thread.retire()
        ending = [thread.ended for thread in (*idle, *self._ending)]
        if ending:
            await asyncio.wait(ending, timeout=self._grace_seconds)

    def _abandon(self, thread: _TaskThread) -> None:
        if thread in self._ending:
            return
        self._ending.add(thread)
        thread.ended.add_done_callback(lambda _: self._ending.discard(thread))
        thread.end()
        asyncio.get_running_loop().call_later(self._grace_seconds, self._warn_unless_ended, thread)

    def _warn_unless_ended(self, thread: _TaskThread) -> None:
        invocation = thread.invocation
        if thread.ended.done() or invocation is None:
            return
        logger.warning(
            "task %s (%s) was told to end, but its thread still runs; its outcome will be dropped. Threads in this "
            "state: %d. The processes pool can end any task: use --pool processes",
            invocation.message.task,
            invocation.message.id,
            self.abandoned_threads,
            extra={"action": "pool.thread_abandoned", "queue": invocation.queue, "task_id": invocation.message.id},
        )


class _TaskThread:
    """A thread that runs one task after the other.

    Only the event loop gives the thread tasks, interrupts it and receives its outcomes, and a thread that was
    interrupted gets no further task. So an exception can't reach a task that it was not meant for.
    """

    def __init__(self, runner: Runner) -> None:
        self.running = False
        self.interrupted = False
        self.invocation: Invocation | None = None
        self._runner = runner
        self._task_loop = TaskLoop(runner)
        self._runs_coroutine = False
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Outcome] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._retired = False
        self._limits: ThreadLimits | None = None
        self._limit: type[Exception] | None = None
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        # A daemon, because a thread that can't be ended must not keep the process from ending.
        self._thread = threading.Thread(target=self._main, name="taskq-task", daemon=True)
        self._thread.start()

    def begin(self, invocation: Invocation) -> asyncio.Future[Outcome]:
        """Run a task, and return a future for its outcome."""
        self.running = True
        self._runs_coroutine = self._runner.is_async(invocation.message.task)
        self._answer = self._loop.create_future()
        self.invocation = invocation
        self._wake_ups.put(None)
        return self._answer

    def raise_soft_limit(self) -> None:
        """Raise ``SoftTimeLimitExceeded`` in the task, if it still runs."""
        if self.running:
            self._interrupt(SoftTimeLimitExceeded)

    def end(self) -> None:
        """Raise ``TimeLimitExceeded`` in the task, or cancel its coroutine, and end the thread after it."""
        if self._runs_coroutine:
            self._task_loop.end()
        else:
            self._interrupt(TimeLimitExceeded)
        self.retire()

    def answer(self, outcome: Outcome) -> None:
        """Answer for the task, unless it has ended: its time is over, or the pool is stopping."""
        if not self._answer.done():
            self._answer.set_result(outcome)

    def end_in_time(self, limit: float) -> None:
        """Answer for the task at its hard time limit: what the function has come to if only hooks still run."""
        self.answer(ended_runs.get(id(self.invocation)) or TimedOut(limit))

    def retire(self) -> None:
        """End the thread, after its task if it has one."""
        self._retired = True
        self._wake_ups.put(None)

    def _interrupt(self, error: type[Exception]) -> None:
        self.interrupted = True
        self._limit = error
        self._request_limit()

    def _request_limit(self) -> None:
        """Request the limit, and do it again until it was raised or the task has ended."""
        if self.running and self._limit is not None:
            if self._limits is not None:  # the thread has begun
                self._limits.request(self._limit, self._runner.packages)
            self._loop.call_later(REQUEST_AGAIN_SECONDS, self._request_again)

    def _request_again(self) -> None:
        if self._limits is None or self._limits.pending:
            self._request_limit()

    def _answered(self, outcome: Outcome) -> None:
        self.running = False
        self.answer(outcome)

    def _has_ended(self) -> None:
        self.running = False
        if not self.ended.done():
            self.ended.set_result(None)

    def _main(self) -> None:
        limits = self._limits = make_thread_limits()
        while True:
            self._wake_ups.get()
            if self._retired or self._loop.is_closed() or self.invocation is None:
                break
            try:
                outcome = self._run(self.invocation)
            except BaseException as error:  # the thread outlives its tasks
                outcome = outcome_of_error(error)
            limits.withdraw()
            with contextlib.suppress(RuntimeError):  # the worker's loop is closed, so nobody waits for this thread
                self._loop.call_soon_threadsafe(self._answered, outcome)
        limits.close()
        self._task_loop.close()
        with contextlib.suppress(RuntimeError):  # as above
            self._loop.call_soon_threadsafe(self._has_ended)

    def _run(self, invocation: Invocation) -> Outcome:
        if self._runner.is_async(invocation.message.task):
            return self._task_loop.run(invocation)
        return call(self._runner, invocation)
