"""Periodic tasks as an application declares them: from Celery's ways of doing so, and the decorator's, to entries.

What a declaration may hold is checked here, all of it, before anything is made of it; when an entry is due is
``core.schedules``'.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Final, Literal

from taskq_cloud.calling.options import call_options, make_message, make_transport
from taskq_cloud.canvas import signature
from taskq_cloud.canvas.task_call import Call
from taskq_cloud.canvas.workflow import Workflow
from taskq_cloud.core.messages.sending import Transport
from taskq_cloud.core.model.capabilities import DEFAULT_GROUP, is_ordered
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.schedules import entry as entries
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.base import Schedule, zone_name, zone_named
from taskq_cloud.core.schedules.documents import duration
from taskq_cloud.core.schedules.entry import ScheduleEntry, Timing
from taskq_cloud.core.schedules.triggers import triggers_of
from taskq_cloud.errors import ScheduleError
from taskq_cloud.runtime.protocols import Application
from taskq_cloud.schedules import crontab, maybe_schedule, schedule

DECORATOR_OPTIONS: Final = (
    "every",
    "cron",
    "schedule",
    "args",
    "kwargs",
    "options",
    "timezone",
    "enabled",
    "start",
    "end",
    "jitter",
    "overlap",
    "catch_up",
)
"""What ``@app.task`` takes beside the task's own options."""

_DICT_KEYS: Final = frozenset({*DECORATOR_OPTIONS, "task", "relative"} - {"every", "cron"})
ORIGIN: Final = "taskq beat"
"""Who sends, by the messages of schedules: not the process that has made them."""

_AWS_WORD: Final = "<aws.scheduler."
"""What EventBridge Scheduler fills in begins so: User Guide, "managing-schedule-context-attributes"."""

Platform = Literal["eventbridge", "cloud_scheduler"]

_NOT_OF_A_TICK: Final = ("task_id", "eta", "MessageDeduplicationId")
"""Options of a call that would be the same for every tick, and must not be."""


@dataclass(slots=True)
class Signal:
    """What Celery's users connect ``setup_periodic_tasks`` to: called with ``sender=app`` before entries are made."""

    receivers: list[Callable[..., Any]] = field(default_factory=list)

    def connect(self, receiver: Callable[..., Any] | None = None, **_options: Any) -> Any:
        """Have a function called; usable as a decorator, with or without arguments (Celery's ``weak``, ``sender``)."""
        if receiver is None:
            return self.connect
        self.receivers.append(receiver)
        return receiver

    def send_once(self, sender: Any) -> None:
        """Call those that were not called yet."""
        while self.receivers:
            self.receivers.pop(0)(sender=sender)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A periodic task as somebody declared it, unchecked: keys and values as in Celery's ``beat_schedule``."""

    name: str
    given: Mapping[str, Any]


def of_decorator(task: str, options: dict[str, Any]) -> list[Declaration]:
    """Take the options that make a task periodic out of those of ``@app.task``; the declarations, none or one.

    Raises:
        ScheduleError: it says more than one schedule, or none but something that belongs to one.
    """
    given: dict[str, Any] = {name: options.pop(name) for name in DECORATOR_OPTIONS if name in options}
    schedules = [name for name in ("every", "cron", "schedule") if name in given]
    if not given:
        return []
    if len(schedules) != 1:
        said = " and ".join(schedules) or f"{min(given)}, and no schedule"
        raise ScheduleError(f"task {task} is declared with {said}: say one of every=, cron= or schedule=")
    if "every" in given:
        given["schedule"] = schedule(duration(given.pop("every"), f"task {task}: every"))
    elif "cron" in given:
        given["schedule"] = crontab.from_string(given.pop("cron"))
    return [Declaration(name=task, given={"task": task, **given})]


def of_call(
    when: Any, sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any], name: str | None, **opts: Any
) -> Declaration:
    """What ``add_periodic_task`` was given."""
    call = sig if isinstance(sig, Workflow) else signature(sig) if isinstance(sig, Mapping) else sig.s()
    if not isinstance(call, Call):
        raise ScheduleError(f"{call!r} can't be periodic: a group, chain or chord is started by a task that is")
    links = sorted({"link", "link_error"} & call.options.keys())
    if links:
        raise ScheduleError(f"{call!r} can't be periodic with a {links[0]}: start the workflow from a task that is")
    call = call.clone(args, kwargs)
    own: dict[str, Any] = {each: opts.pop(each) for each in DECORATOR_OPTIONS if each in opts}
    options = {**call.options, **opts}
    given = {**own, "task": call.task, "schedule": when, "args": call.args, "kwargs": call.kwargs, "options": options}
    return Declaration(name=name or repr(call), given=given)


def entries_of(app: Application, declared: Sequence[Declaration]) -> list[ScheduleEntry]:
    """The entries of an application, by name.

    Raises:
        ScheduleError: one can't be had, or two have one name; names it.
    """
    conf = app.conf
    if not conf.enable_utc and conf.timezone is None:
        raise ScheduleError(
            "enable_utc=False means the clock of whichever machine it is, and schedules run on none: set timezone"
        )
    of_settings = [Declaration(name=name, given=given) for name, given in conf.beat_schedule.items()]
    found: dict[str, ScheduleEntry] = {}
    for each in [*of_settings, *declared]:
        entry = _entry(app, each)
        other = found.setdefault(entry.name, entry)
        if other != entry:
            raise ScheduleError(
                f"two periodic tasks have the name {entry.name!r}: {other.task} {other.schedule!r} and "
                f" {entry.task} {entry.schedule!r}; give one of them a name of its own"
            )
    return [found[name] for name in sorted(found)]


def application_name(app: Application) -> str:
    """What tells an application's periodic tasks from another's."""
    return app.main or "app"


def tick_message(app: Application, entry: ScheduleEntry, tick: ticks.Tick, moment: datetime | str) -> Message:
    """The message of an entry's tick, or, with a platform's placeholder, of all of them.

    Args:
        app: the application.
        entry: the entry.
        tick: what the message says of it: see ``ticks.tick_of_entry``.
        moment: when it is due, or the placeholder.
    """
    timed = ("countdown", "expires")
    options = call_options(entry.task, {name: value for name, value in entry.options.items() if name not in timed})
    task = app.options_of(entry.task)
    message = make_message(entry.task, entry.args, entry.kwargs, options, replace(task, expires=None))
    if tick.expires_seconds is None and task.expires is not None:
        tick = replace(tick, expires_seconds=task.expires)
    return ticks.with_tick(replace(message, parent_id=None), tick, moment)


def platform_schedules(
    app: Application,
    entry: ScheduleEntry,
    platform: Platform,
    target: str,
    now: datetime,
    longest_eta_seconds: float = math.inf,
) -> list[PlatformSchedule]:
    """What a platform has to keep for an entry; empty where it is not due any more.

    Args:
        app: the application.
        entry: the entry.
        platform: whose schedules they are.
        target: the entry's queue, as the platform addresses it.
        now: the time; the platform's expressions depend on the changes of clocks after it, and on nothing else of it.
        longest_eta_seconds: how far ahead a message of its queue may be due when a worker sends it.

    Raises:
        EncodeError: the arguments can't be serialised.
        ScheduleError: the schedule is of a kind that no platform can be told, or no worker can send its calls ahead.
    """
    if entry.timing.end is not None and entry.timing.end <= now:
        return []
    words = import_module(f"taskq_cloud.core.schedules.{platform}")
    application = application_name(app)
    queue = entry.options.get("queue") or app.route(entry.task)
    found = []
    held_seconds = (entry.options.get("countdown") or 0) + entry.jitter_seconds + ticks.CLOCKS_DIFFER_SECONDS
    try:
        triggers = triggers_of(
            entry.timing, now, weeks=words.WEEKS, longest_span_seconds=longest_eta_seconds - held_seconds
        )
    except ScheduleError as error:
        raise ScheduleError(f"periodic task {entry.name!r}: {error}") from error
    for number, trigger in enumerate(triggers):
        tick = ticks.tick_of_entry(entry, application, trigger.span_seconds, entry.jitter_seconds)
        expression = words.expression(trigger)
        if platform == "cloud_scheduler":  # which writes no time
            fires = crontab.from_string(expression, timezone=trigger.timezone)
            tick = replace(tick, fires=None if fires == entry.schedule else fires)
        name = schedule_name(application, entry.name, number)
        deduplicated = is_ordered(queue) and platform == "eventbridge"
        found.append(
            PlatformSchedule(
                name=name,
                when=expression,
                timezone=trigger.timezone,
                target=target,
                body=_platform_body(app, entry, tick, platform, queue),
                end=entry.timing.end if words.ENDS else None,
                enabled=entry.enabled,
                group=entry.options.get("MessageGroupId") or (DEFAULT_GROUP if is_ordered(queue) else None),
                deduplication=f"{name}.{ticks.AWS_SCHEDULED_TIME}" if deduplicated else None,
                attributes=entry.options.get("message_attributes") or {},
                description=f"periodic task {entry.name} of {application}: {entry.task}, {entry.schedule!r}"[:512],
            )
        )
    return found


def _platform_body(app: Application, entry: ScheduleEntry, tick: ticks.Tick, platform: Platform, queue: str) -> str:
    """The message that a platform's schedule holds: the same each time it is made, and for whoever makes it."""
    task = app.options_of(entry.task)
    options = {name: entry.options.get(name) or getattr(task, name) for name in ("serializer", "compression")}
    # A word that is nowhere else in the message: arguments may hold what the platform would put something in place of.
    stand_in = ticks.SENT_TIME if platform == "cloud_scheduler" else derived_id(entry.name, "moment")
    message = replace(tick_message(app, entry, tick, stand_in), origin=ORIGIN)
    body = app.outbox.codec.write(message, queue, **options)
    if platform == "cloud_scheduler":
        return body
    return body.replace(_AWS_WORD, f"{_AWS_WORD[0]}\\u{ord(_AWS_WORD[1]):04x}{_AWS_WORD[2:]}").replace(
        stand_in, ticks.AWS_SCHEDULED_TIME
    )


def schedule_prefix(application: str) -> str:
    """What the names of an application's periodic schedules begin with, and no other's."""
    digest = hashlib.sha256(application.encode()).hexdigest()[:8]
    return f"beat.{_slug(application)[:12]}-{digest}."


def schedule_name(application: str, entry: str, number: int = 0) -> str:
    """The name of one of an entry's schedules: at most 64 of ``0-9a-zA-Z-_.``, and the same each time."""
    digest = hashlib.sha256(entry.encode()).hexdigest()[:8]
    return f"{schedule_prefix(application)}{_slug(entry)[:22]}-{digest}.{number}"


def _slug(text: str) -> str:
    return re.sub(r"[^0-9a-zA-Z_-]+", "-", text)


def _entry(app: Application, declared: Declaration) -> ScheduleEntry:
    where, given = f"periodic task {declared.name!r}", declared.given
    if not isinstance(given, Mapping):
        raise ScheduleError(f"{where}: it is declared by a mapping of task, schedule, args..., not {given!r:.100}")
    unknown = sorted(given.keys() - _DICT_KEYS)
    if unknown:
        raise ScheduleError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_DICT_KEYS))}")
    task = given.get("task")
    if not isinstance(task, str) or not app.is_registered(task):
        raise ScheduleError(
            f"{where}: task {task!r} is not registered with the application; is its module among the imports?"
        )
    try:
        return entries.check(_checked(app, where, task, declared))
    except (TypeError, ScheduleError) as error:
        text = str(error)
        raise ScheduleError(text if text.startswith(where) else f"{where}: {text}") from error


def _checked(app: Application, where: str, task: str, declared: Declaration) -> ScheduleEntry:
    given = declared.given
    when = _schedule(where, given, app.conf.timezone)
    args, kwargs, options = given.get("args") or (), given.get("kwargs") or {}, dict(given.get("options") or {})
    if not isinstance(args, list | tuple):
        raise TypeError(f"args must be a list or tuple, not {type(args).__name__}")
    app.check_arguments(task, args, kwargs)
    call_options(task, options)
    fixed = sorted(set(_NOT_OF_A_TICK) & options.keys())
    if fixed:
        raise ScheduleError(f"{where}: {fixed[0]} would be the same for every call; it can't be among the options")
    if isinstance(options.get("expires"), timedelta):
        options["expires"] = options["expires"].total_seconds()
    if isinstance(options.get("expires"), datetime):
        raise ScheduleError(f"{where}: expires is a number of seconds from when it is due; an end of all is end=")
    overlap = given.get("overlap", "allow")
    limits = (options.get("time_limit"), app.options_of(task).time_limit, app.conf.task_time_limit)
    if overlap == "skip" and not any(limits):
        raise ScheduleError(f"{where}: overlap='skip' needs a time_limit: it is how long a run is waited for that died")
    if overlap == "skip" and not app.store.capabilities.claims:
        raise ScheduleError(f"{where}: overlap='skip' needs a result store with claims: set TASKQ_RESULTS")
    start, end = (_moment(where, name, given.get(name), when.timezone) for name in ("start", "end"))
    return ScheduleEntry(
        name=declared.name,
        task=task,
        timing=Timing(schedule=when, start=start, end=end),
        args=tuple(args),
        kwargs=dict(kwargs),
        options=options,
        enabled=bool(given.get("enabled", True)),
        jitter_seconds=duration(given.get("jitter") or 0, "jitter").total_seconds(),
        overlap=overlap,
        catch_up=given.get("catch_up", "one"),
    )


def _schedule(where: str, given: Mapping[str, Any], usual: str | None) -> Schedule:
    when = given.get("schedule")
    if isinstance(when, str):
        # From the environment, which holds text only.
        when = crontab.from_string(when) if " " in when.strip() else duration(when, "schedule")
    found = maybe_schedule(when, bool(given.get("relative")))
    if found is None:
        raise ScheduleError(f"{where}: it has no schedule")
    own = zone_name(given.get("timezone"))
    if own is not None and found.timezone not in (None, own) and isinstance(found, crontab | schedule):
        raise ScheduleError(f"{where}: its schedule is in {found.timezone}, and it in {own}: say one of them")
    return found.in_timezone(own or usual or "UTC")


def _moment(where: str, name: str, value: Any, timezone: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ScheduleError(f"{where}: {name} is a datetime or a text in ISO 8601, not {value!r:.100}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone_named(timezone))


def queue_of(app: Application, entry: ScheduleEntry) -> str:
    """The queue that an entry's calls go to."""
    return entry.options.get("queue") or app.route(entry.task)


def transport_of(app: Application, entry: ScheduleEntry) -> Transport:
    """How an entry's messages are carried."""
    return make_transport(call_options(entry.task, entry.options), app.options_of(entry.task))
