"""Runs the native worker for a ``WorkController``: in the main thread with signals, or in another one without."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from taskq_cloud.bootstrap.variables import environment
from taskq_cloud.celery import signals
from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.celery.worker import child
from taskq_cloud.celery.worker.app_path import path_of
from taskq_cloud.core.model.environments import COMMAND_LINE
from taskq_cloud.pools.factory import IN_PROCESSES
from taskq_cloud.worker.autoscale import AutoscaleLimits
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.process import run_worker
from taskq_cloud.worker.supervisor import Worker as NativeWorker

logger = get_logger("celery.worker")


class NativeRun:
    """One run of the native worker.

    Args:
        controller: the worker whose options it has.
    """

    def __init__(self, controller: Any) -> None:
        self._controller = controller
        self._stop: Callable[[bool], None] | None = None
        self._stopped_early = False
        self._thread: int | None = None
        self._ended = threading.Event()

    def run(self, on_ready: Callable[[], Any]) -> int:
        """Run the native worker until it is told to stop, and return its exit code.

        Args:
            on_ready: is called when messages are about to be received.
        """
        controller = self._controller
        if self._stopped_early:
            return 0
        options, path = controller.worker_options(), None
        if options.pool in IN_PROCESSES:
            path = controller.app_path or path_of(controller.app)
            if path is None:
                raise ImproperlyConfigured(
                    "the processes of the pool can't find the application, because no module has it as an attribute: "
                    "name it with -A, or use -P threads"
                )
        self._thread = threading.get_ident()
        with environment(_variables(controller)), self._runs():
            # The settings were read before, without what the command line says of limits.
            controller.app.native._generation = -1
            runtime = controller.app.native.runtime(hostname=controller.hostname, app_path=path)
            service = self._service(on_ready)
            if threading.current_thread() is threading.main_thread():
                self._stop = _stop_by_signal
                return run_worker(runtime, options, service)
            return asyncio.run(self._serve(NativeWorker(runtime, options, service)))

    @contextmanager
    def _runs(self) -> Iterator[None]:
        controller = self._controller
        controller.app._controller = controller
        try:
            yield
        finally:
            controller.app._controller = None
            self._ended.set()

    def join(self) -> None:
        """Wait until the native worker has ended, unless this is its own thread."""
        if self._thread not in (None, threading.get_ident()):
            self._ended.wait()

    def stop(self, give_up: bool = False) -> None:
        """Tell the native worker to stop, if it runs.

        Args:
            give_up: also end the running tasks, whose messages go back to their queues.
        """
        self._stopped_early = True
        if self._stop is not None:
            stop, self._stop = self._stop, None
            stop(give_up)

    async def _serve(self, worker: NativeWorker) -> int:
        loop = asyncio.get_running_loop()

        def stop(give_up: bool) -> None:
            loop.call_soon_threadsafe(worker.stop, give_up)

        self._stop = stop
        if self._stopped_early:  # since the run began; it would not be told again
            worker.stop()
        await worker.serve()
        return 1 if worker.crashed else 0

    def _service(self, on_ready: Callable[[], Any]) -> Any:
        controller = self._controller

        async def serve(stopping: asyncio.Event) -> None:
            try:
                on_ready()
            except Exception:
                logger.exception("a function that is called when the worker is ready failed, so the worker stops")
                controller.exitcode = 1
                self.stop()
            if controller.ticker is not None:
                from taskq_cloud.beat.run import tick_until  # few workers send periodic tasks

                signals.beat_init.send(sender=controller)
                signals.beat_embedded_init.send(sender=controller)
                await tick_until(stopping, controller.ticker, controller.app.native.arun)
            await stopping.wait()
            self._stop = None
            signals.worker_shutting_down.send(sender=controller.hostname, sig="SIGTERM", how="Warm", exitcode=0)

        return serve


def _stop_by_signal(give_up: bool) -> None:
    """Stop the native worker of this process as a signal does: its handler runs in the main thread."""
    os.kill(os.getpid(), signal.SIGQUIT if give_up else signal.SIGTERM)


def worker_options(controller: Any) -> WorkerOptions:
    """Return the options of the native worker for those of a ``WorkController``."""
    settings = controller.app.native.conf
    pool = controller.pool_cls.native_name
    overrides: dict[str, Any] = {"pool": pool, "concurrency": controller.concurrency}
    if controller.autoscale:
        overrides["autoscale"] = limits_of(controller)
    if controller.prefetch_multiplier > 0:
        overrides["prefetch_multiplier"] = controller.prefetch_multiplier
    in_processes = pool == "processes"
    options = WorkerOptions.from_settings(settings, controller.queue_names, **overrides)
    return replace(
        options,
        concurrency=1 if pool == "solo" else options.concurrency,
        max_tasks_per_child=controller.max_tasks_per_child if in_processes else None,
        max_memory_per_child=controller.max_memory_per_child if in_processes else None,
        burst=controller.burst,
    )


def limits_of(controller: Any) -> AutoscaleLimits:
    """Return the limits of autoscaling. Celery's least may be 0, and a pool keeps one place."""
    return AutoscaleLimits(controller.max_concurrency, max(1, controller.min_concurrency))


def _variables(controller: Any) -> dict[str, str]:
    """Return the environment variables by which the processes of the pool know what the command line says."""
    limits = {"task_time_limit": controller.time_limit, "task_soft_time_limit": controller.soft_time_limit}
    given = json.loads(os.environ.get(COMMAND_LINE, "{}"))
    given |= {name: value for name, value in limits.items() if value is not None}
    variables = {COMMAND_LINE: json.dumps(given)} if given else {}
    if controller.pool_cls.native_name not in IN_PROCESSES:
        return variables
    about = child.describe(
        hostname=controller.hostname,
        loglevel=controller.loglevel,
        logfile=controller.logfile,
        include=controller.include,
        logs=controller.logs,
        redirect_level=controller.redirect_stdouts_level if controller.redirect_stdouts else None,
    )
    return {**variables, child.VARIABLE: about}
