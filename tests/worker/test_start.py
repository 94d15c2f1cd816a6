"""Test that a worker which could never receive a message ends at its start, with exit code 1 and the reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.worker.commands import Command

pytestmark = pytest.mark.slow

APP = """
from taskq_cloud import TaskQ

app = TaskQ("shop")

@app.task
def add(x, y):
    return x + y
"""
WITHOUT_PACKAGE = "raise ImportError(f'no module named {__name__}')\n"
TIMEOUT_SECONDS = 60


def worker(folder: Path, *options: str, missing: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a worker in which some packages can't be imported. Return the exit code and the log."""
    stubs = folder / "stubs"
    for package in missing:
        (stubs / package).mkdir(parents=True)
        (stubs / package / "__init__.py").write_text(WITHOUT_PACKAGE)
    path = os.pathsep.join([str(stubs), *filter(None, sys.path)])
    command = ("worker", "-A", "shop", "-c", "1", *options)
    with Command(folder, *command, environment={**os.environ, "PYTHONPATH": path}) as started:
        return started.code(TIMEOUT_SECONDS), started.log


@pytest.mark.parametrize("mode", [(), ("--burst",)], ids=["worker", "burst"])
@pytest.mark.parametrize(
    ("options", "missing", "reason"),
    [
        (("-b", "sqs://eu-west-1/shop"), ("aiobotocore", "botocore"), "pip install 'taskq-cloud["),
        (("-b", "sqs://eu-west-1/shop"), ("aiobotocore",), "pip install 'taskq-cloud[aws]'"),
        (("-b", "pubsub://project/shop"), ("grpc",), "pip install 'taskq-cloud[gcp]'"),
        (("--results", "dynamodb://eu-west-1/results"), ("aiobotocore",), "pip install 'taskq-cloud[aws]'"),
        (("-b", "memory://"), (), "no message can pass"),
        (("-b", "sqlite:////nonexistent/x"), (), "the directory /nonexistent"),
        (("--results", "sqlite:////nonexistent/deep/x"), (), "the directory /nonexistent/deep"),
    ],
)
def test_worker_that_could_serve_nothing_ends_with_the_reason(
    folder: Path, mode: tuple[str, ...], options: tuple[str, ...], missing: tuple[str, ...], reason: str
) -> None:
    code, log = worker(folder, *options, *mode, missing=missing)
    assert code == 1
    last = log.splitlines()[-1]
    assert last.startswith("Error: ")
    assert reason in last
    assert "ready" not in log
    assert "Traceback" not in log
    assert not Path("/nonexistent").exists()


def test_directories_below_the_working_directory_are_created(folder: Path) -> None:
    code, log = worker(folder, "-b", "sqlite:///queues/own/broker.db", "--results", "sqlite:///queues/r.db", "--burst")
    assert code == 0, log
    assert (folder / "queues" / "own" / "broker.db").exists()
