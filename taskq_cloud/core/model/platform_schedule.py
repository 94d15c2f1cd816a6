"""A schedule as a platform keeps it: when it fires, the message it sends, and the queue it sends that to.

These values go through the port ``ScheduleStore``. Schedules for one late message are made in
``core.messages.late_delivery``, those for periodic tasks in ``beat.declarations``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSchedule:
    """One schedule of a platform.

    Args:
        name: unique among the store's schedules; 1 to 64 of ``0-9a-zA-Z-_.``, EventBridge Scheduler's rule.
        when: an aware datetime for a schedule that fires once and then removes itself, or the platform's own expression
            for one that fires again and again (EventBridge: ``"cron(0 9 ? * MON-FRI *)"``, ``"rate(5 minutes)"``; Cloud
            Scheduler: ``"0 9 * * 1-5"``).
        target: the queue, as the platform addresses it: see ``Broker``'s optional ``KnowsTargets``.
        body: the encoded message.
        timezone: the IANA name of the expression's time zone; a datetime has its own.
        start: the first time at which an expression may fire; None: at once. Aware, whole seconds.
        end: the time from which an expression no longer fires; None: never. Aware, whole seconds.
        enabled: whether the schedule fires.
        window_minutes: the schedule fires at any time within so many minutes after its time; 0: as soon as the platform
            can.
        group: the message's group.
        deduplication: the message's deduplication id.
        attributes: the message's attributes.
        description: the purpose and the owner of the schedule, for people at the platform's console; up to 512
            characters.
        sender: the identity that the platform sends as, and the place for messages it can't send. ``load`` and ``kept``
            return it; in ``put`` the store uses its own.
    """

    name: str
    when: datetime | str
    target: str
    body: str
    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    enabled: bool = True
    window_minutes: int = 0
    group: str | None = None
    deduplication: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    sender: str = ""


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """One page of a list of schedule names.

    Args:
        names: names of schedules, in the platform's order.
        cursor: the beginning of the next page; None on the last page.
    """

    names: Sequence[str]
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCapabilities:
    """The abilities and limits of a store of schedules.

    Args:
        precision_seconds: how late a schedule may fire.
        least_lead_seconds: how far ahead a one-off time must lie for the store to keep it for sure.
        longest_lead_seconds: how far ahead a one-off time may lie.
        largest_body_bytes: the largest message, quoted as JSON and with its attributes.
        expressions: the module of ``core.schedules`` that writes the store's expressions; empty if it takes none.
        one_off: a schedule can fire once, at a given time.
        windows: a schedule can have a flexible window.
        bounds: a schedule can have a start and an end.
        groups: a message can have a group and a deduplication id; if not, an ordered queue can't be a target.
        timezones: an expression can have a time zone.
        placeholder: the beginning of words that the platform replaces in a body; empty if it replaces none.
        scheduled_time: the word that the platform replaces by the time the schedule was to fire at, in ISO 8601 and
            UTC; empty if there is none.
        shared_between_processes: several processes see the same schedules.
        durable: schedules outlive the process.
    """

    precision_seconds: float
    least_lead_seconds: float
    longest_lead_seconds: float = math.inf
    largest_body_bytes: int
    expressions: Literal["eventbridge", "cloud_scheduler", ""] = ""
    one_off: bool = True
    windows: bool = True
    bounds: bool = True
    groups: bool = True
    timezones: bool = True
    placeholder: str = ""
    scheduled_time: str = ""
    shared_between_processes: bool
    durable: bool
