"""The parts that docs/getting-started.md promises for macOS and Windows work without the functions these lack.

Each script runs on Linux, in a process from which the functions that the platform lacks were taken away. The standard
library imports its own platform's modules first, because it may use them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOP = """
from taskq_cloud import TaskQ

app = TaskQ("shop")

@app.task(time_limit=5)
def double(number: int) -> int:
    return 2 * number

handler = app.lambda_handler()
"""
STANDARD_LIBRARY = """
import asyncio, logging.config, multiprocessing, os, shutil, signal, subprocess, sys, tempfile
"""
WINDOWS = """
for name in ("ITIMER_REAL", "SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "alarm", "pthread_sigmask", "setitimer"):
    delattr(signal, name)
for name in ("fork", "getpgid", "getpgrp", "killpg", "register_at_fork", "sched_getaffinity", "setsid"):
    delattr(os, name)
for name in ("O_CLOEXEC", "O_NONBLOCK"):
    delattr(os, name)
def add_signal_handler(*_):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = add_signal_handler
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
"""
MACOS = """
del os.sched_getaffinity
"""


def run(script: str, folder: Path) -> str:
    """Run a script beside shop.py, and return the text that it prints."""
    (folder / "shop.py").write_text(SHOP)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TASKQ_"))}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**inherited, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def command(*words: str) -> str:
    return f"from taskq_cloud.cli import main\nmain({list(words)}, standalone_mode=False)\n"


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("from shop import double\nprint(double.delay(1).state)", "PENDING"),
        ("from shop import double\nprint(double.apply((4,)).get())", "8"),
        ("from shop import double\nprint((double.s(4) | double.s()).apply().get())", "16"),
        ("from shop import handler\nprint(handler({'task': 'shop.double', 'args': [4]}, None)['result'])", "8"),
        (
            command("call", "-A", "shop", "shop.double", "-a", "[4]") + command("queues", "-A", "shop"),
            "celery        1",
        ),
    ],
    ids=["call", "in place", "workflow in place", "lambda handler", "commands"],
)
def test_caller_on_windows_works(script: str, printed: str, tmp_path: Path) -> None:
    assert printed in run(STANDARD_LIBRARY + WINDOWS + script, tmp_path)


def worker(pool: str) -> str:
    script = "from shop import double\nresult = double.delay(4)\n"
    return script + command("worker", "-A", "shop", "--burst", "--quiet", "-P", pool) + "print(result.get(timeout=5))"


def test_worker_on_macos_runs_task(tmp_path: Path) -> None:
    assert "8" in run(STANDARD_LIBRARY + MACOS + worker("threads"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["threads", "asyncio", "solo"])
def test_worker_on_windows_runs_task(pool: str, tmp_path: Path) -> None:
    assert "8" in run(STANDARD_LIBRARY + WINDOWS + worker(pool), tmp_path)


@pytest.mark.slow
def test_worker_on_windows_refuses_the_processes_pool(tmp_path: Path) -> None:
    script = f"try:\n    {command('worker', '-A', 'shop').splitlines()[0]}\n"
    script += "    main(['worker', '-A', 'shop', '--quiet'])\nexcept SystemExit as ended:\n    print(ended.code)"
    assert run(STANDARD_LIBRARY + WINDOWS + script, tmp_path) == "1\n"


@pytest.mark.slow
def test_ticker_on_windows_stops_at_a_signal(tmp_path: Path) -> None:
    script = (
        "def interrupt(record):\n    if record.action == 'beat.ready':\n        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    script += "    return True\nlogging.getLogger('taskq_cloud.beat').addFilter(interrupt)\n"
    script += command("beat", "run", "-A", "shop") + "print('ended')"
    assert run(STANDARD_LIBRARY + WINDOWS + script, tmp_path) == "ended\n"
