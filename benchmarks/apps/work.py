"""The no-op task of every contender, which counts in shared memory, and the producer of its calls.

Each process of a worker counts its runs in a file of eight bytes that it has mapped into memory: counting takes less
than a microsecond, and another process can look at the number at any time.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

_lock = threading.Lock()
_counts: dict[int, Any] = {}


def done(number: int) -> int:
    """Run the task: count it, and return its argument."""
    with _lock:
        count = _counts.get(os.getpid()) or _open_count()
        count[0] += 1
    return number


def _open_count() -> Any:
    path = Path(os.environ["BENCH_COUNTS"]) / str(os.getpid())
    path.write_bytes(struct.pack("q", 0))
    with path.open("r+b") as file:
        count = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")
    _counts.clear()  # a forked process has those of its parent
    _counts[os.getpid()] = count
    return count


def produce(
    one: Callable[[int], object],
    many: Callable[[list[int]], object] | None = None,
    trip: Callable[[int], object] | None = None,
) -> None:
    """Do what the command line asks for, and print the findings as JSON.

    ``import`` does nothing more than import the application. ``first`` sends one call. ``one WARM COUNT`` and ``many
    WARM COUNT`` send calls, one by one and in bulk, and take the CPU time of COUNT calls after WARM calls.
    ``trips WARM COUNT`` waits for the result of each call.
    """
    mode, *numbers = sys.argv[1:]
    if mode == "first":
        one(0)
    if mode in ("import", "first"):
        _print_start()
        return
    warm, count = map(int, numbers)
    if mode == "trips":
        assert trip is not None
        _print_trips([_timed(trip, number) for number in range(warm + count)][warm:])
        return
    send = many or (lambda calls: [one(number) for number in calls])
    if mode == "one":
        send = lambda calls: [one(number) for number in calls]  # noqa: E731
    send(list(range(warm)))
    before = time.process_time(), time.perf_counter()
    send(list(range(count)))
    _print_sent(*before)


def produce_async(
    one: Callable[[int], Awaitable[object]],
    many: Callable[[list[int]], Awaitable[object]],
    startup: Callable[[], Coroutine[Any, Any, object]],
) -> None:
    """Do what the command line asks for on an event loop, as ``produce`` does. The process ends at once afterwards."""

    import asyncio  # not at the top, as modules are counted

    async def main() -> None:
        mode, *numbers = sys.argv[1:]
        if mode != "import":
            await startup()
        if mode == "first":
            await one(0)
        if mode in ("import", "first"):
            _print_start()
            return
        warm, count = map(int, numbers)
        await many(list(range(warm)))
        before = time.process_time(), time.perf_counter()
        await many(list(range(count)))
        _print_sent(*before)

    asyncio.run(_then_end(main()))


async def _then_end(work: Coroutine[Any, Any, None]) -> None:
    await work
    sys.stdout.flush()
    os._exit(0)


def _timed(trip: Callable[[int], object], number: int) -> float:
    time.sleep(0.01)  # the worker is idle again
    began_at = time.perf_counter()
    assert trip(number) == number
    return 1000 * (time.perf_counter() - began_at)


def _print_start() -> None:
    print(json.dumps({"modules": len(sys.modules), "cpu": time.process_time()}), flush=True)


def _print_sent(cpu: float, moment: float) -> None:
    print(json.dumps({"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - moment}), flush=True)


def _print_trips(milliseconds: list[float]) -> None:
    print(json.dumps({"milliseconds": milliseconds}), flush=True)
