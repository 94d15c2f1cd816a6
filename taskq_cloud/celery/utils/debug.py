"""Looks at a running process: its memory, its threads, and code that blocks."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pprint import pprint
from typing import Any

from taskq_cloud.celery.local import try_import

from .text import WhateverIO

__all__ = ("blockdetection", "cry", "humanbytes", "mem_rss", "memdump", "ps", "sample", "sample_mem")

UNITS = ((2**40.0, "TB"), (2**30.0, "GB"), (2**20.0, "MB"), (2**10.0, "KB"), (0.0, "b"))

Process: Any = getattr(try_import("psutil"), "Process", None)

_mem_sample: list[str | None] = []


def _on_blocking(signum: int, frame: Any) -> None:
    raise RuntimeError(f"Blocking detection timed-out at: {inspect.getframeinfo(frame)}")


@contextmanager
def blockdetection(timeout: float | None) -> Iterator[Any]:
    """Raise an error within a block that lasts longer than ``timeout`` seconds; SIGALRM does it.

    Raises:
        RuntimeError: the block lasts longer.
    """
    if not timeout:
        yield None
        return
    before = signal.signal(signal.SIGALRM, _on_blocking)
    try:
        yield signal.setitimer(signal.ITIMER_REAL, timeout)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def sample_mem() -> str | None:
    """Note how much memory this process uses, for ``memdump``, and return it."""
    used = mem_rss()
    _mem_sample.append(used)
    return used


def memdump(samples: int = 10, file: Any = None) -> None:
    """Write some of the noted numbers, and the memory in use after a collection of garbage."""
    if ps() is None:
        print("- rss: (psutil not installed).", file=file)
        return
    noted = list(_mem_sample) if len(_mem_sample) <= samples else list(sample(_mem_sample, samples))
    _mem_sample.clear()
    gc.collect()
    if noted:
        print("- rss (sample):", file=file)
    for each in noted:
        print(f"-    > {each},", file=file)
    print(f"- rss (end): {mem_rss()}.", file=file)


def sample(x: Sequence[Any], n: int, k: int = 0) -> Iterator[Any]:
    """Yield ``n`` items of a list, at equal distances, beginning with number ``k``."""
    step = len(x) // n
    for number in range(n):
        position = k + number * step
        if position >= len(x):
            return
        yield x[position]


def hfloat(f: float, p: int = 5) -> Any:
    """Return a number without a fraction of zero, and otherwise with ``p`` digits."""
    return int(f) if int(f) == f else f"{f:.{p}}"


def humanbytes(s: float) -> str:
    """Return a number of bytes in the largest unit that it fills."""
    return next(f"{hfloat(s / size if size else s)}{unit}" for size, unit in UNITS if s >= size)


def mem_rss() -> str | None:
    """Return how much memory this process uses; None without the package psutil."""
    process = ps()
    return None if process is None else humanbytes(_process_memory_info(process).rss)


def ps() -> Any:
    """Return psutil's description of this process; None without the package psutil."""
    return None if Process is None else Process(os.getpid())


def _process_memory_info(process: Any) -> Any:
    return process.memory_info()


def cry(out: Any = None, sepchr: str = "=", seplen: int = 49) -> Any:
    """Write where each thread is, with its local variables, and return the text."""
    out = WhateverIO() if out is None else out
    line = sepchr * seplen
    threads = {thread.ident: thread for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident not in threads:
            continue
        print(threads[ident].name, line, sep="\n", file=out)
        traceback.print_stack(frame, file=out)
        print(line, "LOCAL VARIABLES", line, sep="\n", file=out)
        pprint(frame.f_locals, stream=out)
        print("\n", file=out)
    return out.getvalue()
