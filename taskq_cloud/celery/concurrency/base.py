"""The base class of pools.

Tasks run in the pools of ``taskq_cloud.pools``. The classes here stand for them: a worker's ``pool_cls`` is one.
"""

from __future__ import annotations

from typing import Any

__all__ = ("BasePool",)


class BasePool:
    """A pool of a worker.

    Args:
        limit: how many tasks run at a time.
        kwargs: further options, kept in ``options``.
    """

    native_name: str | None = None
    """The name of the native pool; None: there is none, so a worker refuses the class."""
    refusal = (
        "pools of your own are not supported: choose one of -P prefork, eventlet, gevent, threads, solo and asyncio; "
        "`async def` tasks run on the asyncio pool"
    )
    """Why a worker refuses a class without a native pool, and what to use instead."""
    signal_safe = True
    is_green = False
    body_can_be_buffer = False

    def __init__(self, limit: int | None = None, **kwargs: Any) -> None:
        self.limit = limit
        self.options = kwargs

    @property
    def num_processes(self) -> int | None:
        """How many tasks run at a time."""
        return self.limit

    def restart(self) -> None:
        """Start the processes anew, which the native pools can't.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{type(self)} does not implement restart")
