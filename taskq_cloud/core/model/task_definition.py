"""The definition of a registered task: its name, its function and its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.outcome import Invocation


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A registered task.

    Args:
        name: its name on the wire.
        function: what it runs.
        options: what it was declared with.
        bind: makes the ``self`` that the function gets first, where it was declared with ``bind=True``.
        request: makes what the function gets as the request of a task that has failed, where it is its errback.
    """

    name: str
    function: Callable[..., Any]
    options: TaskOptions
    bind: Callable[[Invocation], Any] | None = None
    request: Callable[[Invocation], Any] = lambda invocation: invocation

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return inspect.iscoroutinefunction(self.function)
