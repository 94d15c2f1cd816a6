"""Tests of periodic tasks from declaration to run, fired by the local stack's EventBridge Scheduler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.beat import apply
from taskq_cloud.core.schedules.ticks import tick_id
from taskq_cloud.testing.waiting import until
from tests.beat.periodic_app import make_app

pytestmark = pytest.mark.slow

TIMEOUT_SECONDS = 30


@pytest.fixture(params=["work", "work.fifo"])
def place(
    request: pytest.FixtureRequest,
    make_queue: Any,
    make_schedule_group: Any,
    make_table: Any,
    aws_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERIODIC_QUEUE", make_queue(request.param))
    monkeypatch.setenv("PERIODIC_GROUP", make_schedule_group())
    monkeypatch.setenv("PERIODIC_RESULTS", f"dynamodb://{make_table()}")


@pytest.fixture
def worker(place: None, tmp_path: Path) -> Iterator[Path]:
    """Start a worker of the application, and return the path of its log."""
    command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "tests.beat.periodic_app:app", "-P", "threads"]
    path = tmp_path / "worker.log"
    with path.open("wb") as log:
        process = subprocess.Popen([*command, "-c", "2", "-l", "debug"], env=os.environ.copy(), stdout=log, stderr=log)
    yield path
    process.kill()
    process.wait()


@pytest.mark.needs("fires_schedules")
def test_two_firings_of_one_tick_run_once(worker: Path) -> None:
    """Two copies of the schedule fire in two seconds: the schedule itself would take a minute."""
    words = ["<aws.scheduler.x>", "<aws.scheduler.scheduled-time>", "<sent>"]
    with closing(make_app(beat_schedule={"minutely": {"task": "report", "schedule": 60, "args": [words]}})) as app:
        ((_, kept),) = app.run(apply.wanted_schedules(app, app.schedule_entries(), datetime.now(UTC)))
        begin = datetime.now(UTC).replace(second=0, microsecond=0)
        soon = datetime.now(UTC) + timedelta(seconds=2)
        copies = [replace(kept, name=f"copy-{number}", when=soon) for number in range(2)]
        assert app.run(apply.store_of(app).put(copies)) == [None, None]
        ids = [tick_id("shop", "minutely", begin + timedelta(minutes=minutes)) for minutes in range(2)]
        results = [app.AsyncResult(task_id) for task_id in ids]
        until(lambda: any(result.ready() for result in results), lambda: worker.read_text()[-3000:], TIMEOUT_SECONDS)
        (value,) = [result.get() for result in results if result.ready()]
        assert value == words, "arguments that look like the platform's placeholders stay as they are"
        # A FIFO queue accepts only one message with a deduplication id.
        if not os.environ["PERIODIC_QUEUE"].endswith(".fifo"):
            until(lambda: "has come twice" in worker.read_text(), lambda: worker.read_text()[-3000:], TIMEOUT_SECONDS)
        until(lambda: "succeeded in" in worker.read_text(), lambda: worker.read_text()[-3000:], TIMEOUT_SECONDS)
        assert worker.read_text().count("succeeded in") == 1


def test_applied_schedule_fires_at_its_time(worker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the real platform, a command applies the schedule and ends, and the task runs in the next minute."""
    entries = {"each minute": {"task": "report", "schedule": "* * * * *", "args": ["applied"]}}
    monkeypatch.setenv("PERIODIC_ENTRIES", json.dumps(entries))
    command = [sys.executable, "-m", "taskq_cloud", "beat", "apply", "--yes", "-A", "tests.beat.periodic_app:app"]
    begin = datetime.now(UTC).replace(second=0, microsecond=0)
    applied = subprocess.run(command, capture_output=True, text=True, check=False)
    assert applied.returncode == 0, applied.stderr
    assert "cron(* * * * ? *) UTC" in applied.stdout
    ids = [tick_id("shop", "each minute", begin + timedelta(minutes=minutes)) for minutes in range(3)]
    with closing(make_app(beat_schedule=entries)) as app:
        results = [app.AsyncResult(task_id) for task_id in ids]
        until(
            lambda: any(result.ready() for result in results),
            lambda: worker.read_text()[-3000:],
            60 + TIMEOUT_SECONDS,
        )
        assert [result.get() for result in results if result.ready()] == ["applied"]
