"""Test `taskq worker` as a process on SQLite: signals, kill -9, health, and the errors of a bad deployment."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.errors import WorkerLostError
from taskq_cloud.testing.waiting import until
from tests.worker.commands import TIMEOUT_SECONDS, Command
from tests.worker.serving import depth

Start = Callable[..., Command]

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


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    workers: list[Command] = []

    def make(*options: str) -> Command:
        workers.append(Command(folder, "worker", "-A", "shop", "-c", "2", *options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.end()


def runs(folder: Path) -> list[str]:
    path = folder / "runs"
    return path.read_text().splitlines() if path.exists() else []


def waiting(caller: TaskQ) -> int:
    return depth(caller).waiting


@pytest.mark.parametrize("pool", ["processes", "threads", "asyncio", "solo"])
def test_worker_serves_and_exits_with_0_on_sigterm(caller: TaskQ, start: Start, pool: str) -> None:
    worker = start("-P", pool, *(("-c", "1") if pool == "solo" else ())).ready()
    assert caller.send_task("shop.add", (2, 3)).get(timeout=TIMEOUT_SECONDS) == 5
    assert worker.end() == 0
    assert worker.says("stopped: all messages are settled")


def test_sigterm_lets_running_task_finish_and_releases_waiting_messages(
    caller: TaskQ, folder: Path, start: Start
) -> None:
    results = [caller.send_task("shop.wait_for", ("go",)) for _ in range(4)]
    worker = start("-c", "1").ready()
    until(lambda: len(runs(folder)) == 1, "the first task to begin")
    until(lambda: waiting(caller) == 0, "the other messages to be received")
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: waiting(caller) == 3, "the other messages to be released while the first task runs")
    assert worker.process.poll() is None
    (folder / "go").touch()
    assert worker.code() == 0
    assert sorted(result.state for result in results) == ["PENDING", "PENDING", "PENDING", "SUCCESS"]


def test_wait_behind_a_busy_slot_counts_for_nothing(caller: TaskQ, folder: Path, start: Start) -> None:
    first, second = caller.send_task("shop.wait_for", ("go",)), caller.send_task("shop.tracked", ("go on",))
    late, revoked = caller.send_task("shop.add", (1, 2), expires=1), caller.send_task("shop.add", (3, 4))
    worker = start("-c", "1").ready()
    until(lambda: len(runs(folder)) == 1, "the first task to begin")
    until(lambda: waiting(caller) == 0, "the other messages to be received")
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
        for line in worker.log.splitlines()
        if " succeeded in " in line
    ]
    assert len(seconds) == 2
    assert seconds[1] < (datetime.now(UTC) - went_at).total_seconds()


@pytest.mark.slow
def test_message_that_ends_every_worker_is_dead_lettered(caller: TaskQ, folder: Path, start: Start) -> None:
    result = caller.send_task("shop.poison")
    for _ in range(3):
        assert start("-P", "threads", "-c", "1").code() == 7
    worker = start("-P", "threads", "-c", "1").ready()
    until(lambda: result.state == "FAILURE", "the message to be dead-lettered")
    until(lambda: depth(caller, "celery-dead").waiting == 1, "the message to be in the dead-letter queue")
    assert isinstance(result.result, WorkerLostError)
    assert runs(folder) == ["poison"] * 3
    assert worker.end() == 0


def test_second_signal_releases_running_task_and_exits_with_0(caller: TaskQ, folder: Path, start: Start) -> None:
    result = caller.send_task("shop.wait_for", ("go",))
    worker = start().ready()
    until(lambda: len(runs(folder)) == 1, "the task to begin")
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: worker.says("stopping"), "the first signal to be handled")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.code() == 0
    assert waiting(caller) == 1
    assert result.state == "PENDING"


def test_task_running_at_shutdown_timeout_is_released(caller: TaskQ, folder: Path, start: Start) -> None:
    caller.send_task("shop.wait_for", ("never",))
    worker = start("--shutdown-timeout", "1").ready()
    until(lambda: len(runs(folder)) == 1, "the task to begin")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.code() == 0
    assert waiting(caller) == 1


def test_messages_of_killed_worker_are_run_by_another(caller: TaskQ, folder: Path, start: Start) -> None:
    result = caller.send_task("shop.wait_for", ("go",))
    first = start().ready()
    until(lambda: len(runs(folder)) == 1, "the task to begin")
    first.process.kill()
    first.process.wait()
    start().ready()
    until(lambda: len(runs(folder)) == 2, "the task to begin again")
    (folder / "go").touch()
    assert result.get(timeout=TIMEOUT_SECONDS) == "seen"
    assert runs(folder).count("ended") == 1, "the killed worker's child must not go on"


def test_task_of_killed_child_runs_once_more(caller: TaskQ, folder: Path, start: Start) -> None:
    start().ready()
    result = caller.send_task("shop.wait_for", ("go",))
    other = caller.send_task("shop.wait_for", ("go",))
    until(lambda: len(runs(folder)) == 2, "both tasks to begin")
    os.kill(int(runs(folder)[0].split()[1]), signal.SIGKILL)
    until(lambda: len(runs(folder)) == 3, "the killed task to begin again")
    (folder / "go").touch()
    assert [result.get(timeout=TIMEOUT_SECONDS), other.get(timeout=TIMEOUT_SECONDS)] == ["seen", "seen"]
    assert len(runs(folder)) == 5


@pytest.mark.slow
def test_endless_loop_is_ended_by_time_limit(caller: TaskQ, start: Start) -> None:
    start().ready()
    result = caller.send_task("shop.endless")
    until(result.ready, "the task to end")
    assert repr(result.result) == "TimeLimitExceeded(1)"
    assert caller.send_task("shop.add", (1, 1)).get(timeout=TIMEOUT_SECONDS) == 2


def test_health_of_worker_is_served(start: Start, free_port: int) -> None:
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
        (("-P", "fibers"), 2, "no pool is named 'fibers'; there are processes, threads"),
        (("-b", "sqs-typo://x/"), 1, "sqs"),
        (("--results", "dynamodb://"), 1, "dynamodb"),
    ],
)
def test_bad_deployment_logs_one_clear_line(
    folder: Path, start: Start, options: tuple[str, ...], code: int, said: str
) -> None:
    worker = start(*options)
    assert worker.code() in (code, 2)
    log = worker.log
    assert said in log
    assert "Traceback" not in log


def test_failing_import_of_application_is_logged_with_its_cause(folder: Path, start: Start) -> None:
    (folder / "broken.py").write_text("import a_package_that_is_not_there\n")
    worker = start("-A", "broken")
    assert worker.code() != 0
    assert "a_package_that_is_not_there" in worker.log
