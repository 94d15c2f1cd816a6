"""``Service``: runs a scheduler until it is told to stop."""

from __future__ import annotations

import time
from functools import cached_property
from threading import Event
from typing import Any, Final

from taskq_cloud.celery import signals
from taskq_cloud.celery.beat.persistent import PersistentScheduler
from taskq_cloud.celery.beat.remote_control import BeatPidbox
from taskq_cloud.celery.beat.scheduler import Scheduler, logger
from taskq_cloud.celery.utils.imports import load_extension_class_names, symbol_by_name
from taskq_cloud.celery.utils.time import humanize_seconds

CELERYS_SCHEDULERS: Final[dict[str, Any]] = {
    f"celery.beat{separator}{found.__name__}": f"{found.__module__}:{found.__name__}"
    for separator in ".:"
    for found in (Scheduler, PersistentScheduler)
}
"""The names of Celery's own schedulers, which settings may still have -> the names of ours."""


class Service:
    """Runs a scheduler.

    Args:
        app: the Celery application.
        max_interval: the longest time between two looks at the schedule, in seconds.
        schedule_filename: the file of a ``PersistentScheduler``.
        scheduler_cls: the class of the scheduler, or its name.
        remote_control: whether the process is to answer remote control, which our brokers don't offer.
        hostname: the node name for remote control.
    """

    scheduler_cls: Any = PersistentScheduler

    def __init__(
        self,
        app: Any,
        max_interval: float | None = None,
        schedule_filename: str | None = None,
        scheduler_cls: Any = None,
        remote_control: bool | None = None,
        hostname: str | None = None,
    ) -> None:
        self.app = app
        self.max_interval = max_interval or app.conf.beat_max_loop_interval
        self.scheduler_cls = scheduler_cls or self.scheduler_cls
        self.schedule_filename = schedule_filename or app.conf.beat_schedule_filename
        self.remote_control = app.conf.beat_enable_remote_control if remote_control is None else remote_control
        self.hostname = hostname
        self.effective_max_interval: float | None = None
        self.last_tick: float | None = None
        self._pidbox: BeatPidbox | None = None
        self._is_shutdown = Event()
        self._is_stopped = Event()

    def __reduce__(self) -> tuple[Any, ...]:
        fields = ("app", "max_interval", "schedule_filename", "scheduler_cls", "remote_control", "hostname")
        return type(self), tuple(getattr(self, name) for name in fields)

    def start(self, embedded_process: bool = False) -> None:
        """Run the scheduler until ``stop`` is called, or until Ctrl-C or ``SystemExit``.

        Args:
            embedded_process: whether this is a process that a worker has started for beat.
        """
        logger.info("beat: Starting...")
        logger.debug("beat: Ticking with max interval->%s", humanize_seconds(self.scheduler.max_interval))
        signals.beat_init.send(sender=self)
        if embedded_process:
            signals.beat_embedded_init.send(sender=self)
        self.effective_max_interval = self.scheduler.max_interval
        if self.remote_control:
            self._pidbox = BeatPidbox(self)
            self._pidbox.start()
        self.last_tick = time.monotonic()
        try:
            self._run()
        except (KeyboardInterrupt, SystemExit):
            self._is_shutdown.set()
        finally:
            self.sync()
            if self._pidbox is not None:
                self._pidbox.stop()

    def _run(self) -> None:
        while not self._is_shutdown.is_set():
            interval = self.scheduler.tick()
            self.last_tick = time.monotonic()
            if interval and interval > 0:
                logger.debug("beat: Waking up %s.", humanize_seconds(interval, prefix="in "))
                self._is_shutdown.wait(interval)
                if self.scheduler.should_sync():
                    self.scheduler._do_sync()

    def sync(self) -> None:
        """Save the schedule, and close the scheduler."""
        self.scheduler.close()
        self._is_stopped.set()

    def stop(self, wait: bool = False) -> None:
        """Tell the scheduler to stop.

        Args:
            wait: whether to return only once it has stopped.
        """
        logger.info("beat: Shutting down...")
        self._is_shutdown.set()
        if wait:
            self._is_stopped.wait()

    def get_scheduler(self, lazy: bool = False, extension_namespace: str = "celery.beat_schedulers") -> Any:
        """Make the scheduler.

        Args:
            lazy: whether its schedule is not set up.
            extension_namespace: the group of entry points with the short names of schedulers.
        """
        aliases = {**CELERYS_SCHEDULERS, **dict(load_extension_class_names(extension_namespace))}
        return symbol_by_name(self.scheduler_cls, aliases=aliases)(
            app=self.app, schedule_filename=self.schedule_filename, max_interval=self.max_interval, lazy=lazy
        )

    @cached_property
    def scheduler(self) -> Any:
        """The scheduler that the service runs."""
        return self.get_scheduler()
