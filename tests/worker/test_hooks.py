"""Hooks in a worker: in the process that runs the tasks, whichever pool it has, and in the worker's own."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import Hooks, TaskQ
from taskq_cloud.hooks import Received, Run, RunningWorker
from taskq_cloud.testing.waiting import auntil, until
from tests.worker.commands import Command
from tests.worker.serving import serving

APP = """
import asyncio, json, os, threading, time
from contextvars import ContextVar
from taskq_cloud import Hooks, TaskQ

span = ContextVar("span", default=None)

def note(*row):
    with open("notes", "a") as file:
        file.write(json.dumps([os.getpid(), *row]) + "\\n")

class Noting(Hooks):
    async def process_started(self):
        await asyncio.sleep(0)
        note("process_started")

    def process_stopping(self):
        note("process_stopping")

    async def worker_started(self, worker):
        await asyncio.sleep(0)
        note("worker_started", worker.hostname, list(worker.options.queues), worker.options.pool)

    def worker_stopping(self, worker):
        note("worker_stopping")

    async def before_run(self, run):
        await asyncio.sleep(0)
        span.set(run.id)
        note("before_run", threading.current_thread().name)

    def on_success(self, run, value):
        note("on_success", value)

    def on_failure(self, run, error):
        note("on_failure", repr(error))
        raise KeyError("a hook's own")

    def after_run(self, run, state, result):
        note("after_run", state, span.get() == run.id)

    def task_cut_off(self, received, error):
        note("task_cut_off", received.task, type(error).__name__)

app = TaskQ("shop", visibility_timeout=5, wait_time_seconds=0.2, task_max_receives=2, hooks=[Noting()])

@app.task(name="add")
def add(x, y):
    note("add", span.get() is not None, threading.current_thread().name)
    return x + y

@app.task(name="aadd")
async def aadd(x, y):
    note("aadd", span.get() is not None, threading.current_thread().name)
    return x + y

@app.task(name="fail")
def fail():
    raise ValueError("no")

@app.task(name="die")
def die():
    os._exit(3)

@app.task(name="slow", time_limit=0.3)
def slow():
    time.sleep(60)

@app.task(name="limited", soft_time_limit=0.2)
def limited():
    while True:
        pass
"""

POOLS = ("processes", "threads", "asyncio", "solo")


def notes(folder: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


def burst(folder: Path, *options: str) -> list[list[Any]]:
    with Command(folder, "worker", "-A", "shop", "-n", "w1@host", "--burst", *options) as worker:
        assert worker.code(60) == 0, worker.log
        return notes(folder)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_hooks_run_where_the_function_runs(folder: Path, caller: TaskQ, pool: str) -> None:
    results = [caller.send_task(name, (1, 2)) for name in ("add", "aadd")]
    failed = caller.send_task("fail")
    rows = burst(folder, "-P", pool, *([] if pool == "solo" else ["-c", "1"]))
    assert [result.get(timeout=5) for result in results] == [3, 3]
    assert repr(failed.get(propagate=False)) == "ValueError('no')"
    pids = {row[0] for row in rows if row[1] in ("before_run", "add", "aadd", "on_success", "after_run", "on_failure")}
    (pid,) = pids
    ran = [row[1:] for row in rows if row[0] == pid and row[1] not in ("worker_started", "worker_stopping")]
    assert ran[0] == ["process_started"]
    assert ran[-1] == ["process_stopping"]
    assert all(row[1] for row in ran if row[0] in ("add", "aadd")), "the context variable is the function's"
    assert all(row[2] for row in ran if row[0] == "after_run")
    threads = [row[1] for row in ran if row[0] == "before_run"], [row[2] for row in ran if row[0] in ("add", "aadd")]
    assert set(threads[0]) == set(threads[1])
    assert sum(row[0] == "on_failure" for row in ran) == 1
    (started,) = [row for row in rows if row[1] == "worker_started"]
    (stopping,) = [row for row in rows if row[1] == "worker_stopping"]
    assert started[2:] == ["w1@host", ["celery"], pool]
    assert (started[0] == pid, stopping[0] == started[0]) == (pool != "processes", True)


@pytest.mark.slow
def test_task_that_kills_its_process_is_told_by_the_worker(folder: Path, caller: TaskQ) -> None:
    lost, slow = caller.send_task("die"), caller.send_task("slow")
    rows = burst(folder, "-c", "1")
    assert [each.get(propagate=False, timeout=5).__class__.__name__ for each in (lost, slow)] == [
        "WorkerLostError",
        "TimeLimitExceeded",
    ]
    cut_off = sorted(row[2:] for row in rows if row[1] == "task_cut_off")
    assert cut_off == [["die", "WorkerLostError"], ["slow", "TimeLimitExceeded"]]
    assert not [row for row in rows if row[1] == "after_run"]
    begun = {row[0] for row in rows if row[1] == "process_started"}
    stopped = {row[0] for row in rows if row[1] == "process_stopping"}
    assert len(begun) == 4, "each replacement of a killed process tells its start"
    assert len(stopped) == 1, "a process that is killed can't tell its end"


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_soft_limit_reaches_hooks_as_the_task_s_failure(folder: Path, caller: TaskQ, pool: str) -> None:
    caller.send_task("limited")
    rows = burst(folder, "-P", pool, "-c", "1")
    assert [row[1:3] for row in rows if row[1] in ("on_failure", "after_run")] == [
        ["on_failure", "SoftTimeLimitExceeded()"],
        ["after_run", "FAILURE"],
    ]


@pytest.mark.slow
def test_stopped_worker_tells_its_hooks_before_it_ends(folder: Path, caller: TaskQ) -> None:
    with Command(folder, "worker", "-A", "shop", "-c", "1", "-P", "threads") as worker:
        worker.ready()
        until(lambda: [row for row in notes(folder) if row[1] == "worker_started"])
        worker.process.send_signal(signal.SIGTERM)
        assert worker.code() == 0
    told = [row[1] for row in notes(folder)]
    assert told == ["process_started", "worker_started", "worker_stopping", "process_stopping"]
    assert {row[0] for row in notes(folder)} == {worker.process.pid}


class Watching(Hooks):
    """Records what a worker in this process tells."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def worker_started(self, worker: RunningWorker) -> None:
        await asyncio.sleep(0)
        self.calls.append(("started", worker.hostname, worker.health()[0]))

    async def worker_stopping(self, worker: RunningWorker) -> None:
        await asyncio.sleep(0)
        self.calls.append("stopping")

    def task_received(self, received: Received) -> None:
        self.calls.append(("received", received.task, received.hostname))


async def test_worker_s_own_hooks_are_awaited(app: TaskQ) -> None:
    watching = Watching()
    app.add_hooks(watching)

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    async with serving(app) as worker:
        result = await add.adelay(1, 2)
        assert await result.aget(timeout=10) == 3
        name = worker.hostname
    assert watching.calls == [("started", name, True), ("received", "add", name), "stopping"]


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
async def test_outcome_stays_though_the_hard_limit_comes_in_a_hook_after_the_function(app: TaskQ, pool: str) -> None:
    ends: list[str] = []

    class Ends(Hooks):
        def after_run(self, run: Run, state: str, result: Any) -> None:
            ends.append(state)

    class Slow(Hooks):
        async def on_success(self, run: Run, value: Any) -> None:
            await asyncio.sleep(20)

    app.add_hooks([Ends(), Slow()])

    @app.task(name="add", time_limit=0.5)
    async def add(x: int, y: int) -> int:
        return x + y

    async with serving(app, pool=pool):
        result = await add.adelay(1, 2)
        assert await result.aget(timeout=10) == 3
        await auntil(lambda: ends == ["SUCCESS"], "the other hook")


async def test_worker_whose_hook_exits_goes_on(app: TaskQ, caplog: pytest.LogCaptureFixture) -> None:
    class Exits(Hooks):
        async def worker_started(self, worker: RunningWorker) -> None:
            raise SystemExit(3)

        def task_received(self, received: Received) -> None:
            raise SystemExit(5)

    app.add_hooks(Exits())

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    async with serving(app):
        assert await (await add.adelay(1, 2)).aget(timeout=10) == 3
    assert "Exits.worker_started failed: SystemExit(3)" in caplog.text
    assert "Exits.task_received failed" in caplog.text


async def test_worker_hook_that_hangs_or_raises_does_not_keep_the_worker(
    app: TaskQ, caplog: pytest.LogCaptureFixture
) -> None:
    class Hanging(Hooks):
        def worker_started(self, worker: RunningWorker) -> None:
            raise KeyError("no")

        async def worker_stopping(self, worker: RunningWorker) -> None:
            await asyncio.Event().wait()

    app.add_hooks(Hanging())
    async with serving(app):
        pass
    assert "Hanging.worker_started failed: KeyError('no')" in caplog.text


async def test_worker_that_is_stopped_while_a_hook_starts_ends(app: TaskQ) -> None:
    begun = asyncio.Event()

    class Hanging(Hooks):
        async def worker_started(self, worker: RunningWorker) -> None:
            begun.set()
            await asyncio.Event().wait()

    app.add_hooks(Hanging())
    async with serving(app):
        await begun.wait()


@pytest.mark.slow
def test_process_whose_hook_exits_at_its_start_ends_the_worker_with_the_reason(folder: Path, caller: TaskQ) -> None:
    (folder / "shop.py").write_text(
        "from taskq_cloud import Hooks, TaskQ\n"
        "class Wrong(Hooks):\n"
        "    def process_started(self):\n"
        "        raise SystemExit('no licence')\n"
        "app = TaskQ('shop', hooks=[Wrong()])\n"
    )
    with Command(folder, "worker", "-A", "shop", "-c", "1") as worker:
        assert worker.code() == 1
        assert "no licence" in worker.log
