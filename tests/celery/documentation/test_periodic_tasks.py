"""Constructs of the guide "Periodic Tasks": entries, crontabs, solar schedules, time zones and the beat program."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.celery.documentation.sides import Side, get


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("chores")

    @app.task(name="chores.sweep")
    def sweep(room: str = "all") -> str:
        return f"swept {room}"

    app.sweep = sweep
    return app


def test_entries_are_added_when_the_application_is_configured(side: Side, app: Any) -> None:
    crontab = side.module("schedules").crontab

    @app.on_after_configure.connect
    def setup_periodic_tasks(sender: Any, **kwargs: Any) -> None:
        sender.add_periodic_task(10.0, app.sweep.s("hall"), name="every 10 s")
        sender.add_periodic_task(30.0, app.sweep.s("attic"), expires=10)
        sender.add_periodic_task(crontab(hour=7, minute=30, day_of_week=1), app.sweep.s("cellar"))

    schedule = app.conf.beat_schedule
    assert schedule["every 10 s"]["task"] == "chores.sweep"
    assert schedule["every 10 s"]["schedule"] == 10.0
    assert {tuple(entry["args"]) for entry in schedule.values()} == {("hall",), ("attic",), ("cellar",)}
    (attic,) = [entry for entry in schedule.values() if tuple(entry["args"]) == ("attic",)]
    assert attic["options"]["expires"] == 10


def test_entries_are_declared_in_the_configuration(side: Side, app: Any) -> None:
    app.conf.beat_schedule = {
        "sweep-every-30-seconds": {
            "task": "chores.sweep",
            "schedule": 30.0,
            "args": ("hall",),
            "options": {"queue": "rooms"},
        },
    }
    app.conf.timezone = "UTC"
    scheduler = side.module("beat").Scheduler(app)
    entry = scheduler.schedule["sweep-every-30-seconds"]
    assert (entry.task, tuple(entry.args), entry.options) == ("chores.sweep", ("hall",), {"queue": "rooms"})
    assert entry.schedule == side.module("schedules").schedule(timedelta(seconds=30))


def test_due_entry_is_sent(side: Side, app: Any) -> None:
    app.conf.beat_schedule = {"sweep": {"task": "chores.sweep", "schedule": timedelta(seconds=1), "args": ("hall",)}}
    scheduler = side.module("beat").Scheduler(app)
    entry = scheduler.schedule["sweep"]
    entry.last_run_at = app.now() - timedelta(minutes=1)
    with side.worker(app):
        assert entry.is_due()[0] is True
        assert get(scheduler.apply_async(entry, advance=False)) == "swept hall"


CRONTABS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "2025-03-01 10:00:30", "2025-03-01 10:01"),
    ({"minute": 0, "hour": 0}, "2025-03-01 10:00", "2025-03-02 00:00"),
    ({"minute": 0, "hour": "*/3"}, "2025-03-01 10:00", "2025-03-01 12:00"),
    ({"minute": 0, "hour": "0,3,6,9,12,15,18,21"}, "2025-03-01 22:00", "2025-03-02 00:00"),
    ({"minute": "*/15"}, "2025-03-01 10:16", "2025-03-01 10:30"),
    ({"day_of_week": "sunday"}, "2025-03-01 10:00", "2025-03-02 00:00"),
    (
        {"minute": "*/10", "hour": "3,17,22", "day_of_week": "thu,fri"},
        "2025-03-01 10:00",
        "2025-03-06 03:00",
    ),
    ({"minute": 0, "hour": "*/2,*/3"}, "2025-03-01 04:00", "2025-03-01 06:00"),
    ({"minute": 0, "hour": "*/3,8-17"}, "2025-03-01 06:00", "2025-03-01 08:00"),
    ({"minute": 0, "hour": 0, "day_of_month": "2"}, "2025-03-03 00:00", "2025-04-02 00:00"),
    ({"minute": 0, "hour": 0, "day_of_month": "2-30/2"}, "2025-03-02 00:00", "2025-03-04 00:00"),
    ({"minute": 0, "hour": 0, "day_of_month": "1-7,15-21"}, "2025-03-07 00:00", "2025-03-15 00:00"),
    ({"minute": 0, "hour": 0, "day_of_month": "11", "month_of_year": "5"}, "2025-03-01 00:00", "2025-05-11 00:00"),
    ({"minute": 0, "hour": 0, "month_of_year": "*/3"}, "2025-02-01 00:00", "2025-04-01 00:00"),
]


@pytest.mark.parametrize(("fields", "last", "due"), CRONTABS, ids=[str(fields) for fields, _, _ in CRONTABS])
def test_crontab_is_due_at_the_time_that_its_fields_name(side: Side, fields: Any, last: str, due: str) -> None:
    before = datetime.fromisoformat(last).replace(tzinfo=UTC)
    schedule = side.module("schedules").crontab(**fields, nowfun=lambda: before, app=side.app(timezone="UTC"))
    start, wait, _ = schedule.remaining_delta(before)
    assert start + wait == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_schedule_can_be_any_class_of_its_kind(side: Side, app: Any) -> None:
    base: Any = side.module("schedules").BaseSchedule

    class Never(base):
        def remaining_estimate(self, last_run_at: datetime) -> timedelta:
            return timedelta(days=365)

        def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
            return False, 60.0

    app.conf.beat_schedule = {"never": {"task": "chores.sweep", "schedule": Never(app=app)}}
    entry = side.module("beat").Scheduler(app).schedule["never"]
    assert tuple(entry.is_due()) == (False, 60.0)


def test_solar_schedule_needs_a_known_event(side: Side) -> None:
    pytest.importorskip("ephem")
    solar = side.module("schedules").solar
    sunset = solar("sunset", -37.81753, 144.96715, app=side.app())
    assert (sunset.event, sunset.lat, sunset.lon) == ("sunset", -37.81753, 144.96715)
    with pytest.raises(ValueError, match="must be one of"):
        solar("teatime", 0, 0)


def test_time_zone_is_a_setting_and_applies_to_crontabs(side: Side) -> None:
    app = side.app()
    app.conf.timezone = "Europe/London"
    assert str(app.timezone) == "Europe/London"
    crontab = side.module("schedules").crontab(minute=0, hour=9, app=app)
    assert str(crontab.tz) == "Europe/London"


def test_scheduler_class_of_a_project_has_its_own_entries(side: Side, app: Any) -> None:
    base: Any = side.module("beat").Scheduler

    class Hourly(base):
        def setup_schedule(self) -> None:
            self.merge_inplace({"hourly": {"task": "chores.sweep", "schedule": 3600.0}})

    scheduler = Hourly(app)
    assert set(scheduler.schedule) == {"hourly"}
    assert scheduler.tick() > 0
