"""Reads the declarations of periodic tasks: Celery's settings and calls, and the options of ``@app.task``.

Every declaration is checked here, as a whole, and becomes a ``ScheduleEntry``. ``core.schedules`` computes when an
entry is due.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from taskq_cloud.calling import defaults
from taskq_cloud.calling.options import LINKS, call_options, checked_options
from taskq_cloud.canvas import signature
from taskq_cloud.canvas.task_call import Call
from taskq_cloud.canvas.workflow import Workflow
from taskq_cloud.core.model.option_values import FLAG, check
from taskq_cloud.core.schedules import entry as entries
from taskq_cloud.core.schedules.base import Schedule, zone_name, zone_named
from taskq_cloud.core.schedules.documents import duration
from taskq_cloud.core.schedules.entry import ScheduleEntry, Timing
from taskq_cloud.errors import ImproperlyConfigured, ScheduleError
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
"""The options of ``@app.task`` that make a task periodic."""

_DICT_KEYS: Final = frozenset({*DECORATOR_OPTIONS, "task", "relative"} - {"every", "cron"})

_NOT_OF_A_TICK: Final = ("task_id", "eta", "MessageDeduplicationId")
"""Options of a call that need a different value for each tick, so that a periodic task can't set them."""


@dataclass(slots=True)
class Signal:
    """The signal to which Celery's users connect ``setup_periodic_tasks``; receivers are called with ``sender=app``."""

    receivers: list[Callable[..., Any]] = field(default_factory=list)

    def connect(self, receiver: Callable[..., Any] | None = None, **_options: Any) -> Any:
        """Add a receiver. Usable as a decorator, with or without Celery's arguments, such as ``weak``."""
        if receiver is None:
            return self.connect
        self.receivers.append(receiver)
        return receiver

    def send_once(self, sender: Any) -> None:
        """Call the receivers that were not called before."""
        while self.receivers:
            self.receivers.pop(0)(sender=sender)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """An unchecked declaration of a periodic task.

    Args:
        name: the name of the periodic task.
        given: the declaration, with the keys and values of Celery's ``beat_schedule``.
    """

    name: str
    given: Mapping[str, Any]


def from_decorator(task: str, options: dict[str, Any]) -> list[Declaration]:
    """Take the options that make a task periodic out of the options of ``@app.task``.

    Args:
        task: the task's name.
        options: the options of the decorator; the options of a periodic task are removed from it.

    Returns:
        One declaration; none for a task that isn't periodic.

    Raises:
        ScheduleError: there is more than one schedule, or an option of a periodic task without a schedule.
    """
    given: dict[str, Any] = {name: options.pop(name) for name in DECORATOR_OPTIONS if name in options}
    schedules = [name for name in ("every", "cron", "schedule") if name in given]
    if not given:
        return []
    if len(schedules) != 1:
        found = " and ".join(schedules) if schedules else f"{min(given)} and no schedule"
        raise ScheduleError(f"task {task} is declared with {found}: use exactly one of every=, cron= and schedule=")
    if "every" in given:
        given["schedule"] = schedule(duration(given.pop("every"), f"task {task}: every"))
    elif "cron" in given:
        given["schedule"] = crontab.from_string(given.pop("cron"))
    return [Declaration(name=task, given={"task": task, **given})]


def from_call(
    when: Any, sig: Any, args: Sequence[Any], kwargs: Mapping[str, Any], name: str | None, **opts: Any
) -> Declaration:
    """Make a declaration of the arguments of ``add_periodic_task``.

    Raises:
        ScheduleError: the signature is a workflow, or has a callback or an errback.
    """
    call = sig if isinstance(sig, Workflow) else signature(sig) if isinstance(sig, Mapping) else sig.s()
    if not isinstance(call, Call):
        raise ScheduleError(f"{call!r} can't be periodic: start the group, chain or chord from a periodic task")
    links = sorted({"link", "link_error"} & call.options.keys())
    if links:
        raise ScheduleError(f"{call!r} can't be periodic with a {links[0]}: start the workflow from a periodic task")
    call = call.clone(args, kwargs)
    own: dict[str, Any] = {each: opts.pop(each) for each in DECORATOR_OPTIONS if each in opts}
    options = {**call.options, **opts}
    given = {**own, "task": call.task, "schedule": when, "args": call.args, "kwargs": call.kwargs, "options": options}
    return Declaration(name=name or repr(call), given=given)


def make_entries(app: Application, declared: Sequence[Declaration]) -> list[ScheduleEntry]:
    """Check an application's declarations, and make its entries, sorted by name.

    Args:
        app: the application, whose setting ``beat_schedule`` counts too.
        declared: the declarations that were made in code.

    Raises:
        ScheduleError: a declaration is wrong, or two of them have the same name; the error names the periodic task.
    """
    conf = app.conf
    if not conf.enable_utc and conf.timezone is None:
        raise ScheduleError(
            "enable_utc=False means the local time of a machine, but a platform's schedules don't run on one: set "
            "timezone"
        )
    from_settings = [Declaration(name=name, given=given) for name, given in conf.beat_schedule.items()]
    found: dict[str, ScheduleEntry] = {}
    for declaration in [*from_settings, *declared]:
        entry = _entry(app, declaration)
        other = found.setdefault(entry.name, entry)
        if other != entry:
            raise ScheduleError(
                f"two periodic tasks have the name {entry.name!r}: {other.task} {other.schedule!r} and "
                f"{entry.task} {entry.schedule!r}; give one of them another name"
            )
    return [found[name] for name in sorted(found)]


def _entry(app: Application, declared: Declaration) -> ScheduleEntry:
    where, given = f"periodic task {declared.name!r}", declared.given
    if not isinstance(given, Mapping):
        raise ScheduleError(f"{where}: declare it as a mapping with the keys task and schedule, not {given!r:.100}")
    unknown = sorted(given.keys() - _DICT_KEYS)
    if unknown:
        raise ScheduleError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_DICT_KEYS))}")
    task = given.get("task")
    if not isinstance(task, str) or not app.is_registered(task):
        raise ScheduleError(
            f"{where}: task {task!r} is not registered with the application: add its module to the setting imports"
        )
    try:
        return entries.check(_checked(app, where, task, declared))
    except (TypeError, ImproperlyConfigured) as error:
        text = str(error)
        raise ScheduleError(text if text.startswith(where) else f"{where}: {text}") from error


def _checked(app: Application, where: str, task: str, declared: Declaration) -> ScheduleEntry:
    given = declared.given
    when = _schedule(where, given, app.conf.timezone)
    args, kwargs, options = given.get("args") or (), given.get("kwargs") or {}, dict(given.get("options") or {})
    if not isinstance(args, list | tuple):
        raise TypeError(f"args must be a list or tuple, not {type(args).__name__}")
    app.check_arguments(task, args, kwargs)
    args, kwargs = app.plain_call(task, args, kwargs)
    options = _checked_options(where, task, options)
    overlap = given.get("overlap", "allow")
    if overlap == "skip":
        _check_overlap(app, where, task, options)
    start, end = (_time(where, name, given.get(name), when.timezone) for name in ("start", "end"))
    return ScheduleEntry(
        name=declared.name,
        task=task,
        timing=Timing(schedule=when, start=start, end=end),
        args=tuple(args),
        kwargs=dict(kwargs),
        options=options,
        enabled=check(FLAG, "enabled", given.get("enabled", True)),
        jitter_seconds=duration(given.get("jitter") or 0, "jitter").total_seconds(),
        overlap=overlap,
        catch_up=given.get("catch_up", "one"),
    )


def _checked_options(where: str, task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    options = checked_options(task, given)
    call_options(task, {name: options[name] for name in LINKS if name in options})
    defaults.check(task, options)
    fixed = sorted(set(_NOT_OF_A_TICK) & options.keys())
    if fixed:
        raise ScheduleError(f"{where}: the option {fixed[0]} would be the same for every call: remove it")
    if isinstance(options.get("expires"), datetime):
        raise ScheduleError(
            f"{where}: the option expires must be a number of seconds, counted from each fire time; to end the "
            "periodic task at a given time, use end="
        )
    return options


def _check_overlap(app: Application, where: str, task: str, options: Mapping[str, Any]) -> None:
    if not any((options.get("time_limit"), app.options_of(task).time_limit, app.conf.task_time_limit)):
        raise ScheduleError(
            f"{where}: overlap='skip' needs a time_limit: after that long, a crashed run no longer blocks the next one"
        )
    if not app.store.capabilities.claims:
        raise ScheduleError(f"{where}: overlap='skip' needs a result store with locks: set TASKQ_RESULTS")


def _schedule(where: str, given: Mapping[str, Any], default_timezone: str | None) -> Schedule:
    when = given.get("schedule")
    if isinstance(when, str):
        # Settings from the environment can hold a schedule as text only.
        when = crontab.from_string(when) if " " in when.strip() else duration(when, "schedule")
    found = maybe_schedule(when, bool(given.get("relative")))
    if found is None:
        raise ScheduleError(f"{where}: it has no schedule: give it one")
    own = zone_name(given.get("timezone"))
    if own is not None and found.timezone not in (None, own) and isinstance(found, crontab | schedule):
        raise ScheduleError(
            f"{where}: its schedule has the time zone {found.timezone}, and its timezone is {own}: give only one"
        )
    return found.in_timezone(own or default_timezone or "UTC")


def _time(where: str, name: str, value: Any, timezone: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ScheduleError(f"{where}: {name} must be a datetime or a text in ISO 8601, not {value!r:.100}") from None
    return time if time.tzinfo else time.replace(tzinfo=zone_named(timezone))
