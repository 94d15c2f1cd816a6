"""Tickers as processes, on SQLite: the one that leads is killed, and another goes on where it was."""

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

TIMEOUT_SECONDS = 40


class Process:
    """A ticker, and what it has logged."""

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


def test_a_killed_leader_is_followed_by_one_that_goes_on_where_it_was(
    start: Callable[[str], Process], tmp_path: Path
) -> None:
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
    moments = sorted(ticks.values())
    expected = [moments[0] + timedelta(seconds=n) for n in range(len(moments))]
    assert moments == expected, "no tick is lost, and those sent twice have one id"


def test_one_that_ends_in_order_hands_over_at_once(start: Callable[[str], Process], tmp_path: Path) -> None:
    first = start("first")
    until(lambda: "beat.sent" in first.actions(), "the first to send")
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(TIMEOUT_SECONDS) == 0
    second = start("second")
    until(lambda: "beat.leading" in second.actions(), "the second to lead")
    # Had the claim not been given up, the second would have found it taken first.
    until(lambda: "beat.sent" in second.actions(), "the second to send")
    assert len(dict(sent(tmp_path))) >= 2
