"""The tasks of an application: their definitions and options, and the queues that their messages go to."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from taskq_cloud.core.execution.builtin_tasks import builtin_tasks
from taskq_cloud.core.lazy import lazy
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.model.task_names import BUILT_IN, EVERY_TASK
from taskq_cloud.errors import AlreadyRegistered
from taskq_cloud.runtime.resources import Resources

if TYPE_CHECKING:
    from taskq_cloud.core.execution.annotations import Arguments
    from taskq_cloud.core.execution.runner import TaskRunner
    from taskq_cloud.core.messages.routing import Router
    from taskq_cloud.core.model.hooks import Hooks
    from taskq_cloud.runtime.components import Component

_DEFAULTS: Final = TaskOptions()


class DeclaredTask(Protocol):
    """The part of a task that the registry needs."""

    @property
    def definition(self) -> TaskDefinition:
        """The task's name, function and options."""
        ...

    def check_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the function's signature; raises ``TypeError``."""
        ...


class Registry(Resources):
    """The tasks of an application: the tasks declared on it, and the built-in ones.

    Args:
        main: the application's name, which replaces ``__main__`` in the names of tasks that a script declares.
        settings: settings by name; they win over the environment.
        hooks: the hooks of all tasks.
        components: the components of the application's workers.

    Attributes:
        components: the components of the application's workers, in the order in which they were added.
    """

    tasks: dict[str, Any]
    serializes_in_place = True

    def __init__(
        self,
        main: str | None,
        settings: Mapping[str, Any],
        hooks: Hooks | Iterable[Hooks] = (),
        components: Component | Iterable[Component] = (),
    ) -> None:
        super().__init__(settings)
        self.components: list[Component] = []
        self._added_hooks: dict[str, tuple[Hooks, ...]] = {}
        self._declared_hooks: dict[str, tuple[Hooks, ...]] = {}
        if hooks:
            self.add_hooks(hooks)
        for component in components if isinstance(components, Iterable) else [components]:
            self.add_component(component)
        self.main = main
        self.tasks = {}
        self.definitions: dict[str, TaskDefinition] = {}
        self.definitions |= builtin_tasks(self.definitions)

    @lazy
    def runner(self) -> TaskRunner:
        """The runner of task functions; a process that only calls tasks runs none."""
        from taskq_cloud.core.execution.runner import TaskRunner

        return TaskRunner(self.definitions, hooks=self.hooks)

    def add_hooks(self, hooks: Hooks | Iterable[Hooks], *, task: str = EVERY_TASK) -> None:
        """Have hooks called around tasks, messages and processes: see docs/hooks.md.

        Args:
            hooks: one object of a subclass of ``Hooks``, or several.
            task: the name of the task that they are for; "": all tasks.

        Raises:
            ImproperlyConfigured: an object is not an instance of ``Hooks``, or a method can't be a coroutine function.
        """
        from taskq_cloud.core.model.hook_calls import checked  # few applications have hooks

        given = hooks if isinstance(hooks, Iterable) else [hooks]
        added = checked(given, f"task {task}" if task else "add_hooks()")
        if added:
            self._added_hooks[task] = self._added_hooks.get(task, ()) + added
            self._join_hooks(task)

    def add_component(self, component: Component) -> None:
        """Add a service to the application's workers: see docs/workers.md.

        Raises:
            ImproperlyConfigured: the object is not an instance of ``Component``.
        """
        from taskq_cloud.runtime.components import checked  # few applications have components

        self.components.append(checked(component))

    def register(self, task: DeclaredTask, hooks: Hooks | Iterable[Hooks] = ()) -> None:
        """Add a task. It replaces an earlier declaration of the same function.

        Args:
            task: the task.
            hooks: the task's own hooks.

        Raises:
            AlreadyRegistered: a task with this name is built in, or runs another function, be it one that the same line
            has made.
        """
        name, function = task.definition.name, task.definition.function
        if name in BUILT_IN:
            raise AlreadyRegistered(
                f"task {name!r} is built in, and its messages would not run yours: give it another name"
            )
        known = self.definitions.get(name)
        if known is not None and known.function != function:
            raise AlreadyRegistered(
                f"task {name!r} is already {known.function.__module__}.{known.function.__qualname__}; give one of the "
                "two its own name=... (a wrapper keeps its function's name with functools.wraps)"
            )
        if hooks or name in self._declared_hooks:
            from taskq_cloud.core.model.hook_calls import checked  # few tasks have hooks

            given = hooks if isinstance(hooks, Iterable) else [hooks]
            self._declared_hooks[name] = checked(given, f"task {name}")
            self._join_hooks(name)
        self.definitions[name] = task.definition
        self.tasks[name] = task

    def _join_hooks(self, task: str) -> None:
        """Write the hooks of a task into the table: those of its declaration, and then those added by ``add_hooks``."""
        joined = self._declared_hooks.get(task, ()) + self._added_hooks.get(task, ())
        if joined:
            self.hooks[task] = joined
        else:
            self.hooks.pop(task, None)

    def unknown_tasks_with_hooks(self) -> list[str]:
        """Return the names that ``add_hooks`` was given for tasks that are not declared on this application."""
        return [name for name in self._added_hooks if name != EVERY_TASK and name not in self.definitions]

    def import_modules(self) -> None:
        """Import the modules that the ``imports`` setting names, so that their tasks are declared."""
        for module in self.conf.imports:
            importlib.import_module(module)

    def gen_task_name(self, name: str, module: str) -> str:
        """Make the name of a task that was declared without a name, as Celery does."""
        return f"{self.main if module == '__main__' and self.main else module}.{name}"

    def is_registered(self, task: str) -> bool:
        """Tell whether a task with this name can run here: it is declared on this application, or built in."""
        return task in self.definitions

    def options_of(self, task: str) -> TaskOptions:
        """Return the options of a task, or the defaults if it is not registered here."""
        definition = self.definitions.get(task)
        return definition.options if definition else TaskOptions()

    def check_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Check arguments against the signature of a task that is registered here, unless it has ``typing=False``.

        Raises:
            TypeError: the task does not take these arguments.
        """
        known: DeclaredTask | None = self.tasks.get(task)
        if known is not None and known.definition.options.typing:
            known.check_arguments(args, kwargs)

    def plain_arguments(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Write the arguments of a signature as plain values, if its task is registered here with ``typed=True``."""
        if not self.options_of(task).typed:
            return args, kwargs
        plain: Arguments = self.tasks[task].plain_part(args, kwargs)
        return plain

    def plain_call(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Arguments:
        """Write the arguments of a whole call as plain values, if its task is registered here with ``typed=True``.

        Raises:
            ArgumentsInvalid: an argument doesn't have the parameter's type.
        """
        if not self.options_of(task).typed:
            return args, kwargs
        plain: Sequence[Arguments] = self.tasks[task].plain([(args, kwargs)], {})
        return plain[0]

    def route(self, task: str) -> str:
        """Return the queue of a task: its own, or that of ``task_routes``, or ``task_default_queue``."""
        return self.options_of(task).queue or self._router.queue_for(task)

    def route_options(self, task: str) -> Mapping[str, Any]:
        """Return the options that the settings have for a task's calls, without those that the task itself has.

        They are those of ``task_routes``, and ``task_default_priority``.
        """
        routed, priority = self.conf.task_routes, self.conf.task_default_priority
        if not routed and priority is None:
            return {}
        options = self._router.route_of(task).options if routed else {}
        if priority is not None:
            options = {"priority": priority, **options}
        if not options:
            return {}
        own = self.options_of(task)
        return {name: of for name, of in options.items() if getattr(own, name, None) == getattr(_DEFAULTS, name, None)}

    def queues(self) -> list[str]:
        """Return the queues that the registered tasks go to, and the default queue, with the queues of their levels.

        Raises:
            ImproperlyConfigured: a queue has the name of another one's level of priority.
        """
        queues = self._own_queues()
        self.priorities.check(sorted(queues))
        return sorted(self.priorities.expanded(queues))

    def check_queue_names(self, names: Iterable[str]) -> None:
        """Check names that a user gives for queues.

        Raises:
            ImproperlyConfigured: a name stands for a level of priority that a queue doesn't have.
        """
        self.priorities.check_names(names, self._own_queues())

    def _own_queues(self) -> set[str]:
        return {self.conf.task_default_queue, *map(self.route, self.tasks)}

    @lazy
    def _router(self) -> Router:
        from taskq_cloud.core.messages.routing import Router

        return Router(self.conf.task_routes, self.conf.task_default_queue)
