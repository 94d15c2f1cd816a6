"""What Celery's schedules offer beside their times: copies, the application, errors, and their native forms."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import schedules as native
from taskq_cloud.celery.schedules import (
    BaseSchedule,
    ParseException,
    cronfield,
    crontab,
    crontab_parser,
    maybe_schedule,
    native_schedule,
    schedstate,
    schedule,
    solar,
)
from taskq_cloud.errors import ScheduleError
from tests.celery.schedules.apps import ZONES, App, Conf

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def app() -> App:
    return App(NOW)


@pytest.mark.parametrize(
    "given",
    [crontab(0, "*/2", "mon", [1, 2], {3}), schedule(60, True), solar("sunset", 60, 30), crontab(nowfun=datetime.now)],
)
def test_pickled_schedule_equals_the_schedule(given: BaseSchedule) -> None:
    copy = pickle.loads(pickle.dumps(given))
    assert copy == given
    assert repr(copy) == repr(given)
    assert copy.nowfun == given.nowfun


def test_state_is_a_pair_with_names() -> None:
    assert schedstate(is_due=True, next=3.0) == (True, 3.0)
    assert schedstate._fields == ("is_due", "next")


def test_missing_field_means_every_value() -> None:
    assert cronfield(None) == "*"
    assert cronfield(3) == 3


def test_base_schedule_leaves_its_times_to_derived_classes(app: App) -> None:
    base = BaseSchedule(app=app)
    with pytest.raises(NotImplementedError):
        base.is_due(NOW)
    with pytest.raises(NotImplementedError):
        base.remaining_estimate(NOW)


def test_schedule_asks_its_function_for_the_time_before_its_application(app: App) -> None:
    later = NOW + timedelta(hours=1)
    assert BaseSchedule(app=app).now() == NOW
    assert BaseSchedule(nowfun=lambda: later, app=app).now() == later


def test_application_can_be_set_later(app: App) -> None:
    base = BaseSchedule()
    base.app = app
    assert base.app is app
    assert base.tz is app.timezone


def test_schedule_of_an_application_with_utc_converts_no_time(app: App) -> None:
    assert BaseSchedule(app=app).to_local(NOW) is NOW
    local = BaseSchedule(app=App(NOW, conf=Conf(enable_utc=False))).to_local(NOW.replace(tzinfo=None))
    assert local.utcoffset() is not None


def test_naive_time_is_in_utc_or_in_the_schedules_zone() -> None:
    base, wall = BaseSchedule(app=App(NOW, ZONES[1])), datetime(2024, 7, 1, 12)
    assert base.maybe_make_aware(wall) == datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert base.maybe_make_aware(wall, naive_as_utc=False) == datetime(2024, 7, 1, 12, tzinfo=ZONES[1])


def test_number_and_timedelta_become_schedules(app: App) -> None:
    for value in (30, 30.0, timedelta(seconds=30)):
        made = maybe_schedule(value, relative=True, app=app)
        assert (made.seconds, made.relative, made.app) == (30, True, app)


def test_schedule_gets_the_application_and_none_stays_none(app: App) -> None:
    given = crontab()
    assert maybe_schedule(given, app=app) is given
    assert given.app is app
    assert maybe_schedule(None) is None


def test_parser_has_its_error_as_an_attribute() -> None:
    assert crontab_parser.ParseException is ParseException
    with pytest.raises(crontab_parser.ParseException, match="empty filter"):
        crontab_parser(60).parse("*/")


def test_given_set_is_used_and_not_copied() -> None:
    minutes = {1, 2}
    assert crontab(minutes).minute is minutes


def test_changed_field_changes_the_times(app: App) -> None:
    given = crontab(0, app=app)
    given.minute = {30}
    last, step, _ = given.remaining_delta(NOW)
    assert last + step == NOW.replace(minute=30, second=0)


def test_step_has_the_given_class(app: App) -> None:
    _, step, _ = crontab(0, 0, app=app).remaining_delta(NOW, ffwd=dict)
    assert step == {"hour": 0, "minute": 0, "second": 0, "microsecond": 0, "weekday": 1, "weeks": 0}


def test_zone_of_the_call_replaces_the_schedules(app: App) -> None:
    last, step, now = crontab(0, 12, app=app).remaining_delta(NOW, tz="Europe/Paris")
    assert (last + step).isoformat() == "2024-05-06T12:00:00+02:00"
    assert now.tzinfo is ZONES[1]


@pytest.mark.parametrize(("deadline", "is_due"), [(None, True), (300, False), (489, True), (488, False)])
def test_missed_run_after_the_deadline_is_left_out(deadline: float | None, is_due: bool) -> None:
    app = App(NOW, conf=Conf(deadline))
    missed = crontab(0, 7, app=app).is_due(NOW - timedelta(days=1))
    assert missed.is_due is is_due
    assert missed.next == 86400 - 489


class TestSun:
    """Schedules that follow the sun."""

    def test_missing_library_is_reported_with_the_extra(self) -> None:
        script = (
            "import sys; sys.modules['ephem'] = None\n"
            "from taskq_cloud.celery.exceptions import ImproperlyConfigured\n"
            "from taskq_cloud.celery.schedules import solar\n"
            "try: solar('sunset', 60, 30)\n"
            "except ImproperlyConfigured as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert "taskq-cloud[solar]" in done.stdout

    def test_event_that_never_comes_is_searched_for_a_year(self, app: App) -> None:
        given = solar("dawn_astronomical", 60, 30, app=app)
        given.cal.horizon = "80"
        assert timedelta(days=360) < given.remaining_estimate(NOW) < timedelta(days=370)

    @pytest.mark.parametrize(
        ("args", "text"),
        [
            (("moonrise", 0, 0), 'Argument event "moonrise" is invalid'),
            (("sunset", 91, 0), "Argument latitude 91 is invalid, must be between -90 and 90"),
            (("sunset", 0, -181), "Argument longitude -181 is invalid, must be between -180 and 180"),
        ],
    )
    def test_wrong_argument_is_an_error(self, args: tuple[Any, ...], text: str) -> None:
        with pytest.raises(ValueError, match=text):
            solar(*args)


class MyCrontab(crontab):
    """A schedule that a user has derived."""


class TestNativeForm:
    """The native schedules that stand for Celery's."""

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            (schedule(60), native.schedule(60)),
            (schedule(timedelta(hours=2), relative=True), native.schedule(7200, relative=True)),
            (crontab(0, 4), native.crontab(0, 4)),
            (crontab("*/15", "8-17", "mon-fri"), native.crontab("*/15", "8-17", "mon-fri")),
            (crontab(day_of_month="1,15", month_of_year="jan"), native.crontab("*", "*", "*", "1,15", "jan")),
            (solar("sunset", 60, 30), native.solar("sunset", 60, 30)),
            (30, native.schedule(30)),
            (timedelta(days=1), native.schedule(86400)),
            (native.crontab(0, 4), native.crontab(0, 4)),
            (native.solar("sunset", 60, 30), native.solar("sunset", 60, 30)),
            (None, None),
        ],
    )
    def test_schedule_becomes_the_native_one(self, given: Any, expected: Any) -> None:
        assert native_schedule(given) == expected

    def test_crontab_of_every_hour_stays_one_for_cloud_platforms(self) -> None:
        assert repr(native_schedule(crontab(0))) == repr(native.crontab(0))

    def test_interval_as_a_number_can_be_relative(self) -> None:
        assert native_schedule(3600, relative=True) == native.schedule(3600, relative=True)

    def test_derived_schedule_is_refused_with_the_way_out(self) -> None:
        with pytest.raises(ScheduleError, match="beat -S"):
            native_schedule(MyCrontab())

    def test_other_value_is_refused(self) -> None:
        with pytest.raises(TypeError, match="isn't a schedule"):
            native_schedule("daily")

    def test_interval_of_zero_is_refused(self) -> None:
        with pytest.raises(ScheduleError, match="more than 0"):
            native_schedule(schedule(0))
