"""What both ways of running periodic tasks need of an application, and how its entries' messages are carried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from taskq_cloud.calling import call_options, make_transport
from taskq_cloud.core.messages.sending import Transport
from taskq_cloud.core.ports import Broker, ScheduleStore
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.periodic import Application as Declaring


class Application(Declaring, Protocol):
    """What periodic tasks are sent for: ``TaskQ``."""

    @property
    def broker(self) -> Broker:
        """Its message broker."""
        ...

    @property
    def tasks(self) -> Mapping[str, object]:
        """Its own tasks, by name."""
        ...

    @property
    def scheduler(self) -> ScheduleStore | None:
        """Its store of schedules."""
        ...


def queue_of(app: Application, entry: ScheduleEntry) -> str:
    """The queue that an entry's calls go to."""
    return entry.options.get("queue") or app.route(entry.task)


def transport_of(app: Application, entry: ScheduleEntry) -> Transport:
    """How an entry's messages are carried."""
    return make_transport(call_options(entry.task, entry.options), app.options_of(entry.task))
