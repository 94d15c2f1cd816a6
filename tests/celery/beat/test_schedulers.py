"""Schedulers compared with Celery's: what they send, and how long they wait."""

from __future__ import annotations

import logging
import random
from datetime import timedelta
from typing import Any

import celery.beat as theirs
import celery.schedules
import pytest

from taskq_cloud.celery import beat as ours
from taskq_cloud.celery import schedules
from tests.celery.beat.apps import START, App, make_app

KINDS: list[tuple[Any, Any]] = [(theirs, celery.schedules), (ours, schedules)]


def schedule_of(rnd: random.Random, times: Any) -> dict[str, Any]:
    """A random setting; the same for each kind of schedules."""
    made: dict[str, Any] = {}
    for number in range(rnd.randint(1, 6)):
        made[f"entry-{number}"] = {
            "task": rnd.choice(("known", "unknown")),
            "schedule": rnd.choice(
                (
                    rnd.randint(1, 90),
                    times.crontab(rnd.choice(("*", "*/2", 9, [10, 12]))),
                    times.schedule(rnd.randint(20, 90), relative=True),
                )
            ),
            "args": rnd.choice(((), (1, number), [2])),
            "kwargs": rnd.choice(({}, {"x": number})),
            "options": rnd.choice(({}, {"queue": "q"}, {"headers": {"h": 1}, "expires": 5})),
        }
    return made


def drive(kind: Any, times: Any, seed: int) -> tuple[list[Any], list[Any]]:
    """Run a scheduler on a moved clock, with changes of its schedule, and return its calls and its waits."""
    rnd = random.Random(seed)
    app = make_app(schedule_of(rnd, times))

    class Ordered(kind.ScheduleEntry):  # type: ignore[misc]  # entries of one time have no order of their own
        def __lt__(self, other: Any) -> bool:
            return bool(self.name < other.name)

    class Scheduler(kind.Scheduler):  # type: ignore[misc]
        Entry = Ordered

    scheduler, waits = Scheduler(app), []
    for turn in range(300):
        wait = scheduler.tick()
        waits.append(wait)
        app.pass_seconds(wait + rnd.choice((0, 0, 0.02, 3)))
        if turn % 60 == 59:
            scheduler.add(name=f"added-{turn}", task="known", schedule=timedelta(seconds=rnd.randint(1, 30)))
        if turn == 150:
            scheduler.merge_inplace(schedule_of(rnd, times))
    return app.sent, waits


@pytest.mark.parametrize("seed", range(12))
def test_random_schedules_are_sent_when_celery_sends_them(seed: int) -> None:
    (celerys_sent, celerys_waits), (sent, waits) = (drive(kind, times, seed) for kind, times in KINDS)
    assert waits == pytest.approx(celerys_waits)
    assert sent == celerys_sent
    assert len(sent) > 20


def test_call_carries_celerys_header_and_leaves_the_entry_unchanged() -> None:
    options = {"headers": {"h": 1}, "queue": "q"}
    app = make_app({"a": {"task": "known", "schedule": 5, "args": (1,), "options": options}})
    scheduler = ours.Scheduler(app)
    scheduler.apply_async(scheduler.schedule["a"])
    assert app.sent == [("known", [1], {}, {"headers": {"h": 1, "celery_beat_task": True}, "queue": "q"})]
    assert options == {"headers": {"h": 1}, "queue": "q"}


def test_lazy_arguments_are_computed_for_each_call() -> None:
    for kind, _ in KINDS:
        lazy = kind.BeatLazyFunc(next, iter(range(9)))
        app = make_app({"a": {"task": "unknown", "schedule": 5, "args": [lazy, 7], "kwargs": {"x": lazy}}})
        scheduler = kind.Scheduler(app)
        for _ in range(2):
            scheduler.apply_async(scheduler.schedule["a"])
        assert [call[1:3] for call in app.sent] == [([0, 7], {"x": 1}), ([2, 7], {"x": 3})]


def test_call_is_counted_before_it_fails() -> None:
    for kind, _ in KINDS:
        app = make_app({"a": {"task": "known", "schedule": 5}}, error=ConnectionError("down"))
        scheduler = kind.Scheduler(app)
        with pytest.raises(kind.SchedulingError, match="Couldn't apply scheduled task a: down"):
            scheduler.apply_async(scheduler.schedule["a"])
        assert scheduler.schedule["a"].total_run_count == 1


def test_call_without_advance_is_not_counted() -> None:
    for kind, _ in KINDS:
        scheduler = kind.Scheduler(make_app({"a": {"task": "known", "schedule": 5}}))
        result = scheduler.apply_async(scheduler.schedule["a"], advance=False)
        assert (result.id, scheduler.schedule["a"].total_run_count) == ("call-1", 0)


def test_entry_that_cannot_be_sent_is_logged_and_does_not_stop_the_scheduler(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app({"a": {"task": "known", "schedule": 5}}, error=ConnectionError("down"))
    scheduler = ours.Scheduler(app)
    app.pass_seconds(6)
    assert scheduler.tick() == 0
    app.error = None
    app.pass_seconds(6)
    assert scheduler.tick() == 0
    assert "Message Error: Couldn't apply scheduled task a: down" in caplog.text
    assert len(app.sent) == 1


class Broken(schedules.BaseSchedule):
    """A schedule that can't tell when it is due."""

    def is_due(self, last_run_at: Any) -> Any:
        raise ZeroDivisionError


def test_entry_that_cannot_tell_when_it_is_due_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    app = make_app({"broken": {"task": "known", "schedule": Broken()}, "a": {"task": "known", "schedule": 5}})
    scheduler = ours.Scheduler(app)
    app.pass_seconds(6)
    assert scheduler.tick() == 0
    assert len(app.sent) == 1
    assert "Cannot calculate the next run of 'broken', trying again in 5.00 minutes" in caplog.text
    app.pass_seconds(300)
    assert scheduler.tick() == 0


def test_empty_schedule_waits_for_the_longest_interval() -> None:
    for kind, _ in KINDS:
        assert kind.Scheduler(make_app()).tick() == 300
        assert kind.Scheduler(make_app(), max_interval=7).tick() == 7
        assert kind.Scheduler(make_app(beat_max_loop_interval=9)).tick() == 9


def test_lazy_scheduler_sets_up_no_schedule() -> None:
    for kind, _ in KINDS:
        assert kind.Scheduler(make_app({"a": {"task": "known", "schedule": 5}}), lazy=True).schedule == {}


@pytest.mark.parametrize(
    ("expires", "autoexpire", "expected"), [(3600, False, True), (3600, True, False), (None, False, False)]
)
def test_cleanup_is_scheduled_where_results_do_not_expire_by_themselves(
    expires: int | None, autoexpire: bool, expected: bool
) -> None:
    for kind, times in KINDS:
        scheduler = kind.Scheduler(make_app(result_expires=expires, supports_autoexpire=autoexpire), lazy=True)
        scheduler.install_default_entries({})
        assert ("celery.backend_cleanup" in scheduler.schedule) is expected
        if expected:
            entry = scheduler.schedule["celery.backend_cleanup"]
            assert (entry.task, entry.options) == ("celery.backend_cleanup", {"expires": 43200})
            assert entry.schedule == times.crontab("0", "4", "*")
        scheduler.schedule = {}
        scheduler.install_default_entries({"celery.backend_cleanup": 1})
        assert scheduler.schedule == {}


def test_merge_removes_adds_and_updates_entries() -> None:
    for kind, _ in KINDS:
        scheduler = kind.Scheduler(make_app({name: {"task": "known", "schedule": 5} for name in ("kept", "gone")}))
        scheduler.schedule["kept"].total_run_count = 4
        scheduler.merge_inplace({"kept": {"task": "other", "schedule": 9}, "new": {"task": "known", "schedule": 5}})
        assert sorted(scheduler.schedule) == ["kept", "new"]
        kept = scheduler.schedule["kept"]
        assert (kept.task, kept.schedule.seconds, kept.total_run_count) == ("other", 9, 4)


def test_update_takes_entries_and_mappings() -> None:
    for kind, _ in KINDS:
        app = make_app()
        scheduler = kind.Scheduler(app)
        entry = kind.ScheduleEntry("entry", "known", schedule=5, app=make_app())
        scheduler.update_from_dict({"entry": entry, "mapping": {"task": "known", "schedule": 6}})
        assert scheduler.schedule["entry"] is entry
        assert entry.app is app
        assert scheduler.schedule["mapping"].name == "mapping"


def test_schedules_are_equal_as_in_celery() -> None:
    for kind, _ in KINDS:
        scheduler = kind.Scheduler(make_app())
        entries = [kind.ScheduleEntry("a", "known", schedule=each, app=scheduler.app) for each in (5, 5, 6)]
        same, changed = {"a": entries[1]}, {"a": entries[2]}
        pairs = [(None, None), (None, {}), ({}, None), ({}, {}), (same, {"a": entries[0]}), (same, changed), (same, {})]
        assert [scheduler.schedules_equal(*pair) for pair in pairs] == [True, False, False, True, True, False, False]


def test_wait_is_shortened_by_the_time_of_a_look() -> None:
    for kind, _ in KINDS:
        scheduler = kind.Scheduler(make_app())
        assert [scheduler.adjust(each) for each in (None, 0, -3, 1)] == [None, 0, -3, 0.99]
        assert scheduler.adjust(1, drift=2) == 3


def test_schedule_is_saved_after_a_number_of_calls() -> None:
    for kind, _ in KINDS:
        app = make_app({"a": {"task": "known", "schedule": 5}})
        scheduler = kind.Scheduler(app, sync_every_tasks=2)
        saved: list[int] = []
        scheduler.sync = lambda saved=saved, app=app: saved.append(len(app.sent))
        assert scheduler.should_sync()
        for _ in range(5):
            scheduler.apply_async(scheduler.schedule["a"])
        assert saved == [1, 3, 5]
        assert not scheduler.should_sync()


def test_number_of_calls_until_saving_is_a_setting() -> None:
    for kind, _ in KINDS:
        assert kind.Scheduler(make_app(beat_sync_every=3)).sync_every_tasks == 3
        assert kind.Scheduler(make_app(beat_sync_every=3), sync_every_tasks=0).sync_every_tasks == 0


class TestClosing:
    """The end of a scheduler, whose connection is opened only if it is needed."""

    def test_unused_scheduler_opens_no_connection(self) -> None:
        app = make_app()
        ours.Scheduler(app).close()
        assert app.connections == []

    def test_connection_is_closed_and_opened_again_for_the_next_call(self) -> None:
        app = make_app()
        scheduler = ours.Scheduler(app)
        assert scheduler.producer == (app.connections[0], {"auto_declare": False})
        scheduler.close()
        scheduler.close()
        assert app.connections[0].released == 1
        assert scheduler.producer[0] is app.connections[1]

    def test_broken_connection_is_no_error(self) -> None:
        app = make_app()
        scheduler = ours.Scheduler(app)
        scheduler.connection.error = ConnectionResetError()
        scheduler.close()
        assert app.connections[0].released == 1

    def test_other_error_is_raised(self) -> None:
        scheduler = ours.Scheduler(make_app())
        scheduler.connection.error = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            scheduler.close()

    def test_error_of_saving_comes_before_the_connections(self, caplog: pytest.LogCaptureFixture) -> None:
        class Unsaved(ours.Scheduler):
            def sync(self) -> None:
                raise KeyError("disk")

        scheduler = Unsaved(make_app())
        scheduler.connection.error = ZeroDivisionError()
        with pytest.raises(KeyError, match="disk"):
            scheduler.close()
        assert "Connection cleanup failed after sync error" in caplog.text


class Minutely(ours.ScheduleEntry):
    """An entry that a user has derived, with its own idea of when it is due."""

    def is_due(self) -> tuple[bool, float]:
        return (self.app.now() - self.last_run_at >= timedelta(minutes=1), 60)


class MyScheduler(ours.Scheduler):
    """A scheduler that a user has derived, as the ones that keep their entries in a database."""

    Entry = Minutely

    def setup_schedule(self) -> None:
        self.schedule = {"mine": self.Entry(name="mine", task="known", schedule=5, app=self.app)}

    @property
    def info(self) -> str:
        return "    . mine"


def test_derived_scheduler_uses_its_own_entries() -> None:
    app: App = make_app()
    scheduler = MyScheduler(app)
    assert scheduler.tick() == pytest.approx(59.99)
    app.time = START + timedelta(seconds=61)
    assert scheduler.tick() == 0
    assert [call[0] for call in app.sent] == ["known"]
    assert isinstance(scheduler.schedule["mine"], Minutely)


def test_logger_is_an_attribute_of_schedulers() -> None:
    assert isinstance(ours.Scheduler.logger, logging.Logger)
    assert ours.Scheduler(make_app()).info == ""
