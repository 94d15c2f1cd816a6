"""Test `taskq worker` as a process on SQLite: signals, kill -9, health, and the errors of a bad deployment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.errors import WorkerLostError
from taskq_cloud.testing.waiting import until
from tests.worker.serving import depth

APP = """
import os, time
from taskq_cloud import TaskQ

app = TaskQ("shop", visibility_timeout=2, wait_time_seconds=0.2, task_max_receives=3)

def note(line):
    with open("runs", "a") as file:
        file.write(line + "\\n")

@app.task
def add(x, y):
    return x + y

@app.task
def wait_for(path):
    note(f"begun {os.getpid()}")
    while not os.path.exists(path):
        time.sleep(0.01)
    note("ended")
    return "seen"

@app.task
def poison():
    note("poison")
    os._exit(7)

@app.task(track_started=True)
def tracked(path):
    return wait_for(path)

@app.task(time_limit=1)
def endless():
    while True:
        pass
"""
TIMEOUT_SECONDS = 25


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def app(folder: Path) -> Iterator[TaskQ]:
    """The caller's application, on the same SQLite files, without configuration."""
    made = TaskQ("caller")
    yield made
    made.close()


class Worker:
    """A worker process and its log."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / f"worker-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "taskq_cloud", "worker", "-A", "shop", "-c", "2", *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def says(self, text: str) -> bool:
        return text in self.log.read_text()

    def ready(self) -> Worker:
        until(lambda: self.says("ready: serves") or self.process.poll() is not None, "the worker to be ready")
        assert self.process.poll() is None, self.log.read_text()
        return self

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(TIMEOUT_SECONDS)
        finally:
            self.process.kill()


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(*options: str) -> Worker:
        workers.append(Worker(folder, *options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.end()


def runs(folder: Path) -> list[str]:
    path = folder / "runs"
    return path.read_text().splitlines() if path.exists() else []


def waiting(app: TaskQ) -> int:
    return depth(app).waiting


@pytest.mark.parametrize("pool", ["processes", "threads", "asyncio", "solo"])
def test_worker_serves_and_exits_with_0_on_sigterm(app: TaskQ, start: Callable[..., Worker], pool: str) -> None:
    worker = start("-P", pool, *(("-c", "1") if pool == "solo" else ())).ready()
    assert app.send_task("shop.add", (2, 3)).get(timeout=TIMEOUT_SECONDS) == 5
    assert worker.end() == 0
    assert worker.says("stopped: all messages are settled")


def test_sigterm_lets_running_task_finish_and_releases_waiting_messages(
    app: TaskQ, folder: Path, start: Callable[..., Worker]
) -> None:
    results = [app.send_task("shop.wait_for", ("go",)) for _ in range(4)]
    worker = start("-c", "1").ready()
    until(lambda: len(runs(folder)) == 1, "the first task to begin")
    until(lambda: waiting(app) == 0, "the other messages to be received")
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: waiting(app) == 3, "the other messages to be released while the first task runs")
    assert worker.process.poll() is None
    (folder / "go").touch()
    assert worker.process.wait(TIMEOUT_SECONDS) == 0
    assert sorted(result.state for result in results) == ["PENDING", "PENDING", "PENDING", "SUCCESS"]


def test_wait_behind_a_busy_slot_counts_for_nothing(app: TaskQ, folder: Path, start: Callable[..., Worker]) -> None:
    first, second = app.send_task("shop.wait_for", ("go",)), app.send_task("shop.tracked", ("go on",))
    late, revoked = app.send_task("shop.add", (1, 2), expires=1), app.send_task("shop.add", (3, 4))
    worker = start("-c", "1").ready()
    until(lambda: len(runs(folder)) == 1, "the first task to begin")
    until(lambda: waiting(app) == 0, "the other messages to be received")
    assert second.state == "PENDING"
    assert revoked.revoke()
    until(lambda: (folder / "runs").stat().st_mtime + 1.5 < time.time(), "the third task to expire")
    went_at = datetime.now(UTC)
    (folder / "go").touch()
    until(lambda: second.state == "STARTED", "the second task to begin")
    until(lambda: len(runs(folder)) == 3, "the second task to say so")
    assert second.result["pid"] == int(runs(folder)[-1].split()[1])
    (folder / "go on").touch()
    assert second.get(timeout=TIMEOUT_SECONDS) == "seen"
    assert datetime.fromisoformat(second.load().document["date_started"]) > went_at
    until(lambda: [late.state, revoked.state] == ["REVOKED", "REVOKED"], "the other tasks not to run")
    assert first.get(timeout=0) == "seen"
    assert worker.end() == 0
    seconds = [
        float(line.split(" succeeded in ")[1].split()[0])
        for line in worker.log.read_text().splitlines()
        if " succeeded in " in line
    ]
    assert len(seconds) == 2
    assert seconds[1] < (datetime.now(UTC) - went_at).total_seconds()


@pytest.mark.slow
def test_message_that_ends_every_worker_is_dead_lettered(
    app: TaskQ, folder: Path, start: Callable[..., Worker]
) -> None:
    result = app.send_task("shop.poison")
    for _ in range(3):
        assert start("-P", "threads", "-c", "1").process.wait(TIMEOUT_SECONDS) == 7
    worker = start("-P", "threads", "-c", "1").ready()
    until(lambda: result.state == "FAILURE", "the message to be dead-lettered")
    until(lambda: depth(app, "celery-dead").waiting == 1, "the message to be in the dead-letter queue")
    assert isinstance(result.result, WorkerLostError)
    assert runs(folder) == ["poison"] * 3
    assert worker.end() == 0


def test_second_signal_releases_running_task_and_exits_with_0(
    app: TaskQ, folder: Path, start: Callable[..., Worker]
) -> None:
    result = app.send_task("shop.wait_for", ("go",))
    worker = start().ready()
    until(lambda: len(runs(folder)) == 1, "the task to begin")
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: worker.says("stopping"), "the first signal to be handled")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(TIMEOUT_SECONDS) == 0
    assert waiting(app) == 1
    assert result.state == "PENDING"


def test_task_running_at_shutdown_timeout_is_released(app: TaskQ, folder: Path, start: Callable[..., Worker]) -> None:
    app.send_task("shop.wait_for", ("never",))
    worker = start("--shutdown-timeout", "1").ready()
    until(lambda: len(runs(folder)) == 1, "the task to begin")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(TIMEOUT_SECONDS) == 0
    assert waiting(app) == 1


def test_messages_of_killed_worker_are_run_by_another(app: TaskQ, folder: Path, start: Callable[..., Worker]) -> None:
    result = app.send_task("shop.wait_for", ("go",))
    first = start().ready()
    until(lambda: len(runs(folder)) == 1, "the task to begin")
    first.process.kill()
    first.process.wait()
    start().ready()
    until(lambda: len(runs(folder)) == 2, "the task to begin again")
    (folder / "go").touch()
    assert result.get(timeout=TIMEOUT_SECONDS) == "seen"
    assert runs(folder).count("ended") == 1, "the killed worker's child must not go on"


def test_task_of_killed_child_runs_once_more(app: TaskQ, folder: Path, start: Callable[..., Worker]) -> None:
    start().ready()
    result = app.send_task("shop.wait_for", ("go",))
    other = app.send_task("shop.wait_for", ("go",))
    until(lambda: len(runs(folder)) == 2, "both tasks to begin")
    os.kill(int(runs(folder)[0].split()[1]), signal.SIGKILL)
    until(lambda: len(runs(folder)) == 3, "the killed task to begin again")
    (folder / "go").touch()
    assert [result.get(timeout=TIMEOUT_SECONDS), other.get(timeout=TIMEOUT_SECONDS)] == ["seen", "seen"]
    assert len(runs(folder)) == 5


@pytest.mark.slow
def test_endless_loop_is_ended_by_time_limit(app: TaskQ, start: Callable[..., Worker]) -> None:
    start().ready()
    result = app.send_task("shop.endless")
    until(result.ready, "the task to end")
    assert repr(result.result) == "TimeLimitExceeded(1)"
    assert app.send_task("shop.add", (1, 1)).get(timeout=TIMEOUT_SECONDS) == 2


def test_health_of_worker_is_served(start: Callable[..., Worker], free_port: int) -> None:
    start("--health-port", str(free_port)).ready()
    connection = HTTPConnection("127.0.0.1", free_port, timeout=5)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == 200
    assert body["status"] == "ok"
    assert list(body["queues"]) == ["celery"]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-A", "nothing"), 1, "no module 'nothing'"),
        (("-P", "fibers"), 2, "'fibers' is not one of 'processes', 'threads'"),
        (("-b", "sqs-typo://x/"), 1, "sqs"),
        (("--results", "dynamodb://"), 1, "dynamodb"),
    ],
)
def test_bad_deployment_logs_one_clear_line(
    folder: Path, start: Callable[..., Worker], options: tuple[str, ...], code: int, said: str
) -> None:
    worker = start(*options)
    assert worker.process.wait(TIMEOUT_SECONDS) in (code, 2)
    log = worker.log.read_text()
    assert said in log
    assert "Traceback" not in log


def test_failing_import_of_application_is_logged_with_its_cause(folder: Path, start: Callable[..., Worker]) -> None:
    (folder / "broken.py").write_text("import a_package_that_is_not_there\n")
    worker = start("-A", "broken")
    assert worker.process.wait(TIMEOUT_SECONDS) != 0
    assert "a_package_that_is_not_there" in worker.log.read_text()
