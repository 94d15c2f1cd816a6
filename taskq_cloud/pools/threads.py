"""The threads pool: tasks share the worker's process, each in a thread of its own.

A thread can't be killed. A time limit is an exception raised inside it, which it meets at its next Python instruction:
not while it sleeps, waits for a socket or is in C code. So the hard limit decides the outcome at once and leaves the
thread behind; one that does not end is reported. Where tasks must end in time, the processes pool is the one to take.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import queue
import threading

from taskq_cloud.core.model.outcome import Abandoned, Invocation, Outcome, TimedOut
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskq_cloud.pools.base import GRACE_SECONDS, Runner
from taskq_cloud.pools.task_calls import TaskLoop, call, escaped

logger = logging.getLogger(__name__)


class ThreadPool:
    """Runs each task in a thread; threads are started when first needed and used again.

    Coroutine functions run on an event loop of the thread's own.

    Args:
        runner: runs the task functions.
        concurrency: how many tasks run at a time.
        grace_seconds: how long a thread that was told to end may take before a warning says that it has not.
    """

    def __init__(self, runner: Runner, concurrency: int, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self.concurrency = concurrency
        self._runner = runner
        self._grace_seconds = grace_seconds
        self._idle: list[_TaskThread] = []
        self._busy: set[_TaskThread] = set()
        self._ending: set[_TaskThread] = set()
        self._stopped = False

    @property
    def abandoned_threads(self) -> int:
        """How many threads were told to end in the middle of a task and have not."""
        return len(self._ending)

    async def start(self) -> None:
        """Nothing to do: the first runs start the threads."""

    async def run(self, invocation: Invocation) -> Outcome:
        """Run one task in an idle thread, or in a new one."""
        if self._stopped:
            return Abandoned()
        thread = self._idle.pop() if self._idle else _TaskThread(self._runner)
        self._busy.add(thread)
        answer = thread.begin(invocation)
        soft_timer = None
        if invocation.soft_time_limit is not None and not self._runner.is_async(invocation.message.task):
            soft_timer = asyncio.get_running_loop().call_later(invocation.soft_time_limit, thread.remind)
        try:
            limit = invocation.time_limit
            await asyncio.wait({answer}, timeout=limit)
            if limit is not None and not answer.done():
                return TimedOut(limit)
            return answer.result()
        finally:
            if soft_timer is not None:
                soft_timer.cancel()
            self._busy.discard(thread)
            if thread.running:
                self._abandon(thread)
            elif thread.interrupted or self._stopped:
                thread.retire()
            else:
                self._idle.append(thread)

    async def stop(self) -> None:
        """End the threads: runs under way come to ``Abandoned``; those that go on after the grace are left behind."""
        self._stopped = True
        for thread in self._busy:
            thread.give_up()
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
            "task %s (%s) was told to end but its thread still runs; its outcome is dropped. %d such threads. "
            "The processes pool can end any task.",
            invocation.message.task,
            invocation.message.id,
            self.abandoned_threads,
            extra={"action": "pool.thread_abandoned", "queue": invocation.queue, "task_id": invocation.message.id},
        )


class _TaskThread:
    """A thread that runs one task after the other.

    Only the event loop gives it tasks, interrupts it and learns of its answers, and a thread that was interrupted gets
    no further task. So an exception can't reach a task that it was not meant for, and no lock is needed, which an
    exception could strike in the middle of.
    """

    def __init__(self, runner: Runner) -> None:
        self.running = False
        self.interrupted = False
        self.invocation: Invocation | None = None
        self._runner = runner
        self._task_loop = TaskLoop(runner)
        self._on_task_loop = False
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Outcome] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._retired = False
        self._wake_ups: queue.SimpleQueue[None] = queue.SimpleQueue()
        # A daemon, for one that can't be ended must not keep the process from its end.
        self._thread = threading.Thread(target=self._main, name="taskq-task", daemon=True)
        self._thread.start()

    def begin(self, invocation: Invocation) -> asyncio.Future[Outcome]:
        """Run a task; the future gets its outcome."""
        self.running = True
        self._on_task_loop = self._runner.is_async(invocation.message.task)
        self._answer = self._loop.create_future()
        self.invocation = invocation
        self._wake_ups.put(None)
        return self._answer

    def remind(self) -> None:
        """Raise ``SoftTimeLimitExceeded`` in the task, if it still runs."""
        if self.running:
            self._interrupt(SoftTimeLimitExceeded)

    def end(self) -> None:
        """Raise ``TimeLimitExceeded`` in the task, or cancel its coroutine, and end the thread after it."""
        if self._on_task_loop:
            self._task_loop.end()
        else:
            self._interrupt(TimeLimitExceeded)
        # Last, so that a thread that reads it has met the exception before: it must not strike in the thread's own end.
        self.retire()

    def give_up(self) -> None:
        """Answer in the task's place: the pool is stopping."""
        if not self._answer.done():
            self._answer.set_result(Abandoned())

    def retire(self) -> None:
        """End the thread when it has no task, or has finished it."""
        self._retired = True
        self._wake_ups.put(None)

    def _interrupt(self, error: type[Exception]) -> None:
        self.interrupted = True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(error))

    def _answered(self, outcome: Outcome) -> None:
        self.running = False
        if not self._answer.done():
            self._answer.set_result(outcome)

    def _has_ended(self) -> None:
        self.running = False
        if not self.ended.done():
            self.ended.set_result(None)

    def _main(self) -> None:
        with contextlib.suppress(SoftTimeLimitExceeded, TimeLimitExceeded):
            self._serve()
        self._task_loop.close()
        with contextlib.suppress(RuntimeError):  # the worker's loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._has_ended)

    def _serve(self) -> None:
        """Wait, run, answer: one step a round, so that an exception thrown in between repeats a step and skips none."""
        invocation: Invocation | None = None
        outcome: Outcome | None = None
        while not self._retired and not self._loop.is_closed():
            try:
                if invocation is None:
                    self._wake_ups.get()
                    invocation = self.invocation
                elif outcome is None:
                    outcome = self._run(invocation)
                else:
                    self._loop.call_soon_threadsafe(self._answered, outcome)
                    invocation = outcome = None
            except BaseException as error:  # the thread outlives its tasks
                # A limit so short that it struck while this still waited is the outcome of the task it was set for.
                invocation = invocation or self.invocation
                outcome = outcome or escaped(error)

    def _run(self, invocation: Invocation) -> Outcome:
        if self._runner.is_async(invocation.message.task):
            return self._task_loop.run(invocation)
        return call(self._runner, invocation)
