"""``taskq beat`` with Cloud Scheduler and Pub/Sub: from a plan to a task that a job has fired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud.bootstrap.loading import find_app
from taskq_cloud.core.schedules.ticks import CLOCKS_DIFFER_SECONDS, tick_id
from tests.cli.conftest import TaskQCommand
from tests.stores.schedules.cloud_scheduler_server import CloudSchedulerServer, now

pytestmark = pytest.mark.slow


@pytest.fixture
def server(shop: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudSchedulerServer]:
    with CloudSchedulerServer() as server:
        monkeypatch.setenv("TASKQ_BROKER", f"pubsub://{server.project}/shop-")
        monkeypatch.setenv("TASKQ_RESULTS", "sqlite:///results.db")
        monkeypatch.setenv("TASKQ_SCHEDULER", server.url)
        monkeypatch.setenv("TASKQ_WAIT_TIME_SECONDS", "1")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("shop-celery", "shop-celery-dead"):
            server.pubsub.make_queue(name)
        yield server


@pytest.fixture
def periodic(shop: str, server: CloudSchedulerServer) -> Any:
    def declare(**crons: str) -> str:
        entries = {name: {"task": f"{shop}.add", "schedule": cron, "args": [1, 2]} for name, cron in crons.items()}
        declared = find_app(shop).conf.beat_schedule
        declared.clear()
        declared.update(entries)
        return shop

    return declare


def test_plan_apply_and_prune_change_jobs_as_declared(
    periodic: Any, taskq: TaskQCommand, server: CloudSchedulerServer
) -> None:
    shop = periodic(nightly="0 3 * * *", daily="0 9 * * *")
    planned = taskq("-A", shop, "beat", "plan")
    assert planned.exit_code == 2, planned.stderr
    assert "+ nightly  beat.shop-" in planned.stdout
    assert ": 0 3 * * * UTC" in planned.stdout
    assert planned.stdout.endswith("2 to create\n")
    assert server.writes == {}

    applied = taskq("-A", shop, "beat", "apply", "--yes")
    assert applied.exit_code == 0, applied.stderr
    assert server.writes == {"CreateJob": 2}
    assert taskq("-A", shop, "beat", "apply", "--yes").stdout == "no changes\n"
    assert server.writes == {"CreateJob": 2}

    periodic(nightly="0 4 * * *")
    changes = {each["entry"]: each for each in json.loads(taskq("-A", shop, "beat", "plan", "--json").stdout)}
    assert {entry: each["action"] for entry, each in changes.items()} == {"nightly": "update", "daily": "prune"}
    assert changes["nightly"]["differences"]["when"] == {"is": "0 3 * * *", "becomes": "0 4 * * *"}
    assert taskq("-A", shop, "beat", "apply", "-y").exit_code == 0
    assert taskq("-A", shop, "beat", "prune", "daily", "-y").exit_code == 0
    assert taskq("-A", shop, "beat", "plan").exit_code == 0
    assert server.writes == {"CreateJob": 2, "UpdateJob": 1, "DeleteJob": 1}


def test_paused_job_does_not_fire_until_resumed(
    periodic: Any, taskq: TaskQCommand, server: CloudSchedulerServer
) -> None:
    shop = periodic(nightly="0 3 * * *")

    def state() -> Any:
        (row,) = json.loads(taskq("-A", shop, "beat", "list", "--json").stdout)
        return row["state"]

    assert state() is None
    taskq("-A", shop, "beat", "apply", "-y")
    assert taskq("-A", shop, "beat", "pause", "nightly").stdout == "nightly: paused\n"
    assert state() == "paused"
    assert "nightly is paused and stays paused" in taskq("-A", shop, "beat", "apply", "-y").stdout
    assert server.fire_due_jobs(now().replace(hour=3, minute=0)) == []
    assert taskq("-A", shop, "beat", "resume", "nightly").stdout == "nightly: enabled\n"
    assert taskq("-A", shop, "beat", "resume", "nightly").stdout == "nightly: was already enabled\n"
    assert state() == "enabled"
    assert len(server.fire_due_jobs(now().replace(hour=3, minute=0))) == 1


def test_two_firings_of_one_minute_run_one_task_with_the_id_of_the_tick(
    periodic: Any, taskq: TaskQCommand, server: CloudSchedulerServer
) -> None:
    shop = periodic(minutely="* * * * *")
    taskq("-A", shop, "beat", "apply", "-y")
    (job,) = server.jobs

    def firing() -> datetime:
        """The minute to which a message that is sent now belongs."""
        return (datetime.now(UTC) + timedelta(seconds=CLOCKS_DIFFER_SECONDS)).replace(second=0, microsecond=0)

    while True:
        minute = firing()
        server.fire(job)
        server.fire(job)
        if firing() == minute:
            break
        server.pubsub.state.seek(f"projects/{server.project}/subscriptions/shop-celery", server.pubsub.state.now())
    worker = taskq("-A", shop, "worker", "--burst", "--pool", "solo", "-Q", "celery", "-l", "info")
    assert worker.exit_code == 0, worker.stderr
    result = json.loads(taskq("-A", shop, "result", tick_id("shop", "minutely", minute), "--json").stdout)
    assert (result["state"], result["result"]) == ("SUCCESS", 3)
    assert server.pubsub.left("shop-celery") == 0
    for minutes in (-1, 1):
        other = tick_id("shop", "minutely", minute + timedelta(minutes=minutes))
        assert json.loads(taskq("-A", shop, "result", other, "--json").stdout)["state"] == "PENDING"


def test_run_now_calls_the_task_without_touching_cloud_scheduler(
    periodic: Any, taskq: TaskQCommand, server: CloudSchedulerServer
) -> None:
    shop = periodic(nightly="0 3 * * *")
    task_id = taskq("-A", shop, "beat", "run-now", "nightly").stdout.strip()
    assert taskq("-A", shop, "worker", "--burst", "--pool", "solo", "-Q", "celery").exit_code == 0
    assert json.loads(taskq("-A", shop, "result", task_id, "--json").stdout)["result"] == 3
    assert server.calls == {}


def test_scheduled_on_cloud_scheduler_says_where_late_tasks_wait(
    shop: str, taskq: TaskQCommand, server: CloudSchedulerServer
) -> None:
    result = taskq("-A", shop, "scheduled")
    assert result.exit_code == 1
    assert "late tasks wait in Cloud Tasks" in result.stderr
    assert server.calls == {}
