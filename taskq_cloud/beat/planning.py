"""What has to change on a platform for its schedules to be those that an application declares. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

from taskq_cloud.core import serializers
from taskq_cloud.core.platform_schedule import PlatformSchedule
from taskq_cloud.core.signing import SIGNATURE_HEADER
from taskq_cloud.core.tick_headers import SCHEDULE
from taskq_cloud.errors import ScheduleConflict

Action = Literal["create", "update", "delete", "prune", "unchanged"]
Owner = Literal["beat", "terraform"]

LONGEST_DESCRIPTION_CHARACTERS: Final = 500
"""EventBridge Scheduler takes 512, Cloud Scheduler 500."""
_COMPARED: Final = tuple(each.name for each in fields(PlatformSchedule) if each.name not in ("name", "body", "enabled"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of one schedule.

    Args:
        action: ``delete`` removes one of a declared entry that it needs no more, ``prune`` one whose entry nobody
            declares.
        name: the schedule's.
        entry: the entry's.
        live: as it is; None: it isn't there.
        wanted: as it is to be; None: it is not to be there.
        differences: by part, what it is and what it is to be.
        paused: somebody has disabled it, and it stays so.
    """

    action: Action
    name: str
    entry: str
    live: PlatformSchedule | None = None
    wanted: PlatformSchedule | None = None
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    paused: bool = False

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "action": self.action,
            "schedule": self.name,
            "entry": self.entry,
            "paused": self.paused,
            "differences": {part: {"is": was, "becomes": will} for part, (was, will) in self.differences.items()},
        }


def owned(schedule: PlatformSchedule, owner: Owner) -> PlatformSchedule:
    """A schedule that says who keeps it, and whether it is disabled because its entry is."""
    mark = f"[{owner}]" if schedule.enabled else f"[{owner}, disabled]"
    return replace(schedule, description=f"{mark} {schedule.description}"[:LONGEST_DESCRIPTION_CHARACTERS])


def owner_of(schedule: PlatformSchedule) -> str:
    """Who keeps a schedule, by its description; empty: it doesn't say."""
    return schedule.description.partition("]")[0].partition(",")[0].removeprefix("[")


def is_paused(schedule: PlatformSchedule) -> bool:
    """Whether a schedule is disabled though its entry was not when it was put: by hand, or ``taskq beat pause``."""
    return not schedule.enabled and not schedule.description.startswith("[beat, disabled]")


def entry_of(schedule: PlatformSchedule) -> tuple[str | None, str | None, str | None]:
    """The application, the entry and the task that a schedule's message names; None for what it doesn't."""
    headers = _document(schedule.body).get("headers")
    headers = headers if isinstance(headers, dict) else {}
    tick = headers.get(SCHEDULE)
    tick = tick if isinstance(tick, dict) else {}
    return tick.get("application"), tick.get("name"), headers.get("task")


def plan(
    wanted: Sequence[tuple[str, PlatformSchedule]],
    live: Mapping[str, PlatformSchedule],
    application: str,
    is_registered: Callable[[str], bool],
    *,
    take_over: bool = False,
) -> list[Change]:
    """What has to change, by entry and name.

    Args:
        wanted: each schedule with the name of its entry, as the platform will tell of it.
        live: those there are whose names are the application's.
        application: its name.
        is_registered: whether it has a task of a name.
        take_over: whether it may replace those that call tasks which it doesn't have.

    Raises:
        ScheduleConflict: a schedule is another application's, or is kept by another tool.
    """
    declared = {entry for entry, _ in wanted}
    changes = []
    for entry, each in wanted:
        found = live.get(each.name)
        if found is None:
            changes.append(Change(action="create", name=each.name, entry=entry, wanted=each))
            continue
        _check_owner(found, application, is_registered, take_over=take_over)
        paused = each.enabled and is_paused(found)
        kept = replace(each, enabled=False) if paused else each
        differences = differences_of(found, kept)
        changes.append(
            Change(
                action="update" if differences else "unchanged",
                name=each.name,
                entry=entry,
                live=found,
                wanted=kept,
                differences=differences,
                paused=paused,
            )
        )
    names = {each.name for _, each in wanted}
    for name in sorted(live.keys() - names):
        entry = entry_of(live[name])[1] or name
        if owner_of(live[name]) == "terraform":
            continue
        action: Action = "delete" if entry in declared else "prune"
        changes.append(Change(action=action, name=name, entry=entry, live=live[name]))
    return sorted(changes, key=lambda change: (change.entry, change.name))


def differences_of(live: PlatformSchedule, wanted: PlatformSchedule) -> dict[str, tuple[Any, Any]]:
    """What two schedules of one name differ in, as JSON has it, by part."""
    found = {}
    for part in _COMPARED:
        was, will = getattr(live, part), getattr(wanted, part)
        if was != will:
            found[part] = (_plain(was), _plain(will))
    if live.enabled != wanted.enabled:
        found["enabled"] = (live.enabled, wanted.enabled)
    was, will = _comparable(live.body), _comparable(wanted.body)
    for key in sorted(was.keys() | will.keys()):
        if was.get(key) != will.get(key):
            found[f"message.{key}"] = (was.get(key), will.get(key))
    return found


def to_write(changes: Iterable[Change], *, prune: bool) -> list[Change]:
    """Those of a plan that apply makes."""
    actions = {"create", "update", "delete", *(["prune"] if prune else [])}
    return [change for change in changes if change.action in actions]


def _check_owner(
    found: PlatformSchedule, application: str, is_registered: Callable[[str], bool], *, take_over: bool
) -> None:
    theirs, entry, task = entry_of(found)
    where = f"schedule {found.name}"
    if owner_of(found) == "terraform":
        raise ScheduleConflict(
            f"{where} (periodic task {entry!r}) is kept by Terraform: leave it to that (deployment's schedules), or "
            "take the schedules out of its input and apply that first"
        )
    if theirs != application:
        whose = f"application {theirs!r}" if theirs else "something else than a periodic task"
        raise ScheduleConflict(
            f"{where} belongs to {whose}, and application {application!r} wants to have its name; nothing was changed: "
            "use a schedule group for each of them"
        )
    if not take_over and task is not None and not is_registered(task):
        raise ScheduleConflict(
            f"{where} (periodic task {entry!r}) calls {task}, which this application doesn't have; nothing was "
            f"changed: if another application is also called {application!r}, give one of the two another name or "
            "schedule group; if the task was renamed or removed, say --take-over"
        )


def _document(body: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _comparable(body: str) -> dict[str, Any]:
    """A message by its parts, without what is another each time it is signed."""
    document = _document(body)
    if not document:
        return {"body": body}
    headers = dict(document.get("headers") or {})
    signature = headers.get(SIGNATURE_HEADER)
    if isinstance(signature, dict):
        headers[SIGNATURE_HEADER] = {**signature, "created": None, "value": None}
    rest = {key: value for key, value in document.items() if key != "headers"}
    return {**rest, **{f"headers.{key}": value for key, value in headers.items()}}


def _plain(value: Any) -> Any:
    try:
        return serializers.loads(serializers.dumps(value))
    except TypeError:
        return str(value)
