"""The tasks of an application, by name: ``app.tasks``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NoReturn

from taskq_cloud.celery._state import get_current_app
from taskq_cloud.celery.exceptions import InvalidTaskError, NotRegistered

__all__ = ("TaskRegistry",)


class TaskRegistry(dict[str, Any]):
    """Task names and their tasks."""

    NotRegistered = NotRegistered

    def __missing__(self, key: str) -> NoReturn:
        raise self.NotRegistered(key)

    def register(self, task: Any) -> None:
        """Add a task under its name; a class is instantiated first.

        Raises:
            InvalidTaskError: the task has no name.
        """
        if task.name is None:
            raise InvalidTaskError(f"Task class {type(task).__name__!r} must specify .name attribute")
        task = task() if inspect.isclass(task) else task
        self[task.name] = task

    def unregister(self, name: Any) -> None:
        """Remove a task, by its name or by the task itself.

        Raises:
            NotRegistered: there is no such task.
        """
        name = getattr(name, "name", name)
        if name not in self:
            raise self.NotRegistered(name)
        self.pop(name)

    def regular(self) -> Iterator[str]:
        """The names of the tasks of the type ``regular``."""
        return self.filter_types("regular")

    def periodic(self) -> Iterator[str]:
        """The names of the tasks of the type ``periodic``."""
        return self.filter_types("periodic")

    def filter_types(self, type: str) -> Iterator[str]:
        """The names of the tasks of a type."""
        return (name for name, task in self.items() if getattr(task, "type", "regular") == type)


def _unpickle_task(name: str) -> Any:
    return get_current_app().tasks[name]


def _unpickle_task_v2(name: str, module: str | None = None) -> Any:
    if module:
        import_module(module)
    return get_current_app().tasks[name]
