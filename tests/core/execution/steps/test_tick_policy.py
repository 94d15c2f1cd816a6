"""Ticks in the pipeline: late, overlapping, repeated and unreadable ones, and spans, on the memory broker and store."""

from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.model.message import SCHEDULE, SCHEDULED_TIME, Delivery, Message
from taskq_cloud.core.model.options import Policy, TaskOptions
from taskq_cloud.core.model.outcome import ErrorInfo, Outcome, Replaced, Retrying, Succeeded
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.records.record import version_of
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.entry import ScheduleEntry, Timing
from taskq_cloud.errors import Unreachable
from taskq_cloud.schedules import Schedule, crontab, schedule
from taskq_cloud.testing.bench import Bench, RunningDelivery
from taskq_cloud.testing.clock import FakeClock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class World:
    """A bench whose runs end as a test says, and the ticks that it sends."""

    def __init__(self, at: datetime = NOON, *, track_started: bool = False, acks_late: bool | None = None) -> None:
        report = TaskDefinition("report", lambda: None, TaskOptions(time_limit=300, acks_late=acks_late), None)
        tasks = {"report": report, "longer": replace(report, name="longer")}
        policy = Policy(track_started=track_started)
        self.bench = Bench.in_memory(tasks, FakeClock(at.timestamp()), policy=policy, queue="q")
        self.clock, self.store = self.bench.clock, self.bench.store
        self.ran: list[str] = []

    def send(
        self, when: Schedule, *fire_times: datetime | str, span: int = 0, fires: Schedule | None = None, **options: Any
    ) -> None:
        timing = Timing(schedule=when, end=options.pop("end", None))
        entry = ScheduleEntry(name="mine", task="report", timing=timing, **options)
        tick = replace(ticks.tick_of_entry(entry, "shop", span, entry.jitter_seconds), fires=fires)
        for fire_time in fire_times:
            self.bench.send(ticks.with_tick(Message(task="report", id="?"), tick, fire_time))

    def deliveries(self) -> list[Delivery]:
        return self.bench.receive(lease_seconds=1000)

    def begin(self, delivery: Delivery) -> RunningDelivery | None:
        """Take a delivery to its run; None: it ended without one."""
        running = self.bench.begin(delivery)
        if running.invocation is None:
            return None
        self.ran.append(running.invocation.message.headers.get(SCHEDULED_TIME, "T")[11:19])
        return running

    def work(self, outcome: Callable[[], Outcome] = lambda: Succeeded("null")) -> None:
        """Take the messages that are ready now to their ends, one after the other."""
        for delivery in self.deliveries():
            running = self.begin(delivery)
            if running is not None:
                running.end(outcome())
                assert running.invocation is None

    def states(self, *fire_times: datetime) -> list[str | None]:
        return self.bench.states(*(ticks.tick_id("shop", "mine", fire_time) for fire_time in fire_times))


def after(minutes: float) -> datetime:
    return NOON + MINUTE * minutes


BACKLOG = [after(n) for n in range(5)]


@pytest.mark.parametrize(
    ("catch_up", "ran"),
    [("all", ["12:00", "12:01", "12:02", "12:03", "12:04"]), ("one", ["12:00"]), ("skip", ["12:04"])],
)
def test_late_ticks_run_as_catch_up_says(catch_up: Any, ran: list[str]) -> None:
    world = World(after(4.5))
    world.send(crontab(), *BACKLOG, catch_up=catch_up)
    world.work()
    assert [each[:5] for each in world.ran] == ran
    expected = ["SUCCESS" if f"{fire_time:%H:%M}" in ran else "REVOKED" for fire_time in BACKLOG]
    assert world.states(*BACKLOG) == expected
    world.clock.advance(60)
    world.send(crontab(), after(5), catch_up=catch_up)
    world.work()
    assert world.ran[-1] == "12:05:00"


def test_ticks_that_are_always_late_still_run_once_for_each_fire_time() -> None:
    world = World(after(3.5))
    for n in range(4):
        world.send(crontab(), after(n))
        world.work()
        world.clock.advance(60)
    assert len(world.ran) == 4


@pytest.mark.parametrize("catch_up", ["skip", "one"])
@pytest.mark.parametrize("more", [{"options": {"countdown": 120}}, {"jitter_seconds": 300}])
def test_countdown_and_jitter_do_not_make_a_tick_late(catch_up: Any, more: dict[str, Any]) -> None:
    world = World()
    for n in range(30):
        world.send(crontab(), after(n), catch_up=catch_up, **more)
        for _ in range(60):
            world.work()
            world.clock.advance(1)
    for _ in range(300):
        world.work()
        world.clock.advance(1)
    assert sorted(world.ran) == [f"{after(n):%H:%M:%S}" for n in range(30)]


@pytest.mark.parametrize(("catch_up", "ran"), [("skip", ["12:04"]), ("one", ["12:00"])])
def test_tick_later_than_its_countdown_is_late(catch_up: Any, ran: list[str]) -> None:
    world = World(after(6.5))
    world.send(crontab(), *BACKLOG, catch_up=catch_up, options={"countdown": 120})
    world.work()
    assert [each[:5] for each in world.ran] == ran


@pytest.mark.parametrize(("catch_up", "ran"), [("skip", []), ("one", []), ("all", ["12:00:00"])])
def test_tick_that_waits_until_the_next_one_is_due_is_late(catch_up: Any, ran: list[str]) -> None:
    world = World()
    world.send(schedule(60), NOON, catch_up=catch_up)
    (delivery,) = world.deliveries()

    def meanwhile() -> None:
        world.bench.meanwhile = None
        world.clock.advance(70)
        world.send(schedule(60), NOON + MINUTE, catch_up=catch_up)
        (newer,) = world.deliveries()
        assert world.begin(newer) is not None
        world.ran.clear()

    world.bench.meanwhile = meanwhile
    world.begin(delivery)
    assert world.ran == ran


def test_tick_that_waits_is_not_skipped_for_a_run_that_ends_meanwhile() -> None:
    world = World()
    world.send(schedule(60), NOON, NOON + MINUTE, overlap="skip", catch_up="all")
    world.clock.advance(60)
    first, second = world.deliveries()
    running = world.begin(first)
    assert running is not None
    world.bench.meanwhile = lambda: running.end(Succeeded("null"))
    assert world.begin(second) is not None
    assert world.ran == ["12:00:00", "12:01:00"]


def test_redelivered_tick_keeps_its_lock() -> None:
    world = World(after(2.5))
    world.send(crontab(), after(0), after(2), catch_up="one")
    first, second = world.deliveries()
    lost = world.begin(first)
    assert lost
    lost.crash()
    assert not world.begin(second)
    world.clock.advance(1001)
    world.work()
    assert world.ran == ["12:00:00", "12:00:00"]


@pytest.mark.parametrize("catch_up", ["one", "all"])
def test_tick_that_fires_twice_runs_once(catch_up: Any) -> None:
    world = World()
    world.send(crontab(), after(0), after(0), catch_up=catch_up)
    first, second = world.deliveries()
    running = world.begin(first)
    assert running
    assert not world.begin(second)
    running.end(Succeeded("null"))
    world.send(crontab(), after(0), catch_up=catch_up)
    world.work()
    assert world.ran == ["12:00:00"]
    assert world.states(after(0)) == ["SUCCESS"]


def test_tick_is_skipped_while_the_previous_one_runs() -> None:
    world = World()
    world.send(crontab(), after(0), overlap="skip")
    (first,) = world.deliveries()
    running = world.begin(first)
    assert running
    world.clock.advance(60)
    world.send(crontab(), after(1), overlap="skip")
    world.work()
    assert world.states(after(1)) == ["REVOKED"]
    running.end(Succeeded("null"))
    world.clock.advance(60)
    world.send(crontab(), after(2), overlap="skip")
    world.work()
    assert world.states(after(0), after(2)) == ["SUCCESS", "SUCCESS"]


def test_tick_is_skipped_while_the_previous_one_waits_for_its_retry() -> None:
    world = World()
    world.send(crontab(), after(0), overlap="skip")
    error = ErrorInfo("ValueError", ["no"], "builtins")
    world.work(lambda: Retrying(error, 90))
    world.clock.advance(60)
    world.send(crontab(), after(1), overlap="skip")
    world.work()
    assert world.states(after(0), after(1)) == ["RETRY", "REVOKED"]
    world.clock.advance(31)
    world.work()
    assert world.states(after(0)) == ["SUCCESS"]
    assert world.ran == ["12:00:00", "12:00:00"]


def test_retry_of_a_tick_acknowledged_before_its_run_is_sent_though_its_lock_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def claim(*_: Any) -> Flow[int | None]:
        yield from ()
        raise Unreachable("the store gives no answer")

    world = World(acks_late=False)
    world.send(crontab(), after(0), overlap="skip")
    (delivery,) = world.deliveries()
    running = world.begin(delivery)
    assert running
    with monkeypatch.context() as outage:
        outage.setattr(world.store, "claim", claim)
        running.end(Retrying(ErrorInfo("ValueError", ["no"], "builtins"), 90))
    assert world.states(after(0)) == ["RETRY"]
    assert "tick.lock_failed" in [vars(each).get("action") for each in caplog.records]
    world.clock.advance(91)
    world.work()
    assert world.states(after(0)) == ["SUCCESS"]


@pytest.mark.parametrize(
    "instead",
    [{"task": "longer"}, {"task": "celery.chain", "kwargs": {"tasks": [{"task": "longer"}, {"task": "longer"}]}}],
    ids=["task", "chain"],
)
@pytest.mark.parametrize("overlap", ["skip", "allow"])
def test_replaced_tick_ends_with_its_replacement(overlap: Any, instead: dict[str, Any]) -> None:
    world = World()
    world.send(crontab(), after(0), overlap=overlap)
    world.work(lambda: Replaced(instead))
    parts = 0
    while world.states(after(0)) != ["SUCCESS"]:
        (delivery,) = world.deliveries()
        running = world.begin(delivery)
        assert running
        world.clock.advance(60)
        parts += 1
        world.send(crontab(), after(parts), overlap=overlap)
        world.work()
        assert world.states(after(parts)) == ["REVOKED" if overlap == "skip" else "SUCCESS"]
        running.end(Succeeded("null"))
    assert parts == len(instead.get("kwargs", {}).get("tasks", "1"))
    world.clock.advance(60)
    world.send(crontab(), after(parts + 1), overlap=overlap)
    world.work()
    assert world.states(after(parts + 1)) == ["SUCCESS"]


def test_replacement_does_not_expire_with_its_tick() -> None:
    world = World()
    world.send(crontab(), after(0), options={"expires": 30, "countdown": 20})
    world.clock.advance(25)
    world.work(lambda: Replaced({"task": "longer"}))
    assert world.ran == ["12:00:00"]
    world.clock.advance(60)
    world.work()
    assert world.states(after(0)) == ["SUCCESS"]


def test_tick_with_invalid_replacement_has_ended() -> None:
    world = World()
    world.send(crontab(), after(0), overlap="skip")
    world.work(lambda: Replaced({"task": "celery.chain", "kwargs": {"tasks": []}}))
    assert world.states(after(0)) == ["FAILURE"]
    world.clock.advance(60)
    world.send(crontab(), after(1), overlap="skip")
    world.work()
    assert world.states(after(1)) == ["SUCCESS"]


def test_tick_revoked_just_before_its_run_has_ended() -> None:
    world = World(track_started=True)
    world.send(crontab(), after(0), overlap="skip")
    save = world.store.save

    def save_after_it_was_revoked(records: Any) -> Flow[Any]:
        vars(world.store)["save"] = save
        revoked = replace(records[0], state="REVOKED", version=version_of("REVOKED", 0))
        yield from save([replace(revoked, payload=revoked.payload.replace('"STARTED"', '"REVOKED"'))])
        return (yield from save(records))

    vars(world.store)["save"] = save_after_it_was_revoked
    world.work()
    assert world.ran == []
    assert world.states(after(0)) == ["REVOKED"]
    world.clock.advance(60)
    world.send(crontab(), after(1), overlap="skip")
    world.work()
    assert world.states(after(1)) == ["SUCCESS"]


def test_crashed_run_blocks_the_next_tick_only_for_its_time_limit() -> None:
    world = World()
    world.send(crontab(), after(0), overlap="skip")
    (delivery,) = world.deliveries()
    lost = world.begin(delivery)
    assert lost
    lost.crash()
    world.clock.advance(420)
    world.send(crontab(), after(7), overlap="skip")
    world.work()
    assert world.states(after(7)) == ["SUCCESS"]


def test_firing_without_a_due_tick_runs_and_stores_nothing() -> None:
    world = World(after(1))
    world.send(crontab(minute="*/7"), after(0), after(1))
    world.work()
    assert world.ran == ["12:00:00"]
    assert world.states(after(1)) == [None]


def test_tick_with_a_fire_time_in_the_future_is_not_run() -> None:
    world = World()
    world.send(crontab(), after(60))
    world.work()
    assert world.ran == []


def test_span_becomes_the_ticks_that_are_due_in_it() -> None:
    world = World()
    world.send(schedule(25), after(0), span=60)
    world.work()
    assert world.ran == []
    for _ in range(6):
        world.work()
        world.clock.advance(10)
    assert world.ran == ["12:00:00", "12:00:25", "12:00:50"]
    world.clock.advance(60)
    world.work()
    assert len(world.ran) == 3


def test_jitter_is_equal_for_every_firing_of_a_tick() -> None:
    world = World()
    world.send(crontab(), after(0), after(0), jitter_seconds=50)
    world.work()
    assert world.ran == []
    world.clock.advance(50)
    world.work()
    assert world.ran == ["12:00:00"]


def test_message_without_fire_time_gets_the_last_due_one() -> None:
    world = World(after(0.2))
    world.send(crontab(minute="*/5"), ticks.SENT_TIME)
    world.clock.advance(20)
    world.work()
    assert world.ran == ["12:00:00"]


@pytest.mark.parametrize("seconds", [-4.8, -0.2, 0, 30])
def test_message_without_fire_time_is_not_an_earlier_tick_if_brokers_clock_is_behind(seconds: float) -> None:
    world = World(after(0))
    world.send(crontab(minute=0), ticks.SENT_TIME)
    world.work()
    world.clock.advance(3600 + seconds)
    world.send(crontab(minute=0), ticks.SENT_TIME)
    world.work()
    assert world.ran == ["12:00:00", "13:00:00"]


def test_firing_without_fire_time_and_due_tick_is_not_the_previous_tick() -> None:
    """The 13th is a Friday in November 2026 and not again before August 2027."""
    world = World(datetime(2026, 11, 13, 9, 0, 2, tzinfo=UTC))
    friday, every_13th = crontab(0, 9, "fri", 13), crontab(0, 9, day_of_month=13)
    for days in (0, 30, 31):
        world.clock.advance(days * 86_400)
        world.send(friday, ticks.SENT_TIME, fires=every_13th)
        world.work()
    assert world.ran == ["09:00:00"]


def test_firing_after_the_end_is_not_run() -> None:
    world = World(after(0.2))
    for minutes in (0, 1, 2 * 1440):
        world.clock.advance(60 * minutes)
        world.send(crontab(), ticks.SENT_TIME, end=after(1))
        world.work()
    assert world.ran == ["12:00:00"]


def test_late_span_without_fire_time_is_not_the_next_span() -> None:
    world = World(after(1.2))
    world.send(schedule(25), ticks.SENT_TIME, span=60, fires=crontab("*/2"), catch_up="all")
    world.work()
    world.work()
    assert world.ran == ["12:00:00", "12:00:25", "12:00:50"]


@pytest.fixture
def no_time_zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the time zones, as in an image without a time zone database."""
    for name in {"tzdata", *(each for each in sys.modules if each.startswith("tzdata."))}:
        monkeypatch.setitem(sys.modules, name, None)
    zoneinfo.ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath(to=[])
    yield
    zoneinfo.ZoneInfo.clear_cache()
    zoneinfo.reset_tzpath()


def test_worker_without_time_zones_releases_ticks_with_a_zone(
    no_time_zones: None, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    for timing in ({"crontab": "0 12 * * *", "timezone": "Europe/Paris"}, {"crontab": "0 12 * * *", "timezone": "UTC"}):
        headers = {SCHEDULE: {**FINE, "timing": timing}, SCHEDULED_TIME: "2026-11-23T12:00:00Z"}
        world.bench.send(Message(task="report", id="1", headers=headers))
    world.work()
    assert world.ran == ["12:00:00"]
    assert world.bench.left() == 1
    assert world.bench.dead_letters() == []
    assert (
        "'Europe/Paris' can't be looked up: this machine has no time zone database; pip install tzdata" in caplog.text
    )


FINE: dict[str, Any] = {"application": "shop", "name": "mine", "timing": {"every": 60}}


@pytest.mark.parametrize(
    "document",
    [
        "mine",
        [1],
        {"name": "x"},
        {**FINE, "name": 7},
        {**FINE, "unknown": 1},
        {**FINE, "timing": 60},
        {**FINE, "timing": {"every": 1e300}},
        {**FINE, "timing": {"every": -1}},
        {**FINE, "timing": {"crontab": "* * 30 2 *"}},
        {**FINE, "timing": {"crontab": "* * * * *", "timezone": 5}},
        {**FINE, "timing": {"solar": ["sunset", 91, 0]}},
        {**FINE, "timing": {"every": 60, "start": "soon"}},
        {**FINE, "timing": {"every": 60, "end": 7}},
        {**FINE, "delay_seconds": "x"},
        {**FINE, "jitter_seconds": -1},
        {**FINE, "expires_seconds": 1e300},
        {**FINE, "span_seconds": 1e6},
        {**FINE, "fires": "hourly"},
        {**FINE, "fires": {"crontab": "0 9 30 2 *"}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("fire_time", ["2026-11-23T12:00:00Z", "<sent>"])
def test_message_with_unreadable_schedule_is_dead_lettered(document: Any, fire_time: str) -> None:
    world = World()
    message = Message(task="report", id="1", headers={SCHEDULE: document, SCHEDULED_TIME: fire_time})
    world.bench.send(message)
    world.work()
    (dead,) = world.bench.dead_letters()
    assert "taskq_schedule can't be read" in dead.attributes["dead_letter_reason"]
    assert world.ran == []


@pytest.mark.parametrize("fire_time", ["now", None, 7, "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", {}])
def test_message_with_unreadable_fire_time_is_dead_lettered(fire_time: Any) -> None:
    world = World()
    document = {**FINE, "delay_seconds": 86_400}
    message = Message(task="report", id="1", headers={SCHEDULE: document, SCHEDULED_TIME: fire_time})
    world.bench.send(message)
    world.work()
    assert world.ran == []
    assert len(world.bench.dead_letters()) == 1
