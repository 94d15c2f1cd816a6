"""The translation of schedules for platforms, compared with Celery: tasks run at exactly the times of Celery's beat.

``platforms`` evaluates the platform's firings, and ``ticks`` guards and spreads them as a worker does; no time may be
missing, and none may be added.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import celery.schedules as theirs
import pytest
from celery import Celery
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from taskq_cloud.core.schedules import cloud_scheduler, eventbridge
from taskq_cloud.core.schedules.entry import Timing
from taskq_cloud.core.schedules.triggers import Trigger, triggers_of
from taskq_cloud.errors import ScheduleError
from taskq_cloud.schedules import crontab, schedule, solar
from tests.core.schedules import platforms
from tests.core.schedules.zones import CRONTABS, zoned_times

NOW = datetime(2024, 1, 1, tzinfo=UTC)
PLATFORMS: Any = {
    "eventbridge": (eventbridge, platforms.of_eventbridge),
    "cloud_scheduler": (cloud_scheduler, platforms.of_cloud_scheduler),
}
bounded = settings(derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def ticks(
    timing: Timing, platform: str, begin: datetime, end: datetime, fold: int, longest_span: float = 900
) -> list[datetime]:
    """The ticks that a worker runs for a platform's firings."""
    words, fire = PLATFORMS[platform]
    found = set()
    for trigger in triggers_of(timing, NOW, weeks=words.WEEKS, longest_span_seconds=longest_span):
        assert trigger.span_seconds <= longest_span
        span = timedelta(seconds=trigger.span_seconds)
        for fired_at in fire(words.expression(trigger), trigger.timezone, begin - span, end, fold):
            if trigger.span_seconds:
                found |= set(timing.between(fired_at, fired_at + span))
            elif timing.fires_at(fired_at):
                found.add(fired_at)
    return sorted(each for each in found if begin <= each < end)


def celerys(its: Any, begin: datetime, end: datetime, last: datetime) -> list[datetime]:
    """The times at which Celery's beat runs a schedule, if the beat has run since ``last``."""
    found: list[datetime] = []
    zone = last.tzinfo
    while True:
        its.nowfun = lambda last=last: last
        last = (last.astimezone(UTC) + its.remaining_estimate(last)).astimezone(zone)
        if last.astimezone(UTC) >= end:
            return found
        if last.astimezone(UTC) >= begin:
            found.append(last.astimezone(UTC))


@cache
def app_in(zone: str) -> Celery:
    app = Celery("translation", set_as_current=False)
    app.conf.timezone = zone
    return app


@pytest.mark.slow
@pytest.mark.parametrize("platform", sorted(PLATFORMS))
@bounded
@given(fields=CRONTABS, moment=zoned_times(), fold=st.integers(0, 1))
def test_crontab_fires_when_celery_runs_it(platform: str, fields: dict[str, Any], moment: datetime, fold: int) -> None:
    zone = getattr(moment.tzinfo, "key", "UTC")
    try:
        timing = Timing(schedule=crontab(**fields, timezone=zone))
    except ScheduleError:
        assume(False)
    triggers = triggers_of(timing, NOW, weeks=True)
    days = 2 if sum(trigger.firings_a_year for trigger in triggers) > 3_000 else 40
    begin = moment.astimezone(UTC).replace(microsecond=0)
    last = (begin - timedelta(hours=30)).astimezone(moment.tzinfo)
    assume(last.utcoffset() == (last - timedelta(days=3)).utcoffset())
    end = begin + timedelta(days=days)
    expected = celerys(theirs.crontab(**fields, app=app_in(zone)), begin, end, last)
    assert ticks(timing, platform, begin, end, fold) == expected


def subsets(least: int, most: int) -> st.SearchStrategy[frozenset[int]]:
    """Sets of numbers that a field can have, many of them with gaps of one number."""
    all_ = range(least, most + 1)
    chosen = st.lists(st.sampled_from([True, True, True, False]), min_size=len(all_), max_size=len(all_))
    return st.one_of(
        st.frozensets(st.integers(least, most), min_size=1),
        chosen.map(lambda each: frozenset(n for n, take in zip(all_, each, strict=True) if take) or frozenset({least})),
        st.just(frozenset(n for n in all_ if n % 3 or n > most - 4)),
    )


@settings(bounded, max_examples=400)
@given(minute=subsets(0, 59), hour=subsets(0, 23), day=subsets(1, 31), month=subsets(1, 12))
def test_expression_of_any_numbers_fits_eventbridge(
    minute: frozenset[int], hour: frozenset[int], day: frozenset[int], month: frozenset[int]
) -> None:
    text = eventbridge.expression(Trigger(minute=minute, hour=hour, day_of_month=day, month_of_year=month))
    assert len(text) <= 256
    said = text.removeprefix("cron(").split()
    for part, expected, limits in zip(said, (minute, hour, day, month), platforms.RANGES, strict=False):
        assert platforms.numbers(part, *limits) == expected


YEARS = [
    ("0 9 * * mon-fri", "Europe/Paris"),
    ("30 2 * * *", "Europe/Paris"),
    ("0 0 * * *", "America/Havana"),
    ("0 0 * * *", "Asia/Beirut"),
    ("15 1,2 1-7 * sun", "Australia/Lord_Howe"),
    ("45 23 31 12 *", "Pacific/Chatham"),
    ("0 12 29 2 *", "UTC"),
    ("10 4 8-14 * tue", "America/New_York"),
    ("5 0 1,15 */2 mon,thu", "Africa/Casablanca"),
    ("0 1 1 * *", "Asia/Kolkata"),
    ("30 1 25-31 3,10 sun", "Europe/London"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "zone"), YEARS)
def test_crontab_fires_when_celery_runs_it_over_years(text: str, zone: str) -> None:
    its = theirs.crontab.from_string(text)
    its.app = app_in(zone)
    begin, end = datetime(2024, 1, 10, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    expected = celerys(its, begin, end, (begin - timedelta(hours=30)).astimezone(ZoneInfo(zone)))
    assert expected
    timing = Timing(schedule=crontab.from_string(text, timezone=zone))
    for platform in PLATFORMS:
        for fold in (0, 1):
            assert ticks(timing, platform, begin, end, fold) == expected


@pytest.mark.slow
@pytest.mark.parametrize("platform", sorted(PLATFORMS))
@bounded
@given(
    seconds=st.integers(1, 400_000) | st.integers(1, 4000).map(lambda minutes: minutes * 60),
    relative=st.booleans(),
    start=st.none() | zoned_times(),
    moment=zoned_times(),
    longest_span=st.integers(60, 1000),
)
def test_interval_fires_when_it_is_due(
    platform: str, seconds: int, relative: bool, start: datetime | None, moment: datetime, longest_span: int
) -> None:
    timing = Timing(schedule=schedule(seconds, relative, timezone=getattr(moment.tzinfo, "key", "UTC")), start=start)
    begin = moment.astimezone(UTC)
    end = begin + timedelta(seconds=min(max(20 * seconds, 1000), 10 * 86_400))
    assert ticks(timing, platform, begin, end, 0, longest_span) == list(timing.between(begin, end))


@pytest.mark.slow
@pytest.mark.parametrize("where", [(48.85, 2.35), (-36.8, 174.8), (69.6, 18.9)], ids=["Paris", "Auckland", "Tromsø"])
@pytest.mark.parametrize("event", ["sunset", "dawn_civil", "solar_noon"])
def test_solar_event_fires_on_every_day_that_has_it(event: str, where: tuple[float, float]) -> None:
    timing = Timing(schedule=solar(event, *where))
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    days = 120 if where[0] < 66 else 20
    end = begin + timedelta(days=days)
    found = ticks(timing, "eventbridge", begin, end, 0)
    assert found == list(timing.between(begin, end))
    assert len(found) == days or where[0] > 66


def firings_a_year(triggers: Iterable[Trigger]) -> int:
    return sum(trigger.firings_a_year for trigger in triggers)


@pytest.mark.parametrize(
    ("when", "expressions", "firings"),
    [
        (crontab(0, 9, "mon-fri", timezone="Europe/Paris"), ["cron(0 9 ? * MON,TUE,WED,THU,FRI *)"], 261),
        (crontab("*/5"), ["cron(0/5 * * * ? *)"], 105_120),
        (crontab(0, 0, "sun"), ["cron(0 0 ? * SUN *)"], 52),
        (crontab(0, 9, "mon", "8-14"), ["cron(0 9 ? * 2#2 *)"], 12),
        (crontab(0, 9, "fri", 13), ["cron(0 9 13 * ? *)"], 12),
        (crontab(0, 9, "mon-fri", "1-25", "jan-jun"), ["cron(0 9 ? 1-6 MON,TUE,WED,THU,FRI *)"], 129),
        (crontab(30, 2, timezone="Europe/Paris"), ["cron(30 0,1 * * ? *)"], 730),
        (crontab(30, 2, day_of_month=1, timezone="Europe/Paris"), ["cron(30 2 1 * ? *)"], 12),
        (
            crontab.from_string("0-6,8-59 0-4,6-23 1-12,14-31 * *"),
            ["cron(0-6,8-59 0-4,6-23 1-12,14-31 * ? *)"],
            59 * 23 * (365 - 12),
        ),
        (schedule(3600), ["cron(0 * * * ? *)"], 8760),
        (schedule(5400), ["cron(0 0/3 * * ? *)", "cron(30 1/3 * * ? *)"], 5840),
        (schedule(86_400), ["cron(0 0 * * ? *)"], 365),
        (schedule(7 * 60), ["cron(0/15 * * * ? *)"], 35_040),
        (schedule(100 * 60), ["cron(0/20 * * * ? *)"], 26_280),
        (schedule(10), ["cron(* * * * ? *)"], 525_600),
        (schedule(90), ["cron(0/15 * * * ? *)"], 35_040),
        (solar("sunset", 48.85, 2.35), ["cron(0/15 15-20 * * ? *)"], 8760),
    ],
    ids=repr,
)
def test_schedule_is_translated_into_the_fewest_exact_firings(when: Any, expressions: list[str], firings: int) -> None:
    triggers = triggers_of(Timing(schedule=when), NOW, weeks=True)
    assert [eventbridge.expression(trigger) for trigger in triggers] == expressions
    assert firings_a_year(triggers) == firings


def test_crontab_beyond_unix_cron_fires_more_often() -> None:
    (trigger,) = triggers_of(Timing(schedule=crontab(0, 9, "mon", "8-14")), NOW, weeks=False)
    assert cloud_scheduler.expression(trigger) == "0 9 * * 1"
