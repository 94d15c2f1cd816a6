"""The worker behind the native command ``taskq worker`` for an application of this package.

It is the program of ``apps.worker`` with the options, the log and the banner of the native command. So signals, steps
and the settings that receivers of ``celeryd_init`` change work as with Celery's command.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskq_cloud.celery import concurrency, signals
from taskq_cloud.celery.apps.worker import Worker
from taskq_cloud.celery.concurrency.base import BasePool
from taskq_cloud.celery.utils.log import get_logger

if TYPE_CHECKING:
    from taskq_cloud.worker.options import WorkerOptions

__all__ = ("NativeWorker", "announce_logging")


class NativeWorker(Worker):
    """A worker with the options of the native command.

    Args:
        app: Celery's application.
        hostname: the worker's name.
        options_of: returns the options of the native worker; it is called again after receivers of signals had a chance
            to change the settings.
        app_path: where processes of the pool import the application.
        loglevel: the level of the log.
        beat: whether the worker also sends periodic tasks.
    """

    def __init__(
        self,
        app: Any,
        hostname: str,
        *,
        options_of: Callable[[], WorkerOptions],
        app_path: str,
        loglevel: int,
        beat: bool = False,
    ) -> None:
        self._options_of = options_of
        options, conf = options_of(), app.native.conf
        super().__init__(
            app,
            hostname,
            pool=_pool_of(options.pool),
            concurrency=options.concurrency,
            prefetch_multiplier=options.prefetch_multiplier,
            time_limit=conf.task_time_limit,
            soft_time_limit=conf.task_soft_time_limit,
            app_path=app_path,
            loglevel=loglevel,
            beat=beat,
            burst=options.burst,
            redirect_stdouts=False,
            quiet=True,
        )
        self._declared = set(self.queue_names)

    def worker_options(self) -> WorkerOptions:
        """Return the options of the native worker, with the queues that receivers of signals have added."""
        options = self._options_of()
        added = [name for name in self.queue_names if name not in {*self._declared, *options.queues}]
        return replace(options, queues=(*options.queues, *added))

    def setup_logging(self, colorize: bool | None = None) -> Any:
        """Let receivers of signals set up the log, which the native command has set up already."""
        return announce_logging(self.app, self.loglevel)

    def on_init_blueprint(self) -> None:
        """Set up the log, here and in the processes of the pool."""
        super().on_init_blueprint()
        self.logs = "native"

    def start(self) -> None:
        """Run the worker until it is stopped.

        Raises:
            Exception: the one with which the worker has ended.
        """
        super().start()
        if self.error is not None:
            raise self.error


def announce_logging(app: Any, loglevel: Any) -> Any:
    """Send the signals of logging for a log that the native command has set up, unless they were sent before.

    Args:
        app: the application.
        loglevel: the level of the log.

    Returns:
        The receivers of ``setup_logging`` with their responses; None if logging had been set up before.

    Raises:
        Exception: a receiver's.
    """
    log = app.log
    if log.already_setup:
        return None
    log.already_setup = True
    described = {"loglevel": loglevel, "logfile": None, "colorize": False}
    receivers = signals.setup_logging.send(sender=None, format=log.format, **described)
    for _, response in receivers:
        if isinstance(response, Exception):
            log.already_setup = False
            raise response
    if not receivers:
        signals.after_setup_logger.send(sender=None, logger=logging.getLogger(), format=log.format, **described)
        task_logger = get_logger("celery.task")
        signals.after_setup_task_logger.send(sender=None, logger=task_logger, format=log.task_format, **described)
    return receivers


def _pool_of(name: str) -> Any:
    if name in concurrency.get_available_pool_names():
        return concurrency.get_implementation(name)
    return type("TaskPool", (BasePool,), {"native_name": name, "__module__": name.partition(":")[0]})
