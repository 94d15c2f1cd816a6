"""examples/news is written for Celery, and a worker of taskq_cloud runs its tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.projects import environment_for

ROOT = Path(__file__).parents[2]
WORKER = ["taskq_cloud", "celery", "-A", "news", "worker", "--concurrency", "1", "--queues", "news,feeds"]
TIMEOUT_SECONDS = 60

pytestmark = pytest.mark.slow


def test_worker_runs_the_tasks_of_the_news(tmp_path: Path) -> None:
    environment = environment_for(ROOT / "examples", {})
    worker = subprocess.Popen([sys.executable, "-m", *WORKER], cwd=tmp_path, env=environment)
    try:
        called = subprocess.run(
            [sys.executable, "-m", "news"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    finally:
        worker.terminate()
        ended = worker.wait(TIMEOUT_SECONDS)
    assert called.stdout == "['Rain ends']\nComet seen; Rain ends; Salt found\n", called.stderr
    assert ended == 0
