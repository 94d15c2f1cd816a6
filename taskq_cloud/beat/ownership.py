"""The owner of a platform's schedule: the tool that keeps it, and the application that it belongs to.

A schedule's description begins with ``[beat] {sqs://eu-west-1/shop-: 1a2b3c 4d5e6f}``: the tool, the broker of the
application, and digests of some of the tasks that the application had when the schedule was written. The digests tell
two applications with the same name apart. A single unknown task proves nothing, because the application may have had
that task before. So a schedule counts as the application's if the application knows most of these tasks.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from taskq_cloud.core.model.message import SCHEDULE
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.errors import ScheduleConflict

Owner = Literal["beat", "terraform"]

LONGEST_DESCRIPTION_CHARACTERS: Final = 500
"""The longest description: EventBridge Scheduler takes 512 characters, Cloud Scheduler 500."""
MOST_TASKS: Final = 8
"""The most tasks whose digests a description holds: the smallest digests, few of which change when few tasks change."""
_DIGEST_CHARACTERS: Final = 6
_LONGEST_PLACE_CHARACTERS: Final = 120
_MARK: Final = re.compile(r"(\[\w+(?:, disabled)?\] \{)([^{}]*)(?:: ((?:[0-9a-f]{6} ?)*))\}")


class Source(NamedTuple):
    """The origin of a schedule, as its message states it; None for a part that is missing.

    Args:
        application: the name of the application.
        entry: the name of the periodic task.
        task: the name of the task that it calls.
    """

    application: str | None
    entry: str | None
    task: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity of an application, which tells it from others of the same name.

    Args:
        name: the application's name.
        broker: the broker's URL.
        tasks: the names of the application's tasks.
        is_registered: whether the application can run a task.
    """

    name: str
    broker: str
    tasks: Collection[str]
    is_registered: Callable[[str], bool]

    @property
    def place(self) -> str:
        """The part of the broker's URL that the queues depend on: without options and secrets."""
        url = urlsplit(self.broker)
        host = url.netloc.rpartition("@")[2]
        return re.sub(r"[{}]", "", f"{url.scheme}://{host}{url.path}")[:_LONGEST_PLACE_CHARACTERS]

    @property
    def digests(self) -> list[str]:
        """The digests of some of the tasks."""
        return sorted(map(_digest, self.tasks))[:MOST_TASKS]


def with_owner(schedule: PlatformSchedule, owner: Owner, identity: Identity | None = None) -> PlatformSchedule:
    """Note in a schedule's description the tool that keeps it, its application, and whether its entry is disabled.

    Args:
        schedule: the schedule.
        owner: the tool that keeps the schedule.
        identity: the application's identity.
    """
    mark = f"[{owner}]" if schedule.enabled else f"[{owner}, disabled]"
    if identity is not None:
        mark = f"{mark} {{{identity.place}: {' '.join(identity.digests)}}}"
    return replace(schedule, description=f"{mark} {schedule.description}"[:LONGEST_DESCRIPTION_CHARACTERS])


def owner_of(schedule: PlatformSchedule) -> str:
    """The tool that keeps a schedule, by its description; empty if the description names none."""
    return schedule.description.partition("]")[0].partition(",")[0].removeprefix("[")


def is_paused(schedule: PlatformSchedule) -> bool:
    """Whether a schedule was disabled after it was put, by ``taskq beat pause`` or by hand."""
    return not schedule.enabled and not schedule.description.startswith("[beat, disabled]")


def comparable(description: str) -> str:
    """Remove the digests from a description: they change with tasks that have nothing to do with the schedule."""
    return _MARK.sub(r"\1\2}", description)


def source_of(schedule: PlatformSchedule) -> Source:
    """Read the application, the entry and the task that a schedule's message names."""
    headers = message_document(schedule.body).get("headers")
    headers = headers if isinstance(headers, dict) else {}
    tick = headers.get(SCHEDULE)
    tick = tick if isinstance(tick, dict) else {}
    return Source(tick.get("application"), tick.get("name"), headers.get("task"))


def check(found: PlatformSchedule, identity: Identity, *, removing: bool, take_over: bool = False) -> None:
    """Check that an application may change or remove a schedule.

    Args:
        found: the schedule.
        identity: the application's identity.
        removing: whether the schedule is to be removed. Then its task may be unknown, if most other tasks are known.
        take_over: whether the application may take schedules that seem to belong to another application of its name.

    Raises:
        ScheduleConflict: the schedule belongs to another application, or may belong to one; the error says what to do.
    """
    source = source_of(found)
    where = f"schedule {found.name} (periodic task {source.entry!r})"
    if source.application != identity.name:
        theirs = f"application {source.application!r}" if source.application else "something other than a periodic task"
        raise ScheduleConflict(
            f"{where} belongs to {theirs}, and application {identity.name!r} needs its name; nothing was changed: give "
            "each of them its own schedule group"
        )
    if take_over:
        return
    way_out = (
        f"if another application is called {identity.name!r} too, give one of them another name or schedule group; "
    )
    place, digests = _mark_of(found)
    if place is not None and place != identity.place:
        raise ScheduleConflict(
            f"{where} belongs to an application {identity.name!r} whose broker is {place}, but this application's "
            f"broker is {identity.place}; nothing was changed: {way_out}if the application has moved, use --take-over"
        )
    known = set(map(_digest, identity.tasks)).intersection(digests)
    if digests and 2 * len(known) < len(digests):
        raise ScheduleConflict(
            f"{where} belongs to an application {identity.name!r}, and this application has {len(known)} of "
            f"{len(digests)} of its tasks; nothing was changed: {way_out}if the other tasks were renamed or removed, "
            "use --take-over"
        )
    if source.task is not None and not identity.is_registered(source.task) and not (removing and digests):
        raise ScheduleConflict(
            f"{where} calls {source.task}, which this application doesn't have; nothing was changed: {way_out}if the "
            "task was renamed or removed, use --take-over"
        )


def check_tool(found: PlatformSchedule) -> None:
    """Check that ``taskq beat`` may write a schedule.

    Raises:
        ScheduleConflict: Terraform keeps the schedule.
    """
    if owner_of(found) == "terraform":
        raise ScheduleConflict(
            f"schedule {found.name} (periodic task {source_of(found).entry!r}) is kept by Terraform: leave it to "
            "Terraform (the key schedules of the setting deployment), or take the schedules out of Terraform's input "
            "and apply that first"
        )


def message_document(body: str) -> dict[str, Any]:
    """Parse a message as a JSON object; empty if it isn't one."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _mark_of(schedule: PlatformSchedule) -> tuple[str | None, list[str]]:
    """The broker and the digests that a description names; None and no digests if it names none."""
    found = _MARK.match(schedule.description)
    return (None, []) if found is None else (found[2], found[3].split())


def _digest(task: str) -> str:
    return hashlib.sha256(task.encode()).hexdigest()[:_DIGEST_CHARACTERS]
