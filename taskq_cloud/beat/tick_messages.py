"""The messages of periodic tasks: the queue, the transport and the content of an entry's ticks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from taskq_cloud.calling.options import call_options, make_message, make_transport, with_defaults
from taskq_cloud.core.messages.sending import Transport
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.options import first_given
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.runtime.protocols import Application


def application_name(app: Application) -> str:
    """The application's name, which tells its periodic tasks from those of other applications."""
    return app.main or "app"


def queue_of(app: Application, entry: ScheduleEntry) -> str:
    """The queue that an entry's ticks are sent to."""
    queue = entry.options.get("queue") or app.route(entry.task)
    given = (entry.options.get("priority"), app.options_of(entry.task).priority)
    return app.priorities.queue_for(queue, first_given(*given, app.route_options(entry.task).get("priority")) or 0)


def transport_of(app: Application, entry: ScheduleEntry) -> Transport:
    """The transport of the messages of an entry's ticks."""
    options = with_defaults(call_options(entry.task, entry.options), app.route_options(entry.task))
    return make_transport(options, app.options_of(entry.task))


def tick_message(app: Application, entry: ScheduleEntry, tick: ticks.Tick, fire_time: datetime | str) -> Message:
    """Make the message of an entry's tick or, with a platform's placeholder for the fire time, of all its ticks.

    Args:
        app: the application.
        entry: the entry.
        tick: the tick that the message carries: see ``ticks.tick_of_entry``.
        fire_time: the tick's fire time, or the platform's placeholder.
    """
    timed = ("countdown", "expires")
    options = call_options(entry.task, {name: value for name, value in entry.options.items() if name not in timed})
    task, route = app.options_of(entry.task), dict(app.route_options(entry.task))
    expires = first_given(task.expires, route.pop("expires", None))
    options = with_defaults(options, route)
    message = make_message(entry.task, entry.args, entry.kwargs, options, replace(task, expires=None))
    if tick.expires_seconds is None and isinstance(expires, int | float):
        tick = replace(tick, expires_seconds=expires)
    return ticks.with_tick(replace(message, parent_id=None), tick, fire_time)
