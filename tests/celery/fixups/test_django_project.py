"""A Django project as Celery's guide tells to make it: with Celery, and with ``taskq_cloud.celery``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parent / "project"
ROOT = Path(__file__).parents[3]
OURS = "taskq_cloud.celery"


def environment(library: str, folder: Path, **variables: str) -> dict[str, str]:
    """The environment of a process of the project, whose database is in a folder."""
    path = os.pathsep.join((str(ROOT), str(PROJECT)))
    given = {"DJANGO_SETTINGS_MODULE": "proj.settings", "FOLDER": str(folder), "LIBRARY": library, "PYTHONPATH": path}
    return {**os.environ, **given, **variables}


def run(*arguments: str, env: dict[str, str]) -> str:
    """Run a Python program in the project, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def found(library: str, folder: Path) -> dict[str, Any]:
    """What the project's scenario finds with a library."""
    read: dict[str, Any] = json.loads(run("scenario.py", env=environment(library, folder)).splitlines()[-1])
    return read


def test_project_does_what_it_does_with_celery(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("theirs", "ours")]
    for folder in folders:
        folder.mkdir()
    theirs, ours = found("celery", folders[0]), found(OURS, folders[1])
    assert ours == theirs
    assert ours["fixup"] == ["DjangoFixup"]
    assert ours["delayed"][1] == "book"
    assert ours["on commit, after"] is True
    assert ours["rolled back"] == ["ValueError", 2, 0]


CALLER = """
import django

django.setup()
from shop.models import Order
from shop.tasks import count_orders, ship, ship_later

order = Order.objects.create(title="printed")
assert (ship.si(order.pk) | count_orders.si()).apply_async().get(timeout=30) == 1
assert Order.objects.get(pk=order.pk).is_shipped
assert list(ship_later.delay(order.pk).get(timeout=30)) == ["printed", 0]
ship.delay_on_commit(order.pk)
print("done")
"""


@pytest.mark.slow
def test_worker_with_processes_uses_the_database(tmp_path: Path) -> None:
    env = environment(
        OURS, tmp_path, BROKER=f"sqlite:///{tmp_path}/queue.db", BACKEND=f"sqlite:///{tmp_path}/results.db"
    )
    run("manage.py", "migrate", "--run-syncdb", "--verbosity", "0", env=env)
    command = [sys.executable, "-m", OURS, "-A", "proj", "worker", "--pool", "prefork", "--concurrency", "2"]
    with (tmp_path / "worker.log").open("w") as log:
        worker = subprocess.Popen(command, cwd=PROJECT, env=env, stdout=log, stderr=log)
        try:
            assert "done" in run("-c", CALLER, env=env)
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(timeout=30) == 0, (tmp_path / "worker.log").read_text()
