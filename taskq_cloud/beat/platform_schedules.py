"""The schedules that a platform has to keep for a periodic task: their names, expressions and messages.

``ownership`` marks them as an application's own, and ``apply`` puts them into the platform's scheduler.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from typing import Any, Final, Literal

from taskq_cloud.beat.tick_messages import application_name, queue_of, tick_message
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, is_ordered
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.core.schedules.triggers import Trigger, triggers_of
from taskq_cloud.errors import ScheduleError
from taskq_cloud.runtime.protocols import Application
from taskq_cloud.schedules import crontab

ORIGIN: Final = "taskq beat"
"""The sender in the messages of schedules. It doesn't name the process that made them, so that equal schedules have
equal messages."""

_AWS_WORD: Final = "<aws.scheduler."
"""The beginning of the placeholders that EventBridge Scheduler replaces: User Guide,
"managing-schedule-context-attributes"."""

_LONGEST_DESCRIPTION_CHARACTERS: Final = 512
"""The longest description that EventBridge Scheduler takes."""

Platform = Literal["eventbridge", "cloud_scheduler"]


def platform_schedules(
    app: Application,
    entry: ScheduleEntry,
    platform: Platform,
    target: str,
    now: datetime,
    longest_eta_seconds: float = math.inf,
) -> list[PlatformSchedule]:
    """Make the schedules that a platform has to keep for an entry; none if the entry's end has passed.

    Args:
        app: the application.
        entry: the entry.
        platform: the platform.
        target: the entry's queue, as the platform addresses it.
        now: the time. The expressions depend only on the clock changes that follow it.
        longest_eta_seconds: how far ahead a message of the entry's queue can be due when a worker sends it.

    Raises:
        EncodeError: the arguments can't be serialised.
        ScheduleError: the platform can't express the schedule, or the queue can't hold its ticks back for long enough;
            the error names the entry.
    """
    if entry.timing.end is not None and entry.timing.end <= now:
        return []
    syntax = import_module(f"taskq_cloud.core.schedules.{platform}")
    triggers = _triggers(entry, now, longest_eta_seconds, weeks=syntax.WEEKS)
    return [_schedule(app, entry, trigger, number, platform, target, syntax) for number, trigger in enumerate(triggers)]


def schedule_prefix(application: str) -> str:
    """The beginning of the names of an application's periodic schedules; no other application's names begin so."""
    digest = hashlib.sha256(application.encode()).hexdigest()[:8]
    return f"beat.{_slug(application)[:12]}-{digest}."


def schedule_name(application: str, entry: str, number: int = 0) -> str:
    """The name of one of an entry's schedules: 64 characters of ``0-9a-zA-Z-_.`` at most, and always the same."""
    digest = hashlib.sha256(entry.encode()).hexdigest()[:8]
    return f"{schedule_prefix(application)}{_slug(entry)[:22]}-{digest}.{number}"


def _triggers(entry: ScheduleEntry, now: datetime, longest_eta_seconds: float, *, weeks: bool) -> Iterable[Trigger]:
    held_seconds = (entry.options.get("countdown") or 0) + entry.jitter_seconds + ticks.CLOCKS_DIFFER_SECONDS
    try:
        return triggers_of(entry.timing, now, weeks=weeks, longest_span_seconds=longest_eta_seconds - held_seconds)
    except ScheduleError as error:
        raise ScheduleError(f"periodic task {entry.name!r}: {error}") from error


def _schedule(
    app: Application,
    entry: ScheduleEntry,
    trigger: Trigger,
    number: int,
    platform: Platform,
    target: str,
    syntax: Any,
) -> PlatformSchedule:
    application, queue = application_name(app), queue_of(app, entry)
    tick = ticks.tick_of_entry(entry, application, trigger.span_seconds, entry.jitter_seconds)
    expression = syntax.expression(trigger)
    if platform == "cloud_scheduler":  # it writes no time into messages
        fires = crontab.from_string(expression, timezone=trigger.timezone)
        tick = replace(tick, fires=None if fires == entry.schedule else fires)
    name = schedule_name(application, entry.name, number)
    deduplicated = is_ordered(queue) and platform == "eventbridge"
    description = f"periodic task {entry.name} of {application}: {entry.task}, {entry.schedule!r}"
    return PlatformSchedule(
        name=name,
        when=expression,
        timezone=trigger.timezone,
        target=target,
        body=_body(app, entry, tick, platform, queue),
        end=entry.timing.end if syntax.ENDS else None,
        enabled=entry.enabled,
        group=entry.options.get("MessageGroupId") or (DEFAULT_GROUP if is_ordered(queue) else None),
        deduplication=f"{name}.{ticks.AWS_SCHEDULED_TIME}" if deduplicated else None,
        attributes=entry.options.get("message_attributes") or {},
        description=description[:_LONGEST_DESCRIPTION_CHARACTERS],
    )


def _body(app: Application, entry: ScheduleEntry, tick: ticks.Tick, platform: Platform, queue: str) -> str:
    """The message that a platform's schedule holds; it is the same whenever and wherever it is made."""
    task = app.options_of(entry.task)
    options = {name: entry.options.get(name) or getattr(task, name) for name in ("serializer", "compression")}
    # The arguments may hold the platform's placeholder. So a word that occurs nowhere else stands in for it first.
    stand_in = ticks.SENT_TIME if platform == "cloud_scheduler" else derived_id(entry.name, "moment")
    message = replace(tick_message(app, entry, tick, stand_in), origin=ORIGIN)
    body = app.outbox.codec.write(message, queue, **options)
    if platform == "cloud_scheduler":
        return body
    return body.replace(_AWS_WORD, f"{_AWS_WORD[0]}\\u{ord(_AWS_WORD[1]):04x}{_AWS_WORD[2:]}").replace(
        stand_in, ticks.AWS_SCHEDULED_TIME
    )


def _slug(text: str) -> str:
    return re.sub(r"[^0-9a-zA-Z_-]+", "-", text)
