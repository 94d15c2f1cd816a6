"""The task that every contender runs, which writes one line to a file, and the producer of its calls.

A line is ``number time``, where the time of the run is in seconds since the epoch. Each run adds one line.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path


def done(number: int) -> None:
    """Run the task: append one line by a single write, which is atomic because the line is short."""
    file = os.open(os.environ["BENCH_DONE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, b"%d %.6f\n" % (number, time.time()))
    finally:
        os.close(file)


def _lines() -> int:
    path = Path(os.environ["BENCH_DONE"])
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def produce(one: Callable[[int], object], many: Callable[[list[int]], object]) -> None:
    """Send the calls that the command line asks for.

    ``bulk N`` sends N calls at once. ``trips N`` sends N calls, each after the previous task has run. ``first 1`` sends
    one call, and prints the number of imported modules.
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
    """Send the calls that the command line asks for, on an event loop: see ``produce``."""
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
        while _lines() <= number:  # noqa: ASYNC110 - the task runs in another process
            await asyncio.sleep(0.001)
