"""Tests of planned and applied schedules in Cloud Scheduler, their numbers of calls, and the published messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.beat import apply as applying
from taskq_cloud.beat import plan as planning
from taskq_cloud.beat.plan import Change
from taskq_cloud.errors import (
    AccessDenied,
    ImproperlyConfigured,
    PayloadTooLarge,
    QueueNotFound,
    QuotaExceeded,
    ScheduleConflict,
    ScheduleGroupNotFound,
)
from taskq_cloud.schedules import crontab
from tests.stores.schedules.cloud_scheduler_server import STATES, CloudSchedulerServer

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NIGHTLY = {"task": "report", "schedule": crontab(0, 3, timezone="Europe/Paris")}
MakeApp = Callable[..., TaskQ]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudSchedulerServer]:
    with CloudSchedulerServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.pubsub.make_queue("shop-work")
        yield server


@pytest.fixture
def make(server: CloudSchedulerServer) -> Iterator[MakeApp]:
    apps: list[TaskQ] = []

    def make(main: str = "shop", **settings: Any) -> TaskQ:
        given = {"scheduler": server.url, **settings}
        app = TaskQ(main, broker="pubsub://test-project/shop-", task_default_queue="work", **given)
        app.task(name="report", time_limit=30)(lambda kind="sales": kind)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


def plan(app: TaskQ) -> list[Change]:
    return app.run(applying.make_plan(app, app.schedule_entries(), NOW))


def apply(app: TaskQ, *, prune: bool = False) -> list[Change]:
    changes = planning.to_write(plan(app), prune=prune)
    app.run(applying.carry_out(applying.store_of(app), changes))
    return changes


def actions(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.action, change.entry) for change in changes]


EVERYTHING: dict[str, dict[str, Any]] = {
    "nightly": NIGHTLY,
    "disabled": {**NIGHTLY, "enabled": False},
    "over some day": {**NIGHTLY, "start": "2026-01-01T00:00:00", "end": "2090-01-01T00:00:00"},
    "jittered": {**NIGHTLY, "jitter": "10m"},
    "every 90 minutes": {"task": "report", "schedule": "90m"},
    "every 7 seconds": {"task": "report", "schedule": 7},
    "second monday": {"task": "report", "schedule": crontab(0, 9, "mon", "8-14")},
    "with_attributes": {**NIGHTLY, "options": {"message_attributes": {"tenant": "grün"}}},
}


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_second_apply_writes_nothing(server: CloudSchedulerServer, make: MakeApp, colour: str) -> None:
    async def apply_on_a_loop(app: TaskQ) -> list[Change]:
        try:
            changes = await app.arun(applying.make_plan(app, app.schedule_entries(), NOW))
            await app.arun(applying.carry_out(applying.store_of(app), planning.to_write(changes, prune=True)))
        finally:
            await app.aclose()
        return changes

    def applied() -> list[Change]:
        app = make(beat_schedule=EVERYTHING)
        return apply(app, prune=True) if colour == "sync" else asyncio.run(apply_on_a_loop(app))

    assert len(applied()) == len(EVERYTHING) + 1, "every 90 minutes takes two jobs"
    assert server.writes == {"CreateJob": len(EVERYTHING) + 1, "PauseJob": 1, "UpdateJob": 1}
    server.calls.clear()
    assert [change for change in applied() if change.action != "unchanged"] == []
    assert server.writes == {}


@pytest.mark.slow
def test_thousand_schedules_are_read_page_by_page(server: CloudSchedulerServer, make: MakeApp) -> None:
    entries = {f"entry {number}": {**NIGHTLY, "args": [str(number)]} for number in range(1000)}
    assert len(apply(make(beat_schedule=entries))) == 1000
    server.calls.clear()
    assert {change.action for change in plan(make(beat_schedule=entries))} == {"unchanged"}
    assert server.calls == {"ListJobs": 10 + 2}, "pages of 100 for the names, and of 500 for the jobs"


def test_changed_entry_is_replaced_and_undeclared_entry_is_pruned(make: MakeApp) -> None:
    apply(make(beat_schedule={"a": {"task": "report", "schedule": "90m"}, "b": NIGHTLY, "gone": NIGHTLY}))
    second = make(beat_schedule={"a": {**NIGHTLY, "args": ["tax"]}, "b": NIGHTLY})
    assert actions(plan(second)) == [("update", "a"), ("delete", "a"), ("unchanged", "b"), ("prune", "gone")]
    assert actions(apply(second)) == [("update", "a"), ("delete", "a")]
    assert actions(apply(second, prune=True)) == [("prune", "gone")]
    assert {change.action for change in plan(second)} == {"unchanged"}


def test_job_paused_in_the_console_stays_paused(server: CloudSchedulerServer, make: MakeApp) -> None:
    app = make(beat_schedule={"a": NIGHTLY})
    apply(app)
    (job,) = server.jobs.values()
    paused: Any = STATES.PAUSED  # a number to type checkers
    job.state = paused
    assert [(change.action, change.paused) for change in plan(app)] == [("unchanged", True)]
    apply(make(beat_schedule={"a": {**NIGHTLY, "args": ["tax"]}}))
    (job,) = server.jobs.values()
    assert job.state == STATES.PAUSED
    app.run(applying.set_enabled(app, app.schedule_entries()[0], enabled=True))
    (job,) = server.jobs.values()
    assert job.state == STATES.ENABLED


def test_jobs_of_others_are_not_changed(server: CloudSchedulerServer, make: MakeApp) -> None:
    shop, other = make(beat_schedule={"a": NIGHTLY}), make(main="other", beat_schedule={"a": NIGHTLY})
    apply(shop)
    apply(other, prune=True)
    (ours, _) = server.jobs.values()
    theirs = type(ours)(ours, name=f"{server.parent}/jobs/my_own")
    server.jobs[theirs.name] = theirs
    assert actions(plan(shop)) == [("unchanged", "a")]
    assert actions(apply(make(beat_schedule={}), prune=True)) == [("prune", "a")]
    assert len(server.jobs) == 2
    assert theirs.name in server.jobs


def test_different_changes_by_two_people_are_a_conflict(make: MakeApp) -> None:
    first = make(beat_schedule={"a": NIGHTLY})
    creating = plan(first)
    apply(make(beat_schedule={"a": {**NIGHTLY, "args": ["tax"]}}))
    with pytest.raises(ScheduleConflict, match="created by another process at the same time"):
        first.run(applying.carry_out(applying.store_of(first), creating))


@pytest.mark.parametrize(
    ("entry", "kind", "says"),
    [
        ({**NIGHTLY, "options": {"queue": "nowhere"}}, QueueNotFound, "topics/shop-nowhere does not exist"),
        ({**NIGHTLY, "options": {"MessageGroupId": "a"}}, ImproperlyConfigured, "no ordering key"),
        ({**NIGHTLY, "args": ["x" * 1_000_000]}, PayloadTooLarge, "Cloud Scheduler takes at most"),
        (
            {**NIGHTLY, "options": {"message_attributes": {"googly": "x"}}},
            ImproperlyConfigured,
            "can't be called 'googly'",
        ),
    ],
    ids=["queue", "group", "size", "attribute"],
)
def test_one_bad_entry_prevents_all_changes(
    server: CloudSchedulerServer, make: MakeApp, entry: Any, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        apply(make(beat_schedule={"bad": entry, "good": NIGHTLY}))
    assert server.writes == {}


def test_ordered_queue_cannot_have_periodic_tasks(server: CloudSchedulerServer, make: MakeApp) -> None:
    server.pubsub.make_queue("shop-work.fifo", ordered=True)
    with pytest.raises(ImproperlyConfigured, match=r"can't go to a \.fifo queue") as raised:
        plan(make(beat_schedule={"a": {**NIGHTLY, "options": {"queue": "work.fifo"}}}))
    assert raised.value.__notes__ == ["periodic task 'a'"]


def test_topic_without_subscription_cannot_have_periodic_tasks(server: CloudSchedulerServer, make: MakeApp) -> None:
    server.pubsub.make_topic("shop-unheard")
    with pytest.raises(QueueNotFound, match="keeps no message"):
        plan(make(beat_schedule={"a": {**NIGHTLY, "options": {"queue": "unheard"}}}))


def test_quota_error_says_how_many_changes_were_made(server: CloudSchedulerServer, make: MakeApp) -> None:
    server.most_jobs = 1
    app = make(beat_schedule={"a": NIGHTLY, "b": NIGHTLY})
    with pytest.raises(QuotaExceeded) as raised:
        apply(app)
    assert "1 of 2 changes were made" in raised.value.__notes__[0]
    server.most_jobs = 2
    assert actions(apply(app)) == [("create", "b")]


def test_missing_permission_is_reported_before_anything_is_changed(server: CloudSchedulerServer, make: MakeApp) -> None:
    server.denied.add("CreateJob")
    with pytest.raises(AccessDenied, match=r"cloudscheduler\.jobs\.create was denied") as raised:
        apply(make(beat_schedule={"a": NIGHTLY, "b": NIGHTLY}))
    assert "nothing was changed" in raised.value.__notes__[0]
    assert server.calls["CreateJob"] == 1
    with pytest.raises(ScheduleGroupNotFound, match="no such location: gcloud scheduler locations list"):
        plan(make(beat_schedule={"a": NIGHTLY}, scheduler="cloudscheduler://test-project/mars-west1"))


def test_jobs_fire_at_the_times_of_their_entries(server: CloudSchedulerServer, make: MakeApp) -> None:
    """The server fires for a whole day, by the expressions of its jobs."""
    apply(make(beat_schedule=EVERYTHING))
    day = datetime(2026, 12, 14, tzinfo=UTC)  # the second Monday
    fired = [server.fire_due_jobs(day + timedelta(hours=hour)) for hour in range(24)]
    entries = [name.partition("__")[2].partition("__")[2].rpartition("-")[0] for hour in fired for name in hour]
    assert "disabled" not in entries
    assert entries.count("nightly") == 1
    assert entries.count("second-monday") == 1
    assert entries.count("every-90-minutes") == 8, "at the full hours; the other half falls between them"
    assert entries.count("every-7-seconds") == 24
    assert server.pubsub.left("shop-work") == len(entries)
