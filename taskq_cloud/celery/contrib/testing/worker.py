"""Workers in a thread of the test's process."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from taskq_cloud.celery._state import _set_task_join_will_block
from taskq_cloud.celery.result import allow_join_result
from taskq_cloud.celery.utils.dispatch import Signal
from taskq_cloud.celery.utils.nodenames import anon_nodename
from taskq_cloud.celery.utils.text import str_to_list
from taskq_cloud.errors import TaskQError

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


class TestWorkController:
    """A native worker, whose start can be waited for.

    Args:
        app: the application.
        hostname: the worker's name.
        pool: the pool, by its name in Celery or here.
        concurrency: how many tasks run at a time; the pool ``solo`` runs one.
        queues: the queues that it consumes from, as a list or with commas between them; None: all.
        exclude_queues: the queues that it doesn't consume from.
        prefetch_multiplier: how many messages are taken for each of the tasks that run at a time.
        shutdown_timeout: how long running tasks may go on after ``stop``, in seconds.
        kwargs: Celery's other options, which are kept in ``options`` and change nothing.
    """

    __test__ = False  # pytest takes it for a test otherwise

    def __init__(
        self,
        app: Any,
        hostname: str | None = None,
        pool: Any = None,
        concurrency: int | None = None,
        queues: Any = None,
        exclude_queues: Any = None,
        prefetch_multiplier: int | None = None,
        shutdown_timeout: float = 10.0,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.hostname = hostname or anon_nodename()
        self.pool_cls = pool or "solo"
        self.concurrency = 1 if self.pool_cls == "solo" else concurrency
        self.prefetch_multiplier = prefetch_multiplier
        self.shutdown_timeout = shutdown_timeout
        self.options = kwargs
        self.queues = self._chosen_queues(queues, exclude_queues)
        self._on_started = threading.Event()
        self._error: Exception | None = None
        self._ready = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._native: Any = None

    def _chosen_queues(self, include: Any, exclude: Any) -> list[str]:
        queues = self.app.amqp.queues
        if include:
            queues.select(str_to_list(include))
        if exclude:
            queues.deselect(str_to_list(exclude))
        if include or exclude:
            return [str(queue.name) for queue in queues.consume_from.values()]
        return list(self.app.native.queues())

    def start(self) -> None:
        """Run the worker until it is stopped; its end is the end of this call."""
        from taskq_cloud.celery.worker import local  # it knows the commands of remote control

        try:
            with local.running(self):
                asyncio.run(self._serve())
        except (TaskQError, OSError) as error:
            self._error = error
        finally:
            self._on_started.set()

    async def _serve(self) -> None:
        from taskq_cloud.worker.options import WorkerOptions  # only a running worker needs the native one
        from taskq_cloud.worker.supervisor import Worker

        native = self.app.native
        options = WorkerOptions.from_settings(
            native.conf,
            self.queues,
            pool=self.pool_cls,
            concurrency=self.concurrency,
            prefetch_multiplier=self.prefetch_multiplier,
            shutdown_timeout=self.shutdown_timeout,
            wait_time_seconds=_WAIT_SECONDS,
        )
        if options.pool not in {"prefork", "processes"}:  # as in Celery, no other pool has limits of its children
            options = replace(options, max_tasks_per_child=None, max_memory_per_child=None)
        self._loop = asyncio.get_running_loop()
        self._native = Worker(native.runtime(hostname=self.hostname), options, self._wait_while_ready)
        await self._native.serve()

    async def _wait_while_ready(self, stopping: asyncio.Event) -> None:
        """Run beside the pollers: the native worker starts this as soon as it consumes."""
        self.on_consumer_ready(self)
        await stopping.wait()

    def on_consumer_ready(self, consumer: Any) -> None:
        """Tell those who wait that messages are consumed, and send the signal ``test_worker_started``."""
        self._ready = True
        self._on_started.set()
        test_worker_started.send(sender=self.app, worker=self, consumer=consumer)

    def ensure_started(self) -> None:
        """Wait until messages are consumed; the worker must run in another thread.

        Raises:
            TaskQError: the worker couldn't start.
            RuntimeError: the worker has crashed.
        """
        self._on_started.wait()
        if self._error is not None:
            raise self._error
        if not self._ready:
            raise RuntimeError("the worker has ended before it could consume messages: see the error of its thread")

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """Let running tasks finish, and consume no more messages."""
        self._end(give_up=False)

    def terminate(self, in_sighandler: bool = False) -> None:
        """Give back the messages of running tasks, and consume no more."""
        self._end(give_up=True)

    def _end(self, *, give_up: bool) -> None:
        if self._loop is not None and self._native is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._native.stop, give_up)


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
        worker.stop()
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
