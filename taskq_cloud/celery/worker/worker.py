"""``WorkController``: a worker as an object, which runs the native worker with Celery's options.

The program, with its banner and its log, is ``taskq_cloud.celery.apps.worker``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar

from taskq_cloud.celery import bootsteps, signals
from taskq_cloud.celery import concurrency as _concurrency
from taskq_cloud.celery.bootsteps import RUN, TERMINATE
from taskq_cloud.celery.exceptions import ImproperlyConfigured, WorkerTerminate
from taskq_cloud.celery.utils.log import get_logger, mlevel
from taskq_cloud.celery.utils.nodenames import default_nodename, worker_direct
from taskq_cloud.celery.utils.text import str_to_list
from taskq_cloud.celery.worker.facts import Facts
from taskq_cloud.celery.worker.reloading import Reloading
from taskq_cloud.pools.cpus import AUTO, container_cpus, usable_cpus

__all__ = ("WorkController",)

logger = get_logger("celery.worker")

SELECT_UNKNOWN_QUEUE = """
Trying to select queue subset of {0!r}, but queue {1} isn't
defined in the `task_queues` setting.

If you want to automatically declare unknown queues you can
enable the `task_create_missing_queues` setting.
"""

DESELECT_UNKNOWN_QUEUE = """
Trying to deselect queue subset of {0!r}, but queue {1} isn't
defined in the `task_queues` setting.
"""

EX_FAILURE = 1

_OWN_MESSAGES = {
    "Request": "taskq_cloud.celery.worker.request:Request",
    "Strategy": "taskq_cloud.celery.worker.strategy:default",
}
"""The attributes by which a task of Celery's changes how messages are handled, with their values."""

_COMPONENTS = "taskq_cloud.celery.worker.components"


class WorkController(Facts, Reloading):
    """A worker.

    Args:
        app: the application; None: the attribute of a derived class.
        hostname: the worker's name.
        kwargs: options, by the names of those of the command ``worker``.

    Attributes:
        exitcode: the exit code of a program that has run the worker; None: 0.
    """

    app: Any = None
    pidlock: Any = None
    blueprint: Any = None
    pool: Any = None
    semaphore: Any = None
    exitcode: Any = None
    app_path: str | None = None
    """Where processes of the pool import the application; None: where it is found among the imported modules."""
    burst = False
    """Whether the worker stops once its queues are empty."""
    redirect_stdouts: Any = False
    redirect_stdouts_level: Any = None
    _stopping = False
    error: Exception | None = None
    """The exception with which the worker has ended."""
    logs: bool | str = False
    """Whether processes of the pool set up their log as the worker does; "native": as the native worker does."""
    ticker: Any = None
    timer: Any
    consumer: Any
    autoscale: Any
    max_concurrency: int | None = None
    min_concurrency: int | None = None

    class Blueprint(bootsteps.Blueprint):
        """The steps of a worker."""

        name = "Worker"
        default_steps: ClassVar[Any] = {
            *(f"{_COMPONENTS}:{name}" for name in ("Hub", "Pool", "Beat", "Timer", "StateDB", "Consumer")),
            "taskq_cloud.celery.worker.autoscale:WorkerComponent",
        }

    def __init__(self, app: Any = None, hostname: str | None = None, **kwargs: Any) -> None:
        from taskq_cloud.celery.worker.native_run import NativeRun  # it imports the native worker

        self.app = app or self.app
        self.hostname = default_nodename(hostname)
        self.startup_time = datetime.now(UTC)
        self._run = NativeRun(self)
        self._until_stopped = ExitStack()
        self.app.loader.init_worker()
        self.on_before_init(**kwargs)
        self.setup_defaults(**kwargs)
        self.on_after_init(**kwargs)
        self.setup_instance(**self.prepare_args(**kwargs))

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.blueprint.human_state() if self.blueprint else 'INIT'})>"

    def __str__(self) -> str:
        return self.hostname

    # -- for derived classes

    def on_before_init(self, **kwargs: Any) -> None:
        """Act before the options are read."""

    def on_after_init(self, **kwargs: Any) -> None:
        """Act after the options were read."""

    def on_init_blueprint(self) -> None:
        """Act before the steps are made."""

    def on_consumer_ready(self, consumer: Any) -> None:
        """Act when messages are about to be received."""

    def prepare_args(self, **kwargs: Any) -> dict[str, Any]:
        """Return the options that ``setup_instance`` gets."""
        return kwargs

    # -- options

    def setup_defaults(
        self,
        concurrency: Any = None,
        loglevel: Any = "WARN",
        logfile: Any = None,
        task_events: Any = None,
        pool: Any = None,
        consumer_cls: Any = None,
        timer_cls: Any = None,
        timer_precision: Any = None,
        autoscaler_cls: Any = None,
        optimization: Any = None,
        statedb: Any = None,
        time_limit: Any = None,
        soft_time_limit: Any = None,
        scheduler: Any = None,
        pool_cls: Any = None,
        state_db: Any = None,
        schedule_filename: Any = None,
        max_tasks_per_child: Any = None,
        prefetch_multiplier: Any = None,
        disable_rate_limits: Any = None,
        worker_lost_wait: Any = None,
        max_memory_per_child: Any = None,
        **_kw: Any,
    ) -> None:
        """Set the worker's options: the given ones, or the settings."""
        either = self.app.either
        self.loglevel, self.logfile = loglevel, logfile
        self.concurrency = either("worker_concurrency", concurrency)
        self.task_events = either("worker_send_task_events", task_events)
        self.pool_cls = either("worker_pool", pool, pool_cls)
        self.consumer_cls = _ours(either("worker_consumer", consumer_cls))
        self.timer_cls = either("worker_timer", timer_cls)
        self.timer_precision = either("worker_timer_precision", timer_precision)
        self.optimization = optimization
        self.autoscaler_cls = either("worker_autoscaler", autoscaler_cls)
        self.statedb = either("worker_state_db", statedb, state_db)
        self.schedule_filename = either("beat_schedule_filename", schedule_filename)
        self.scheduler = either("beat_scheduler", scheduler)
        self.time_limit = either("task_time_limit", time_limit)
        self.soft_time_limit = either("task_soft_time_limit", soft_time_limit)
        self.max_tasks_per_child = either("worker_max_tasks_per_child", max_tasks_per_child)
        self.max_memory_per_child = either("worker_max_memory_per_child", max_memory_per_child)
        self.prefetch_multiplier = int(either("worker_prefetch_multiplier", prefetch_multiplier))
        self.disable_rate_limits = either("worker_disable_rate_limits", disable_rate_limits)
        self.worker_lost_wait = either("worker_lost_wait", worker_lost_wait)

    def setup_instance(
        self,
        queues: Any = None,
        ready_callback: Any = None,
        pidfile: Any = None,
        include: Any = None,
        use_eventloop: Any = None,
        exclude_queues: Any = None,
        **kwargs: Any,
    ) -> None:
        """Choose the queues, and make the steps."""
        self.pidfile = pidfile
        self.setup_queues(queues, exclude_queues)
        self.setup_includes(str_to_list(include))
        self.concurrency = _number_of_tasks(self.concurrency)
        self.loglevel = mlevel(self.loglevel)
        self.ready_callback = ready_callback or self.on_consumer_ready
        self.use_eventloop = bool(use_eventloop)
        self.options = kwargs
        signals.worker_init.send(sender=self)
        self.pool_cls = _concurrency.get_implementation(self.pool_cls)
        if getattr(self.pool_cls, "native_name", None) is None:
            raise ImproperlyConfigured(getattr(self.pool_cls, "refusal", f"{self.pool_cls!r} is not a pool"))
        self.steps: list[Any] = []
        self.on_init_blueprint()
        self.blueprint = self.Blueprint(
            steps=self.app.steps["worker"], on_start=self.on_start, on_close=self.on_close, on_stopped=self.on_stopped
        )
        self.blueprint.apply(self, **kwargs)

    def setup_queues(self, include: Any, exclude: Any = None) -> None:
        """Choose the queues that the worker serves.

        Raises:
            ImproperlyConfigured: a queue isn't declared, and may not be created.
        """
        include, exclude = str_to_list(include), str_to_list(exclude)
        try:
            self.app.amqp.queues.select(include)
        except KeyError as error:
            raise ImproperlyConfigured(SELECT_UNKNOWN_QUEUE.strip().format(include, error)) from error
        try:
            self.app.amqp.queues.deselect(exclude)
        except KeyError as error:
            raise ImproperlyConfigured(DESELECT_UNKNOWN_QUEUE.strip().format(exclude, error)) from error
        if self.app.conf.worker_direct:
            self.app.amqp.queues.select_add(worker_direct(self.hostname))

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The names of the queues that the worker serves."""
        return tuple(sorted({str(queue.name) for queue in self.app.amqp.queues.consume_from.values()}))

    def setup_includes(self, includes: Any) -> None:
        """Import further modules, and note in the setting ``include`` where all tasks are."""
        before = tuple(self.app.conf.include)
        for module in includes or ():
            self.app.loader.import_task_module(module)
        self.include = includes
        modules = {type(task).__module__ for task in self.app.tasks.values()}
        self.app.conf.include = tuple({*before, *(includes or ()), *modules})

    # -- running

    def start(self) -> None:
        """Start the steps; the last one runs the native worker until it is told to stop. Then the others stop."""
        try:
            self.blueprint.start(self)
        except WorkerTerminate:
            self.terminate()
        except Exception as error:
            logger.critical("Unrecoverable error: %r", error, exc_info=True)
            self.error = error
            self.stop(exitcode=EX_FAILURE)
        except SystemExit as error:
            self.stop(exitcode=error.code)
        except KeyboardInterrupt:
            self.stop(exitcode=EX_FAILURE)
        else:
            if not self._stopping:  # otherwise another thread stops the steps
                self.stop()

    def worker_options(self) -> Any:
        """Return the options of the native worker."""
        from taskq_cloud.celery.worker.native_run import worker_options  # it imports the native worker

        return worker_options(self)

    def run_native(self, on_ready: Callable[[], Any]) -> None:
        """Run the native worker until it is told to stop."""
        from taskq_cloud.celery.worker import local  # it knows the commands of remote control

        with local.running(self):
            code = self._run.run(on_ready)
        self.exitcode = self.exitcode or code

    def stop_native(self, give_up: bool = False) -> None:
        """Tell the native worker to stop, if it runs."""
        self._run.stop(give_up)

    def stop(self, in_sighandler: bool = False, exitcode: Any = None) -> None:
        """Receive no more messages, let running tasks end, and stop.

        Args:
            in_sighandler: has no effect.
            exitcode: the exit code of the program.
        """
        self._stopping = True
        if exitcode is not None:
            self.exitcode = exitcode
        if self.blueprint is not None and self.blueprint.state == RUN:
            self._shutdown(warm=True)
        self._send_worker_shutdown()

    def terminate(self, in_sighandler: bool = False) -> None:
        """Give back the messages of running tasks, and stop."""
        if self.blueprint is not None and self.blueprint.state != TERMINATE:
            self._shutdown(warm=False)

    def _shutdown(self, warm: bool = True) -> None:
        self.stop_native(give_up=not warm)
        self._run.join()
        self.blueprint.stop(self, terminate=not warm)
        self.blueprint.join()

    def _send_worker_shutdown(self) -> None:
        signals.worker_shutdown.send(sender=self)

    def on_start(self) -> None:
        """Write the file of the process id, and name classes of tasks that have no effect."""
        self._warn_of_requests()
        if self.pidfile:
            from taskq_cloud.celery.apps._pid_file import pid_file  # few workers have such a file

            self._until_stopped.enter_context(pid_file(self.pidfile))

    def _warn_of_requests(self) -> None:
        for name, task in sorted(self.app.tasks.items()):
            for attribute, usual in _OWN_MESSAGES.items():
                if getattr(task, attribute, usual) not in (usual, usual.removeprefix("taskq_cloud."), None):
                    logger.warning(
                        "%s of the task %s has no effect: the native pipeline handles messages; use signals or the "
                        "task's own methods, such as on_failure",
                        attribute,
                        name,
                    )

    def on_close(self) -> None:
        """Tell the loader that the worker shuts down."""
        self.app.loader.shutdown_worker()

    def on_stopped(self) -> None:
        """Stop the timer, and remove the file of the process id."""
        self.timer.stop()
        self.consumer.shutdown()
        self._until_stopped.close()


def _ours(path: Any) -> Any:
    return f"taskq_cloud.{path}" if isinstance(path, str) and path.startswith("celery.") else path


def _number_of_tasks(concurrency: Any) -> int:
    if str(concurrency).strip().lower() == AUTO:
        return container_cpus()
    try:
        return int(concurrency or 0) or usable_cpus()
    except (TypeError, ValueError):
        logger.warning("worker_concurrency=%r is not a number; there are as many tasks as CPUs", concurrency)
        return usable_cpus()
