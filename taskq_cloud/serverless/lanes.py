"""Lanes: the records of a batch side by side, and invocations that don't come on the main thread.

A lane is a thread that takes one record after the other through the pipeline. The tasks themselves run as in a worker's
asyncio pool: coroutine functions on one event loop, plain functions each in a thread of their own. Their time limits
are kept by the rules of that pool: a plain function that is in a library when its hard limit passes is left behind.

Lambda freezes the process between invocations, with all its threads. So nothing is left to be done after the answer:
a lane whose record is not finished by then is abandoned, and its record counts as given back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from taskq_cloud.pools.asyncio_pool import AsyncioPool
from taskq_cloud.runtime.runtime import Runtime
from taskq_cloud.serverless.push_threads import TaskThreads
from taskq_cloud.serverless.time_limits import OutOfTime


class Lanes:
    """The lanes of one function. Several invocations may use them at a time.

    Args:
        runtime: the application's runtime.
        concurrency: how many lanes each invocation has.

    Attributes:
        run_task: runs a task within its limits, and stops it after the given number of seconds in any case.
    """

    def __init__(self, runtime: Runtime, concurrency: int) -> None:
        self._concurrency = concurrency
        # Executors of invocations that have ended with all their lanes: a new thread costs as much as a record.
        self._idle: list[ThreadPoolExecutor] = []
        self.run_task = TaskThreads("function", runtime, concurrency, AsyncioPool).run

    def call_all(self, functions: Sequence[Callable[[], None]], seconds: float) -> None:
        """Call functions, each in a lane, and wait until all have returned.

        Raises:
            OutOfTime: ``seconds`` have passed; functions that have not begun are not called any more.
        """
        try:
            lanes = self._idle.pop()
        except IndexError:
            lanes = ThreadPoolExecutor(self._concurrency, "taskq-lane")
        calls = [lanes.submit(function) for function in functions]
        done, late = wait(calls, timeout=None if math.isinf(seconds) else max(seconds, 0))
        if late:
            lanes.shutdown(wait=False, cancel_futures=True)
            raise OutOfTime
        self._idle.append(lanes)
        for call in done:
            call.result()
