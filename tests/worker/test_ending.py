"""Test that a worker's process ends within its grace period, whatever its tasks do and whenever the signal comes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until
from tests.worker.commands import Command

pytestmark = pytest.mark.slow

APP = """
import asyncio, sys, time
from pathlib import Path
from taskq_cloud import TaskQ

app = TaskQ("endless", visibility_timeout=2, wait_time_seconds=0.2)

@app.task(name="swallows_its_cancellation")
async def swallow():
    Path("begun").touch()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

@app.task(name="leaves_a_thread")
async def leave():
    Path("begun").touch()
    await asyncio.to_thread(time.sleep, 3600)

@app.task(name="blocks_the_loop")
async def block():
    Path("begun").touch()
    time.sleep(3600)
"""

CHILDREN_NEVER_IMPORTED = """
import sys, time
from pathlib import Path

if "taskq_cloud.pools.child" in sys.orig_argv:
    Path("begun").touch()
    time.sleep(3600)
from shop import app
"""


def start_and_stop(folder: Path, *options: str) -> tuple[int, str]:
    """Start a worker, and stop it once a file ``begun`` exists. Return the exit code and the log."""
    with Command(folder, "worker", "-c", "1", "--shutdown-timeout", "2", *options) as worker:
        until((folder / "begun").exists, f"the task or import to begin: {worker.log}")
        worker.process.send_signal(signal.SIGTERM)
        return worker.code(), worker.log


@pytest.mark.parametrize(
    ("task", "pool", "code"),
    [
        ("swallows_its_cancellation", "asyncio", 0),
        ("swallows_its_cancellation", "threads", 0),
        ("leaves_a_thread", "asyncio", 0),
        ("leaves_a_thread", "threads", 0),
        ("blocks_the_loop", "asyncio", 1),
    ],
)
def test_process_with_endless_task_ends_after_signal(
    caller: TaskQ, folder: Path, task: str, pool: str, code: int
) -> None:
    caller.send_task(task)
    ended_with, log = start_and_stop(folder, "-A", "shop", "-P", pool)
    assert ended_with == code, log
    assert ("time.sleep(3600)" in log) == (task == "blocks_the_loop"), "the log shows what blocks the loop"


def test_worker_whose_children_never_start_stops_on_signal(folder: Path) -> None:
    (folder / "stuck.py").write_text(CHILDREN_NEVER_IMPORTED)
    code, log = start_and_stop(folder, "-A", "stuck")
    assert code == 0, log
    assert "stopped before it was ready" in log
