"""Entries of a scheduler compared with Celery's."""

from __future__ import annotations

import operator
import pickle
from datetime import timedelta
from typing import Any

import celery.beat as theirs
import celery.schedules
import pytest

from taskq_cloud.celery import beat as ours
from taskq_cloud.celery import schedules
from tests.celery.beat.apps import START, make_app

KINDS = [(theirs, celery.schedules), (ours, schedules)]


def entry(kind: Any, **given: Any) -> Any:
    return kind.ScheduleEntry(**{"name": "report", "task": "known", "schedule": 60, "app": make_app(), **given})


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"args": (1, "a")},
        {"kwargs": {"x": 1}},
        {"args": [1], "kwargs": {"y": None}},
        {"schedule": None},
        {"args": None},
    ],
)
def test_entry_is_shown_as_by_celery(given: dict[str, Any]) -> None:
    celerys, own = (repr(entry(kind, **given)) for kind, _ in KINDS)
    assert own == celerys


def test_defaults_are_celerys() -> None:
    for kind, _ in KINDS:
        made = entry(kind)
        assert (made.args, made.kwargs, made.options, made.total_run_count) == ((), {}, {}, 0)
        assert made.last_run_at == START
        assert made.schedule.run_every == timedelta(minutes=1)
        assert made.schedule.app is made.app


def test_entry_with_its_own_clock_begins_there() -> None:
    later = START + timedelta(hours=3)
    for kind, times in KINDS:
        assert entry(kind, schedule=times.schedule(60, nowfun=lambda: later)).last_run_at == later


def test_next_entry_has_run_once_more() -> None:
    for kind, _ in KINDS:
        first = entry(kind, args=(1,), options={"queue": "q"})
        first.app.pass_seconds(60)
        second = next(first)
        assert (second.total_run_count, second.last_run_at) == (1, START + timedelta(minutes=1))
        assert second == first
        assert second is not first
        assert first._next_instance(START).last_run_at == START
        assert first.next().total_run_count == 1


def test_update_takes_over_what_is_called_and_keeps_the_last_run() -> None:
    for kind, _ in KINDS:
        known, other = entry(kind, total_run_count=7), entry(kind, task="other", schedule=5, args=(2,), name="x")
        known.app.pass_seconds(9)
        known.update(other)
        assert (known.name, known.task, known.args, known.total_run_count) == ("report", "other", (2,), 7)
        assert known.schedule is other.schedule
        assert known == other


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({}, True),
        ({"name": "other"}, True),
        ({"last_run_at": START - timedelta(1)}, True),
        ({"task": "other"}, False),
        ({"args": (1,)}, False),
        ({"kwargs": {"x": 1}}, False),
        ({"options": {"queue": "q"}}, False),
        ({"schedule": 61}, False),
    ],
)
def test_entries_are_equal_by_their_editable_fields(change: dict[str, Any], equal: bool) -> None:
    for kind, _ in KINDS:
        assert (entry(kind) == entry(kind, **change)) is equal
        assert entry(kind).editable_fields_equal(entry(kind, **change)) is equal


def test_entries_have_an_order_and_other_objects_none() -> None:
    for kind, _ in KINDS:
        first, second = sorted((entry(kind), entry(kind)))
        assert first < second
        assert not second < first
        with pytest.raises(TypeError):
            operator.lt(first, 1)
        with pytest.raises(TypeError):
            hash(first)


def test_pickled_entry_keeps_all_but_its_application() -> None:
    for kind, times in KINDS:
        given = entry(kind, schedule=times.crontab(0, 4), args=(1,), total_run_count=3)
        given.schedule = times.crontab(0, 4)
        copy = pickle.loads(pickle.dumps(given))
        assert (copy, copy.name, copy.total_run_count, copy.last_run_at) == (given, "report", 3, START)
        assert copy.app is None


def test_entry_is_a_mapping_of_its_fields() -> None:
    celerys, own = (dict(entry(kind)) for kind, _ in KINDS)
    assert list(own) == list(celerys)


def test_entry_is_due_by_its_schedule() -> None:
    for kind, _ in KINDS:
        made = entry(kind)
        assert made.is_due() == (False, 60)
        made.app.pass_seconds(61)
        assert made.is_due() == (True, 60)


def test_lazy_argument_is_computed_at_each_call() -> None:
    for kind, _ in KINDS:
        calls: list[Any] = []
        lazy = kind.BeatLazyFunc(lambda calls, **kwargs: calls.append(kwargs), calls, x=2)
        assert lazy() is lazy.delay() is None
        assert calls == [{"x": 2}, {"x": 2}]


def test_event_has_celerys_fields() -> None:
    assert ours.event_t._fields == theirs.event_t._fields
    assert issubclass(ours.SchedulingError, Exception)
