"""The native application behind one of Celery's: it has that one's tasks, routes and settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from taskq_cloud.app import TaskQ
from taskq_cloud.celery.native.hooks import HookTable
from taskq_cloud.core.execution.builtin_tasks import builtin_tasks
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.model.task_names import BUILT_IN

if TYPE_CHECKING:
    from taskq_cloud.core.model.options import TaskOptions
    from taskq_cloud.deploy.topology.model import Topology
    from taskq_cloud.runtime.runtime import Runtime
    from taskq_cloud.settings import Settings

logger = logging.getLogger("taskq_cloud.celery")

_OPENED_FROM = {
    "broker": ("broker", "broker_transport_options"),
    "store": ("results", "payloads"),
    "scheduler": ("scheduler",),
    "payloads": ("payloads",),
}
"""The resources that are opened anew if one of these settings has changed."""


class Definitions(Mapping[str, TaskDefinition]):
    """The definitions of an application's tasks and of the built-in ones, made when they are asked for.

    Args:
        owner: Celery's application.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._builtin = builtin_tasks(self)

    def __getitem__(self, name: str) -> TaskDefinition:
        builtin = self._builtin.get(name)
        if builtin is not None:
            return builtin
        if name in BUILT_IN:
            raise KeyError(name)
        task = dict.get(self._owner._tasks, name)
        if task is None:  # the application may have tasks that aren't made yet
            task = dict.get(finalized_tasks(self._owner), name)
        if task is None:
            raise KeyError(name)
        definition: TaskDefinition = task.definition
        return definition

    def __contains__(self, name: object) -> bool:
        if name in self._builtin or name in BUILT_IN:
            return name in self._builtin
        return name in self._owner._tasks or name in finalized_tasks(self._owner)

    def __iter__(self) -> Iterator[str]:
        yield from self._builtin
        tasks = finalized_tasks(self._owner)
        yield from (name for name in tasks if name not in self._builtin and name not in BUILT_IN)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def finalized_tasks(owner: Any) -> dict[str, Any]:
    """Return the tasks of Celery's application, which is finalized first unless only its program may do that."""
    if owner.finalized or owner.autofinalize:
        owner.finalize(auto=True)  # which waits for a thread that is at it
    tasks: dict[str, Any] = owner._tasks
    return tasks


class NativeApplication(TaskQ):
    """The native application of one of Celery's.

    Args:
        owner: Celery's application.
    """

    serializes_in_place = False

    def __init__(self, owner: Any) -> None:
        super().__init__(owner.main)
        self.owner = owner
        self.definitions = cast("dict[str, TaskDefinition]", Definitions(owner))
        self.hooks = HookTable(owner)
        self._generation = -1
        self._in_use: dict[str, Any] = {}
        self._has_imported = False

    def __repr__(self) -> str:
        return f"<native application of {self.owner!r}>"

    @property
    def tasks(self) -> dict[str, Any]:
        """The tasks that users have declared, by name: those that the pipeline or Celery brings aren't deployed."""
        return {name: task for name, task in finalized_tasks(self.owner).items() if not name.startswith("celery.")}

    @tasks.setter
    def tasks(self, value: dict[str, Any]) -> None:
        """The base class sets an empty dict here."""

    @property
    def conf(self) -> Settings:
        """The native settings, made of the owner's; anew if they have changed."""
        conf = self.owner.conf
        if conf.generation != self._generation:
            self._refresh(conf)
        return cast("Settings", vars(self)["_native_conf"])

    def _refresh(self, conf: Any) -> None:
        from taskq_cloud.celery.native.settings import native_settings, settings_in_use
        from taskq_cloud.runtime.plain_settings import load_settings

        in_use, is_forced = settings_in_use(conf), self._generation < 0
        if not is_forced and in_use == self._in_use:
            self._generation = conf.generation
            return
        given = native_settings(conf)
        # Exceptions of tasks that run in place are raised by this package, which Celery's callers can tell not to.
        given.pop("task_eager_propagates", None)
        before, now = vars(self).get("_native_conf"), load_settings(given)
        vars(self)["_native_conf"], self._generation, self._in_use = now, conf.generation, in_use
        if before is None:
            return
        changed = {
            name for names in _OPENED_FROM.values() for name in names if getattr(before, name) != getattr(now, name)
        }
        if changed and not is_forced and self.owner._controller is not None:
            text = "%s changed while a worker runs, which keeps what it began with: stop it before such a change"
            logger.warning(text, ", ".join(sorted(changed)))
        for resource, settings in _OPENED_FROM.items():
            if not changed.isdisjoint(settings):
                vars(self).pop(resource, None)
                self.close()
                vars(self).pop("connections", None)
                vars(self).pop("async_connections", None)
        for made in ("codec", "_router"):
            vars(self).pop(made, None)

    def import_modules(self) -> None:
        """Import the modules that the owner's settings name, and those that it discovers."""
        self._has_imported = True
        self.owner.loader.import_default_modules()
        self.owner.finalize()

    def runtime(
        self, *, hostname: str | None = None, patience_seconds: float | None = None, app_path: str | None = None
    ) -> Runtime:
        """Make the part of the application that a worker or a handler needs: its modules are imported first.

        Args:
            hostname: the worker's name; None: a name that is made from the machine's.
            patience_seconds: how long a finished run waits for a silent store; None: ``worker_patience``.
            app_path: the path from which the children of a process pool import the application.
        """
        if self._has_imported or self.owner.loader.worker_initialized:
            self.owner.finalize()
        else:
            self.import_modules()
        return super().runtime(hostname=hostname, patience_seconds=patience_seconds, app_path=app_path)

    def topology(self, *, app_path: str | None = None) -> Topology:
        """Describe the cloud resources that this application needs: its modules are imported first.

        Args:
            app_path: the path from which functions and containers import the application.
        """
        if not self._has_imported:
            self.import_modules()
        return super().topology(app_path=app_path)

    def prepare_process(self) -> None:
        """Prepare a process of a worker's pool: see ``worker.child``."""
        from taskq_cloud.celery.worker.child import prepare  # other processes need no worker

        prepare(self.owner)

    def options_of(self, task: str) -> TaskOptions:
        """Return the options of a task, or the defaults if it is not registered here: a call makes no other tasks."""
        if task in self.owner._tasks:
            return super().options_of(task)
        from taskq_cloud.core.model.options import TaskOptions  # a task that is registered has its own

        return TaskOptions()

    def route(self, task: str) -> str:
        """Return the queue of a task: that of the owner's routes, of its own attributes, or the default queue."""
        from taskq_cloud.celery.app.amqp import native_queue  # a process that only declares routes nothing

        known = dict.get(self.owner._tasks, task)
        own = {} if known is None else {name: of for name, of in known._get_exec_options().items() if of is not None}
        options = self.owner.amqp.router.route(own, task, (), {}, known)
        queue: str = native_queue(self.owner, options)
        return queue

    def route_options(self, task: str) -> Mapping[str, Any]:
        """Nothing: the owner's calls have the options of their routes already."""
        return {}

    def queues(self) -> list[str]:
        """Return the queues that workers serve by default: those of ``task_queues``, or the tasks' and the default."""
        if self.owner.conf.task_queues:
            return sorted(each.name for each in self.owner.amqp.queues.values())
        return super().queues()
