"""The worker as a process: its signals, its exit code, and its end in time, whatever its tasks leave behind.

``asyncio.run`` waits for every task of its loop and every thread of its executor, and the interpreter for every thread
but daemons: one coroutine that swallows its cancellation, or one call that never returns, would keep the process until
the platform kills it. So the loop's leftovers get a moment and no more, and a thread that needs neither the loop nor
the interpreter's good end exits when the shutdown timeout is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.supervisor import Beside, Worker

logger = logging.getLogger("taskq_cloud.worker")

LEFTOVERS_SECONDS: Final = 0.5
"""How long what tasks have left on the loop may take to end."""
OVERTIME_SECONDS: Final = 1
"""After the shutdown timeout, in which a worker ends by itself, the process is ended."""
LAST_WORDS_SECONDS: Final = 1
"""How long the log may take for the last line: it may be what hangs."""
_FAILED: Final = 1


def run_worker(runtime: Runtime, options: WorkerOptions, beside: Beside | None = None) -> int:
    """Run a worker in this process until a signal, or the end of a burst, stops it.

    SIGTERM and SIGINT stop it; a second one, or SIGQUIT, makes it give back what runs as well. After a signal the
    process ends: ``OVERTIME_SECONDS`` after the shutdown timeout at the latest.

    Returns:
        The exit code: 0, or 1 where a part of the worker crashed.
    """
    last_resort = LastResort(options.shutdown_timeout + OVERTIME_SECONDS)
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        with suppress(KeyboardInterrupt):
            last_resort.code = loop.run_until_complete(_serve(Worker(runtime, options, beside), last_resort))
            loop.run_until_complete(_end_leftovers())
            return last_resort.code
        return 0
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class LastResort:
    """A thread that ends the process, once it is told that the process is to end and its time for that is over.

    Args:
        seconds: that time.
    """

    def __init__(self, seconds: float) -> None:
        self.code = _FAILED
        self._seconds = seconds
        # put() is what a signal's handler may do, whatever it has interrupted; starting a thread is not.
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._wait, name="taskq-last-resort", daemon=True).start()

    def arm(self) -> None:
        """The process is to end. Again: nothing changes."""
        self._told.put("end")

    def forget(self) -> None:
        """End the thread, unless it is armed."""
        self._told.put("forget")

    def _wait(self) -> None:
        if self._told.get() == "forget":
            return
        time.sleep(self._seconds)
        speaker = threading.Thread(target=self._say, daemon=True)
        speaker.start()
        speaker.join(LAST_WORDS_SECONDS)
        os._exit(self.code)

    def _say(self) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - there is no other way
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        extra = {"action": "worker.ended"}
        logger.critical("ended %.0f s after the signal; what held it up:\n%s", self._seconds, stack, extra=extra)


async def _serve(worker: Worker, last_resort: LastResort) -> int:
    with _signals(worker, last_resort):
        await worker.serve()
    return _FAILED if worker.crashed else 0


@contextmanager
def _signals(worker: Worker, last_resort: LastResort) -> Iterator[None]:
    """Have signals stop the worker.

    The loop's own handlers would not do: they run on the loop, which a task of the asyncio pool may have blocked.
    """
    loop = asyncio.get_running_loop()

    def heed(number: int, _frame: FrameType | None) -> None:
        last_resort.arm()
        loop.call_soon_threadsafe(worker.stop, number == signal.SIGQUIT)

    before = {number: signal.signal(number, heed) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        last_resort.forget()


async def _end_leftovers() -> None:
    """End what tasks have left on the loop, as ``asyncio.run`` does, but without waiting for what won't end."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=LEFTOVERS_SECONDS)
    with suppress(TimeoutError):
        async with asyncio.timeout(LEFTOVERS_SECONDS):
            await asyncio.get_running_loop().shutdown_asyncgens()
