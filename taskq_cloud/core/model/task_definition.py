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
        name: the task's name on the wire.
        function: the function that the task runs.
        options: the options that the task was declared with.
        bind: makes the function's first argument, ``self``; None for a task declared without ``bind=True``.
        request: makes the request of a failed task, which the function gets when it runs as that task's errback.
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
