"""Ticks: the calls of a periodic task, one for each of its fire times, and the messages that carry them.

Two headers mark a message as a tick: ``taskq_schedule`` holds the entry and its timing, ``taskq_scheduled_time`` the
fire time. A platform's schedule holds one message for all its ticks, with the platform's own placeholder in place of
the fire time. So the task's id, and everything else that depends on the fire time, is made when the message is read,
and two firings of one tick are one task. The signature covers the message as the schedule holds it; a worker then
checks that the signed timing has the fire time (``core.execution.steps.tick_policy``).
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import SCHEDULE, SCHEDULED_TIME, Message
from taskq_cloud.core.model.option_values import LARGEST_NUMBER
from taskq_cloud.core.schedules import documents
from taskq_cloud.core.schedules.base import EPOCH, Schedule
from taskq_cloud.core.schedules.cron import crontab
from taskq_cloud.core.schedules.entry import CATCH_UPS, OVERLAPS, CatchUp, Overlap, ScheduleEntry, Timing
from taskq_cloud.core.schedules.interval import schedule
from taskq_cloud.core.schedules.triggers import LONG_SPAN_SECONDS
from taskq_cloud.errors import InvalidTaskError, MissingExtra, ScheduleError

AWS_SCHEDULED_TIME: Final = "<aws.scheduler.scheduled-time>"
"""The word that EventBridge Scheduler replaces by the fire time; User Guide, "managing-schedule-context-attributes"."""

SENT_TIME: Final = "<sent>"
"""The fire time in messages of a platform that writes no time into them (Cloud Scheduler to Pub/Sub): it stands for the
platform's latest fire time at the moment when the broker took the message."""

CLOCKS_DIFFER_SECONDS: Final = 5
"""The assumed difference between the clocks of two of a provider's services, or of a service and a worker. A message
sent up to this many seconds before a firing belongs to that firing, because firings are a minute or more apart."""

LATEST_FIRING_SECONDS: Final = 86_400
"""EventBridge Scheduler gives up after a day at the latest (User Guide, "managing-schedule-retry-policy")."""

_TOLERANCE_SECONDS: Final = 60
"""The assumed difference between the clocks of the process that signs, of the platform and of the broker."""

MOST_OF_A_SPAN: Final = 60
"""The most ticks that one message stands for: an interval under a minute has spans of a minute."""

_BEFORE_ALL: Final = EPOCH - timedelta(seconds=1)
"""A time that can't be a fire time."""

_LATEST_LEAD: Final = timedelta(minutes=5)
"""The largest accepted difference between the clocks of a platform and of a worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The facts about a periodic task that the message of its tick carries.

    Args:
        application: the name of the application that declared the entry.
        name: the entry's name.
        timing: the entry's fire times.
        overlap: see ``ScheduleEntry``.
        catch_up: see ``ScheduleEntry``.
        delay_seconds: seconds from the fire time until the task is to run (``countdown``).
        jitter_seconds: the largest random delay beyond that, in seconds.
        expires_seconds: seconds from the fire time until the task is no longer run; None: no limit.
        span_seconds: 0 for a tick; otherwise the message stands for all ticks of a span of this many seconds.
        fires: the platform's fire times, if it writes no time into its messages and also fires when the entry isn't
            due; None: it fires at the entry's times.
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
        """Write the tick as JSON, without values that are the defaults."""
        defaults = {"overlap": "allow", "catch_up": "one", "delay_seconds": 0, "jitter_seconds": 0}
        defaults |= {"expires_seconds": None, "span_seconds": 0}
        given = {name: getattr(self, name) for name, value in defaults.items() if getattr(self, name) != value}
        if self.fires is not None:
            given["fires"] = documents.schedule_to_document(self.fires)
        timing = documents.to_document(self.timing)
        return {"application": self.application, "name": self.name, "timing": timing, **given}

    @property
    def key(self) -> str:
        """The beginning of the keys of all locks that concern the entry."""
        return derived_id(f"{self.application}/{self.name}", "schedule")


def tick_of_entry(entry: ScheduleEntry, application: str, span_seconds: int = 0, jitter_seconds: float = 0) -> Tick:
    """Make the tick that the messages of an entry carry.

    Args:
        entry: the entry.
        application: the application's name.
        span_seconds: see ``Tick``.
        jitter_seconds: the entry's jitter, unless the platform itself adds it.
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


def tick_id(application: str, name: str, fire_time: datetime) -> str:
    """Derive the id of a tick's task: a UUIDv5 of application, entry, and fire time in UTC and whole seconds."""
    text = fire_time.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
    return derived_id(f"{application}/{name}/{text}", "tick")


def with_tick(message: Message, tick: Tick, fire_time: datetime | str) -> Message:
    """Turn a call of a task into a tick of an entry.

    Args:
        message: the call; its id, eta and expiry are replaced.
        tick: the tick that the message is to carry.
        fire_time: the tick's fire time, or a platform's placeholder for it.
    """
    text = fire_time if isinstance(fire_time, str) else _text(fire_time)
    headers = {**message.headers, SCHEDULE: tick.to_document(), SCHEDULED_TIME: text}
    # Celery's workers don't know these headers; for them, too, each tick has its own id.
    named = replace(message, id=_unread_id(tick, text), root_id=None, eta=None, expires=None, headers=headers)
    return named if isinstance(fire_time, str) else resolved(named)


def tick_of(message: Message) -> Tick | None:
    """Read the tick that a message carries; None if it isn't a tick.

    Raises:
        InvalidTaskError: the tick can't be read.
        TimeZonesMissing: this system has no time zones, so no tick with a zone can be read here.
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
        raise  # a fault of the worker, not of the message
    except (ScheduleError, TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise InvalidTaskError(f"task {message.task}: the header {SCHEDULE} can't be read: {error}") from None


def _checked(tick: Tick) -> Tick:
    """Check a tick that was read as its entry was checked, so that no message makes its reader compute for long."""
    if not (isinstance(tick.application, str) and isinstance(tick.name, str)):
        raise TypeError("application and name must be texts")
    if tick.overlap not in OVERLAPS or tick.catch_up not in CATCH_UPS:
        raise ValueError(f"overlap {tick.overlap!r:.100} or catch_up {tick.catch_up!r:.100} is unknown")
    if not isinstance(tick.span_seconds, int):
        raise TypeError("a span must be whole seconds")
    for value, most in (
        (tick.delay_seconds, LARGEST_NUMBER),
        (tick.jitter_seconds, LARGEST_NUMBER),
        (tick.expires_seconds or 0, LARGEST_NUMBER),
        (tick.span_seconds, LONG_SPAN_SECONDS),
    ):
        if not (isinstance(value, int | float) and 0 <= value <= most):
            raise ValueError(f"{value!r:.100} isn't a number of seconds from 0 to {most}")
    if not isinstance(tick.fires, crontab | None):
        raise TypeError("a platform's firings must be a crontab")
    _check_timing(tick)
    return tick


def _check_timing(tick: Tick) -> None:
    if any(bound is not None and bound.microsecond for bound in (tick.timing.start, tick.timing.end)):
        raise ValueError("start and end must be whole seconds")
    match tick.timing.schedule:
        case schedule(run_every=every):
            if every % timedelta(seconds=1):
                raise ValueError(f"the interval of {every.total_seconds():g} s isn't a whole number of seconds")
            if timedelta(seconds=tick.span_seconds) > MOST_OF_A_SPAN * every:
                raise ValueError(
                    f"an interval of {every.total_seconds():g} s can't have a span of {tick.span_seconds} s: a message "
                    f"stands for at most {MOST_OF_A_SPAN} ticks"
                )


def fire_time_of(message: Message) -> datetime:
    """Read the fire time of a tick, in UTC and whole seconds.

    Raises:
        InvalidTaskError: the message has no readable fire time.
    """
    value = message.headers.get(SCHEDULED_TIME)
    try:
        fire_time = max(datetime.fromisoformat(str(value)).astimezone(UTC), _BEFORE_ALL).replace(microsecond=0)
    except (ValueError, OverflowError):
        fire_time = _BEFORE_ALL
    if fire_time < EPOCH:
        raise InvalidTaskError(
            f"task {message.task}: the header {SCHEDULED_TIME} isn't a time: {value!r:.100}; only a platform's "
            "schedule replaces the placeholder by a time"
        )
    return fire_time


def resolved(message: Message, sent_at: float | None = None) -> Message:
    """Add everything that depends on the fire time to a tick's message, and return any other message unchanged.

    Args:
        message: the message.
        sent_at: when the broker took the message, in seconds since the epoch, if known.

    Raises:
        InvalidTaskError: the message's headers can't be read.
    """
    tick = tick_of(message)
    if tick is None:
        return message
    text = str(message.headers.get(SCHEDULED_TIME))
    if text == SENT_TIME:
        if not isinstance(tick.fires or tick.timing.schedule, crontab):
            raise InvalidTaskError(
                f"task {message.task}: a platform that writes no fire time fires at the times of a crontab only"
            )
        if sent_at is None:
            return message
        fire_time = _fired_at(tick, datetime.fromtimestamp(sent_at, UTC))
        message = replace(message, template_signed_at=None)  # the broker has said the time
    else:
        fire_time = fire_time_of(message)
    if tick.span_seconds or tick.timing.whole_minutes:
        fire_time = fire_time.replace(second=0)
    try:
        return at(message, tick, fire_time, unread_id=_unread_id(tick, text))
    except OverflowError:
        raise InvalidTaskError(f"task {message.task}: its fire time is too far away: {text!r:.100}") from None


def at(message: Message, tick: Tick, fire_time: datetime, unread_id: str | None = None) -> Message:
    """Give a tick's message its fire time, and the id, eta and expiry that follow from that.

    Args:
        message: the message.
        tick: the tick that the message carries.
        fire_time: the fire time.
        unread_id: the id that the message had while its fire time wasn't read; as a root id it is replaced too.
    """
    task_id = tick_id(tick.application, tick.name, fire_time)
    if tick.span_seconds:
        # A span must not have the id of a tick, because a tick of the span may be due at the span's beginning.
        task_id = derived_id(task_id, "span", tick.span_seconds)
    changes: dict[str, Any] = {"id": task_id, "headers": {**message.headers, SCHEDULED_TIME: _text(fire_time)}}
    if message.root_id in (None, unread_id, message.id):
        changes["root_id"] = task_id
    if tick.span_seconds:
        return replace(message, **changes)
    delay = held_seconds(tick, task_id)
    # A retry, and a task that replaces the tick, have their own eta and expiry.
    if message.eta is None and not message.attempt and delay:
        changes["eta"] = fire_time + timedelta(seconds=delay)
    if message.expires is None and not message.attempt and tick.expires_seconds is not None:
        changes["expires"] = fire_time + timedelta(seconds=tick.expires_seconds)
    return replace(message, **changes)


def held_seconds(tick: Tick, task_id: str) -> float:
    """The seconds from a tick's fire time until its run: countdown and jitter, equal for every firing of the tick."""
    return tick.delay_seconds + (uuid.UUID(task_id).int % (int(tick.jitter_seconds) + 1) if tick.jitter_seconds else 0)


def spread(message: Message, tick: Tick) -> list[Message]:
    """Make the messages of all ticks of a span, each held back until its fire time."""
    begin, one = fire_time_of(message), replace(tick, span_seconds=0, fires=None)
    headers = {**message.headers, SCHEDULE: one.to_document()}
    unspread = replace(message, headers=headers, root_id=None, eta=None, expires=None)
    found = []
    for fire_time in tick.timing.between(begin, begin + timedelta(seconds=tick.span_seconds)):
        each = at(unspread, one, fire_time)
        found.append(each if each.eta else replace(each, eta=fire_time))
    return found


def is_due(message: Message, tick: Tick, now: datetime) -> bool:
    """Whether a tick's fire time has come and is in its timing; for the message of a span, whether it has come."""
    fire_time = fire_time_of(message)
    return fire_time <= now + _LATEST_LEAD and (bool(tick.span_seconds) or tick.timing.fires_at(fire_time))


def forged_time(message: Message, sent_at: float) -> str | None:
    """Why a platform can't have fired for a tick's fire time when the broker took the message; None: it can have.

    The signature of a schedule's message leaves the fire time open, so that whoever has seen one could write any other
    time into it.

    Args:
        message: the tick's message.
        sent_at: when the broker took it, in seconds since the epoch.
    """
    signed_at, fire_time = message.template_signed_at, fire_time_of(message).timestamp()
    if signed_at is None:
        return None
    if fire_time < signed_at - _TOLERANCE_SECONDS:
        return "lies before the schedule's message was signed"
    if fire_time > sent_at + _TOLERANCE_SECONDS:
        return "lies after the message was sent"
    if fire_time < sent_at - LATEST_FIRING_SECONDS - _TOLERANCE_SECONDS:
        return f"lies more than {LATEST_FIRING_SECONDS} s before the message was sent, and no platform fires so late"
    return None


def _fired_at(tick: Tick, sent: datetime) -> datetime:
    """The fire time for which the platform sent a message that the broker took at ``sent``.

    The entry need not be due then. Its start and end are left out, as the platform doesn't know them either.
    """
    fires, sent = Timing(schedule=tick.fires or tick.timing.schedule), sent + timedelta(seconds=CLOCKS_DIFFER_SECONDS)
    return fires.latest(sent) or sent.replace(second=0, microsecond=0)


def _unread_id(tick: Tick, text: str) -> str:
    return f"{tick.name}@{text}"


def _text(fire_time: datetime) -> str:
    return fire_time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
