"""Tests of crontabs that run in both of two equal hours, and of what is said about those that pause."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskq_cloud.core.schedules import documents
from taskq_cloud.core.schedules.entry import Timing
from taskq_cloud.core.schedules.triggers import silent_hour
from taskq_cloud.errors import ScheduleError
from taskq_cloud.schedules import crontab
from tests.core.schedules.test_translation import PLATFORMS, ticks
from tests.core.schedules.zones import zoned_times

bounded = settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

PAUSES = [
    ("Europe/Paris", "2026-10-25T02:45+02:00", "2026-10-25T03:00+01:00"),
    ("America/New_York", "2026-11-01T01:45-04:00", "2026-11-01T02:00-05:00"),
    ("Australia/Lord_Howe", "2027-04-04T01:45+11:00", "2027-04-04T02:00+10:30"),
]


@pytest.mark.parametrize(("zone", "last", "following"), PAUSES)
def test_pause_in_the_repeated_hour_is_told(zone: str, last: str, following: str) -> None:
    pause = silent_hour(crontab("*/15", timezone=zone), datetime(2026, 6, 1, tzinfo=UTC))
    assert pause is not None
    assert [each.isoformat(timespec="minutes") for each in pause] == [last, following]


@pytest.mark.parametrize("hour", ["*", "*/1", "0-23", "1-4", "2,3", range(24)], ids=repr)
@pytest.mark.parametrize(("minute", "last"), [("*/15", 45), (0, 0), ("10,50", 50)])
def test_pause_of_consecutive_hours_is_told(hour: str | range, minute: str | int, last: int) -> None:
    pause = silent_hour(crontab(minute, hour, timezone="Europe/Paris"), datetime(2026, 6, 1, tzinfo=UTC))
    assert pause is not None
    assert pause[0].isoformat(timespec="minutes") == f"2026-10-25T02:{last:02}+02:00"


@pytest.mark.parametrize(
    "cron",
    [
        crontab("*/15", timezone="Europe/Paris", both_hours=True),
        crontab("*/15", timezone="Asia/Tokyo"),
        crontab("*/15"),
        crontab(30, 2, timezone="Europe/Paris"),
        crontab("*/15", day_of_week="mon", timezone="Europe/Paris"),
        crontab("*/15", 2, timezone="Europe/Paris"),
        crontab("*/15", "3-5", timezone="Europe/Paris"),
        crontab(0, "*/2", timezone="Europe/Paris"),
    ],
    ids=repr,
)
def test_crontab_that_loses_no_time_has_no_pause(cron: crontab) -> None:
    assert silent_hour(cron, datetime(2026, 6, 1, tzinfo=UTC)) is None


def test_crontab_of_both_hours_runs_in_the_repeated_hour() -> None:
    moment, found = datetime(2026, 10, 24, 23, 50, tzinfo=UTC), []
    cron = crontab("*/30", timezone="Europe/Paris", both_hours=True)
    for _ in range(6):
        moment = cron.following(moment)
        found.append(moment.astimezone(ZoneInfo("Europe/Paris")).isoformat(timespec="minutes")[11:])
    assert found == ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00", "03:00+01:00", "03:30+01:00"]


@bounded
@given(zoned_times(), st.integers(1, 59))
def test_crontab_of_both_hours_never_pauses(begin: datetime, step: int) -> None:
    zone = getattr(begin.tzinfo, "key", "UTC")
    cron = crontab(f"*/{step}", timezone=zone, both_hours=True)
    found = [cron.following(begin)]
    while len(found) < 60:
        found.append(cron.following(found[-1]))
    shortest = min(step, 60 % step or step)
    for each, following in pairwise(found):
        # Where the clock is set forth or back by half an hour, two times may be farther apart or closer together.
        assert timedelta(0) < following - each <= timedelta(minutes=max(step, 30) + shortest)


@pytest.mark.parametrize("platform", sorted(PLATFORMS))
@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("zone", [zone for zone, *_ in PAUSES])
def test_platforms_fire_in_both_hours(platform: str, zone: str, fold: int) -> None:
    cron = crontab("*/20", timezone=zone, both_hours=True)
    for begin in (
        datetime(2026, 10, 20, tzinfo=UTC),
        datetime(2027, 3, 10, tzinfo=UTC),
        datetime(2027, 4, 1, tzinfo=UTC),
    ):
        end = begin + timedelta(days=14)
        expected, moment = [], begin - timedelta(seconds=1)
        while (moment := cron.following(moment)) < end:
            expected.append(moment)
        assert len(expected) >= 14 * 72
        assert ticks(Timing(schedule=cron), platform, begin, end, fold) == expected


def test_both_hours_survive_messages_and_pickles() -> None:
    cron = crontab("*/15", timezone="Europe/Paris", both_hours=True)
    assert documents.schedule_from_document(documents.schedule_to_document(cron)) == cron
    assert pickle.loads(pickle.dumps(cron)) == cron
    assert cron != crontab("*/15", timezone="Europe/Paris")
    assert crontab("*/15", both_hours=True).in_timezone("Europe/Paris") == cron
    assert eval(repr(cron)) == cron


@pytest.mark.parametrize("hour", [2, "*/2", "0-22"])
def test_crontab_of_certain_hours_refuses_both_hours(hour: int | str) -> None:
    with pytest.raises(ScheduleError, match=r"both_hours=True needs hour='\*'.*remove both_hours"):
        crontab(0, hour, both_hours=True)
