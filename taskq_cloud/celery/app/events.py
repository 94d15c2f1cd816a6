"""Events of workers and tasks (``app.events``), which are not sent yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ("Events",)


class Dispatcher:
    """Sends events: to the log, until monitors can receive them.

    Args:
        hostname: the name of the worker.
    """

    def __init__(self, hostname: str | None) -> None:
        self.hostname = hostname

    def send(self, type: str, **fields: Any) -> None:
        """Write an event to the log ``taskq_cloud.celery.events``, at the level DEBUG."""
        import logging  # few tasks send events

        logging.getLogger("taskq_cloud.celery.events").debug("event %s: %s", type, fields)


class Events:
    """The sending and the receiving of events.

    Args:
        app: the application.
    """

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @contextmanager
    def default_dispatcher(self, hostname: str | None = None, **_: Any) -> Iterator[Dispatcher]:
        """Give a dispatcher for a ``with`` statement."""
        yield Dispatcher(hostname)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotImplementedError(
            f"app.events.{name}: events are not received yet: the log records of workers have what they would say"
        )
