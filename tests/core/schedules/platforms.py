"""The firings of platforms: an evaluation of their expressions by their documentation, without code of the package.

EventBridge Scheduler (User Guide, "schedule-types"): a local time that is skipped doesn't fire, and one that repeats
fires once; the page doesn't say which of the two times, so tests try both. Cloud Scheduler (unix-cron): Google advises
not to rely on such times, so tests let them fire never or twice.
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
    """The times at which ``cron(...)`` fires; ``fold`` chooses the first or second of two equal local times."""
    assert len(expression) <= 256, "API Reference, CreateSchedule"
    matched = re.fullmatch(r"cron\((.*)\)", expression)
    assert matched is not None, expression
    minute, hour, of_month, month, of_week, year = matched[1].split()
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
            times = [at.replace(tzinfo=ZoneInfo(zone), fold=each).astimezone(UTC) for each in (0, 1)]
            if times[0] <= times[1]:  # otherwise the clock skips the local time
                yield times[fold]


def of_cloud_scheduler(expression: str, zone: str, begin: datetime, end: datetime, fold: int) -> Iterator[datetime]:
    """The times at which unix-cron fires; with ``fold`` 0, skipped and repeated times never fire, with 1 twice."""
    minute, hour, of_month, month, of_week = expression.split()
    assert "*" in (of_month, of_week), "cron would fire on days that match either field"
    minutes, hours = numbers(minute, *RANGES[0]), numbers(hour, *RANGES[1])
    days, months, weekdays = numbers(of_month, *RANGES[2]), numbers(month, *RANGES[3]), numbers(of_week, 0, 6)
    for wall in walls(zone, begin, end):
        if wall.month not in months or wall.day not in days or wall.isoweekday() % 7 not in weekdays:
            continue
        for at in (wall.replace(hour=h, minute=m) for h in hours for m in minutes):
            times = [at.replace(tzinfo=ZoneInfo(zone), fold=each).astimezone(UTC) for each in (0, 1)]
            if times[0] == times[1]:
                yield times[0]
            elif fold:
                yield from times


def walls(zone: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    day = begin.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, tzinfo=None) - timedelta(days=1)
    while day <= end.astimezone(ZoneInfo(zone)).replace(tzinfo=None) + timedelta(days=1):
        yield day
        day += timedelta(days=1)
