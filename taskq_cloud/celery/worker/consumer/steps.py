"""The steps of Celery's consumer, which a project's own steps may name in ``requires``."""

from __future__ import annotations

from typing import Any

from taskq_cloud.celery import bootsteps


class Connection(bootsteps.StartStopStep):
    """Stands for the connection to the broker, which the native worker opens."""

    def __init__(self, c: Any, **kwargs: Any) -> None:
        c.connection = None
        super().__init__(c, **kwargs)

    def start(self, c: Any) -> None:
        """Give the consumer the connection that describes the broker."""
        c.connection = c.app.connection_for_read()


class _NotRun(bootsteps.StartStopStep):
    """A step of Celery's consumer that has nothing to do here: a project's step may require it."""

    requires: Any = (Connection,)

    def include_if(self, c: Any) -> bool:
        """Return False."""
        return False


class Events(_NotRun):
    """Celery's step that sends events."""


class Mingle(_NotRun):
    """Celery's step that asks other workers at the start."""

    requires: Any = (Events,)


class Tasks(_NotRun):
    """Celery's step that receives messages, which the native worker does."""

    requires: Any = (Mingle,)


class Control(_NotRun):
    """Celery's step that answers remote control."""

    requires: Any = (Tasks,)


class Gossip(_NotRun):
    """Celery's step that listens to other workers."""

    requires: Any = (Mingle,)


class Heart(_NotRun):
    """Celery's step that sends heartbeats."""

    requires: Any = (Events,)


class DelayedDelivery(_NotRun):
    """Celery's step of delayed messages on quorum queues."""

    requires: Any = (Tasks,)


class Agent(_NotRun):
    """Celery's step of an agent."""
