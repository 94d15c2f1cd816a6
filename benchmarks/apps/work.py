"""What every contender runs: a task that leaves one line in a file, and the producer of its calls.

A line is ``number time``: so many lines, so many runs; the time is the task's own, in seconds since the epoch.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path


def done(number: int) -> None:
    """The task: one write, atomic as it is short and appended."""
    file = os.open(os.environ["BENCH_DONE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, b"%d %.6f\n" % (number, time.time()))
    finally:
        os.close(file)


def _lines() -> int:
    path = Path(os.environ["BENCH_DONE"])
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def produce(one: Callable[[int], object], many: Callable[[list[int]], object]) -> None:
    """Send calls, as the command line says.

    ``bulk N`` sends N calls at once; ``trips N`` sends N calls, each once the task of the one before has run; and
    ``first 1`` sends a single call.
    """
    mode, count = sys.argv[1], int(sys.argv[2])
    if mode == "bulk":
        many(list(range(count)))
        return
    if mode == "first":
        one(0)
        print(len(sys.modules))
        return
    for number in range(count):
        sent_at = time.time()
        one(number)
        print(f"{sent_at:.6f}", flush=True)
        while _lines() <= number:
            time.sleep(0.001)


async def produce_async(
    one: Callable[[int], Awaitable[object]], many: Callable[[list[int]], Awaitable[object]]
) -> None:
    """``produce`` on an event loop."""
    mode, count = sys.argv[1], int(sys.argv[2])
    if mode == "bulk":
        await many(list(range(count)))
        return
    if mode == "first":
        await one(0)
        print(len(sys.modules))
        return
    for number in range(count):
        sent_at = time.time()
        await one(number)
        print(f"{sent_at:.6f}", flush=True)
        while _lines() <= number:  # noqa: ASYNC110 - the task runs in another process, which tells nobody
            await asyncio.sleep(0.001)
