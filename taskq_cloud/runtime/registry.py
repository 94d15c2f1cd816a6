"""The tasks of an application: their definitions and options, and the queues that their messages go to."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from taskq_cloud.core.execution.runner import TaskRunner, builtin_tasks
from taskq_cloud.core.lazy import lazy
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.errors import AlreadyRegistered
from taskq_cloud.runtime.resources import Resources

if TYPE_CHECKING:
    from taskq_cloud.core.messages.routing import Router


class DeclaredTask(Protocol):
    """A task as the registry sees it."""

    @property
    def definition(self) -> TaskDefinition:
        """The task's name, function and options."""
        ...

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the function's signature; raises ``TypeError``."""
        ...


class Registry(Resources):
    """The tasks that were declared on an application, beside those that every application has.

    Args:
        main: the application's name; it stands for ``__main__`` in the names of tasks that a script declares.
        settings: settings by name, which win over the environment.
    """

    tasks: dict[str, Any]

    def __init__(self, main: str | None, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.main = main
        self.tasks = {}
        self.definitions: dict[str, TaskDefinition] = {}
        self.definitions |= builtin_tasks(self.definitions)
        self.runner = TaskRunner(self.definitions)

    def register(self, task: DeclaredTask) -> None:
        """Add a task; one that was declared by the same line of code before is replaced.

        Raises:
            AlreadyRegistered: another function has the task's name.
        """
        name, function = task.definition.name, task.definition.function
        known = self.definitions.get(name)
        if known is not None and getattr(known.function, "__code__", None) is not getattr(function, "__code__", None):
            raise AlreadyRegistered(
                f"task {name!r} is already {known.function.__module__}.{known.function.__qualname__}; give one of the "
                "two a name=... of its own"
            )
        self.definitions[name] = task.definition
        self.tasks[name] = task

    def import_modules(self) -> None:
        """Import the modules of the ``imports`` setting, whose tasks this application has."""
        for module in self.conf.imports:
            importlib.import_module(module)

    def gen_task_name(self, name: str, module: str) -> str:
        """The name of a task that is given none, as Celery makes it."""
        return f"{self.main if module == '__main__' and self.main else module}.{name}"

    def is_registered(self, task: str) -> bool:
        """Whether a task of that name can be run here: one of this application's, or one that every application has."""
        return task in self.definitions

    def options_of(self, task: str) -> TaskOptions:
        """The options of a task; the defaults for a task that is not registered here."""
        definition = self.definitions.get(task)
        return definition.options if definition else TaskOptions()

    def check_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the signature of a task that is registered here, unless it has ``typing=False``.

        Raises:
            TypeError: the task does not take them.
        """
        known: DeclaredTask | None = self.tasks.get(task)
        if known is not None and known.definition.options.typing:
            known.check_arguments(args, kwargs)

    def route(self, task: str) -> str:
        """The queue of a task: its own, else that of ``task_routes``, else ``task_default_queue``."""
        return self.options_of(task).queue or self._router.queue_for(task)

    def queues(self) -> list[str]:
        """Every queue that the registered tasks go to, and the default queue."""
        return sorted({self.conf.task_default_queue, *map(self.route, self.tasks)})

    @lazy
    def _router(self) -> Router:
        from taskq_cloud.core.messages.routing import Router

        return Router(self.conf.task_routes, self.conf.task_default_queue)
