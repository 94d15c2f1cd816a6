"""Workers in a thread of the test's process."""

import logging
import logging.handlers
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from taskq_cloud.celery._state import _set_task_join_will_block
from taskq_cloud.celery.result import allow_join_result
from taskq_cloud.celery.utils.dispatch import Signal
from taskq_cloud.celery.utils.nodenames import anon_nodename
from taskq_cloud.celery.worker import WorkController

__all__ = (
    "TestWorkController",
    "setup_app_for_worker",
    "start_worker",
    "test_worker_started",
    "test_worker_starting",
    "test_worker_stopped",
)

WORKER_LOGLEVEL = os.environ.get("WORKER_LOGLEVEL", "error")

test_worker_starting = Signal(name="test_worker_starting", providing_args={})
test_worker_started = Signal(name="test_worker_started", providing_args={"worker", "consumer"})
test_worker_stopped = Signal(name="test_worker_stopped", providing_args={"worker"})

_WAIT_SECONDS = 0.2  # how long a receive waits for messages: stopping a worker takes as long


class TestWorkController(WorkController):
    """A worker whose start can be waited for.

    Args:
        args: the application, and the worker's name.
        pool: the pool, by its name in Celery or here.
        shutdown_timeout: how long running tasks may go on after ``stop``, in seconds.
        kwargs: further options of ``WorkController``.
    """

    __test__ = False  # pytest takes it for a test otherwise

    logger_queue: Any = None
    """Celery's queue for the log of child processes, which write their log themselves here."""

    class QueueHandler(logging.handlers.QueueHandler):
        """Passes records on as they are, marked as those of a queue."""

        def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
            """Mark the record, and return it."""
            record.from_queue = True
            return record

        def handleError(self, record: logging.LogRecord) -> None:
            """Raise the error of a queue that takes no record, unless the errors of logging are switched off."""
            error = sys.exception()
            if logging.raiseExceptions and error is not None:
                raise error

    def __init__(self, *args: Any, pool: Any = None, shutdown_timeout: float = 10.0, **kwargs: Any) -> None:
        self._on_started = threading.Event()
        self._ready = False
        self.shutdown_timeout = shutdown_timeout
        super().__init__(*args, pool=pool or "solo", **kwargs)

    def worker_options(self) -> Any:
        """Return the options of the native worker, which is to be stopped without a wait for messages."""
        options = super().worker_options()
        return replace(options, shutdown_timeout=self.shutdown_timeout, wait_time_seconds=_WAIT_SECONDS)

    def start(self) -> None:
        """Run the worker until it is stopped; its end is the end of this call."""
        try:
            super().start()
        finally:
            self._on_started.set()

    def on_consumer_ready(self, consumer: Any) -> None:
        """Tell the threads that wait that messages are consumed, and send the signal ``test_worker_started``."""
        self._ready = True
        self._on_started.set()
        test_worker_started.send(sender=self.app, worker=self, consumer=consumer)

    def ensure_started(self) -> None:
        """Wait until messages are consumed; the worker must run in another thread.

        Raises:
            Exception: the one for which the worker couldn't start.
            RuntimeError: the worker has crashed.
        """
        self._on_started.wait()
        if self._ready:
            return
        if self.error is not None:
            raise self.error
        raise RuntimeError("the worker has ended before it could consume messages: see the error of its thread")


@contextmanager
def start_worker(
    app: Any,
    concurrency: int = 1,
    pool: Any = "solo",
    loglevel: Any = WORKER_LOGLEVEL,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[TestWorkController]:
    """Run a worker in a thread within a block, and give it to the block.

    Args:
        app: the application; it becomes the current and the default one.
        concurrency: how many tasks run at a time.
        pool: the pool.
        loglevel: the level of the loggers.
        logfile: the file of the loggers.
        perform_ping_check: whether the task ``celery.ping`` is run first; the application must have it.
        ping_task_timeout: how long its result is waited for, in seconds.
        shutdown_timeout: how long the end of the worker is waited for, in seconds.
        kwargs: more options of ``TestWorkController``; ``WorkController`` is another class for it.

    Raises:
        RuntimeError: the worker doesn't end within ``shutdown_timeout``.
    """
    test_worker_starting.send(sender=app)
    worker = None
    try:
        with _start_worker_thread(
            app,
            concurrency=concurrency,
            pool=pool,
            loglevel=loglevel,
            logfile=logfile,
            perform_ping_check=perform_ping_check,
            shutdown_timeout=shutdown_timeout,
            **kwargs,
        ) as worker:
            if perform_ping_check:
                from taskq_cloud.celery.contrib.testing.tasks import ping

                with allow_join_result():
                    answer = ping.delay().get(timeout=ping_task_timeout)
                assert answer == "pong"
            yield worker
    finally:
        test_worker_stopped.send(sender=app, worker=worker)


@contextmanager
def _start_worker_thread(
    app: Any,
    concurrency: int = 1,
    pool: Any = "solo",
    loglevel: Any = WORKER_LOGLEVEL,
    logfile: str | None = None,
    WorkController: Any = TestWorkController,
    perform_ping_check: bool = True,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[Any]:
    setup_app_for_worker(app, loglevel, logfile)
    if perform_ping_check:
        assert "celery.ping" in app.tasks
    worker = WorkController(
        app=app,
        concurrency=concurrency,
        hostname=kwargs.pop("hostname", None) or anon_nodename(),
        pool=pool,
        loglevel=loglevel,
        logfile=logfile,
        shutdown_timeout=shutdown_timeout,
        **kwargs,
    )
    thread = threading.Thread(target=worker.start, name="taskq-test-worker", daemon=True)
    thread.start()
    worker.ensure_started()
    _set_task_join_will_block(blocks=False)
    try:
        yield worker
    finally:
        worker.stop_native()  # the thread stops the rest
        thread.join(shutdown_timeout)
        if thread.is_alive():
            raise RuntimeError(
                "Worker thread failed to exit within the allocated timeout. Consider raising `shutdown_timeout` if "
                "your tasks take longer to execute."
            )


def setup_app_for_worker(app: Any, loglevel: Any, logfile: Any) -> None:
    """Make an application the current and the default one, and set up its logging."""
    app.finalize()
    app.set_current()
    app.set_default()
    type(app.log)._setup = False
    app.log.setup(loglevel=loglevel, logfile=logfile)
