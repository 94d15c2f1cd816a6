"""The steps of a worker, under the names of Celery's: a project's steps name them in ``requires``."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery import bootsteps
from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.errors import ImproperlyConfigured

__all__ = ("Beat", "Consumer", "Hub", "Pool", "StateDB", "Timer")

logger = get_logger(__name__)


class Timer(bootsteps.Step):
    """Makes ``worker.timer``, which calls functions after a time."""

    def create(self, w: Any) -> None:
        """Make the timer."""
        kind = w.timer_cls or "taskq_cloud.celery.worker.timer:Timer"
        w.timer = self.instantiate(kind, max_interval=w.timer_precision, on_error=self.on_timer_error)

    def on_timer_error(self, exc: BaseException) -> None:
        """Log the error of a function that the timer has called."""
        logger.error("Timer error: %r", exc, exc_info=exc)


class Hub(bootsteps.StartStopStep):
    """Celery's event loop, of which there is none: it is never included."""

    requires = (Timer,)

    def __init__(self, w: Any, **kwargs: Any) -> None:
        w.hub = None
        super().__init__(w, **kwargs)

    def include_if(self, w: Any) -> bool:
        """Return False."""
        return False


class Pool(bootsteps.Step):
    """Says how many tasks run at a time. The native worker starts its pool itself."""

    requires = (Hub,)

    def __init__(self, w: Any, autoscale: Any = None, **kwargs: Any) -> None:
        w.pool = None
        w.max_concurrency = w.min_concurrency = w.concurrency
        if isinstance(autoscale, str):
            larger, _, smaller = autoscale.partition(",")
            autoscale = [int(larger), int(smaller or 0)]
        if autoscale:
            w.max_concurrency, w.min_concurrency = autoscale
        w.autoscale = autoscale
        super().__init__(w, **kwargs)

    def create(self, w: Any) -> Any:
        """Note the pool's class and size."""
        w.pool = w.pool_cls(w.max_concurrency)


class Beat(bootsteps.StartStopStep):
    """Sends periodic tasks from the worker, if its option ``-B`` is given.

    The native ticker runs in the native worker. A scheduler class of the project runs in a thread.
    """

    label = "Beat"
    conditional = True

    def __init__(self, w: Any, beat: bool = False, **kwargs: Any) -> None:
        self.enabled = w.beat = beat
        w.ticker = None
        super().__init__(w, beat=beat, **kwargs)

    def create(self, w: Any) -> Any:
        """Make the ticker, or the service of the scheduler."""
        from taskq_cloud.celery.apps.beat import _DEFAULT_SCHEDULERS  # few workers send periodic tasks
        from taskq_cloud.celery.beat import EmbeddedService
        from taskq_cloud.celery.beat.native import make_native_ticker

        if w.scheduler in _DEFAULT_SCHEDULERS:
            try:
                w.ticker = make_native_ticker(w.app)
            except ImproperlyConfigured as error:
                text = "-B runs a scheduler with the file %r, so only one worker may have -B; no ticker can run: %s"
                logger.warning(text, w.schedule_filename, error)
            else:
                return None
        w.beat = EmbeddedService(w.app, schedule_filename=w.schedule_filename, scheduler_cls=w.scheduler, thread=True)
        return w.beat


class StateDB(bootsteps.Step):
    """Celery's file of revoked tasks, of which there is none: the result store keeps them."""

    def __init__(self, w: Any, **kwargs: Any) -> None:
        self.enabled = bool(w.statedb)
        w._persistence = None
        super().__init__(w, **kwargs)


class Consumer(bootsteps.StartStopStep):
    """Runs the native worker, until it is told to stop. It is the last step."""

    last = True

    def create(self, w: Any) -> Any:
        """Make ``worker.consumer``, which has the steps of the consumer."""
        w.consumer = self.instantiate(
            w.consumer_cls,
            w,
            hostname=w.hostname,
            app=w.app,
            init_callback=w.ready_callback,
            pool=w.pool,
            timer=w.timer,
        )
        return w.consumer
