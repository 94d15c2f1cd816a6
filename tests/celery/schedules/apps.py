"""What a schedule asks of its application, and random times and fields, the most of them around changes of a clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Paris",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "America/Sao_Paulo",
        "Pacific/Apia",
    )
]
ODD_FIELDS = (
    *("", "*/", "1-", "-3", "5/10", "99", "1-5-7", "**", "a", "1,,2", "*/0", "0-5/", "*/x", " 3", "7.5", "*\n"),
    *(None, 3.5, (1, 2), frozenset({4}), -1, 60, {77}, range(2, 5)),
)
NAMES = ("sun", "mon", "tue", "Saturday", "jan", "dec", "February")


@dataclass
class Conf:
    """The settings that schedules read."""

    beat_cron_starting_deadline: float | None = None
    enable_utc: bool = True


@dataclass
class App:
    """An application with a clock that stands still."""

    time: datetime
    timezone: tzinfo | None = ZONES[0]
    conf: Conf = field(default_factory=Conf)

    def now(self) -> datetime:
        return self.time


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A call's value, or the class and the text of its error."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, str(error)


@cache
def changes() -> list[datetime]:
    """The times at which a clock was changed, in its zone."""
    found = []
    for zone in ZONES:
        time, last = datetime(2011, 1, 1, tzinfo=UTC), None
        while time.year < 2026:
            offset = time.astimezone(zone).utcoffset()
            if last not in (None, offset):
                found.append(time.astimezone(zone))
            time, last = time + timedelta(hours=1), offset
    return found


def random_time(rnd: random.Random) -> datetime:
    if rnd.random() < 0.2:
        time = datetime(rnd.randint(1990, 2030), rnd.randint(1, 12), rnd.randint(1, 28), rnd.randint(0, 23))
        return (time + timedelta(seconds=rnd.randint(0, 3599))).replace(tzinfo=rnd.choice(ZONES))
    change = rnd.choice(changes())
    away = timedelta(seconds=rnd.randint(-190_000, 90_000), microseconds=rnd.choice((0, 0, 5)))
    return (change.astimezone(UTC) + away).astimezone(change.tzinfo)


def random_interval(rnd: random.Random) -> timedelta:
    unit = rnd.choice((timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)))
    return unit * rnd.choice((0, -1, 1, 2, 1.5, rnd.randint(3, 90)))


def random_field(rnd: random.Random, least: int, most: int) -> Any:
    def number() -> str:
        return str(rnd.randint(least, most)) if rnd.random() < 0.93 else rnd.choice(NAMES)

    def part() -> str:
        begin, end, step = number(), number(), rnd.randint(1, 10)
        return rnd.choice(("*", f"*/{step}", begin, f"{begin}-{end}", f"{begin}-{end}/{step}"))

    kind = rnd.random()
    if kind < 0.35:
        return "*"
    if kind < 0.5:
        return rnd.randint(least, most)
    if kind < 0.65:
        numbers = rnd.sample(range(least, most + 1), rnd.randint(1, 3))
        return rnd.choice((numbers, set(numbers)))
    if kind < 0.67:
        return rnd.choice(ODD_FIELDS)
    return ",".join(part() for _ in range(rnd.randint(1, 3)))


def random_fields(rnd: random.Random) -> list[Any]:
    return [random_field(rnd, *limits) for limits in ((0, 59), (0, 23), (0, 6), (1, 31), (1, 12))]
