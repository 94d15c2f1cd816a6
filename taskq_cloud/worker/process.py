"""Run the worker as a process: handle signals, return the exit code, and end in time even if a task hangs.

``asyncio.run`` waits for every task of its loop and every thread of its executor, and the interpreter waits for every
thread that isn't a daemon. One coroutine that swallows its cancellation, or one call that never returns, would keep the
process alive until the platform kills it. So work that tasks have left on the loop gets only a moment to end, and a
watchdog thread, which needs neither the loop nor an orderly end of the interpreter, ends the process when the shutdown
timeout is over.
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
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from taskq_cloud.pools.own_tasks import keep_tasks_apart
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.runtime.signals import heeding
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.supervisor import SideService, Worker

logger = logging.getLogger("taskq_cloud.worker")

LEFTOVERS_SECONDS: Final = 0.5
"""How long work that tasks have left on the loop may take to end."""
OVERTIME_SECONDS: Final = 1
"""The watchdog ends the process this long after the shutdown timeout. A worker normally ends within that timeout."""
LAST_LOG_SECONDS: Final = 1
"""How long writing the last log line may take. Logging itself may be what hangs."""
_FAILED: Final = 1
_GIVE_UP: Final = getattr(signal, "SIGQUIT", None)


def run_worker(runtime: Runtime, options: WorkerOptions, side_service: SideService | None = None) -> int:
    """Run a worker in this process until a signal, or the end of a burst, stops it.

    SIGTERM, SIGINT and SIGHUP stop it; SIGHUP doesn't if it is ignored, as under ``nohup``. A second signal, or
    SIGQUIT, also makes it give back the messages whose tasks still run. After a signal the process ends
    ``OVERTIME_SECONDS`` after the shutdown timeout at the latest.

    Args:
        runtime: the application's runtime.
        options: the worker's options.
        side_service: a service that runs along with the worker.

    Returns:
        The exit code: 0, or 1 if a part of the worker crashed.
    """
    watchdog = Watchdog(options.shutdown_timeout + OVERTIME_SECONDS)
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        worker = Worker(runtime, options, side_service)
        if options.pool == "asyncio":
            keep_tasks_apart(loop)  # the task that serves must be the worker's own, too
        with _signals(loop, worker, watchdog):
            with _process_hooks(loop, worker, runtime):
                _complete(loop, worker.serve())
            watchdog.code = _FAILED if worker.crashed else 0
            _complete(loop, _end_leftovers())
        return watchdog.code
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@contextmanager
def _process_hooks(loop: asyncio.AbstractEventLoop, worker: Worker, runtime: Runtime) -> Iterator[None]:
    """Tell hooks that a process which runs tasks has started, and that it ends, unless child processes run them.

    The event loop doesn't run meanwhile: a plain function may use libraries that refuse to work beside a running one.
    """
    hooks = runtime.runner.hooks
    if not hooks or not worker.runs_tasks:
        yield
        return
    from taskq_cloud.core.model.hook_calls import notify  # few applications have hooks

    notify(hooks, "process_started", complete=loop.run_until_complete)
    try:
        yield
    finally:
        notify(hooks, "process_stopping", complete=loop.run_until_complete)


def _complete(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end, even if work that tasks have left behind stops the loop.

    asyncio lets a SystemExit or a KeyboardInterrupt of any callback end the loop, and ``loop.stop()`` ends it too.
    """
    task = loop.create_task(coroutine)
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            if task.done() or loop.is_closed():
                raise
            text = (
                "work that a task has left on the event loop has stopped it (%s). The worker goes on; let the task "
                "return, or raise another error"
            )
            logger.exception(text, type(error).__name__, extra={"action": "worker.loop_stopped"})


class Watchdog:
    """A thread that ends the process if the process does not end by itself in time after a signal.

    Args:
        seconds: how long the process may take to end after ``arm``.

    Attributes:
        code: the exit code with which the thread ends the process.
    """

    def __init__(self, seconds: float) -> None:
        self.code = _FAILED
        self._seconds = seconds
        # A signal handler may call put() whatever it has interrupted. It could not start a thread safely.
        self._commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._wait, name="taskq-watchdog", daemon=True).start()

    def arm(self) -> None:
        """Start the countdown. Further calls change nothing."""
        self._commands.put("arm")

    def dismiss(self) -> None:
        """End the thread, unless it has been armed."""
        self._commands.put("dismiss")

    def _wait(self) -> None:
        if self._commands.get() == "dismiss":
            return
        time.sleep(self._seconds)
        log = threading.Thread(target=self._log, daemon=True)
        log.start()
        log.join(LAST_LOG_SECONDS)
        os._exit(self.code)

    def _log(self) -> None:
        frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - no public function does it
        stack = "".join(traceback.format_stack(frame)) if frame else ""
        extra = {"action": "worker.ended"}
        logger.critical(
            "the worker did not end within %.0f s of the signal, so its process is ended; the main thread was at:\n%s",
            self._seconds,
            stack,
            extra=extra,
        )


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, worker: Worker, watchdog: Watchdog) -> Iterator[None]:
    """Stop the worker on signals."""

    def on_signal(number: int) -> None:
        watchdog.arm()
        loop.call_soon_threadsafe(worker.stop, number == _GIVE_UP)

    with heeding(on_signal):
        try:
            yield
        finally:
            watchdog.dismiss()


async def _end_leftovers() -> None:
    """End the work that tasks have left on the loop, as ``asyncio.run`` does, but wait for a moment only."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=LEFTOVERS_SECONDS)
    with suppress(TimeoutError):
        async with asyncio.timeout(LEFTOVERS_SECONDS):
            await asyncio.get_running_loop().shutdown_asyncgens()
