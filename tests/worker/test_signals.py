"""Test what signals do to `taskq worker` and `taskq beat run`, at their start, while they run, and at their end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until
from tests.worker.commands import TIMEOUT_SECONDS, Command
from tests.worker.serving import depth

pytestmark = pytest.mark.slow

APP = """
import asyncio, os, signal, sys, time
from taskq_cloud import TaskQ

app = TaskQ("shop", visibility_timeout=60, wait_time_seconds=0.2)

if os.path.exists("slow import"):
    open("importing", "w").close()
    time.sleep(60)
if os.path.exists("child hangs") and "taskq_cloud.pools.child" in " ".join(sys.orig_argv):
    open("importing", "w").close()
    time.sleep(60)

@app.task
def add(x, y):
    return x + y

@app.task
def wait_for(path):
    open("begun", "a").write("x")
    while not os.path.exists(path):
        time.sleep(0.01)
    return "seen"

@app.task
async def stop_loop(how):
    def strike():
        if how == "stop":
            asyncio.get_running_loop().stop()
        else:
            raise {"interrupt": KeyboardInterrupt, "exit": SystemExit}[how]
    asyncio.get_running_loop().call_soon(strike)
    await asyncio.sleep(0.05)
    return how

@app.task(every=3600)
def hourly():
    pass
"""


Start = Callable[..., Command]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts commands, which do not inherit an ignored SIGHUP from these tests under ``nohup``."""
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with ExitStack() as commands:
        yield lambda *command, launcher=(): commands.enter_context(
            Command(folder, "-A", "shop", *command, launcher=launcher)
        )
        signal.signal(signal.SIGHUP, inherited)


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_sighup_stops_worker_as_sigterm_does(caller: TaskQ, folder: Path, start: Start, pool: str) -> None:
    results = [caller.send_task("shop.wait_for", ("go",)) for _ in range(3)]
    worker = start("worker", "-c", "1", "-P", pool).ready()
    until((folder / "begun").exists, "the first task to begin")
    worker.process.send_signal(signal.SIGHUP)
    until(lambda: depth(caller).waiting == 2, "the other messages to be given back")
    (folder / "go").touch()
    assert worker.code() == 0
    assert worker.says("stopped: all messages are settled")
    assert sorted(result.state for result in results) == ["PENDING", "PENDING", "SUCCESS"]


@pytest.mark.skipif(shutil.which("nohup") is None, reason="there is no nohup here")
def test_sighup_does_nothing_to_worker_under_nohup(caller: TaskQ, start: Start) -> None:
    worker = start("worker", "-c", "1", launcher=("nohup",)).ready()
    worker.process.send_signal(signal.SIGHUP)
    assert caller.send_task("shop.add", (2, 3)).get(timeout=TIMEOUT_SECONDS) == 5
    worker.process.send_signal(signal.SIGTERM)
    assert worker.code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_signal_stops_the_ticker_with_code_0(start: Start, number: signal.Signals) -> None:
    ticker = start("beat", "run").ready()
    ticker.process.send_signal(number)
    assert ticker.code() == 0


@pytest.mark.parametrize("command", [("worker",), ("beat", "run")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_during_import_ends_the_command_at_once(
    folder: Path, start: Start, command: tuple[str, ...], number: signal.Signals
) -> None:
    (folder / "slow import").touch()
    begun = start(*command)
    until((folder / "importing").exists, "the application to be imported")
    begun.process.send_signal(number)
    assert begun.process.wait(5) == 0


def test_signal_while_a_child_process_imports_ends_the_worker(folder: Path, start: Start) -> None:
    (folder / "child hangs").touch()
    worker = start("worker", "-c", "1")
    until((folder / "importing").exists, "the application to be imported")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(10) == 0
    assert worker.says("stopped before it was ready")


def can_be_process_1() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not can_be_process_1(), reason="processes can't be isolated here")
def test_sigterm_ends_the_worker_that_starts_as_process_1(folder: Path, start: Start) -> None:
    (folder / "slow import").touch()
    launcher = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    worker = start("worker", launcher=launcher)
    until((folder / "importing").exists, "the application to be imported")
    [child] = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    assert worker.process.wait(5) == 0


@pytest.mark.parametrize("pool", ["processes", "threads"])
def test_dozen_of_signals_end_the_worker_with_code_0(caller: TaskQ, folder: Path, start: Start, pool: str) -> None:
    worker = start("worker", "-c", "1", "-P", pool).ready()
    result = caller.send_task("shop.wait_for", ("never",))
    until((folder / "begun").exists, "the task to begin")
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
    while worker.process.poll() is None:  # also while it ends
        worker.process.send_signal(numbers[0])
        numbers.append(numbers.pop(0))
    assert worker.code() == 0, worker.log
    assert depth(caller).waiting == 1
    assert result.state == "PENDING"


@pytest.mark.parametrize("how", ["interrupt", "exit", "stop"])
def test_background_work_that_stops_the_loop_does_not_end_the_worker(caller: TaskQ, start: Start, how: str) -> None:
    worker = start("worker", "-c", "2", "-P", "asyncio").ready()
    assert caller.send_task("shop.stop_loop", (how,)).get(timeout=TIMEOUT_SECONDS) == how
    assert caller.send_task("shop.add", (2, 3)).get(timeout=TIMEOUT_SECONDS) == 5
    assert worker.says("has stopped it")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.code() == 0
