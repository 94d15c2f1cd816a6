"""Events of workers and tasks: ``app.events``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskq_cloud.celery.utils import cached_property

__all__ = ("Events",)


class Events:
    """The classes that send and receive events, and make a state of them.

    Args:
        app: the application.
    """

    receiver_cls = "taskq_cloud.celery.events.receiver:EventReceiver"
    dispatcher_cls = "taskq_cloud.celery.events.dispatcher:EventDispatcher"
    state_cls = "taskq_cloud.celery.events.state:State"

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @cached_property
    def Receiver(self) -> Any:
        """The class of receivers: see ``taskq_cloud.celery.events.receiver``."""
        return self.app.subclass_with_self(self.receiver_cls, reverse="events.Receiver")

    @cached_property
    def Dispatcher(self) -> Any:
        """The class of dispatchers: see ``taskq_cloud.celery.events.dispatcher``."""
        return self.app.subclass_with_self(self.dispatcher_cls, reverse="events.Dispatcher")

    @cached_property
    def State(self) -> Any:
        """The class of states: see ``taskq_cloud.celery.events.state``."""
        return self.app.subclass_with_self(self.state_cls, reverse="events.State")

    @contextmanager
    def default_dispatcher(
        self, hostname: str | None = None, enabled: bool = True, buffer_while_offline: bool = False
    ) -> Iterator[Any]:
        """Give a dispatcher for a ``with`` statement.

        Args:
            hostname: the name of this process.
            enabled: False: nothing is sent.
            buffer_while_offline: keep events that can't be sent.
        """
        with (
            self.app.amqp.producer_pool.acquire(block=True) as producer,
            self.Dispatcher(producer.connection, hostname, enabled, producer.channel, buffer_while_offline) as made,
        ):
            yield made
