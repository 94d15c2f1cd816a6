"""``taskq beat run`` and ``taskq worker --beat`` send periodic tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from taskq_cloud.testing.waiting import until
from tests.cli.conftest import TaskQCommand

TIMEOUT_SECONDS = 40

PERIODIC = """
@app.task(every="1s")
def tick() -> None:
    with open("ticks", "a") as file:
        file.write("tick\\n")
"""


def ends_well(process: subprocess.Popen[bytes]) -> bool:
    process.send_signal(signal.SIGTERM)
    return process.wait(TIMEOUT_SECONDS) == 0


def start(tmp_path: Path, name: str, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
    log = tmp_path / f"{name}.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "taskq_cloud", *arguments, "--log-format", "json"]
        return subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output, env=os.environ.copy()), log


@pytest.fixture
def periodic(shop: str, tmp_path: Path) -> str:
    with (tmp_path / f"{shop}.py").open("a") as module:
        module.write(PERIODIC)
    return shop


def test_worker_with_beat_option_sends_and_runs_periodic_tasks(periodic: str, tmp_path: Path) -> None:
    process, log = start(tmp_path, "worker", "-A", periodic, "worker", "--beat", "-P", "threads", "-c", "2")
    try:
        ran = tmp_path / "ticks"
        until(lambda: ran.exists() and len(ran.read_text().splitlines()) > 1, "two ticks to have run")
        assert ends_well(process)
    finally:
        process.kill()
        process.wait()
    actions = [json.loads(line).get("action") for line in log.read_text().splitlines()]
    assert "beat.resigned" in actions
    assert actions.index("beat.leading") < actions.index("beat.sent")


def test_beat_run_sends_periodic_tasks_without_running_them(periodic: str, tmp_path: Path, taskq: TaskQCommand) -> None:
    process, log = start(tmp_path, "beat", "-A", periodic, "beat", "run")
    try:
        until(lambda: "beat.sent" in log.read_text(), "a tick to be sent")
        assert ends_well(process)
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "ticks").exists()
    worker = taskq("-A", periodic, "worker", "--burst", "--pool", "solo")
    assert worker.exit_code == 0
    assert (tmp_path / "ticks").exists()


def test_beat_run_without_result_store_names_the_missing_setting(shop: str, taskq: TaskQCommand) -> None:
    result = taskq("-A", shop, "--results", "disabled://", "beat", "run")
    assert result.exit_code == 1
    assert "TASKQ_RESULTS" in result.stderr
