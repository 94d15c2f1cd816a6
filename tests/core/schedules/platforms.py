"""When platforms fire: their expressions, read by their documentation and by nothing of ours.

EventBridge Scheduler: User Guide, "schedule-types": a local time that is skipped does not fire, one that repeats fires
once. Which of the two is not said, so it may be either. Cloud Scheduler: unix-cron, of which Google says that nobody
should rely on such times: they fire never or twice here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

NAMES = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7))


def numbers(text: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        value, _, step = part.partition("/")
        if value in "*?":
            begin, end = least, most
        elif "-" in value:
            begin, end = (int(each) for each in value.split("-"))
        else:
            begin = NAMES.get(value) or int(value)
            end = most if step else begin
        assert least <= begin <= end <= most, text
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def of_eventbridge(expression: str, zone: str, begin: datetime, end: datetime, fold: int) -> Iterator[datetime]:
    """The moments at which ``cron(...)`` fires; ``fold``: which of two equal local times it takes."""
    assert len(expression) <= 256, "API Reference, CreateSchedule"
    minute, hour, of_month, month, of_week, year = re.fullmatch(r"cron\((.*)\)", expression)[1].split()  # type: ignore[index]
    assert year == "*"
    assert (of_month == "?") != (of_week == "?")
    minutes, hours = numbers(minute, *RANGES[0]), numbers(hour, *RANGES[1])
    days, months = numbers(of_month, *RANGES[2]), numbers(month, *RANGES[3])
    of_week, _, week = of_week.partition("#")
    weekdays = numbers(of_week, *RANGES[4])
    for wall in walls(zone, begin, end):
        if wall.month not in months or wall.day not in days or wall.isoweekday() % 7 + 1 not in weekdays:
            continue
        if week and (wall.day + 6) // 7 != int(week):
            continue
        for at in (wall.replace(hour=h, minute=m) for h in hours for m in minutes):
            moments = [at.replace(tzinfo=ZoneInfo(zone), fold=each).astimezone(UTC) for each in (0, 1)]
            if moments[0] <= moments[1]:  # else it is skipped
                yield moments[fold]


def of_cloud_scheduler(expression: str, zone: str, begin: datetime, end: datetime, fold: int) -> Iterator[datetime]:
    """The moments at which a unix-cron expression fires; ``fold``: how often at times that are skipped or repeat."""
    minute, hour, of_month, month, of_week = expression.split()
    assert "*" in (of_month, of_week), "to cron it would be one or the other"
    minutes, hours = numbers(minute, *RANGES[0]), numbers(hour, *RANGES[1])
    days, months, weekdays = numbers(of_month, *RANGES[2]), numbers(month, *RANGES[3]), numbers(of_week, 0, 6)
    for wall in walls(zone, begin, end):
        if wall.month not in months or wall.day not in days or wall.isoweekday() % 7 not in weekdays:
            continue
        for at in (wall.replace(hour=h, minute=m) for h in hours for m in minutes):
            moments = [at.replace(tzinfo=ZoneInfo(zone), fold=each).astimezone(UTC) for each in (0, 1)]
            if moments[0] == moments[1]:
                yield moments[0]
            elif fold:
                yield from moments


def walls(zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    day = begin.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, tzinfo=None) - timedelta(days=1)
    while day <= end.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + timedelta(days=1):
        yield day
        day += timedelta(days=1)
