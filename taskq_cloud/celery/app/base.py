"""The application: ``Celery``. Its sub-objects, such as ``app.control``, are in ``parts``."""

from __future__ import annotations

import os
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, ClassVar

from taskq_cloud.celery import _state
from taskq_cloud.celery.app import builtins as _builtins  # noqa: F401 - registers the built-in tasks
from taskq_cloud.celery.app import declaring, further_names
from taskq_cloud.celery.app.configuring import Configured
from taskq_cloud.celery.app.parts import Parts
from taskq_cloud.celery.app.registry import TaskRegistry
from taskq_cloud.celery.local import maybe_evaluate
from taskq_cloud.celery.utils import gen_task_name, uuid
from taskq_cloud.celery.utils._logical_clock import LamportClock
from taskq_cloud.celery.utils.dispatch import Signal
from taskq_cloud.celery.utils.functional import head_from_fun
from taskq_cloud.celery.utils.imports import symbol_by_name

__all__ = ("Celery",)

_OMITTED = object()


class Celery(Configured, Parts):
    """An application with Celery's interface. The native application behind it is ``native``.

    Args:
        main: the name that replaces ``__main__`` in the names of tasks.
        loader: the loader, as a class or its path.
        backend: the URL of the result backend, or a backend's class.
        amqp: the class of ``app.amqp``, or its path.
        events: the class of ``app.events``.
        log: the class of ``app.log``.
        control: the class of ``app.control``.
        set_as_current: make this the current application of the thread.
        tasks: the registry of tasks, or its class.
        broker: the URL of the broker.
        include: modules that a worker imports.
        changes: settings.
        config_source: an object or a module with settings, or its path.
        fixups: paths of functions that adapt the application to a framework; None: Celery's own, for Django.
        task_cls: the base class of tasks, or its path.
        autofinalize: finalize the application when it is first used; otherwise that is an error.
        namespace: the prefix of settings in ``config_source``.
        strict_typing: check arguments at the call.
        config_source_silent: don't fail if ``config_source`` can't be imported.
        kwargs: settings by name.
    """

    amqp_cls = "taskq_cloud.celery.app.amqp:AMQP"
    backend_cls: Any = None
    events_cls = "taskq_cloud.celery.app.events:Events"
    loader_cls: Any = None
    log_cls = "taskq_cloud.celery.app.log:Logging"
    control_cls = "taskq_cloud.celery.app.control:Control"
    task_cls: Any = "taskq_cloud.celery.app.task:Task"
    registry_cls: Any = TaskRegistry
    builtin_fixups: ClassVar[tuple[str, ...]] = ("taskq_cloud.celery.fixups.django:fixup",)
    main: str | None = None
    on_after_configure: Any = None
    on_after_finalize: Any = None
    on_after_fork: Any = None
    steps: Any = None
    user_options: Any = None
    _fixups: Any = None
    has_handlers = False
    _pool: Any = None
    _controller: Any = None
    """The ``WorkController`` that runs in this process; None: there is none."""

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: Any = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: Any = None,
        broker: Any = None,
        include: Any = None,
        changes: Any = None,
        config_source: Any = None,
        fixups: Any = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **kwargs: Any,
    ) -> None:
        self._local = threading.local()
        self._native_lock = threading.RLock()
        self.clock = LamportClock()
        self.main = main
        self.amqp_cls = amqp or self.amqp_cls
        self.events_cls = events or self.events_cls
        self.loader_cls = loader or self._get_default_loader()
        self.log_cls = log or self.log_cls
        self.control_cls = control or self.control_cls
        self._custom_task_cls_used = bool(task_cls) or _declares_task_class(type(self))
        self.task_cls = task_cls or self.task_cls
        self.set_as_current = set_as_current
        self.registry_cls = symbol_by_name(self.registry_cls)
        self.user_options = defaultdict(set)
        self.steps = defaultdict(set)
        self.autofinalize = autofinalize
        self.strict_typing = strict_typing
        self.configured = False
        self.finalized = False
        self._finalize_mutex = threading.RLock()
        self._pending: deque[Any] = deque()
        self._tasks = tasks if isinstance(tasks, TaskRegistry) else self.registry_cls(tasks or {})
        given = {"broker_url": broker, "result_backend": backend, "include": include, **kwargs}
        self._prepare_conf(config_source, namespace, config_source_silent, changes, given)
        self.on_configure = getattr(self, "on_configure", None) or Signal(name="app.on_configure")
        self.on_after_configure = Signal(name="app.on_after_configure", providing_args={"source"})
        self.on_after_finalize = Signal(name="app.on_after_finalize")
        self.on_after_fork = Signal(name="app.on_after_fork")
        declaring.load_fixups(self, self.builtin_fixups if fixups is None else fixups)
        if self.set_as_current:
            self.set_current()
        self.on_init()
        _state._register_app(self)

    def on_init(self) -> None:
        """Called at the end of the constructor; a subclass may do something here."""

    def _get_default_loader(self) -> Any:
        return os.environ.get("CELERY_LOADER") or self.loader_cls or "taskq_cloud.celery.loaders.app:AppLoader"

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        from taskq_cloud.celery.app.utils import appstr  # few processes show an application

        return f"<{type(self).__name__} {appstr(self)}>"

    def set_current(self) -> None:
        """Make this the current application of the thread."""
        _state._set_current_app(self)

    def set_default(self) -> None:
        """Make this the application of threads without a current one."""
        _state.set_default_app(self)

    def close(self) -> None:
        """Close the application's connections, and forget it among those that ``shared_task`` declares tasks on."""
        native = vars(self).get("_native")
        if native is not None:
            native.close()
        self._pool = None
        _state._deregister_app(self)

    # -- declaring tasks

    def task(self, *args: Any, **opts: Any) -> Any:
        """Declare a task: ``@app.task``, or ``@app.task(option=...)``.

        The task is made when it is first used, or when the application is finalized.

        Args:
            args: the function, if the decorator is used without options.
            opts: ``name``, ``base``, ``bind``, ``shared``, ``filter``, ``lazy``, and attributes of the task.

        Raises:
            TypeError: the decorator's argument isn't a function, or there are several.
        """
        if len(args) == 1 and callable(args[0]) and not opts:
            return declaring.declare(self, args[0])
        if len(args) == 1 and callable(args[0]):
            return declaring.declare(self, args[0], **opts)
        if len(args) == 1:
            raise TypeError("argument 1 to @task() must be a callable")
        if args:
            raise TypeError(f"@task() takes exactly 1 argument ({len(args) + len(opts)} given)")
        return lambda function: declaring.declare(self, function, **opts)

    def _task_from_fun(self, fun: Callable[..., Any], name: str | None = None, **options: Any) -> Any:
        if not self.finalized and not self.autofinalize:
            raise RuntimeError("Contract breach: app not finalized")
        return declaring.task_of_function(self, fun, name or self.gen_task_name(fun.__name__, fun.__module__), options)

    def type_checker(self, fun: Callable[..., Any], bound: bool = False) -> Any:
        """Make the function that checks the arguments of a task's calls: it takes those that the task takes."""
        return staticmethod(head_from_fun(fun, bound=bound))

    def register_task(self, task: Any, **options: Any) -> Any:
        """Register a task that is a class, or an instance of one, and return the instance."""
        return declaring.register(self, task, options)

    def gen_task_name(self, name: str, module: str) -> str:
        """Make the name of a task that was declared without a name."""
        return gen_task_name(self, name, module)

    def finalize(self, auto: bool = False) -> None:
        """Make all tasks that were declared, and the built-in ones.

        Args:
            auto: the call is implicit.

        Raises:
            RuntimeError: the call is implicit, and the application was made with ``autofinalize=False``.
        """
        with self._finalize_mutex:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("Contract breach: app not finalized")
            self.finalized = True
            _state._announce_app_finalized(self)
            while self._pending:
                maybe_evaluate(self._pending.popleft())
            for task in list(self._tasks.values()):
                task.bind(self)
            self.on_after_finalize.send(sender=self)

    @property
    def tasks(self) -> Any:
        """The tasks, by name. The application is finalized first."""
        self.finalize(auto=True)
        return self._tasks

    def autodiscover_tasks(self, packages: Any = None, related_name: str | None = "tasks", force: bool = False) -> Any:
        """Import the modules of this name from packages, when a worker imports its modules.

        Args:
            packages: names of packages, or a function that returns them; None: those of the framework.
            related_name: the name of the module; None: the packages themselves.
            force: import the modules now.
        """
        return declaring.autodiscover(self, packages, related_name, force=force)

    # -- calling

    def send_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: Any = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        expires: Any = _OMITTED,
        publisher: Any = None,
        link: Any = None,
        link_error: Any = None,
        add_to_parent: bool = True,
        group_id: str | None = None,
        group_index: int | None = None,
        retries: int = 0,
        chord: Any = None,
        reply_to: str | None = None,
        time_limit: Any = _OMITTED,
        soft_time_limit: Any = _OMITTED,
        root_id: str | None = None,
        parent_id: str | None = None,
        route_name: str | None = None,
        shadow: str | None = None,
        chain: Any = None,
        task_type: Any = None,
        replaced_task_nesting: int = 0,
        **options: Any,
    ) -> Any:
        """Call a task by its name, and return its result. The task need not be registered here.

        Args and errors are those of ``Task.apply_async``. ``producer``, ``connection`` and ``publisher`` have no
        effect: the native application has its own connections.
        """
        from taskq_cloud.celery.app import sending  # a process that only declares tasks sends none

        limits = {"expires": expires, "time_limit": time_limit, "soft_time_limit": soft_time_limit}
        options |= {key: of for key, of in limits.items() if of is not _OMITTED}
        place = {
            "add_to_parent": add_to_parent,
            "chain": chain,
            "chord": chord,
            "countdown": countdown,
            "eta": eta,
            "group_id": group_id,
            "group_index": group_index,
            "link": link,
            "link_error": link_error,
            "replaced_task_nesting": replaced_task_nesting or None,
            "parent_id": parent_id,
            "reply_to": reply_to,
            "retries": retries,
            "root_id": root_id,
            "shadow": shadow,
            "task_id": task_id or uuid(),
        }
        route = sending.Route(router, route_name or name, task_type)
        return sending.send_task(self, name, (args, kwargs), route, options, place, result_cls)

    def add_periodic_task(
        self, schedule: Any, sig: Any, args: Any = (), kwargs: Any = (), name: str | None = None, **opts: Any
    ) -> str:
        """Declare a periodic task, and return its name.

        Args:
            schedule: a schedule, a ``timedelta`` or a number of seconds.
            sig: a signature, or a task.
            args: positional arguments, before the signature's own.
            kwargs: keyword arguments.
            name: the periodic task's name; None: the signature's representation.
            opts: options of each call.
        """
        return declaring.add_periodic_task(self, schedule, sig, args, kwargs, name, opts)

    _autodiscover_tasks = declaring.discover
    _autodiscover_tasks_from_names = declaring.discover_in
    _autodiscover_tasks_from_fixups = declaring.discover_by_fixups
    _sig_to_periodic_task_entry = declaring.periodic_entry

    # -- the native application

    @property
    def native(self) -> Any:
        """The native application, which sends, runs and stores."""
        native = vars(self).get("_native")
        if native is None:
            with self._native_lock:
                native = vars(self).get("_native")
                if native is None:
                    from taskq_cloud.celery.native.application import NativeApplication  # declaring needs none

                    native = vars(self)["_native"] = NativeApplication(self)
        return native


def _declares_task_class(kind: type[Any]) -> bool:
    """Whether a subclass of ``Celery`` says which class its tasks have."""
    return any("task_cls" in vars(each) for each in kind.__mro__[: kind.__mro__.index(Celery)])


__getattr__ = further_names.lazily(__name__, further_names.OF_BASE)
