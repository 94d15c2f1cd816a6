"""The solo pool: one task at a time, in the worker's own process.

For development, debuggers and profilers. The task runs in a thread all the same: the worker's event loop must go on
renewing the lease of the task's message while the task runs. So it has the threads pool's rules.
"""

from __future__ import annotations

from taskq_cloud.pools.base import Runner
from taskq_cloud.pools.threads import ThreadPool


class SoloPool(ThreadPool):
    """A threads pool of one.

    Args:
        runner: runs the task functions.
    """

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner, concurrency=1)
