"""The threads in which a push endpoint or a function runs tasks: a worker's pool, for callers that are threads too."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace

from taskq_cloud.core.model.outcome import Abandoned, Invocation, Outcome, TimedOut
from taskq_cloud.pools.base import Pool, Runner
from taskq_cloud.pools.threads import ThreadPool
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.deadlines import lost_for_time


class RequestEnd:
    """Tells the thread that handles a request that the server has ended the request. It can't be undone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._end_run: Callable[[], object] = lambda: None

    def set(self) -> None:
        """End the request's run, and each later run of it at its beginning."""
        with self._lock:
            self._is_set = True
        self._end_run()

    def watch(self, end_run: Callable[[], object]) -> None:
        """Have ``end_run`` called when the request ends, or now if it has ended."""
        with self._lock:
            self._end_run = end_run
            is_set = self._is_set
        if is_set:
            end_run()


class TaskThreads:
    """A pool whose event loop runs in a separate thread. Any thread may run tasks in the pool.

    The first task starts the pool, so a server may fork until then.

    Args:
        whose: the caller whose time is limited, for errors: ``"function"`` or ``"push"``.
        runtime: the application's runtime.
        concurrency: how many tasks run at a time.
        make_pool: makes the pool of a runner and a concurrency.
    """

    def __init__(
        self, whose: str, runtime: Runtime, concurrency: int, make_pool: Callable[[Runner, int], Pool] = ThreadPool
    ) -> None:
        self._whose = whose
        self._make_pool = make_pool
        self._runtime = runtime
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: Pool | None = None
        self._process_id = 0

    def run(self, invocation: Invocation, seconds_left: float, end: RequestEnd | None = None) -> Outcome:
        """Run a task until it ends, its time limit passes, ``seconds_left`` have passed, or its request ends."""
        limit = math.inf if invocation.time_limit is None else invocation.time_limit
        if limit <= seconds_left:
            return self._run(invocation, end)
        outcome = self._run(replace(invocation, time_limit=seconds_left), end)
        return lost_for_time(self._whose, seconds_left) if isinstance(outcome, TimedOut) else outcome

    def _run(self, invocation: Invocation, end: RequestEnd | None) -> Outcome:
        loop, pool = self._started()
        running = asyncio.run_coroutine_threadsafe(_run_in(pool, invocation), loop)
        if end is not None:
            end.watch(running.cancel)
        try:
            return running.result()
        except CancelledError:
            return Abandoned("the server has ended the push")

    def close(self) -> None:
        """End the threads."""
        with self._lock:
            loop, pool = self._loop, self._pool
            self._loop = self._pool = None
        if loop is not None and pool is not None:
            asyncio.run_coroutine_threadsafe(pool.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)

    def _started(self) -> tuple[asyncio.AbstractEventLoop, Pool]:
        with self._lock:
            if self._loop is None or self._pool is None or self._process_id != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._pool = self._make_pool(self._runtime.runner, self._concurrency)
                self._process_id = os.getpid()
                threading.Thread(target=_run_loop, args=(self._loop,), name="taskq-push-tasks", daemon=True).start()
                asyncio.run_coroutine_threadsafe(self._pool.start(), self._loop).result()
            return self._loop, self._pool


async def _run_in(pool: Pool, invocation: Invocation) -> Outcome:
    place = await pool.reserve()
    return Abandoned() if place is None else await pool.run(invocation, place)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
