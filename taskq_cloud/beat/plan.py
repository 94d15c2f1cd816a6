"""What has to change on a platform for its schedules to be those that an application declares. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

from taskq_cloud.beat import ownership
from taskq_cloud.beat.ownership import Identity, comparable, document_of, entry_of, is_paused, owner_of
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
    """What becomes of one schedule.

    Args:
        action: ``delete`` removes one of a declared entry that it needs no more, ``prune`` one whose entry nobody
            declares, and ``foreign`` is what seems to be another application's of the same name, and stays.
        name: the schedule's.
        entry: the entry's.
        live: as it is; None: it isn't there.
        wanted: as it is to be; None: it is not to be there.
        differences: by part, what it is and what it is to be.
        paused: somebody has disabled it, and it stays so.
        reason: why it is ``foreign``.
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
        """As JSON."""
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
    """What has to change, by entry and name.

    Args:
        wanted: each schedule with the name of its entry, as the platform will tell of it.
        live: those there are whose names are the application's.
        identity: what tells it from another of its name.
        take_over: whether it may have those that seem to be another's of its name.

    Raises:
        ScheduleConflict: a schedule that it needs is another application's, or is kept by another tool.
    """
    declared = {entry for entry, _ in wanted}
    changes = []
    for entry, each in wanted:
        found = live.get(each.name)
        if found is None:
            changes.append(Change(action="create", name=each.name, entry=entry, wanted=each))
            continue
        ownership.check_tool(found)
        ownership.check(found, identity, removing=False, take_over=take_over)
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
        reason = ""
        try:
            ownership.check(live[name], identity, removing=True, take_over=take_over)
        except ScheduleConflict as error:
            action, reason = "foreign", str(error)
        changes.append(Change(action=action, name=name, entry=entry, live=live[name], reason=reason))
    return sorted(changes, key=lambda change: (change.entry, change.name))


def differences_of(live: PlatformSchedule, wanted: PlatformSchedule) -> dict[str, tuple[Any, Any]]:
    """What two schedules of one name differ in, as JSON has it, by part."""
    found = {}
    for part in _COMPARED:
        was, will = getattr(live, part), getattr(wanted, part)
        if was != will:
            found[part] = (_plain(was), _plain(will))
    if comparable(live.description) != comparable(wanted.description):
        found["description"] = (live.description, wanted.description)
    if live.enabled != wanted.enabled:
        found["enabled"] = (live.enabled, wanted.enabled)
    was, will = _comparable(live.body), _comparable(wanted.body)
    for key in sorted(was.keys() | will.keys()):
        if was.get(key) != will.get(key):
            found[f"message.{key}"] = (was.get(key), will.get(key))
    return found


def to_write(changes: Sequence[Change], *, prune: bool) -> list[Change]:
    """Those of a plan that apply makes.

    Raises:
        ScheduleConflict: some are to be pruned that seem to be another application's.
    """
    if prune and (foreign := [change for change in changes if change.action == "foreign"]):
        raise ScheduleConflict(foreign[0].reason)
    actions = {"create", "update", "delete", *(["prune"] if prune else [])}
    return [change for change in changes if change.action in actions]


def _comparable(body: str) -> dict[str, Any]:
    """A message by its parts, without what is another each time it is signed."""
    document = document_of(body)
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
