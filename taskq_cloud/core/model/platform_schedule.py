"""A schedule as a platform keeps it: its fire times, the message that it sends, and the queue that it sends to.

These values go through the port ``ScheduleStore``. Schedules for one late message are made in
``core.messages.late_delivery``, those for periodic tasks in ``beat.platform_schedules``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from taskq_cloud.core.lazy.values import dataclass, field


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
        window_minutes: the schedule fires at any time within this many minutes after its time; 0: as soon as the
            platform can.
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
