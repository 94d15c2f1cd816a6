"""A beat service inside another program, such as a worker: in a thread or in a process of its own."""

from __future__ import annotations

import signal
from multiprocessing import Process
from threading import Thread
from typing import Any

from taskq_cloud.celery.beat.service import Service


class _Threaded(Thread):
    """A thread that runs beat."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        super().__init__(name="Beat", daemon=True)
        self.app = app
        self.service = Service(app, **kwargs)

    def run(self) -> None:
        """Run the service until it is stopped."""
        self.app.set_current()
        self.service.start()

    def stop(self) -> None:
        """Stop the service, and wait until it has stopped."""
        self.service.stop(wait=True)


class _Process(Process):
    """A process that runs beat."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        super().__init__(name="Beat")
        self.app = app
        self.service = Service(app, **kwargs)

    def run(self) -> None:
        """Run the service until the process is terminated."""
        # The program that started this process may have had handlers of its own.
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.app.set_default()
        self.app.set_current()
        self.service.start(embedded_process=True)

    def stop(self) -> None:
        """Stop the service and end the process."""
        self.service.stop()
        self.terminate()


def _leave(*_signal: Any) -> None:
    raise SystemExit


def EmbeddedService(app: Any, max_interval: float | None = None, **kwargs: Any) -> Any:
    """Make a beat service to run inside another program; ``start`` and ``stop`` are its methods.

    Args:
        app: the Celery application.
        max_interval: the longest time between two looks at the schedule, in seconds.
        kwargs: ``thread``: whether a thread runs it, and not a process; and the arguments of ``Service``.
    """
    kwargs.setdefault("remote_control", False)
    if kwargs.pop("thread", False):
        # A thread must look often whether it is to stop.
        return _Threaded(app, max_interval=1, **kwargs)
    return _Process(app, max_interval=max_interval, **kwargs)
