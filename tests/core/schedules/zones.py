"""Time zones, times and crontabs for tests of schedules; half of the times are near a change of a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

ZONES = (
    "UTC",
    "Africa/Casablanca",  # changes with Ramadan
    "America/Havana",  # its clock repeats midnight
    "America/New_York",
    "America/St_Johns",
    "Asia/Beirut",  # its clock skips midnight
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # changes by half an hour
    "Europe/Paris",
    "Pacific/Chatham",
)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2033, 1, 1, tzinfo=UTC)


def clock_changes(name: str) -> list[datetime]:
    """The hours during which a zone's offset changes."""
    zone = ZoneInfo(name)
    found: list[datetime] = []
    for day in range((END - BEGIN).days):
        begin = BEGIN + timedelta(days=day)
        if begin.astimezone(zone).utcoffset() != (begin + timedelta(days=1)).astimezone(zone).utcoffset():
            offsets = [(begin + timedelta(hours=hour)).astimezone(zone).utcoffset() for hour in range(25)]
            found += [begin + timedelta(hours=hour) for hour in range(24) if offsets[hour] != offsets[hour + 1]]
    return found


CHANGES = {name: clock_changes(name) for name in ZONES}


@st.composite
def zoned_times(draw: st.DrawFn) -> datetime:
    """A time in one of the zones; every second one is within a day of a change of the zone's clock."""
    name = draw(st.sampled_from(ZONES))
    if bool(CHANGES[name]) and draw(st.booleans()):
        near = draw(st.sampled_from(CHANGES[name]))
        moment = near + timedelta(seconds=draw(st.integers(-86_400, 86_400)))
    else:
        moment = BEGIN + timedelta(seconds=draw(st.integers(0, int((END - BEGIN).total_seconds()))))
    return moment.astimezone(ZoneInfo(name))


@st.composite
def parts(draw: st.DrawFn, least: int, most: int) -> str:
    number = st.integers(least, most)
    match draw(st.integers(0, 5)):
        case 0 | 1:
            return str(draw(number))
        case 2:
            return f"{draw(number)}-{draw(number)}"
        case 3:
            return f"{draw(number)}-{draw(number)}/{draw(st.integers(1, 12))}"
        case 4:
            return f"*/{draw(st.integers(1, most))}"
        case _:
            return "*"


def field_texts(least: int, most: int) -> st.SearchStrategy[str]:
    """A field of a crontab: any form, lists of forms, and often just a star."""
    return st.one_of(st.just("*"), st.lists(parts(least, most), min_size=1, max_size=3).map(",".join))


CRONTABS = st.fixed_dictionaries(
    {
        "minute": field_texts(0, 59),
        "hour": field_texts(0, 23),
        "day_of_week": st.one_of(field_texts(0, 6), st.sampled_from(["mon-fri", "sunday", "Fri-Mon", "sat,sun"])),
        "day_of_month": field_texts(1, 31),
        "month_of_year": st.one_of(field_texts(1, 12), st.sampled_from(["nov-feb", "march", "jan,JUL"])),
    }
)
