"""Tests of the local ticker on a fake clock: its times of sending, the choice of the leader, and missed ticks."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.beat.ticker import COMPARED_EVERY_SECONDS, LEASE_SECONDS, RENEWALS, TICKS_AT_ONCE, Ticker
from taskq_cloud.brokers.memory import MemoryBroker
from taskq_cloud.core.flows import Flow, run
from taskq_cloud.core.model.message import Refused
from taskq_cloud.core.records.record import FENCE_KEPT_SECONDS
from taskq_cloud.core.schedules.ticks import tick_id
from taskq_cloud.errors import ImproperlyConfigured, QueueNotFound, Unreachable
from taskq_cloud.schedules import crontab
from taskq_cloud.stores.results.memory import MemoryResults
from taskq_cloud.testing.clock import FakeClock

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class World:
    """One broker and one store, and as many tickers as a test makes, each with its own application object."""

    def __init__(self, **schedule: Any) -> None:
        self.clock = FakeClock(START.timestamp())
        self.broker = MemoryBroker(self.clock)
        self.store = MemoryResults(self.clock)
        self.schedule = schedule
        self.turns = 0

    def ticker(self, owner: str = "a", **schedule: Any) -> Ticker:
        app = TaskQ("shop", broker="memory://", beat_schedule=schedule or self.schedule)
        vars(app).update(broker=self.broker, store=self.store)

        @app.task(name="report", time_limit=60)
        def report() -> None: ...

        return Ticker(app=app, entries=app.schedule_entries(), owner=owner, clock=self.clock)

    def run(self, flow: Flow[Any]) -> Any:
        def nothing(step: Any) -> Any:
            raise AssertionError(f"nothing here makes calls: {step!r}")

        return run(flow, nothing)

    def live(self, seconds: float, *tickers: Ticker) -> None:
        """Let time pass; each ticker is called after the time that it has asked for."""
        end = self.clock() + seconds
        due = dict.fromkeys(range(len(tickers)), self.clock())
        while (first := min(due, key=lambda number: (due[number], number))) is not None and due[first] <= end:
            self.clock.advance(max(0.0, due[first] - self.clock()))
            wait_seconds = self.run(tickers[first].turn())
            self.turns += 1
            due[first] = self.clock() + wait_seconds
        self.clock.advance(end - self.clock())

    def sent(self) -> list[tuple[str, datetime, str]]:
        """The entry's name, the fire time and the id of each tick that was sent since the last call."""
        found = []
        while deliveries := self.run(self.broker.receive("celery", 10, 0, 1e9)):
            for delivery in deliveries:
                document = json.loads(delivery.body)
                headers = document["headers"]
                fire_time = datetime.fromisoformat(headers["taskq_scheduled_time"])
                assert headers["id"] == tick_id("shop", headers["taskq_schedule"]["name"], fire_time)
                found.append((headers["taskq_schedule"]["name"], fire_time, headers["id"]))
        return found

    def fire_times(self) -> list[str]:
        return [f"{fire_time:%H:%M:%S}" for _, fire_time, _ in self.sent()]


def every(seconds: float, **more: Any) -> dict[str, Any]:
    return {"task": "report", "schedule": seconds, **more}


def test_ticker_sends_each_tick_once_on_time_and_sleeps_between() -> None:
    world = World(minute=every(60), cron={"task": "report", "schedule": crontab(minute="5")})
    world.live(600, world.ticker())
    sent = world.sent()
    assert [fire_time for name, fire_time, _ in sent if name == "minute"] == [START + MINUTE * n for n in range(1, 11)]
    assert [fire_time for name, fire_time, _ in sent if name == "cron"] == [START + MINUTE * 5]
    assert world.turns <= 600 / (LEASE_SECONDS / RENEWALS) + 10 + 1, "it runs only to renew its lock and to send"


def test_one_of_several_tickers_sends_and_another_takes_over_within_the_lease() -> None:
    world = World(often=every(10, catch_up="all"))
    first, second = world.ticker("a"), world.ticker("b")
    world.live(45, first, second)
    assert (first.leads, second.leads) == (True, False)
    world.live(LEASE_SECONDS * (1 + 1 / RENEWALS), second)  # the first ticker is killed
    assert second.leads
    world.live(40, second)
    fire_times = [fire_time for _, fire_time, _ in world.sent()]
    assert fire_times == [START + timedelta(seconds=10 * n) for n in range(1, len(fire_times) + 1)], (
        "no tick is lost and none is sent twice"
    )
    assert fire_times[-1] >= START + timedelta(seconds=120)


def test_resigned_leader_is_followed_at_once() -> None:
    world = World(often=every(10))
    first, second = world.ticker("a"), world.ticker("b")
    world.live(0, first, second)
    world.run(first.resign())
    world.live(0, second)
    assert second.leads


def test_ticker_that_slept_past_its_lease_sends_nothing() -> None:
    world = World(often=every(10))
    first, second = world.ticker("a"), world.ticker("b")
    world.live(15, first)
    world.clock.advance(LEASE_SECONDS * 2)  # a suspended machine
    world.live(0, second)
    assert world.fire_times() == ["12:00:10", "12:01:10"]
    world.clock.advance(5)
    world.live(0, first)
    assert not first.leads
    assert world.fire_times() == []


def test_ticker_that_loses_its_lock_between_two_sends_stops_at_the_record() -> None:
    world = World(often=every(10))
    first, second = world.ticker("a"), world.ticker("b")
    first.lease_seconds = 300  # so long that no renewal reveals the loss
    world.live(15, first)
    world.run(world.store.claim(first._lock_key, "a", 0))
    world.live(6, second)
    assert world.fire_times() == ["12:00:10", "12:00:20"]
    world.live(0, first)  # it still acts as leader: it sends the tick again, and the record reveals the loss
    assert not first.leads
    assert world.fire_times() == ["12:00:20"]


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("one", ["12:05:00", "12:06:00"]),
        ("skip", ["12:05:00", "12:06:00"]),
        ("all", ["12:02:00", "12:03:00", "12:04:00", "12:05:00", "12:06:00"]),
    ],
)
def test_ticks_missed_while_no_ticker_ran_are_sent_by_catch_up(catch_up: str, expected: list[str]) -> None:
    world = World(minute=every(60, catch_up=catch_up))
    world.live(60, world.ticker("a"))
    assert world.fire_times() == ["12:01:00"]
    world.clock.advance(240 + 30)
    world.live(60, world.ticker("b"))
    assert world.fire_times() == expected


def test_many_missed_ticks_are_sent_in_portions() -> None:
    world = World(second=every(1, catch_up="all"))
    world.live(0, world.ticker("a"))
    world.clock.advance(TICKS_AT_ONCE * 2.5)
    world.live(0, world.ticker("b"))
    fire_times = [fire_time for _, fire_time, _ in world.sent()]
    assert fire_times == [START + timedelta(seconds=n) for n in range(1, int(TICKS_AT_ONCE * 2.5) + 1)]


def test_new_and_formerly_disabled_entries_begin_now() -> None:
    world = World(old=every(60))
    world.live(60, world.ticker("a"))
    world.clock.advance(600)
    world.live(0, world.ticker("b", old=every(60, enabled=False)))
    world.clock.advance(600)
    world.sent()
    world.live(60, world.ticker("c", old=every(60), new=every(60)))
    assert sorted(name for name, _, _ in world.sent()) == ["new", "old"]


def test_entry_is_not_sent_after_its_end() -> None:
    world = World(minute=every(60, end="2026-11-23T12:03:00"))
    world.live(600, world.ticker())
    assert world.fire_times() == ["12:01:00", "12:02:00"]


def test_entry_that_cannot_be_sent_is_retried_and_delays_no_other_entry() -> None:
    world = World(broken=every(60, options={"queue": "gone"}), fine=every(60))
    send, there = world.broker.send, False

    def refuse(queue: str, messages: Any) -> Flow[Any]:
        if queue == "gone" and not there:
            yield from ()
            return [Refused(QueueNotFound("gone")) for _ in messages]
        return (yield from send(queue, messages))

    world.broker.send = refuse  # type: ignore[method-assign]
    ticker = world.ticker()
    world.live(130, ticker)
    assert world.fire_times() == ["12:01:00", "12:02:00"]
    there = True
    world.live(64, ticker)
    first, *_ = world.run(world.broker.receive("gone", 10, 0, 1000))
    assert json.loads(first.body)["headers"]["taskq_scheduled_time"] == "2026-11-23T12:02:00Z"


def test_store_outage_longer_than_the_lease_ends_the_lead() -> None:
    world = World(often=every(10))
    ticker = world.ticker()
    world.live(0, ticker)
    claim = world.store.claim

    def fail(*_arguments: Any) -> Flow[Any]:
        yield from ()
        raise Unreachable("no answer")

    world.store.claim = fail  # type: ignore[method-assign, assignment]
    world.clock.advance(LEASE_SECONDS)
    with pytest.raises(Unreachable):
        world.run(ticker.turn())
    assert not ticker.leads
    assert world.fire_times() == []
    world.store.claim = claim  # type: ignore[method-assign]
    world.live(0, ticker)
    assert world.fire_times() == ["12:00:30"]


def test_ticker_leads_although_store_has_forgotten_fencing_numbers() -> None:
    world = World(minute=every(60))
    for owner in "abc":
        ticker = world.ticker(owner)
        world.live(60, ticker)
        world.run(ticker.resign())
    world.sent()
    world.clock.advance(FENCE_KEPT_SECONDS)
    last = world.ticker("d")
    world.live(60, last)
    assert last._fence == 1
    assert world.fire_times() == ["12:03:00", "12:04:00"]


def test_entries_that_the_leader_lacks_are_logged_by_others(caplog: pytest.LogCaptureFixture) -> None:
    """Two applications have one name, or a deployment is being rolled out."""
    world = World()
    old, new = world.ticker("old", a=every(60), b=every(60)), world.ticker("new", b=every(60), c=every(60), d=every(60))
    same = world.ticker("same", a=every(60), b=every(60))
    world.live(COMPARED_EVERY_SECONDS / 2, old, new, same)
    (told,) = [each for each in caplog.records if getattr(each, "action", "") == "beat.not_sent"]
    assert vars(told)["schedules"] == ["c", "d"]
    assert told.getMessage().startswith(
        "ticker old leads for application 'shop' and doesn't have the periodic tasks 'c', 'd'"
    )
    world.live(COMPARED_EVERY_SECONDS, old, new, same)
    assert caplog.text.count("doesn't have") == 2
    world.run(old.resign())
    world.sent()
    world.live(180, new)
    assert {name for name, _, _ in world.sent()} == {"b", "c", "d"}


def test_application_without_a_name_has_no_ticker() -> None:
    """All applications without a name would share a leader."""
    with pytest.raises(ImproperlyConfigured, match="no name"):
        Ticker(app=TaskQ(broker="memory://", results="memory://"), entries=[], owner="a", clock=FakeClock())


def test_store_without_locks_has_no_ticker() -> None:
    storeless = TaskQ("shop", broker="memory://", results="disabled://")
    with pytest.raises(ImproperlyConfigured, match="TASKQ_RESULTS"):
        Ticker(app=storeless, entries=[], owner="a", clock=FakeClock())


def test_ticks_go_on_when_clock_is_set_back() -> None:
    world = World(minute=every(60))
    ticker = world.ticker()
    world.live(300, ticker)
    world.sent()
    world.clock.advance(-3600)
    world.live(300, ticker)
    assert world.fire_times() == ["11:06:00", "11:07:00", "11:08:00", "11:09:00", "11:10:00"]


def test_ticks_of_time_that_was_skipped_are_sent_when_clock_is_set_right() -> None:
    world = World(minute=every(60), half=every(1800))
    ticker = world.ticker()
    world.live(60, ticker)
    world.clock.advance(3600)
    world.live(60, ticker)
    assert world.fire_times() == ["12:01:00", "13:00:00", "13:01:00", "13:02:00"]
    world.clock.advance(-3600)
    world.live(1800, ticker)
    sent = [(name, f"{fire_time:%H:%M}") for name, fire_time, _ in world.sent()]
    assert [time for name, time in sent if name == "minute"] == [f"12:{minute:02}" for minute in range(3, 33)]
    assert [time for name, time in sent if name == "half"] == ["12:30"]


def test_new_leader_begins_now_when_clock_was_set_back_before() -> None:
    world = World(minute=every(60))
    first = world.ticker("a")
    world.live(300, first)
    world.run(first.resign())
    world.sent()
    world.clock.advance(-3600)
    world.live(120, world.ticker("b"))
    assert world.fire_times() == ["11:06:00", "11:07:00"]


def test_leader_keeps_its_lock_when_clock_is_set_back_and_forth() -> None:
    world = World(minute=every(60))
    leader, other = world.ticker("a"), world.ticker("b")
    world.live(60, leader, other)
    for step in (-3600, 7200, -3600):
        world.clock.advance(step)
        world.live(60, leader, other)
        assert leader.leads is not other.leads


def test_small_correction_of_clock_sends_no_tick_again() -> None:
    world = World(second=every(1))
    ticker = world.ticker()
    world.live(10, ticker)
    world.clock.advance(-2)
    world.live(10, ticker)
    fire_times = world.fire_times()
    assert len(fire_times) == len(set(fire_times)) == 18


def test_entry_that_failed_is_tried_again_when_clock_is_set_back() -> None:
    world = World(minute=every(60))
    ticker = world.ticker()
    world.live(30, ticker)
    send = world.broker.send

    def refuse(queue: str, messages: Any) -> Flow[Any]:
        yield from ()
        return [Refused(QueueNotFound("gone")) for _ in messages]

    world.broker.send = refuse  # type: ignore[method-assign]
    world.live(60, ticker)
    world.broker.send = send  # type: ignore[method-assign]
    world.clock.advance(-3600)
    world.live(90, ticker)
    assert world.fire_times() == ["11:02:00", "11:03:00"]
