"""The steps of a worker, under the names of Celery's: a project's steps name them in ``requires``."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery import bootsteps
from taskq_cloud.celery.utils.log import get_logger

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
        program = w.app.Beat(scheduler=w.scheduler, schedule=w.schedule_filename, quiet=True)
        w.ticker = program._ticker()
        if w.ticker is not None:
            return None
        from taskq_cloud.celery.beat import EmbeddedService  # few workers have a scheduler of Celery's kind

        b = w.beat = EmbeddedService(
            w.app, schedule_filename=w.schedule_filename, scheduler_cls=w.scheduler, thread=True
        )
        return b


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
