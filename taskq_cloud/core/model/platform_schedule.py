"""A schedule as a platform keeps it: when it fires, which queue it fires at, and the message it sends there.

What travels through the port ``ScheduleStore``. Which schedules there should be is decided elsewhere: one-off times in
``sending``, periodic ones where they are translated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSchedule:
    """One schedule.

    Args:
        name: unique among the store's schedules; 1 to 64 of ``0-9a-zA-Z-_.``, EventBridge Scheduler's rule.
        when: an aware datetime: once, then it removes itself. A text: the platform's own expression, again and again
            (EventBridge: ``"cron(0 9 ? * MON-FRI *)"``, ``"rate(5 minutes)"``; Cloud Scheduler: ``"0 9 * * 1-5"``).
        target: the queue, as the platform addresses it: see ``Broker``'s optional ``KnowsTargets``.
        body: the encoded message.
        timezone: an IANA name; of the expression. One-off times are absolute.
        start: when an expression begins to count; None: at once. Aware, whole seconds.
        end: when it ceases to; None: never. Aware, whole seconds.
        enabled: whether it fires.
        window_minutes: it fires at any moment within so many minutes after its time; 0: as soon as the platform can.
        group: the message's group.
        deduplication: the message's deduplication id.
        attributes: the message's attributes.
        description: what it is and whose, for whoever looks at the platform's console; up to 512 characters.
        sender: as whom the platform sends, and where it puts what it can't; told by ``load`` and ``kept``, the store's
            own business in ``put``.
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
    """A part of the names there are.

    Args:
        names: of schedules, in the platform's order.
        cursor: where the next page begins; None: this is the last one.
    """

    names: Sequence[str]
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCapabilities:
    """What a store of schedules can do.

    Args:
        precision_seconds: how late a schedule may fire.
        least_lead_seconds: how far ahead a one-off time has to be to be kept for sure.
        longest_lead_seconds: how far ahead it may be.
        largest_body_bytes: of a message, quoted as JSON, with its attributes.
        expressions: in whose words its expressions are: a module of ``core.schedules``; empty: it takes none.
        one_off: it takes one-off times.
        windows: a schedule can have a flexible window.
        bounds: a schedule can have a start and an end.
        groups: what is sent can have a group and a deduplication id; where it is False, no ordered queue is a target.
        timezones: its expressions have a time zone.
        placeholder: what begins a word that it puts something in place of, in a body; empty: it changes nothing.
        scheduled_time: the word for the time a schedule was to fire at, in ISO 8601 and UTC; empty: it has none.
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
