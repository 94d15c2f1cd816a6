"""What both ways of running periodic tasks need of an application: its name, and the messages of its entries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from taskq_cloud.calling import call_options, make_transport
from taskq_cloud.core.codec import Codec
from taskq_cloud.core.ports import Broker, ScheduleStore
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.core.sending import Transport
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.periodic import Application as Declaring

_NOT_OF_A_NAME: Final = re.compile(r"[^a-z0-9]+")
_LONGEST_NAME: Final = 32


class Application(Declaring, Protocol):
    """What periodic tasks are sent for: ``TaskQ``."""

    @property
    def main(self) -> str | None:
        """Its name, as it was given."""
        ...

    @property
    def broker(self) -> Broker:
        """Its message broker."""
        ...

    @property
    def scheduler(self) -> ScheduleStore | None:
        """Its store of schedules."""
        ...

    @property
    def codec(self) -> Codec:
        """How it writes its messages."""
        ...

    def route(self, task: str) -> str:
        """The queue of a task."""
        ...


def application_name(main: str | None, deployment: Mapping[str, Any]) -> str:
    """What tells an application's periodic tasks from another's: ``deployment``'s ``name``, or its own.

    Raises:
        ImproperlyConfigured: it has none.
    """
    name = str(deployment.get("name") or _NOT_OF_A_NAME.sub("-", (main or "").lower()).strip("-")[:_LONGEST_NAME])
    if not name:
        raise ImproperlyConfigured(
            'the application has no name, which tells its periodic tasks from other applications\': say TaskQ("shop")'
        )
    return name


def queue_of(app: Application, entry: ScheduleEntry) -> str:
    """The queue that an entry's calls go to."""
    return entry.options.get("queue") or app.route(entry.task)


def transport_of(app: Application, entry: ScheduleEntry) -> Transport:
    """How an entry's messages are carried."""
    return make_transport(call_options(entry.task, entry.options), app.options_of(entry.task))
