"""Celery and taskq_cloud.celery, so that one example runs on both with only the imports changed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from types import ModuleType
from typing import Any

from tests.celery.utils.loggers import loggers_as_before

TIMEOUT_SECONDS = 20

_numbers = count()


class Side:
    """One of the two packages, and the applications that an example makes with it."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.is_ours = package != "celery"
        self._stack = ExitStack()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module(), name)

    def module(self, path: str = "") -> ModuleType:
        """Import a module of the package: ``""`` is the package itself."""
        return importlib.import_module(f"{self.package}.{path}" if path else self.package)

    def app(self, main: str = "shop", **options: Any) -> Any:
        """Make an application that keeps messages and results in memory, on a queue of its own."""
        given = {"broker": "memory://", "backend": "cache+memory://", "set_as_current": False}
        app = self.module().Celery(main, **given | options)
        app.conf.task_default_queue = f"documentation-{next(_numbers)}"
        if not self.is_ours:
            app.conf.broker_transport_options = {"polling_interval": 0.01}
        self._stack.callback(app.close)
        return app

    @contextmanager
    def worker(self, app: Any, **options: Any) -> Iterator[Any]:
        """Run a worker in a thread."""
        worker = self.module("contrib.testing.worker")
        with warnings.catch_warnings(), loggers_as_before():
            warnings.simplefilter("ignore")
            with worker.start_worker(app, **{"perform_ping_check": False, "loglevel": "critical"} | options) as started:
                try:
                    yield started
                finally:
                    if not self.is_ours:
                        self._end(app, options.get("queues") or [app.conf.task_default_queue])

    def _end(self, app: Any, queues: list[str]) -> None:
        """Tell Celery's worker to end, and send it a message, since it looks after a message or after two seconds."""
        state: Any = self.module("worker.state")
        state.should_terminate = 0
        for queue in queues:
            app.send_task("celery.accumulate", queue=queue)

    def close(self) -> None:
        self._stack.close()


def get(result: Any, **options: Any) -> Any:
    """Wait for a result."""
    return result.get(timeout=TIMEOUT_SECONDS, **{"interval": 0.02} | options)
