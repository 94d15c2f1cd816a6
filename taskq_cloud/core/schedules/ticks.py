"""Ticks: a periodic task's calls, one for each time it is due, and how a message says that it is one.

Two headers make a message a tick: ``taskq_schedule``, which says of which entry and when that is due, and
``taskq_scheduled_time``, which is the moment. A platform's schedule holds one message for all its ticks, with the
platform's own placeholder in place of the moment. So the task's id, and whatever else depends on the moment, is made
when the message is read: two firings of one tick are one task. The signature is of the message as the schedule holds
it; the moment is held against the schedule it has signed (``guards``).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.validation import LARGEST_NUMBER
from taskq_cloud.core.schedules import documents
from taskq_cloud.core.schedules.base import Schedule
from taskq_cloud.core.schedules.entry import CatchUp, Overlap, ScheduleEntry, Timing
from taskq_cloud.core.schedules.tick_headers import SCHEDULE, SCHEDULED_TIME
from taskq_cloud.core.schedules.triggers import LONG_SPAN_SECONDS
from taskq_cloud.errors import InvalidTaskError, MissingExtra, ScheduleError

AWS_SCHEDULED_TIME: Final = "<aws.scheduler.scheduled-time>"
"""What EventBridge Scheduler replaces by the time; User Guide, "managing-schedule-context-attributes"."""

SENT_TIME: Final = "<sent>"
"""Of a platform that writes no time into what it sends (Cloud Scheduler to Pub/Sub): it is the last time at which the
platform was to fire when the broker took the message."""

CLOCKS_DIFFER_SECONDS: Final = 5
"""How far apart the clocks of two of a provider's services, or of one and a worker, are taken to be. What was sent that
long before the platform was to fire was sent for then: platforms fire a minute apart or more."""

_LATEST_LEAD: Final = timedelta(minutes=5)
"""How far the clocks of a platform and of a worker may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a message says of the entry it comes from.

    Args:
        application: the name of the application that declared it.
        name: the entry's name.
        timing: when it is due.
        overlap: see ``ScheduleEntry``.
        catch_up: likewise.
        delay_seconds: from the time it is due to when it is to run (``countdown``).
        jitter_seconds: up to so much longer.
        expires_seconds: from the time it is due to when it isn't run any more.
        span_seconds: of a message that is no tick itself, but stands for all those of so many seconds; 0 of a tick.
        fires: when the platform fires, where it writes no time into what it sends: at other times, too, than those at
            which the entry is due. None: at those.
    """

    application: str
    name: str
    timing: Timing
    overlap: Overlap = "allow"
    catch_up: CatchUp = "one"
    delay_seconds: float = 0
    jitter_seconds: float = 0
    expires_seconds: float | None = None
    span_seconds: int = 0
    fires: Schedule | None = None

    def to_document(self) -> dict[str, Any]:
        """As JSON; what is as it usually is is left out."""
        usual = {"overlap": "allow", "catch_up": "one", "delay_seconds": 0, "jitter_seconds": 0}
        usual |= {"expires_seconds": None, "span_seconds": 0}
        given = {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}
        if self.fires is not None:
            given["fires"] = documents.schedule_to_document(self.fires)
        timing = documents.to_document(self.timing)
        return {"application": self.application, "name": self.name, "timing": timing, **given}

    @property
    def key(self) -> str:
        """What claims that concern the entry begin with."""
        return derived_id(f"{self.application}/{self.name}", "schedule")


def tick_of_entry(entry: ScheduleEntry, application: str, span_seconds: int = 0, jitter_seconds: float = 0) -> Tick:
    """What the messages of an entry say of it.

    Args:
        entry: the entry.
        application: the application's name.
        span_seconds: see ``Tick``.
        jitter_seconds: the entry's jitter, where the platform has none.
    """
    return Tick(
        application=application,
        name=entry.name,
        timing=entry.timing,
        overlap=entry.overlap,
        catch_up=entry.catch_up,
        delay_seconds=entry.options.get("countdown") or 0,
        jitter_seconds=jitter_seconds,
        expires_seconds=entry.options.get("expires"),
        span_seconds=span_seconds,
    )


def tick_id(application: str, name: str, moment: datetime) -> str:
    """The id of a tick's task: a UUIDv5 of the names of application and entry, and the time in UTC in whole seconds."""
    text = moment.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
    return derived_id(f"{application}/{name}/{text}", "tick")


def with_tick(message: Message, tick: Tick, moment: datetime | str) -> Message:
    """A message as a tick of an entry.

    Args:
        message: the task's call; its id, eta and expiry are of no matter.
        tick: what it is to say.
        moment: when it is due, or a platform's placeholder for that.
    """
    text = moment if isinstance(moment, str) else _text(moment)
    headers = {**message.headers, SCHEDULE: tick.to_document(), SCHEDULED_TIME: text}
    # To Celery's workers, which know nothing of these headers, the id is one for each tick, too.
    named = replace(message, id=_unread_id(tick, text), root_id=None, eta=None, expires=None, headers=headers)
    return named if isinstance(moment, str) else resolved(named)


def tick_of(message: Message) -> Tick | None:
    """What a message says of the entry it comes from; None: it comes from none.

    Raises:
        InvalidTaskError: what it says can't be read.
        TimeZonesMissing: nor can that of any other in a time zone, here.
    """
    document = message.headers.get(SCHEDULE)
    if document is None:
        return None
    try:
        parts = dict(document)
        if parts.get("fires") is not None:
            parts["fires"] = documents.schedule_from_document(parts["fires"])
        return _checked(Tick(timing=documents.from_document(parts.pop("timing")), **parts))
    except MissingExtra:
        raise  # of the worker, not of the message
    except (ScheduleError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise InvalidTaskError(f"task {message.task}: the header {SCHEDULE} can't be read: {error}") from None


def _checked(tick: Tick) -> Tick:
    if not (isinstance(tick.application, str) and isinstance(tick.name, str)):
        raise TypeError("application and name are texts")
    for value, most in (
        (tick.delay_seconds, LARGEST_NUMBER),
        (tick.jitter_seconds, LARGEST_NUMBER),
        (tick.expires_seconds or 0, LARGEST_NUMBER),
        (tick.span_seconds, LONG_SPAN_SECONDS),
    ):
        if not (isinstance(value, int | float) and 0 <= value <= most):
            raise ValueError(f"{value!r:.100} is no number of seconds from 0 to {most}")
    return tick


def fire_time_of(message: Message) -> datetime:
    """When a tick is due.

    Raises:
        InvalidTaskError: it doesn't say.
    """
    value = message.headers.get(SCHEDULED_TIME)
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError):
        raise InvalidTaskError(
            f"task {message.task}: the header {SCHEDULED_TIME} is no time: {value!r:.100}; only a platform's schedule "
            "puts one in the place of its placeholder"
        ) from None


def resolved(message: Message, sent_at: float | None = None) -> Message:
    """A message as it was read, with what depends on the moment; one that is no tick is as it was.

    Args:
        message: the message.
        sent_at: when the broker took it, in seconds since the epoch, where that is known.

    Raises:
        InvalidTaskError: its headers can't be read.
    """
    tick = tick_of(message)
    if tick is None:
        return message
    text = str(message.headers.get(SCHEDULED_TIME))
    if text == SENT_TIME:
        if sent_at is None:
            return message
        moment = _fired_at(tick, datetime.fromtimestamp(sent_at, UTC))
    else:
        moment = fire_time_of(message)
    if tick.span_seconds or tick.timing.whole_minutes:
        moment = moment.replace(second=0)
    try:
        return at(message, tick, moment, unread_id=_unread_id(tick, text))
    except OverflowError:
        raise InvalidTaskError(f"task {message.task}: it is due in no year that a clock knows: {text!r:.100}") from None


def at(message: Message, tick: Tick, moment: datetime, unread_id: str | None = None) -> Message:
    """A tick's message at a moment."""
    task_id = tick_id(tick.application, tick.name, moment)
    if tick.span_seconds:
        task_id = derived_id(task_id, "span", tick.span_seconds)  # no tick's: one of them may be due at its beginning
    changes: dict[str, Any] = {"id": task_id, "headers": {**message.headers, SCHEDULED_TIME: _text(moment)}}
    if message.root_id in (None, unread_id, message.id):
        changes["root_id"] = task_id
    if tick.span_seconds:
        return replace(message, **changes)
    delay = held_seconds(tick, task_id)
    # What runs again, or in the tick's place, has its own.
    if message.eta is None and not message.attempt and delay:
        changes["eta"] = moment + timedelta(seconds=delay)
    if message.expires is None and not message.attempt and tick.expires_seconds is not None:
        changes["expires"] = moment + timedelta(seconds=tick.expires_seconds)
    return replace(message, **changes)


def held_seconds(tick: Tick, task_id: str) -> float:
    """How long after it is due a tick is to run: countdown and jitter, the same for every firing of it."""
    return tick.delay_seconds + (uuid.UUID(task_id).int % (int(tick.jitter_seconds) + 1) if tick.jitter_seconds else 0)


def spread(message: Message, tick: Tick) -> list[Message]:
    """The ticks that a message of a span stands for, each held back until it is due."""
    begin, one = fire_time_of(message), replace(tick, span_seconds=0, fires=None)
    headers = {**message.headers, SCHEDULE: one.to_document()}
    unspread = replace(message, headers=headers, root_id=None, eta=None, expires=None)
    found = []
    for moment in tick.timing.between(begin, begin + timedelta(seconds=tick.span_seconds)):
        each = at(unspread, one, moment)
        found.append(each if each.eta else replace(each, eta=moment))
    return found


def is_due(message: Message, tick: Tick, now: datetime) -> bool:
    """Whether the schedule names the moment of a tick, and it has come."""
    moment = fire_time_of(message)
    return moment <= now + _LATEST_LEAD and (bool(tick.span_seconds) or tick.timing.fires_at(moment))


def _fired_at(tick: Tick, sent: datetime) -> datetime:
    """When the platform was to send what the broker took at ``sent``, whether the entry is due then or not.

    Without the entry's start and end, which the platform doesn't know either.
    """
    fires, sent = Timing(schedule=tick.fires or tick.timing.schedule), sent + timedelta(seconds=CLOCKS_DIFFER_SECONDS)
    return fires.latest(sent) or sent.replace(second=0, microsecond=0)


def _unread_id(tick: Tick, text: str) -> str:
    return f"{tick.name}@{text}"


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
