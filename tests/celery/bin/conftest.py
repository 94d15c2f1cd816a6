"""Fixtures: a small project with a Celery application on SQLite, and its command lines as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CELERY = """
from taskq_cloud.celery import Celery

app = Celery("shop", broker="sqlite:///broker.db", backend="sqlite:///results.db", include=["shop.tasks"])
"""

TASKS = """
import os
import time

from taskq_cloud.celery import signals
from taskq_cloud.celery.utils.log import get_task_logger
from shop.celery import app

logger = get_task_logger(__name__)


@app.task
def add(x, y):
    return x + y


@app.task(bind=True)
def where(self):
    return [self.request.hostname, os.getpid() != int(os.environ["WORKER_PID"])]


@app.task
def speak(text):
    print(f"printed {text}")
    logger.info("logged %s", text)


@app.task
def hang():
    time.sleep(60)


def note(text):
    with open("noted", "a") as file:
        file.write(text + "\\n")


@signals.worker_init.connect
def started(sender=None, **kwargs):
    os.environ["WORKER_PID"] = str(os.getpid())
    note("init")


@signals.worker_ready.connect
def ready(sender=None, **kwargs):
    note(f"ready {sender.hostname} {sender.app.main}")


@signals.worker_shutting_down.connect
def shutting_down(sender=None, how=None, **kwargs):
    note(f"shutting down {sender} {how}")


@signals.worker_shutdown.connect
def shutdown(sender=None, **kwargs):
    note(f"shutdown {sender.hostname}")
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder of a project with the package ``shop``."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "celery.py").write_text(CELERY)
    (package / "tasks.py").write_text(TASKS)
    return tmp_path


def environment() -> dict[str, str]:
    """The environment of a process that finds this package, without settings of the test run."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("TASKQ_", "CELERY_", "WORKER_PID"))
    }
    return {**kept, "PYTHONPATH": str(Path.cwd())}


@pytest.fixture
def run(shop: Path) -> Run:
    """Run Python with arguments in the project's folder, to its end."""
    where = environment()

    def run(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=shop,
            env=where,
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def start(shop: Path) -> Iterator[Start]:
    """Start Python with arguments in the project's folder; its output goes to the file ``output``."""
    where = environment()
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        with (shop / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=shop, env=where, stdout=output, stderr=output, text=True
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
