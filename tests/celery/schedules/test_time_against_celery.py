"""The functions for time give Celery's answers, most of all around changes of a clock."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import celery.utils.iso8601 as their_iso8601
import celery.utils.time as theirs
import pytest
import tzlocal

from taskq_cloud.celery.utils import iso8601 as our_iso8601
from taskq_cloud.celery.utils import time as ours
from tests.celery.schedules.apps import ZONES, outcome, random_interval, random_time


def same(name: str, *args: Any, **kwargs: Any) -> None:
    """Compare one function's answers; times also by their fold and their zone."""
    celerys, own = (outcome(getattr(kind, name), *args, **kwargs) for kind in (theirs, ours))
    assert (own, repr(own)) == (celerys, repr(celerys)), (name, args, kwargs)


@pytest.mark.parametrize("seed", range(6))
def test_random_times_are_converted_as_by_celery(seed: int) -> None:
    rnd = random.Random(seed)
    for _ in range(500):
        time, interval, zone = random_time(rnd), random_interval(rnd), rnd.choice(ZONES)
        now = time + timedelta(seconds=rnd.randint(-200_000, 200_000))
        wall = time.replace(tzinfo=None, fold=rnd.randint(0, 1))
        same("remaining", time, interval, now, rnd.random() < 0.7)
        same("delta_resolution", time, interval)
        same("make_aware", wall, time.tzinfo)
        same("make_aware", wall, UTC)
        same("to_utc", wall)
        same("localize", rnd.choice((wall, time, time.astimezone(ZONES[0]), time.astimezone(UTC))), zone)
        same("maybe_make_aware", rnd.choice((wall, time)), rnd.choice((None, zone, zone.key)), rnd.random() < 0.5)
        same("is_naive", rnd.choice((wall, time)))
        same("add_seconds_to_datetime", rnd.choice((wall, time)), rnd.randint(-9999, 9999))
        same("subtract_datetimes", rnd.choice((wall, time)), rnd.choice((wall, now)))
        for method in ("to_local", "to_system", "to_local_fallback"):
            assert getattr(ours.timezone, method)(time) == getattr(theirs.timezone, method)(time)


@pytest.mark.parametrize("seed", range(3))
def test_random_steps_forwards_end_where_celerys_do(seed: int) -> None:
    rnd = random.Random(seed)
    limits = {
        "year": (2000, 2030),
        "month": (1, 12),
        "weeks": (0, 2),
        "weekday": (0, 6),
        "day": (1, 31),
        "hour": (0, 23),
    }
    for _ in range(300):
        fields = {name: rnd.randint(*ends) for name, ends in limits.items() if rnd.random() < 0.5}
        celerys, own = theirs.ffwd(**fields, minute=0), ours.ffwd(**fields, minute=0)
        time = random_time(rnd)
        assert repr(own) == repr(celerys)
        assert repr(time + own) == repr(time + celerys)
    assert outcome(operator.add, 1, own)[0] == "TypeError"


RATES = ["10/m", "100/h", "3", "0.5/s", "7/h", "0/m", "", None, 0, 2.5, "x/m", "3/d", "3/", "/m"]


@pytest.mark.parametrize("rate", RATES)
def test_rate_is_read_as_by_celery(rate: Any) -> None:
    same("rate", rate)


@pytest.mark.parametrize("seconds", [-1, 0, 0.004, 0.2, 1, 1.5, 59.999, 60, 61, 3600, 3601.5, 86400, 200000, 1e9])
def test_seconds_are_written_as_by_celery(seconds: float) -> None:
    same("humanize_seconds", seconds)
    same("humanize_seconds", seconds, "in", " ", "at once", True)


@pytest.mark.parametrize("name", ["mon", "Monday", "SUN", "jan", "December", "x", ""])
def test_weekdays_and_months_are_found_as_by_celery(name: str) -> None:
    same("weekday", name)
    same("yearmonth", name)


@pytest.mark.parametrize("value", [3, 2.5, True, None, "x", timedelta(1)])
def test_number_becomes_an_interval_as_in_celery(value: Any) -> None:
    same("maybe_timedelta", value)


@pytest.mark.parametrize(
    "text",
    [
        *("2024", "2024-05", "20240506", "2024-05-06", "2024-W10", "2024W10", "2024-W10-3", "2024W103", "2024-130"),
        *("2024130", "202405", "2024-5-6", "2024-13-01", "2024-366", "2023-366", "2024-W54", "abc", "24-05-06"),
        *("2024-05-06T07", "2024-05-06T07:08", "2024-05-06 07:08:09", "20240506T070809", "2024-05-06T07:0809"),
        *("2024-05-06T07:08:09.1", "2024-05-06T07:08:09,1234567", "2024-05-06T24:00", "2024-12-31T24:00:00", "2024T07"),
        *("2024-05-06T24:01", "2024-05-06T07:08:09Z", "2024-05-06T07:08+05:30", "2024-05-06T07:08-0530", "2024-W10T07"),
        *("2024-05-06T07:08+05", "2024-05-06T07:08:09-00:00", "2024-05-06T07:08:09z", "2024-05-06T25:00", "2024-05T07"),
        *(
            "2024-05-06T07:60",
            "2024-05-06T07:08+05:60",
            "2024-05-06T07:08+24:00",
            "2024-05-06T",
            "2024-05-06T07:08 Z",
            "",
        ),
    ],
)
def test_date_is_read_as_by_celery(text: str) -> None:
    celerys, own = (outcome(kind.maybe_iso8601, text) for kind in (theirs, ours))
    if isinstance(celerys, tuple):
        assert own[0] == celerys[0] == "ValueError"
    else:
        assert own == celerys
        assert celerys is None or own.utcoffset() == celerys.utcoffset()


def test_time_and_none_are_dates_already() -> None:
    now = datetime(2024, 5, 6)
    assert ours.maybe_iso8601(now) is now
    assert ours.maybe_iso8601(None) is None


@pytest.mark.parametrize(
    "text",
    [
        *("2024-05-06", "2024-5-6", "2024-05-06T07:08", "2024-05-06 07:08:09.5", "2024-05-06T07:08:09.123456Z"),
        *("2024-05-06T07:08:09+05:30", "2024-05-06T07:08:09-05:30", "2024", "x", "2024-13-06", "2024-05-06T07:08+05"),
    ],
)
def test_deprecated_reader_of_dates_reads_what_celerys_reads(text: str) -> None:
    with pytest.warns(PendingDeprecationWarning):
        celerys = outcome(their_iso8601.parse_iso8601, text)
    with pytest.warns(PendingDeprecationWarning, match="fromisoformat"):
        own = outcome(our_iso8601.parse_iso8601, text)
    assert (own, repr(own)) == (celerys, repr(celerys))


@pytest.mark.parametrize("is_dst", [0, 1])
@pytest.mark.parametrize("seconds", [-19800, 3600, 0])
def test_offset_of_the_machine_is_celerys(is_dst: int, seconds: int) -> None:
    clock = SimpleNamespace(timezone=seconds, altzone=seconds - 3600)
    same("utcoffset", clock, lambda: SimpleNamespace(tm_isdst=is_dst))
    same("adjust_timestamp", 1000.0, 2, lambda: seconds)


@pytest.mark.parametrize("retries", range(5))
@pytest.mark.parametrize(("factor", "maximum"), [(1, 100), (4, 30), (0, 9), (-2, 9)])
def test_backoff_without_jitter_is_celerys(retries: int, factor: int, maximum: int) -> None:
    same("get_exponential_backoff_interval", factor, retries, maximum)


def test_backoff_with_full_jitter_lies_between_zero_and_the_wait() -> None:
    found = {ours.get_exponential_backoff_interval(1, 2, 100, full_jitter=True) for _ in range(500)}
    assert found == {0, 1, 2, 3, 4}


class TestMachinesZone:
    """The zone of the machine, by the variable TZ and by its files."""

    @pytest.fixture(autouse=True)
    def _celerys_zone_is_found_again(self) -> Iterator[None]:
        yield
        tzlocal.reload_localzone()

    @pytest.mark.parametrize("name", ["Europe/Paris", ":Asia/Kathmandu", "/usr/share/zoneinfo/Europe/Paris"])
    def test_variable_names_the_zone(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", name)
        celerys = tzlocal.reload_localzone()  # Celery asks this library, which keeps its answer
        assert str(type(ours.timezone)().local) == str(celerys)

    def test_files_name_the_zone_as_for_celery(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TZ", raising=False)
        time = datetime(2024, 7, 1)
        assert type(ours.timezone)().local.utcoffset(time) == tzlocal.reload_localzone().utcoffset(time)

    def test_unknown_zone_is_warned_of_and_the_c_library_asked(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("TZ", "Nowhere/Atlantis")
        found = type(ours.timezone)().local
        assert isinstance(found, ours.LocalTimezone)
        assert "Failed to retrieve local timezone" in caplog.text

    @pytest.mark.parametrize("month", [1, 7])
    def test_zone_of_the_c_library_has_celerys_offsets(self, month: int) -> None:
        time = datetime(2024, month, 1, 12)
        celerys, own = theirs.LocalTimezone(), ours.LocalTimezone()
        assert repr(own) == repr(celerys)
        for method in ("utcoffset", "dst", "tzname"):
            assert getattr(own, method)(time) == getattr(celerys, method)(time)
        assert own.fromutc(time.replace(tzinfo=own)) == celerys.fromutc(time.replace(tzinfo=celerys))

    def test_zone_is_looked_up_by_name_and_left_as_it_is(self) -> None:
        zone = ours.timezone.get_timezone("Europe/Paris")
        assert zone is ZONES[1]
        assert ours.timezone.get_timezone(zone) is zone
        assert ours.timezone.tz_or_local() is ours.timezone.local
        assert ours.timezone.tz_or_local("UTC") is ours.timezone.utc
