"""Ends a function's environment in order before memory that grows from batch to batch ends it in the middle of one.

Lambda kills a process that exceeds the function's memory, and the whole batch comes back with a receive used up. A task
or a library that keeps objects alive leads there after some batches, and then again and again. So the process's memory
is looked at after each invocation. If it has grown, and another batch like this one might not fit, the process ends
after Lambda has its answer and before it asks for the next event. The next batch starts in a new environment.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger("taskq_cloud.serverless")

GROWTH: Final = 0.1
"""The part of the function's memory by which the process has to grow after its first batch. Less is not a leak."""
FULL: Final = 0.9
"""The part of the function's memory that the next batch may need; the rest is for the runtime and the kernel."""

THREADS_SECONDS: Final = 1.0
"""How long threads may take to end with the process. A plain function that was left behind at its time limit, or a
thread that a task has started, may never end, and Lambda would wait and charge until the function's timeout."""
LONGEST_END_SECONDS: Final = 5.0
"""How long the end of the process may take, exit handlers included."""

Usage = Callable[[], tuple[int, int]]
"""Returns the memory that the process has now, and the most that it has had, in bytes."""


def usage() -> tuple[int, int]:
    """Return the memory that this process has now, and the most that it has had, in bytes. Linux only."""
    import resource  # not on Windows

    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resident, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class MemoryWatch:
    """Looks at the process's memory after each invocation.

    Args:
        limit_bytes: the function's memory.
        usage: returns the process's memory.
    """

    def __init__(self, limit_bytes: int, usage: Usage = usage) -> None:
        self._limit = limit_bytes
        self._usage = usage
        self._first: int | None = None
        self._before = 0
        self._invocations = 0

    def is_too_full(self) -> bool:
        """Note an invocation's end, and tell whether the process should end before the next one. Logs the reason."""
        now, most = self._usage()
        self._invocations += 1
        if self._first is None:
            self._first = self._before = now
            return False
        grown, needed = now - self._first, max(most, now) - self._before
        self._before = now
        if grown < GROWTH * self._limit or now + needed < FULL * self._limit:
            return False
        logger.warning(
            "memory has grown from %d to %d MiB in %d invocations, and the next one might not fit into the function's "
            "%d MiB. The process ends after this answer, so that the next batch starts in a new one. Look for objects "
            "that tasks keep alive, or raise the function's memory",
            self._first >> 20,
            now >> 20,
            self._invocations,
            self._limit >> 20,
            extra={"action": "lambda.memory_grows"},
        )
        return True


def watched(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a handler whose process ends in order when its memory grows; outside of Lambda, the handler itself."""
    limit_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    several = os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "1") != "1"  # the process has other invocations under way
    client = sys.modules.get("awslambdaric.lambda_runtime_client")
    if client is None or several or not limit_mb.isdigit() or not sys.platform.startswith("linux"):
        return handler
    watch = MemoryWatch(int(limit_mb) << 20)

    def look_afterwards(event: Any, context: Any) -> Any:
        answer = handler(event, context)
        if watch.is_too_full():
            # The runtime client calls this once Lambda has the answer, to ask for the next event.
            client.LambdaRuntimeClient.wait_next_invocation = _end
        return answer

    return look_afterwards


def _end(_: Any) -> None:
    """End the process: its exit handlers run, and neither they nor a thread keep it from ending."""
    threads_have_time = _start_timer(THREADS_SECONDS, _leave_threads)
    # Python waits for all threads that aren't daemons, and then calls the exit handlers, the last one first.
    atexit.register(threads_have_time.cancel)
    _start_timer(LONGEST_END_SECONDS, _exit)
    sys.exit(0)


def _start_timer(seconds: float, function: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer


def _leave_threads() -> None:
    main = threading.main_thread()
    left = ", ".join(each.name for each in threading.enumerate() if not each.daemon and each is not main)
    logger.warning(
        "the process ends although threads are still running: %s. A task has left them behind",
        left,
        extra={"action": "lambda.threads_left"},
    )
    try:
        atexit._run_exitfuncs()  # noqa: SLF001 - the interpreter itself would call them after the threads' end
    finally:
        _exit()


def _exit() -> None:
    with suppress(OSError, ValueError):  # a stream may be closed by now
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
