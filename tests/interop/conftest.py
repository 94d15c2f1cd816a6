"""Fixtures of two applications, one on Celery and one of ours, with one queue, one table and equal tasks."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.process import wait_or_kill
from taskq_cloud import BoundTask, TaskQ
from taskq_cloud.core.model.capabilities import dead_letter_queue

HERE = Path(__file__).parent


@pytest.fixture
def queue(make_queue: Callable[..., str], aws_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    name = make_queue("interop")
    make_queue(dead_letter_queue(name), exactly=True)
    monkeypatch.setenv("INTEROP_QUEUE", name)
    return name


@pytest.fixture
def table(make_table: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> str:
    name = make_table()
    monkeypatch.setenv("INTEROP_TABLE", name)
    return name


@pytest.fixture
def celery(queue: str, table: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The Celery application of ``celery_app``, imported anew for the queue of each test."""
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("celery_app", None)
    module = importlib.import_module("celery_app")
    yield module.app
    module.app.close()


@pytest.fixture
def app(queue: str, table: str) -> Iterator[TaskQ]:  # noqa: C901 - one function for each task
    """Our application, with the tasks of ``celery_app``."""
    made = TaskQ(
        "interop",
        broker="sqs://eu-west-1/",
        results=f"dynamodb://{table}?key_format=celery",
        task_default_queue=queue,
        result_extended=True,
        wait_time_seconds=1,
        visibility_timeout=5,
    )

    @made.task(name="interop.add")
    def add(a: int, b: int) -> int:
        return a + b

    @made.task(name="interop.echo")
    def echo(*args: Any, **kwargs: Any) -> list[Any]:
        return [list(args), kwargs]

    @made.task(name="interop.fail")
    def fail(text: str) -> None:
        raise ValueError(text, 7)

    @made.task(name="interop.flaky", bind=True, max_retries=2)
    def flaky(self: BoundTask) -> int:
        if self.request.retries < 2:
            self.retry(countdown=1, exc=OSError("not yet"))
        return self.request.retries

    @made.task(name="interop.note")
    def note(value: Any) -> list[Any]:
        return ["noted", value]

    @made.task(name="interop.total")
    def total(values: list[int]) -> int:
        return sum(values)

    @made.task(name="interop.same")
    def same(value: Any) -> Any:
        return value

    @made.task(name="interop.where")
    def where(*came_before: Any) -> str:
        return "here"

    @made.task(name="interop.place", bind=True)
    def place(self: BoundTask, *came_before: Any) -> list[Any]:
        return [self.request.root_id, self.request.parent_id, self.request.group, self.request.group_index]

    yield made
    made.close()


@pytest.fixture
def celery_worker(queue: str, table: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real Celery worker that serves the queue, or the queue that INTEROP_CELERY_QUEUE names."""
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "-P", "solo", "-l", "INFO"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command += ["-Q", os.environ.get("INTEROP_CELERY_QUEUE", queue)]
    with (tmp_path / "celery.log").open("wb") as log:
        worker = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(HERE)}
        )
        yield worker
        worker.send_signal(signal.SIGTERM)
        wait_or_kill(worker, 20)
