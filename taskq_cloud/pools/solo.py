"""The solo pool: one task at a time, in the worker's own process. It is meant for development and debugging.

A debugger or profiler sees one process and one task. The task still runs in a thread: while it runs, the worker's event
loop must go on renewing the lease of the task's message. So the rules of the threads pool apply.
"""

from __future__ import annotations

from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.pools.base import Runner
from taskq_cloud.pools.threads import ThreadPool


class SoloPool(ThreadPool):
    """A threads pool with one thread.

    Args:
        runner: runs the task functions.
    """

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner, concurrency=1)

    async def resize(self, concurrency: int) -> None:
        """Refuse another number of tasks than one.

        Raises:
            ImproperlyConfigured: it is another.
        """
        if concurrency != 1:
            raise ImproperlyConfigured(f"the solo pool runs one task at a time, not {concurrency}; use --pool threads")
