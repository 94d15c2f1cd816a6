"""Celery's schedules and ours give equal answers: times, steps, texts and errors."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import celery.schedules as theirs
import pytest

from taskq_cloud.celery import schedules as ours
from tests.celery.schedules.apps import ZONES, App, Conf, outcome, random_fields, random_interval, random_time

SEEDS = range(8)
CRONTABS_EACH = 600
FIELDS = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")


def comparable(value: Any) -> Any:
    """A ``(last, step, now)`` with the step as text, as its classes differ."""
    return (value[0], repr(value[1]), value[2]) if len(value) == 3 else value


@pytest.mark.parametrize("seed", SEEDS)
def test_random_crontabs_give_celerys_answers(seed: int) -> None:
    rnd, failed = random.Random(seed), 0
    for _ in range(CRONTABS_EACH):
        fields, last = random_fields(rnd), random_time(rnd)
        now = last + timedelta(seconds=rnd.choice((rnd.randint(-100, 200_000), rnd.randint(0, 4000), 0)))
        zone = rnd.choice((last.tzinfo, rnd.choice(ZONES)))
        last = rnd.choice((last, last.astimezone(zone), last.replace(tzinfo=None)))
        app = App(now, zone, Conf(rnd.choice((None, 60, 3600, 100_000))))
        celerys, own = (outcome(kind.crontab, *fields, nowfun=app.now, app=app) for kind in (theirs, ours))
        if isinstance(celerys, tuple):
            failed += 1
            assert own == celerys, fields
            continue
        assert repr(own) == repr(celerys)
        assert [getattr(own, name) for name in FIELDS] == [getattr(celerys, name) for name in FIELDS]
        assert comparable(outcome(own.remaining_delta, last)) == comparable(outcome(celerys.remaining_delta, last))
        assert outcome(own.is_due, last) == outcome(celerys.is_due, last), (fields, last, now)
    assert 0 < failed < CRONTABS_EACH / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_random_intervals_give_celerys_answers(seed: int) -> None:
    rnd = random.Random(seed)
    for _ in range(CRONTABS_EACH):
        every, relative, last = random_interval(rnd), rnd.random() < 0.7, random_time(rnd)
        now = last + rnd.choice((every, timedelta(0), timedelta(seconds=rnd.randint(-100, 200_000))))
        app = App(now, rnd.choice(ZONES))
        celerys, own = (kind.schedule(every, relative, app=app) for kind in (theirs, ours))
        assert own.remaining_estimate(last) == celerys.remaining_estimate(last)
        assert own.is_due(last) == celerys.is_due(last), (every, relative, last, now)
        assert (repr(own), own.seconds, own.human_seconds) == (repr(celerys), celerys.seconds, celerys.human_seconds)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_random_events_of_the_sun_give_celerys_answers(seed: int) -> None:
    rnd = random.Random(seed)
    for _ in range(40):
        event, lat, lon = rnd.choice(sorted(theirs.solar._all_events)), rnd.uniform(-91, 91), rnd.uniform(-181, 181)
        last = random_time(rnd)
        app = App(last + timedelta(seconds=rnd.randint(0, 100_000)))
        celerys, own = (outcome(kind.solar, event, lat, lon, app=app) for kind in (theirs, ours))
        if isinstance(celerys, tuple):
            assert own == celerys
            continue
        assert own.is_due(last) == celerys.is_due(last), (event, lat, lon, last)
        assert (repr(own), own.method, own.use_center) == (repr(celerys), celerys.method, celerys.use_center)


@pytest.mark.parametrize(
    "text", ["* * * * *", "0 4 * * sun", "*/5 8-17 1,15 jan-jun mon-fri", "* * *", "0  0 * * *", "61 * * * *", ""]
)
def test_crontab_from_string_reads_what_celery_reads(text: str) -> None:
    celerys, own = (outcome(kind.crontab.from_string, text) for kind in (theirs, ours))
    assert repr(own) == repr(celerys)


@pytest.mark.parametrize("limits", [(60,), (24,), (7,), (31, 1), (12, 1), ()])
@pytest.mark.parametrize(
    "spec",
    [
        "*",
        "*/15",
        "1-3",
        "50-10/10",
        "fri-mon",
        "nov-feb",
        "1,2,5-7",
        "*/0",
        "*/",
        "",
        "1,",
        "-1",
        "0",
        "9-",
        "x",
        "sun",
        "5-3",
    ],
)
def test_parser_of_fields_reads_what_celery_reads(limits: tuple[int, ...], spec: str) -> None:
    celerys, own = (outcome(kind.crontab_parser(*limits).parse, spec) for kind in (theirs, ours))
    assert own == celerys


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("crontab", "*/15"), ("crontab", [0, 15, 30, 45])),
        (("crontab", 0), ("crontab", 1)),
        (("crontab", 0), ("schedule", 60)),
        (("schedule", 60), ("schedule", timedelta(minutes=1))),
        (("schedule", 60), ("schedule", 60, True)),
        (("schedule", 60), ("schedule", 61)),
        (("solar", "sunset", 60, 30), ("solar", "sunset", 60, 30)),
        (("solar", "sunset", 60, 30), ("solar", "sunset", 61, 30)),
        (("solar", "sunset", 60, 30), ("crontab",)),
        (("BaseSchedule",), ("BaseSchedule",)),
        (("BaseSchedule", min), ("BaseSchedule", max)),
    ],
)
def test_schedules_are_equal_where_celerys_are(left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
    app = App(random_time(random.Random(0)))
    answers = []
    for kind in (theirs, ours):
        a, b = (getattr(kind, name)(*args, app=app) for name, *args in (left, right))
        answers.append((a == b, a != b, outcome(hash, a)[0]))
    assert answers[0] == answers[1]


def test_schedule_equals_its_interval_as_in_celery() -> None:
    every = timedelta(minutes=1)
    assert [kind.schedule(60) == every for kind in (theirs, ours)] == [True, True]
    assert [kind.schedule(60) == 60 for kind in (theirs, ours)] == [False, False]
