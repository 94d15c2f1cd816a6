"""The schedule store in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from taskq_cloud.core.flows import run
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.stores.schedules.memory import MemorySchedules
from taskq_cloud.stores.schedules.registry import scheduler_from_url
from taskq_cloud.testing.contracts.schedule_store import ScheduleStoreContract
from tests.stores.recorder import no_calls

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class TestMemory(ScheduleStoreContract):
    @pytest.fixture
    def store(self) -> MemorySchedules:
        return MemorySchedules()

    @pytest.fixture
    def target(self) -> str:
        return "work"


def test_due_schedules_are_returned_once_in_the_order_of_their_times() -> None:
    schedules = MemorySchedules()
    first = PlatformSchedule(name="b", when=NOON, target="work", body="1")
    second = replace(first, name="a", when=NOON + timedelta(minutes=1))
    others = [
        replace(first, name="c", when="rate(1 minute)"),
        replace(first, name="d", enabled=False),
        replace(first, name="e", when=NOON + timedelta(hours=1)),
    ]
    run(schedules.put([second, first, *others]), no_calls)

    assert schedules.due(NOON.timestamp() - 1) == []
    assert schedules.due(NOON.timestamp() + 60) == [first, second]
    assert schedules.due(NOON.timestamp() + 60) == []


def test_pages_of_names_together_contain_every_name() -> None:
    schedules = MemorySchedules()
    names = [f"n{number}" for number in range(7)]
    run(schedules.put([PlatformSchedule(name=name, when=NOON, target="work", body="") for name in names]), no_calls)
    found: list[str] = []
    cursor = None
    while True:
        page = run(schedules.names("n", limit=3, cursor=cursor), no_calls)
        found += page.names
        cursor = page.cursor
        if cursor is None:
            break
    assert found == names


def test_error_for_unknown_scheme_lists_known_schemes() -> None:
    with pytest.raises(
        ImproperlyConfigured,
        match="no scheduler serves 'cron://x'; known schemes: cloudscheduler://, eventbridge://, memory://",
    ):
        scheduler_from_url("cron://x", {})
