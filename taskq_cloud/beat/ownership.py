"""Whose a schedule is: what its description says of who keeps it, and how two applications of one name are told apart.

A description begins ``[beat] {sqs://eu-west-1/shop-: 1a2b3c 4d5e6f}``: the tool that keeps it, the application's
broker, and digests of some of the tasks that the application had when the schedule was written. A task that an
application has no more looks like another application's: what tells them apart is whether the other tasks are known.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from taskq_cloud.core.model.message import SCHEDULE
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.errors import ScheduleConflict

Owner = Literal["beat", "terraform"]

LONGEST_DESCRIPTION_CHARACTERS: Final = 500
"""EventBridge Scheduler takes 512, Cloud Scheduler 500."""
MOST_TASKS: Final = 8
"""That a description has digests of: the smallest ones, so that they stay the same while most of the tasks do."""
_DIGEST_CHARACTERS: Final = 6
_LONGEST_PLACE_CHARACTERS: Final = 120
_MARK: Final = re.compile(r"(\[\w+(?:, disabled)?\] \{)([^{}]*)(?:: ((?:[0-9a-f]{6} ?)*))\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells an application from others that may have its name.

    Args:
        name: the name.
        broker: where its queues are: the broker's URL.
        tasks: the names of its own tasks.
        is_registered: whether it can run a task.
    """

    name: str
    broker: str
    tasks: Collection[str]
    is_registered: Callable[[str], bool]

    @property
    def place(self) -> str:
        """The broker's URL without what is no part of the queues' names: options, and secrets."""
        url = urlsplit(self.broker)
        host = url.netloc.rpartition("@")[2]
        return re.sub(r"[{}]", "", f"{url.scheme}://{host}{url.path}")[:_LONGEST_PLACE_CHARACTERS]

    @property
    def digests(self) -> list[str]:
        """Of some of its tasks."""
        return sorted(map(_digest, self.tasks))[:MOST_TASKS]


def owned(schedule: PlatformSchedule, owner: Owner, identity: Identity | None = None) -> PlatformSchedule:
    """A schedule that says who keeps it, for which application, and whether it is disabled because its entry is."""
    mark = f"[{owner}]" if schedule.enabled else f"[{owner}, disabled]"
    if identity is not None:
        mark = f"{mark} {{{identity.place}: {' '.join(identity.digests)}}}"
    return replace(schedule, description=f"{mark} {schedule.description}"[:LONGEST_DESCRIPTION_CHARACTERS])


def owner_of(schedule: PlatformSchedule) -> str:
    """Who keeps a schedule, by its description; empty: it doesn't say."""
    return schedule.description.partition("]")[0].partition(",")[0].removeprefix("[")


def is_paused(schedule: PlatformSchedule) -> bool:
    """Whether a schedule is disabled though its entry was not when it was put: by hand, or ``taskq beat pause``."""
    return not schedule.enabled and not schedule.description.startswith("[beat, disabled]")


def comparable(description: str) -> str:
    """A description without what changes with tasks that have nothing to do with the schedule."""
    return _MARK.sub(r"\1\2}", description)


def entry_of(schedule: PlatformSchedule) -> tuple[str | None, str | None, str | None]:
    """The application, the entry and the task that a schedule's message names; None for what it doesn't."""
    headers = document_of(schedule.body).get("headers")
    headers = headers if isinstance(headers, dict) else {}
    tick = headers.get(SCHEDULE)
    tick = tick if isinstance(tick, dict) else {}
    return tick.get("application"), tick.get("name"), headers.get("task")


def check(found: PlatformSchedule, identity: Identity, *, removing: bool, take_over: bool = False) -> None:
    """Whether an application may change or remove a schedule.

    Args:
        found: the schedule.
        identity: the application's.
        removing: a task that it doesn't have is one that it has had, if most others are known.
        take_over: whether it may, where that one has its name.

    Raises:
        ScheduleConflict: it is another application's, or may be; says what to do.
    """
    theirs, entry, task = entry_of(found)
    where = f"schedule {found.name} (periodic task {entry!r})"
    if theirs != identity.name:
        whose = f"application {theirs!r}" if theirs else "something else than a periodic task"
        raise ScheduleConflict(
            f"{where} belongs to {whose}, and application {identity.name!r} wants to have its name; nothing was "
            "changed: use a schedule group for each of them"
        )
    if take_over:
        return
    way_out = (
        f"if another application is also called {identity.name!r}, give one of the two another name or schedule group; "
    )
    place, digests = _mark_of(found)
    if place is not None and place != identity.place:
        raise ScheduleConflict(
            f"{where} is of an application {identity.name!r} whose broker is {place}, and this one's is "
            f"{identity.place}; nothing was changed: {way_out}if the application has moved, say --take-over"
        )
    known = set(map(_digest, identity.tasks)).intersection(digests)
    if digests and 2 * len(known) < len(digests):
        raise ScheduleConflict(
            f"{where} is of an application {identity.name!r} of whose tasks this one has {len(known)} of "
            f"{len(digests)}; nothing was changed: {way_out}if the others were renamed or removed, say --take-over"
        )
    if task is not None and not identity.is_registered(task) and not (removing and digests):
        raise ScheduleConflict(
            f"{where} calls {task}, which this application doesn't have; nothing was changed: {way_out}if the task was "
            "renamed or removed, say --take-over"
        )


def check_tool(found: PlatformSchedule) -> None:
    """Whether ``taskq beat`` may write a schedule.

    Raises:
        ScheduleConflict: Terraform keeps it.
    """
    if owner_of(found) == "terraform":
        raise ScheduleConflict(
            f"schedule {found.name} (periodic task {entry_of(found)[1]!r}) is kept by Terraform: leave it to that "
            "(deployment's schedules), or take the schedules out of its input and apply that first"
        )


def document_of(body: str) -> dict[str, Any]:
    """A message as JSON; empty where it is none."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _mark_of(schedule: PlatformSchedule) -> tuple[str | None, list[str]]:
    found = _MARK.match(schedule.description)
    return (None, []) if found is None else (found[2], found[3].split())


def _digest(task: str) -> str:
    return hashlib.sha256(task.encode()).hexdigest()[:_DIGEST_CHARACTERS]
