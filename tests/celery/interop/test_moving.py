"""A project half of whose modules import ``celery`` and half ``taskq_cloud.celery``, in one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.celery.interop.conftest import Place

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

FOLDER = Path(__file__).with_name("moving")


def test_tasks_of_both_packages_call_each_other(place: Place) -> None:
    for program, app, queue in (
        (["celery"], "old", place.queue),
        (["taskq_cloud", "celery"], "new", place.second_queue),
    ):
        place.run(
            app, [*program, "-A", f"moving_apps:{app}", "worker", "-P", "solo", "-l", "INFO", "-Q", queue], FOLDER
        )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(FOLDER / "calls.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=place.environment_of(FOLDER),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "kept": 3,
        "moved": 6,
        "by Celery's application": 12,
        "by our application": 7,
        "Celery's signature of a moved task": 15,
        "our signature of a kept task": 8,
        "Celery's chain": 31,
        "our chain": 14,
        "Celery's chain with |": 62,
        "our chain with |": 15,
        "Celery's chain with our group": 10,
        "our chain with Celery's group": 7,
        "Celery's group": [3, 6],
        "our group": [6, 3],
        "Celery's chord": 8,
        "our chord": 8,
        "Celery's link": 3,
        "our link": 2,
        "a moved task": ["celery", 30],
        "a kept task": ["taskq", 13],
        "tasks": [["kept.add"], ["moved.mul"]],
    }
    assert [process.poll() for process in place.processes] == [None, None]
