"""Tests of declared periodic tasks, right and wrong, and of the schedules and messages that they become."""

from __future__ import annotations

import dataclasses
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import TaskQ, group
from taskq_cloud.beat.platform_schedules import platform_schedules, schedule_prefix
from taskq_cloud.beat.tick_messages import queue_of, tick_message
from taskq_cloud.core.schedules import ticks
from taskq_cloud.errors import ImproperlyConfigured, ScheduleError
from taskq_cloud.schedules import crontab, schedule


def make_app(**settings: Any) -> TaskQ:
    app = TaskQ("shop", broker="memory://", **settings)

    @app.task(name="report", time_limit=60, expires=600)
    def report(kind: str, copies: int = 1) -> str:
        return kind * copies

    @app.task(name="tidy")
    def tidy() -> None: ...

    return app


def test_every_way_of_declaring_makes_entries() -> None:
    nightly = {"task": "report", "schedule": crontab(0, 3), "args": ("sales",), "options": {"queue": "slow"}}
    app = make_app(beat_schedule={"nightly": nightly, "often": {"task": "tidy", "schedule": 30, "enabled": False}})
    app.conf

    @app.task(name="decorated", cron="0 9 * * mon-fri", timezone="Europe/Paris", jitter="5m", overlap="allow")
    def decorated() -> None: ...

    @app.task(name="hourly", every="1h", start="2026-01-01T00:30:00")
    def hourly() -> None: ...

    @app.on_after_configure.connect
    def setup(sender: TaskQ, **_kwargs: Any) -> None:
        sender.add_periodic_task(timedelta(minutes=5), app.tasks["report"].s("x"), name="x", expires=60, catch_up="all")
        sender.add_periodic_task(60.0, app.tasks["tidy"])

    entries = {entry.name: entry for entry in app.schedule_entries()}
    assert list(entries) == sorted(entries)
    assert list(entries) == ["decorated", "hourly", "nightly", "often", "tidy()", "x"]
    assert entries["nightly"].schedule == crontab(0, 3, timezone="UTC")
    assert (entries["nightly"].args, entries["nightly"].options) == (("sales",), {"queue": "slow"})
    assert not entries["often"].enabled
    assert entries["decorated"].timezone == "Europe/Paris"
    assert entries["decorated"].jitter_seconds == 300
    assert entries["hourly"].timing.start == datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    assert entries["x"].schedule == schedule(300, timezone="UTC")
    assert (entries["x"].options, entries["x"].catch_up) == ({"expires": 60}, "all")
    assert app.schedule_entries() == app.schedule_entries(), "connected receivers are called once"
    due = entries["decorated"].fire_times(datetime(2026, 11, 27, 9, tzinfo=UTC))
    assert [next(due).isoformat() for _ in range(2)] == ["2026-11-30T08:00:00+00:00", "2026-12-01T08:00:00+00:00"]


def test_timezone_setting_applies_to_schedules_without_one() -> None:
    app = make_app(timezone="America/New_York", beat_schedule={"a": {"task": "tidy", "schedule": crontab(0, 9)}})
    (entry,) = app.schedule_entries()
    assert entry.timezone == "America/New_York"


GOOD: dict[str, Any] = {"task": "report", "schedule": 60, "args": ["x"]}


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({**GOOD, "task": "reprot"}, "'reprot' is not registered"),
        ({**GOOD, "schedule": None}, "no schedule"),
        ({**GOOD, "schedule": 0}, "more than 0"),
        ({**GOOD, "schedule": 0.5}, "whole number of seconds"),
        ({**GOOD, "schedule": "often"}, "'90s', '5m'"),
        ({**GOOD, "schedule": "0 9 30 2 *"}, "never occurs"),
        ({**GOOD, "args": []}, "kind"),
        ({**GOOD, "args": "x"}, "args must be a list"),
        ({**GOOD, "options": {"quue": "x"}}, "unknown option 'quue'"),
        ({**GOOD, "options": {"task_id": "x"}}, "the same for every call"),
        ({**GOOD, "options": {"expires": datetime(2030, 1, 1, tzinfo=UTC)}}, "end="),
        ({**GOOD, "every": 5}, "unknown key 'every'"),
        ({**GOOD, "timezone": "Europe/Pariss"}, "unknown time zone"),
        ({**GOOD, "schedule": crontab(timezone="UTC"), "timezone": "Europe/Paris"}, "give only one"),
        ({**GOOD, "start": "2026-01-02", "end": "2026-01-01"}, "before it starts"),
        ({**GOOD, "start": "soon"}, "ISO 8601"),
        ({**GOOD, "jitter": -1}, "from 0 to a day"),
        ({**GOOD, "overlap": "never"}, "one of allow, skip"),
        ({**GOOD, "catch_up": "two"}, "one of one, all, skip"),
        ({"task": "tidy", "schedule": 60, "overlap": "skip"}, "needs a time_limit"),
        *(({**GOOD, "schedule": each}, "give a number of seconds") for each in (math.nan, math.inf, 1e300)),
        *(({**GOOD, "jitter": each}, "give a number of seconds") for each in (math.nan, math.inf)),
        ({**GOOD, "schedule": "99999999999999999999d"}, "give a number of seconds"),
        ({**GOOD, "enabled": "no"}, "enabled must be True or False"),
        ({**GOOD, "options": {"link": 5}}, "link takes signatures"),
        ({**GOOD, "options": {"serializer": "nope"}}, "unknown serializer 'nope'"),
        ({**GOOD, "options": {"compression": "nope"}}, "unknown compression 'nope'"),
        ({**GOOD, "options": {"headers": {"id": "x"}}}, "header 'id'"),
        ({**GOOD, "options": {"priority": "high"}}, "priority must be"),
        ("tidy", "a mapping"),
    ],
)
def test_wrong_declaration_is_refused_by_name(entry: Any, text: str) -> None:
    with pytest.raises(ScheduleError, match=text) as raised:
        make_app(beat_schedule={"mine": entry}).schedule_entries()
    assert str(raised.value).startswith("periodic task 'mine': ")


def test_equal_declarations_are_one_entry_and_different_ones_with_one_name_are_refused() -> None:
    app = make_app(beat_schedule={"mine": GOOD})
    app.add_periodic_task(60, app.tasks["report"].s("x"), name="mine")
    assert len(app.schedule_entries()) == 1
    app.add_periodic_task(61, app.tasks["report"].s("x"), name="mine")
    with pytest.raises(ScheduleError, match="two periodic tasks have the name 'mine'"):
        app.schedule_entries()


def test_workflow_cannot_be_periodic() -> None:
    app = make_app()
    with pytest.raises(ScheduleError, match="group, chain or chord"):
        app.add_periodic_task(60, group(app.tasks["tidy"].s()))
    with pytest.raises(ScheduleError, match="with a link"):
        app.add_periodic_task(60, app.tasks["tidy"].s().set(link=app.tasks["tidy"].s()))


def test_decorator_needs_exactly_one_schedule() -> None:
    app = make_app()
    with pytest.raises(ScheduleError, match="and no schedule"):
        app.task(name="a", jitter=5)(lambda: None)
    with pytest.raises(ScheduleError, match="every and cron"):
        app.task(name="b", every=5, cron="* * * * *")(lambda: None)


def test_wrong_time_zone_setting_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="Europe/Paris"):
        make_app(timezone="Europe/Pari").schedule_entries()
    with pytest.raises(ScheduleError, match="set timezone"):
        make_app(enable_utc=False).schedule_entries()


def test_overlap_skip_needs_a_store_with_locks() -> None:
    app = make_app(results="disabled://", beat_schedule={"mine": {**GOOD, "overlap": "skip"}})
    with pytest.raises(ScheduleError, match="TASKQ_RESULTS"):
        app.schedule_entries()


FIRE_TIME = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize("keys", [(), ("hmac:" + "QUFB" * 11,)], ids=["unsigned", "signed"])
def test_all_firings_of_one_tick_have_one_id(keys: tuple[str, ...]) -> None:
    app = make_app(message_signing_keys=keys, beat_schedule={"mine": {**GOOD, "schedule": 3600}})
    (entry,) = app.schedule_entries()
    tick = ticks.tick_of_entry(entry, "shop")
    body = app.codec.write(tick_message(app, entry, tick, ticks.AWS_SCHEDULED_TIME), "q")
    fired = [body.replace(ticks.AWS_SCHEDULED_TIME, each) for each in ("2026-11-23T09:00:00Z", "2026-11-23T09:00:42Z")]
    local = app.codec.write(tick_message(app, entry, tick, FIRE_TIME), "q")
    read = [app.codec.read(each, f"broker-{number}") for number, each in enumerate([*fired, local])]
    assert {message.id for message in read} == {ticks.tick_id("shop", "mine", FIRE_TIME)}
    assert {message.root_id for message in read} == {read[0].id}
    assert {message.expires for message in read} == {FIRE_TIME + timedelta(seconds=600)}, (
        "the task's own expiry, counted from the fire time"
    )
    assert list(read[0].args) == ["x"]
    again = app.codec.read(app.codec.write(read[0], "q"), "m")
    first = dataclasses.replace(app.codec.read(fired[0], "m"), template_signed_at=None)
    assert again == first, "a tick that is sent on, for example by a retry, stays the same tick"


def test_signature_covers_everything_except_the_fire_time() -> None:
    app = make_app(message_signing_keys=("hmac:" + "QUFB" * 11,), beat_schedule={"mine": GOOD})
    (entry,) = app.schedule_entries()
    body = app.codec.write(tick_message(app, entry, ticks.tick_of_entry(entry, "shop"), FIRE_TIME), "q")
    for old, new in (
        ('"mine"', '"yours"'),
        ('\\"x\\"', '\\"y\\"'),
        ('"report"', '"tidy"'),
        ('"every":60', '"every":61'),
    ):
        altered = body.replace(old, new).replace(old.replace(":", ": "), new.replace(":", ": "))
        assert altered != body, old
        with pytest.raises(Exception, match="altered"):
            app.codec.read(altered, "m")


def test_unreplaced_placeholder_is_refused() -> None:
    app = make_app(beat_schedule={"mine": GOOD})
    (entry,) = app.schedule_entries()
    body = app.codec.write(tick_message(app, entry, ticks.tick_of_entry(entry, "shop"), ticks.AWS_SCHEDULED_TIME), "q")
    with pytest.raises(ValueError, match=r"isn't a time: '<aws\.scheduler"):
        app.codec.read(body, "m")


@pytest.mark.parametrize("platform", ["cloud_scheduler", "eventbridge"])
def test_platform_schedules_hold_complete_messages(platform: Any) -> None:
    app = make_app(beat_schedule={"every 90 minutes!": {**GOOD, "schedule": "90m", "options": {"queue": "slow"}}})
    (entry,) = app.schedule_entries()
    made = platform_schedules(app, entry, platform, "arn:slow", FIRE_TIME)
    assert made == platform_schedules(app, entry, platform, "arn:slow", FIRE_TIME)
    assert len(made) == len({each.name for each in made}) == 2
    for each in made:
        assert re.fullmatch(r"[0-9a-zA-Z_.-]{1,64}", each.name)
        assert each.name.startswith(schedule_prefix("shop"))
        body = each.body.replace(ticks.AWS_SCHEDULED_TIME, "2026-11-23T09:00:00Z")
        assert app.codec.read(body, "m").task == "report"
    assert schedule_prefix("shop") != schedule_prefix("Shop")
    past = dataclasses.replace(entry, timing=dataclasses.replace(entry.timing, end=FIRE_TIME))
    assert platform_schedules(app, past, platform, "arn:slow", FIRE_TIME) == []


def test_message_has_firings_and_end_if_platform_writes_no_time() -> None:
    entry = {**GOOD, "schedule": "0 9 13 * fri", "timezone": "Europe/Paris", "end": "2090-01-01T00:00:00"}
    app = make_app(beat_schedule={"mine": entry})
    (made,) = platform_schedules(app, app.schedule_entries()[0], "cloud_scheduler", "topic", FIRE_TIME)
    assert (made.when, made.timezone, made.end) == ("0 9 13 * *", "Europe/Paris", None)
    late = datetime(2026, 11, 13, 8, 30, tzinfo=UTC).timestamp()
    message = ticks.resolved(app.codec.read(made.body, "m"), late)
    assert message.id == ticks.tick_id("shop", "mine", datetime(2026, 11, 13, 8, tzinfo=UTC))
    tick = ticks.tick_of(message)
    assert tick is not None
    assert tick.fires == crontab(0, 9, day_of_month=13, timezone="Europe/Paris")
    assert tick.timing.end is not None


def test_span_is_no_longer_than_the_queue_can_hold_a_message_back() -> None:
    """Pub/Sub without Cloud Tasks holds a message back for 600 seconds, countdown and jitter included."""

    def spans(longest_eta: float, **more: Any) -> list[int]:
        app = make_app(beat_schedule={"mine": {**GOOD, "schedule": 90, **more}})
        made = platform_schedules(app, app.schedule_entries()[0], "cloud_scheduler", "t", FIRE_TIME, longest_eta)
        found = [ticks.tick_of(app.codec.read(each.body, "m")) for each in made]
        return [tick.span_seconds for tick in found if tick is not None]

    assert spans(math.inf) == [900]
    assert spans(600) == [360]
    assert spans(600, jitter=100, options={"countdown": 300}) == [180]
    assert spans(math.inf, jitter=3600) == [900]
    with pytest.raises(ScheduleError, match=r"'mine'.* a minute, but its queue can't do that"):
        spans(600, options={"countdown": 540})
    # The worker drops firings at which the task is not due, so that no tick has to be sent ahead.
    assert spans(600, schedule=7 * 3600, options={"countdown": 3600}) == [0]


def test_crontab_with_spaces_can_be_read_from_its_message() -> None:
    app = make_app(beat_schedule={"mine": {**GOOD, "schedule": crontab(minute="0, 30", hour=[9, 12])}})
    (made,) = platform_schedules(app, app.schedule_entries()[0], "eventbridge", "arn", FIRE_TIME)
    message = app.codec.read(made.body.replace(ticks.AWS_SCHEDULED_TIME, "2026-11-23T09:30:00Z"), "m")
    assert message.id == ticks.tick_id("shop", "mine", datetime(2026, 11, 23, 9, 30, tzinfo=UTC))


def test_periodic_task_goes_to_the_queue_of_its_priority() -> None:
    app = TaskQ("shop", broker="memory://", task_queue_max_priority=9)
    app.task(name="urgent", every=60, priority=9)(print)
    app.task(name="usual", every=60)(print)
    app.task(name="called", every=60, options={"priority": 5})(print)
    entries = {entry.task: entry for entry in app.schedule_entries()}
    queues = {name: queue_of(app, entry) for name, entry in entries.items()}
    assert queues == {"urgent": "celery-p2", "usual": "celery", "called": "celery-p1"}
