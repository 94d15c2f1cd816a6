"""Compares a platform's schedules with the declared ones, and plans the changes between them; makes no calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

from taskq_cloud.beat import ownership
from taskq_cloud.beat.ownership import Identity, comparable, is_paused, message_document, owner_of, source_of
from taskq_cloud.core import serializers
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.core.security.signing import SIGNATURE_HEADER
from taskq_cloud.errors import ScheduleConflict

Action = Literal["create", "update", "delete", "prune", "foreign", "unchanged"]

_COMPARED: Final = tuple(
    each.name for each in fields(PlatformSchedule) if each.name not in ("name", "body", "enabled", "description")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The planned change of one schedule.

    Args:
        action: the change. ``delete`` removes a schedule that a declared entry no longer needs, and ``prune`` a
            schedule whose entry is no longer declared. A ``foreign`` schedule seems to belong to another application of
            the same name, and stays.
        name: the schedule's name.
        entry: the name of the periodic task.
        live: the schedule as it is; None: it doesn't exist.
        wanted: the schedule as it is to be; None: it is to be removed.
        differences: part -> its value now and its value after the change.
        paused: the schedule was disabled by hand or by ``taskq beat pause``, and stays disabled.
        reason: why the schedule is ``foreign``.
    """

    action: Action
    name: str
    entry: str
    live: PlatformSchedule | None = None
    wanted: PlatformSchedule | None = None
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    paused: bool = False
    reason: str = ""

    def to_document(self) -> dict[str, Any]:
        """Write the change as JSON."""
        reason = {"reason": self.reason} if self.reason else {}
        return {
            "action": self.action,
            "schedule": self.name,
            "entry": self.entry,
            "paused": self.paused,
            **reason,
            "differences": {part: {"is": was, "becomes": will} for part, (was, will) in self.differences.items()},
        }


def plan(
    wanted: Sequence[tuple[str, PlatformSchedule]],
    live: Mapping[str, PlatformSchedule],
    identity: Identity,
    *,
    take_over: bool = False,
) -> list[Change]:
    """Plan the changes, sorted by entry and name.

    Args:
        wanted: the declared schedules, each with the name of its entry, as the platform will return them.
        live: name -> schedule, for the existing schedules that have the application's names.
        identity: the application's identity.
        take_over: whether the application may take schedules that seem to belong to another application of its name.

    Raises:
        ScheduleConflict: a schedule that the application needs belongs to another application, or to another tool.
    """
    changes = [_change_to(each, entry, live.get(each.name), identity, take_over=take_over) for entry, each in wanted]
    declared = {entry for entry, _ in wanted}
    changes += [
        _removal(live[name], declared, identity, take_over=take_over)
        for name in live.keys() - {each.name for _, each in wanted}
        if owner_of(live[name]) != "terraform"
    ]
    return sorted(changes, key=lambda change: (change.entry, change.name))


def _change_to(
    wanted: PlatformSchedule, entry: str, live: PlatformSchedule | None, identity: Identity, *, take_over: bool
) -> Change:
    if live is None:
        return Change(action="create", name=wanted.name, entry=entry, wanted=wanted)
    ownership.check_tool(live)
    ownership.check(live, identity, removing=False, take_over=take_over)
    paused = wanted.enabled and is_paused(live)
    kept = replace(wanted, enabled=False) if paused else wanted
    differences = differences_of(live, kept)
    return Change(
        action="update" if differences else "unchanged",
        name=wanted.name,
        entry=entry,
        live=live,
        wanted=kept,
        differences=differences,
        paused=paused,
    )


def _removal(live: PlatformSchedule, declared: set[str], identity: Identity, *, take_over: bool) -> Change:
    entry = source_of(live).entry or live.name
    action: Action = "delete" if entry in declared else "prune"
    reason = ""
    try:
        ownership.check(live, identity, removing=True, take_over=take_over)
    except ScheduleConflict as error:
        action, reason = "foreign", str(error)
    return Change(action=action, name=live.name, entry=entry, live=live, reason=reason)


def differences_of(live: PlatformSchedule, wanted: PlatformSchedule) -> dict[str, tuple[Any, Any]]:
    """The differences between two schedules with the same name, as JSON: part -> its present and its wanted value."""
    found: dict[str, tuple[Any, Any]] = {}
    for part in _COMPARED:
        was, will = getattr(live, part), getattr(wanted, part)
        if was != will:
            found[part] = (_plain(was), _plain(will))
    if comparable(live.description) != comparable(wanted.description):
        found["description"] = (live.description, wanted.description)
    if live.enabled != wanted.enabled:
        found["enabled"] = (live.enabled, wanted.enabled)
    was, will = _comparable_message(live.body), _comparable_message(wanted.body)
    for key in sorted(was.keys() | will.keys()):
        if was.get(key) != will.get(key):
            found[f"message.{key}"] = (was.get(key), will.get(key))
    return found


def to_write(changes: Sequence[Change], *, prune: bool) -> list[Change]:
    """The changes of a plan that are to be made.

    Args:
        changes: the plan.
        prune: whether to remove schedules whose entries are no longer declared.

    Raises:
        ScheduleConflict: with ``prune``, the plan has schedules that seem to belong to another application.
    """
    if prune and (foreign := [change for change in changes if change.action == "foreign"]):
        raise ScheduleConflict(foreign[0].reason)
    actions = {"create", "update", "delete", *(["prune"] if prune else [])}
    return [change for change in changes if change.action in actions]


def _comparable_message(body: str) -> dict[str, Any]:
    """The parts of a message, without the part of a signature that differs each time the message is signed."""
    document = message_document(body)
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
