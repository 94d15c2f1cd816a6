"""Ticks whose headers would make their reader compute for long: they are checked before anything is computed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud.core.model.message import SCHEDULE, SCHEDULED_TIME, Acknowledge, DeadLetter, Outgoing, Settlement
from taskq_cloud.core.model.options import TaskOptions
from taskq_cloud.core.model.task_definition import TaskDefinition
from taskq_cloud.core.schedules.base import EPOCH, Schedule
from taskq_cloud.core.schedules.entry import Timing
from taskq_cloud.core.schedules.ticks import SENT_TIME
from taskq_cloud.schedules import crontab, schedule, solar
from taskq_cloud.testing.bench import Bench

EVERY_MINUTE = {"crontab": "* * * * *"}
MOST_STEPS = 120
"""Steps of a search for a fire time: twice the number of times that the seconds of 41 years can be halved."""


class Counted:
    """A schedule that counts how often it is asked."""

    def __init__(self, each: Schedule) -> None:
        self.each, self.asked = each, 0

    def following(self, moment: datetime, anchor: datetime = EPOCH) -> datetime:
        self.asked += 1
        return self.each.following(moment, anchor)


def settle(document: Any, fire_time: str | None = None, **more: Any) -> list[Settlement]:
    bench = Bench.in_memory({"report": TaskDefinition("report", lambda: None, TaskOptions())})
    now = datetime.fromtimestamp(bench.clock(), UTC).replace(second=0, microsecond=0)
    tick = {"application": "shop", "name": "report", "timing": document, **more}
    headers = {"task": "report", "id": "t-1", SCHEDULE: tick, SCHEDULED_TIME: fire_time or now.isoformat()}
    body = json.dumps({"body": "[[], {}, {}]", "headers": headers, "properties": {}})
    bench.run(bench.broker.send("work", [Outgoing(body=body)]))
    return [bench.deliver(each) for each in bench.receive()]


@pytest.mark.parametrize(
    ("document", "more", "words"),
    [
        ({"every": 1e-6}, {}, "isn't a whole number of seconds"),
        ({"every": 1e-6}, {"fire_time": SENT_TIME}, "isn't a whole number of seconds"),
        ({"every": 1.5}, {}, "isn't a whole number of seconds"),
        ({"every": 60}, {"fire_time": SENT_TIME}, "fires at the times of a crontab only"),
        ({"solar": ["sunrise", 90, 0]}, {"fire_time": SENT_TIME}, "fires at the times of a crontab only"),
        (EVERY_MINUTE, {"fire_time": SENT_TIME, "fires": {"every": 1}}, "firings must be a crontab"),
        ({"every": 1}, {"span_seconds": 900}, "stands for at most 60 ticks"),
        (EVERY_MINUTE, {"span_seconds": 1e9}, "whole seconds"),
        (EVERY_MINUTE, {"span_seconds": 10**9}, "isn't a number of seconds from 0 to 900"),
        ({"crontab": "0," * 20_000 + "0 * * * *"}, {}, "minute has 40001 characters; at most 500"),
        ({"crontab": "* * * * " + "*," * 20_000 + "*"}, {}, "day_of_week has 40001 characters"),
        ({"crontab": "* " * 20_000}, {}, "has 20000 fields, not five"),
        ({"crontab": "* * * * *", "timezone": "x" * 50_000}, {}, "unknown time zone 'xxx"),
        ({"every": 60, "start": "2026-01-01T00:00:00.5"}, {}, "start and end must be whole seconds"),
        (EVERY_MINUTE, {"catch_up": ["one"]}, "is unknown"),
        (EVERY_MINUTE, {"fire_time": "0001-01-01T00:00:00Z"}, "isn't a time"),
        ({"every": 60}, {"fire_time": "1969-12-31T23:59:00Z"}, "isn't a time"),
    ],
)
def test_tick_that_no_entry_can_have_is_dead_lettered(document: Any, more: dict[str, Any], words: str) -> None:
    (settlement,) = settle(document, **more)
    assert isinstance(settlement, DeadLetter)
    assert words in settlement.reason
    assert len(settlement.reason) < 1000


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_start_at_the_edge_of_time_is_read(start: str) -> None:
    (settlement,) = settle({"every": 60, "start": start})
    assert isinstance(settlement, Acknowledge)


@pytest.mark.parametrize(
    ("each", "moment", "latest"),
    [
        (crontab(month_of_year=1), "2026-12-15T12:00:00Z", "2026-01-31T23:59:00Z"),
        (crontab(), "2026-12-15T12:00:30Z", "2026-12-15T12:00:00Z"),
        (crontab(0, 3, timezone="Europe/Berlin"), "2026-12-15T01:00:00Z", "2026-12-14T02:00:00Z"),
        (crontab(0, 0, day_of_month=29, month_of_year=2), "2027-12-15T12:00:00Z", "2024-02-29T00:00:00Z"),
        (schedule(1), "2026-12-15T12:00:00.5Z", "2026-12-15T12:00:00Z"),
        (schedule(86_400 * 365), "2026-12-15T12:00:00Z", "2025-12-18T00:00:00Z"),
        (schedule(172_800, relative=True, timezone="Europe/Berlin"), "2026-12-15T12:00:00Z", "2026-12-14T23:00:00Z"),
    ],
    ids=repr,
)
def test_search_for_the_latest_fire_time_takes_few_steps(each: Schedule, moment: str, latest: str) -> None:
    counted = Counted(each)
    timing = Timing(schedule=counted)  # type: ignore[arg-type]  # only its fire times are asked for
    assert timing.latest(datetime.fromisoformat(moment)) == datetime.fromisoformat(latest)
    assert counted.asked <= MOST_STEPS


def test_latest_fire_time_after_a_known_one_is_found_without_a_search() -> None:
    counted = Counted(solar("sunrise", 52, 13))
    known = counted.following(datetime(2026, 6, 1, tzinfo=UTC))
    counted.asked = 0
    timing = Timing(schedule=counted)  # type: ignore[arg-type]  # as above
    assert timing.latest(known + timedelta(hours=1), known) == known
    assert counted.asked == 1
