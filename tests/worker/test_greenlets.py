"""Test workers with the pools of greenlets: tasks that call tasks, hooks, signals, and the death of their process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until
from tests.worker.commands import Command
from tests.worker.serving import depth

pytestmark = pytest.mark.slow

APP = """
import asyncio, json, os, time
from taskq_cloud import Hooks, TaskQ

def note(*row):
    with open("notes", "a") as file:
        file.write(json.dumps([os.getpid(), *row]) + "\\n")

class Noting(Hooks):
    async def process_started(self):
        await asyncio.sleep(0.01)
        note("process_started")

    async def process_stopping(self):
        await asyncio.sleep(0.01)
        note("process_stopping")

app = TaskQ("shop", visibility_timeout=5, wait_time_seconds=0.2, hooks=[Noting()])

@app.task
def add(x, y):
    return x + y

@app.task
async def aadd(x, y):
    await asyncio.sleep(0.01)
    return x + y

@app.task
def call_another(x):
    time.sleep(0.05)
    return add.delay(x, 1).id

@app.task
async def acall_another(x):
    return (await add.adelay(x, 1)).id

@app.task
def wait_for(path):
    note("began")
    while not os.path.exists(path):
        time.sleep(0.02)
    return "seen"
"""


@pytest.fixture(params=["gevent", "eventlet"])
def pool(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def notes(folder: Path) -> list[list[object]]:
    path = folder / "notes"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def began(folder: Path) -> int:
    return sum(row[1] == "began" for row in notes(folder))


def test_tasks_in_greenlets_call_tasks(folder: Path, caller: TaskQ, pool: str) -> None:
    calls = [caller.send_task(f"shop.{kind}call_another", (number,)) for number in range(30) for kind in ("", "a")]
    sums = [caller.send_task(f"shop.{kind}add", (1, 2)) for kind in ("", "a")]
    with Command(folder, "worker", "-A", "shop", "--burst", "-P", pool, "-c", "50") as worker:
        assert worker.code(60) == 0, worker.log
    values = [caller.AsyncResult(call.get(timeout=1)).get(timeout=1) for call in calls]
    assert values == [number + 1 for number in range(30) for _ in ("", "a")]
    assert [result.get(timeout=1) for result in sums] == [3, 3]
    rows = notes(folder)
    assert [row[1] for row in rows] == ["process_started", "process_stopping"]
    assert {row[0] for row in rows}.isdisjoint({worker.process.pid})


def test_messages_of_killed_process_end(folder: Path, caller: TaskQ, pool: str) -> None:
    results = [caller.send_task("shop.wait_for", ("go",)) for _ in range(100)]
    with Command(folder, "worker", "-A", "shop", "-P", pool, "-c", "100").ready() as worker:
        until(lambda: began(folder) == 100, "all tasks to begin")
        child = notes(folder)[0][0]
        assert isinstance(child, int)
        (folder / "go").touch()
        os.kill(child, signal.SIGKILL)
        assert [result.get(timeout=20) for result in results] == ["seen"] * 100
        assert worker.end() == 0
    assert depth(caller).total == 0


def test_signal_waits_for_greenlets_and_gives_back_the_rest(folder: Path, caller: TaskQ, pool: str) -> None:
    results = [caller.send_task("shop.wait_for", ("go",)) for _ in range(10)]
    with Command(folder, "worker", "-A", "shop", "-P", pool, "-c", "4").ready() as worker:
        until(lambda: began(folder) == 4, "four tasks to begin")
        worker.process.send_signal(signal.SIGTERM)
        until(lambda: worker.says("stopping: "), "the worker to stop")
        (folder / "go").touch()
        assert worker.code() == 0
    assert sorted(result.state for result in results) == ["PENDING"] * 6 + ["SUCCESS"] * 4
    assert depth(caller).waiting == 6


def test_second_signal_gives_back_running_tasks(folder: Path, caller: TaskQ, pool: str) -> None:
    for _ in range(4):
        caller.send_task("shop.wait_for", ("never",))
    with Command(folder, "worker", "-A", "shop", "-P", pool, "-c", "4").ready() as worker:
        until(lambda: began(folder) == 4, "four tasks to begin")
        worker.process.send_signal(signal.SIGQUIT)
        assert worker.code() == 0
    assert depth(caller).waiting == 4


def test_greenlets_end_with_a_killed_worker(folder: Path, caller: TaskQ, pool: str) -> None:
    caller.send_task("shop.wait_for", ("never",))
    with Command(folder, "worker", "-A", "shop", "-P", pool, "-c", "4").ready() as worker:
        until(lambda: began(folder) == 1, "the task to begin")
        worker.process.kill()
        child = notes(folder)[0][0]
        until(lambda: not Path(f"/proc/{child}/cmdline").exists(), "the child process to end")
