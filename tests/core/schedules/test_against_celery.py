"""Schedules compared with Celery's own: equal expressions give equal times, in all zones and around changed clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import celery.schedules as theirs
import pytest
from celery import Celery
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from taskq_cloud import schedules as ours
from taskq_cloud.core.schedules import fields
from taskq_cloud.core.schedules.base import Schedule
from taskq_cloud.errors import ScheduleError
from tests.core.schedules.zones import CRONTABS, ZONES, zoned_times

bounded = settings(derandomize=True, deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
APPS = {}
for name in ZONES:
    APPS[name] = Celery(f"schedules in {name}", set_as_current=False)
    APPS[name].conf.timezone = name


def crontabs(given_fields: dict[str, Any], now: datetime) -> tuple[ours.crontab, Any]:
    name = getattr(now.tzinfo, "key", "UTC")
    try:
        celerys = theirs.crontab(**given_fields, app=APPS[name], nowfun=lambda: now)
    except ValueError:
        with pytest.raises(ScheduleError):
            ours.crontab(**given_fields)
        assume(False)
    return ours.crontab(**given_fields, timezone=name, nowfun=lambda: now), celerys


def in_second_pass(moment: datetime) -> bool:
    """Whether a local time is the second of two equal ones."""
    return moment.fold == 1 and moment.utcoffset() != moment.replace(fold=0).utcoffset()


@bounded
@given(CRONTABS, zoned_times(), st.integers(-100_000, 100_000))
def test_crontab_is_due_when_celerys_is(given_fields: dict[str, str], last: datetime, since_seconds: int) -> None:
    now = (last.astimezone(UTC) + timedelta(seconds=since_seconds)).astimezone(last.tzinfo)
    own, celerys = crontabs(given_fields, now)
    assume(not in_second_pass(last))  # Celery differs there: see the test of two equal hours
    assert own.remaining_estimate(last) == celerys.remaining_estimate(last)
    assert own.is_due(last).is_due == celerys.is_due(last).is_due
    if not (in_second_pass(now) and own.is_due(last).is_due):
        assert own.is_due(last).next == pytest.approx(max(celerys.is_due(last).next, 0))
    begin, delta, at = own.remaining_delta(last)
    of_celery = celerys.remaining_delta(last)
    assert (begin, begin + delta, at) == (of_celery[0], of_celery[0] + of_celery[1], of_celery[2])


@settings(bounded, max_examples=100)
@given(CRONTABS, zoned_times())
def test_crontab_fires_as_in_a_celery_that_never_stopped(given_fields: dict[str, str], begin: datetime) -> None:
    """Celery has run for thirty hours, and the clock was not changed in the three days before it started."""
    moment, zone = begin.astimezone(UTC), begin.tzinfo
    own, celerys = crontabs(given_fields, begin)
    last = (moment - timedelta(hours=30)).astimezone(zone)
    assume(last.utcoffset() == (last - timedelta(days=3)).utcoffset())
    chain: list[datetime] = []
    while len(chain) < 5:
        celerys.nowfun = lambda last=last: last
        last = (last.astimezone(UTC) + celerys.remaining_estimate(last)).astimezone(zone)
        if last.astimezone(UTC) > moment:
            chain.append(last.astimezone(UTC))
    mine = [own.following(moment)]
    while len(mine) < len(chain):
        mine.append(own.following(mine[-1]))
    assert mine == chain


def test_crontab_after_the_second_of_two_equal_hours_is_due_in_time() -> None:
    """Celery goes on with the first hour's times, so it runs the task without a pause until the second hour is over."""
    last = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris"))
    own, celerys = crontabs({"minute": "*/15"}, last)
    assert celerys.is_due(last) == (True, 0)
    assert own.is_due(last) == (False, 30 * 60)


FIELDS = {
    fields.MINUTE: (60, 0),
    fields.HOUR: (24, 0),
    fields.DAY_OF_WEEK: (7, 0),
    fields.DAY_OF_MONTH: (31, 1),
    fields.MONTH_OF_YEAR: (12, 1),
}


@settings(bounded, max_examples=1000)
@given(
    st.sampled_from(list(FIELDS)),
    st.text(alphabet="0123456789*/-,", max_size=10)
    | st.lists(st.sampled_from(["mon", "feb", "Sun", "x", "10", "3", "-", "/", "*", ","]), max_size=6).map("".join),
)
@example(fields.DAY_OF_WEEK, "january")
@example(fields.MONTH_OF_YEAR, "marvellous")
@example(fields.MINUTE, "-1")
@example(fields.MINUTE, "1-5/")
@example(fields.MINUTE, "50-10/10")
def test_field_has_celerys_numbers_or_is_refused(field: fields.Field, text: str) -> None:
    """Celery reads only the beginning of some texts and ignores the rest; such texts are refused here."""
    try:
        numbers = theirs.crontab_parser(*FIELDS[field]).parse(text)
    except theirs.ParseException:
        with pytest.raises(ScheduleError):
            field.expand(text)
        return
    except (ValueError, IndexError):
        with pytest.raises(ScheduleError):
            field.expand(text)
        return
    if all(re.fullmatch(r"\w+|(\*|\w+-\w+)(/\w+)?", part) for part in text.split(",")):
        assert field.expand(text) == numbers
    else:
        with pytest.raises(ScheduleError):
            field.expand(text)


@pytest.mark.parametrize(
    ("field", "text", "error"),
    [
        (fields.MINUTE, "", ours.ParseException),
        (fields.MINUTE, "1,,2", ours.ParseException),
        (fields.MINUTE, "-1", ours.ParseException),
        (fields.MINUTE, "1-5/", ours.ParseException),
        (fields.MINUTE, "*/", ours.ParseException),
        (fields.MINUTE, "*/0", ScheduleError),
        (fields.MINUTE, "60", ScheduleError),
        (fields.MINUTE, "5/10", ScheduleError),
        (fields.DAY_OF_WEEK, "7", ScheduleError),
        (fields.DAY_OF_WEEK, "?", ScheduleError),
        (fields.DAY_OF_MONTH, "0", ScheduleError),
        (fields.DAY_OF_MONTH, "L", ScheduleError),
        (fields.MINUTE, [], ScheduleError),
        (fields.MINUTE, [60], ScheduleError),
        (fields.MINUTE, ["1"], TypeError),
        (fields.MINUTE, 1.5, TypeError),
        (fields.MINUTE, None, TypeError),
    ],
)
def test_malformed_field_is_refused(field: fields.Field, text: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=field.name):
        field.expand(text)


INTERVALS = st.one_of(
    st.integers(1, 200_000),
    st.sampled_from([0.5, 30, 60, 90, 300, 3600, 5400, 7200, 86_400, 129_600, 172_800, 604_800]),
)


@settings(bounded, max_examples=600)
@given(INTERVALS, st.booleans(), zoned_times(), st.integers(-100_000, 100_000))
def test_interval_is_due_when_celerys_is(seconds: float, relative: bool, last: datetime, since_seconds: int) -> None:
    now = (last.astimezone(UTC) + timedelta(seconds=since_seconds)).astimezone(last.tzinfo)
    app = APPS[getattr(last.tzinfo, "key", "UTC")]
    own = ours.schedule(seconds, relative, lambda: now)
    celerys = theirs.schedule(seconds, relative, lambda: now, app=app)
    assert own.remaining_estimate(last) == celerys.remaining_estimate(last)
    assert own.is_due(last) == tuple(celerys.is_due(last))


@settings(bounded, max_examples=200)
@given(INTERVALS, st.booleans(), zoned_times())
def test_interval_counted_from_an_anchor_goes_on_like_celerys(seconds: float, relative: bool, moment: datetime) -> None:
    zone = getattr(moment.tzinfo, "key", "UTC")
    own = ours.schedule(seconds, relative, timezone=zone)
    first = own.following(moment)
    assert first > moment
    if zone == "Australia/Lord_Howe" and relative:
        return  # twice a year, an hour there doesn't begin an hour after the last one
    local = first.astimezone(moment.tzinfo)
    celerys = theirs.schedule(seconds, relative, lambda: local, app=APPS[zone])
    if relative and timedelta(seconds=seconds) >= timedelta(days=1) and own.run_every % timedelta(days=1):
        return  # Celery counts such intervals in whole days too, but from the next midnight
    assert own.following(first) == first + celerys.remaining_estimate(local)


@settings(bounded, max_examples=60)
@given(
    st.sampled_from(sorted(theirs.solar._all_events)),
    st.floats(-70, 70),
    st.floats(-180, 180),
    zoned_times(),
    st.integers(-100_000, 100_000),
)
def test_solar_event_is_due_when_celerys_is(event: str, lat: float, lon: float, last: datetime, since: int) -> None:
    now = last.astimezone(UTC) + timedelta(seconds=since)
    own = ours.solar(event, lat, lon, lambda: now)
    celerys = theirs.solar(event, lat, lon, nowfun=lambda: now, app=APPS["UTC"])
    assert own.remaining_estimate(last) == celerys.remaining_estimate(last)
    assert own.is_due(last) == tuple(celerys.is_due(last))
    following = own.following(last)
    assert timedelta(0) < following - last
    assert abs(following - last - (own.remaining_estimate(last) + (now - last))) <= timedelta(seconds=1)


def test_sunrise_comes_once_a_day() -> None:
    paris = ours.solar("sunrise", 48.85, 2.35)
    moment, times = datetime(2026, 1, 1, tzinfo=UTC), []
    for _ in range(365):
        moment = paris.following(moment)
        times.append(moment)
    assert [each.date().toordinal() - times[0].date().toordinal() for each in times] == list(range(365))


def test_schedules_compare_hash_and_pickle_as_values() -> None:
    import pickle

    crontab = ours.crontab(minute="*/30", hour=[9], day_of_week="mon-fri", timezone="Europe/Paris")
    assert crontab == ours.crontab("0,30", "9", {1, 2, 3, 4, 5}, timezone=ZoneInfo("Europe/Paris"))
    assert crontab != ours.crontab("0,30", "9", {1, 2, 3, 4, 5})
    assert repr(crontab) == "crontab.from_string('*/30 9 * * mon-fri', timezone='Europe/Paris')"
    assert eval(repr(crontab), {"crontab": ours.crontab}) == crontab
    each: Schedule
    for each in (crontab, ours.schedule(90, relative=True), ours.solar("sunset", 1, 2)):
        assert pickle.loads(pickle.dumps(each)) == each
        assert hash(pickle.loads(pickle.dumps(each))) == hash(each)
        with pytest.raises(AttributeError):
            each.nowfun = None  # type: ignore[misc]
    assert ours.crontab.from_string("0 9 1 * mon") == ours.crontab(0, 9, "mon", 1)
    assert ours.maybe_schedule(60) == ours.maybe_schedule(timedelta(minutes=1)) == ours.schedule(60)
    assert ours.maybe_schedule(None) is None


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: ours.crontab(day_of_month=30, month_of_year="feb"), ScheduleError, "never occurs"),
        (lambda: ours.crontab(day_of_month=31, month_of_year="4,6,9,11"), ScheduleError, "never occurs"),
        (lambda: ours.crontab(timezone="Europe/Pariss"), ScheduleError, "Europe/Paris"),
        (lambda: ours.crontab(timezone="../etc/passwd"), ScheduleError, "unknown time zone"),
        (lambda: ours.crontab(timezone=timezone_of_nobody()), ScheduleError, "no name"),
        (lambda: ours.crontab.from_string("0 9 * *"), ScheduleError, "4 fields"),
        (lambda: ours.schedule(0), ScheduleError, "more than 0"),
        (lambda: ours.schedule("5m"), TypeError, "number of seconds"),  # type: ignore[arg-type]
        (lambda: ours.solar("moonrise", 0, 0), ScheduleError, "sunrise"),
        (lambda: ours.solar("sunrise", 91, 0), ScheduleError, "latitude"),
        (lambda: ours.solar("sunrise", 0, 181), ScheduleError, "longitude"),
        (lambda: ours.maybe_schedule("* * * * *"), TypeError, "isn't a schedule"),
        (lambda: ours.maybe_schedule(theirs.crontab()), TypeError, "taskq_cloud.schedules"),
    ],
)
def test_impossible_schedule_is_refused(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def timezone_of_nobody() -> Any:
    from datetime import timezone

    return timezone(timedelta(hours=1))
