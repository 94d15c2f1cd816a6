"""Tickers as processes on SQLite: the leader is killed or terminated, and another one continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until

pytestmark = pytest.mark.slow

TIMEOUT_SECONDS = 40


class Process:
    """A ticker process and its log."""

    def __init__(self, folder: Path, name: str) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.beat.ticking"],
                env={**os.environ, "TICKING_FOLDER": str(folder)},
                stdout=log,
                stderr=log,
            )

    def actions(self) -> list[str]:
        return [json.loads(line).get("action") for line in self.log.read_text().splitlines() if line.endswith("}")]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    running: list[Process] = []

    def begin(name: str) -> Process:
        running.append(Process(tmp_path, name))
        return running[-1]

    yield begin
    for each in running:
        each.process.kill()
        each.process.wait()


def sent(folder: Path) -> list[tuple[str, datetime]]:
    """Ids and times of the ticks in the queue."""
    app = TaskQ("reader", broker=f"sqlite:///{folder}/queue.db")
    found = []
    with closing(app):
        while deliveries := app.run(app.broker.receive("celery", 10, 0, 1000)):
            for each in deliveries:
                headers = json.loads(each.body)["headers"]
                found.append((headers["id"], datetime.fromisoformat(headers["taskq_scheduled_time"])))
    return found


def test_second_ticker_continues_where_a_killed_leader_stopped(start: Callable[[str], Process], tmp_path: Path) -> None:
    first = start("first")
    until(lambda: "beat.sent" in first.actions(), "the first to send")
    second = start("second")
    until(lambda: "beat.ready" in second.actions(), "the second to be ready")
    first.process.kill()  # SIGKILL
    until(lambda: second.actions().count("beat.sent") > 3, "the second to send")
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(TIMEOUT_SECONDS) == 0
    assert second.actions()[-1] == "beat.resigned"
    ticks = dict(sent(tmp_path))
    fire_times = sorted(ticks.values())
    expected = [fire_times[0] + timedelta(seconds=n) for n in range(len(fire_times))]
    assert fire_times == expected, "no tick is lost, and a tick that is sent twice has one id"


def test_terminated_leader_hands_over_at_once(start: Callable[[str], Process], tmp_path: Path) -> None:
    first = start("first")
    until(lambda: "beat.sent" in first.actions(), "the first to send")
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(TIMEOUT_SECONDS) == 0
    second = start("second")
    until(lambda: "beat.leading" in second.actions(), "the second to lead")
    # If the first ticker had kept its lock, the second one would have found it taken.
    until(lambda: "beat.sent" in second.actions(), "the second to send")
    assert len(dict(sent(tmp_path))) >= 2
