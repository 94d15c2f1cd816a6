"""Fixtures of one project that is loaded twice: with Celery, and with ``taskq_cloud.celery``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from emulators.process import wait_or_kill
from taskq_cloud.core.model.capabilities import dead_letter_queue
from tests.celery.interop.loading import CELERY, PACKAGES, PROJECT, Project, write_project

pytest.importorskip("celery")


@dataclass
class Place:
    """Queues, a table and a journal, which applications and workers share."""

    folder: Path
    environment: dict[str, str]
    queue: str
    second_queue: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def journal(self) -> Path:
        return Path(self.environment["INTEROP_JOURNAL"])

    def worker(self, package: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker of a package, which serves both queues, as a program."""
        written = write_project(package, self.folder / package)
        program = ["celery"] if package == CELERY else ["taskq_cloud.cli", "celery"]
        command = [sys.executable, "-W", "ignore", "-m", *program, "-A", "shop", "worker"]
        command += ["-P", "threads", "-c", "4", "-l", "INFO", "-Q", f"{self.queue},{self.second_queue}", *options]
        log = (self.folder / f"{package}.log").open("ab")
        environment = {**os.environ, **self.environment, "PYTHONPATH": os.pathsep.join([str(written), *sys.path])}
        environment["INTEROP_WORKER"] = package
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)
        log.close()
        self.processes.append(process)
        return process

    def stop_workers(self) -> None:
        """Stop the workers, and wait until they have ended."""
        for process in self.processes:
            process.terminate()
        while self.processes:
            wait_or_kill(self.processes.pop(), 20)


class Places:
    """Makes places on the run's AWS stack, and removes what they consist of."""

    def __init__(self, stack: Any, sqs: Any, dynamodb: Any, folder: Path) -> None:
        self._environment, self._sqs, self._dynamodb, self._folder = stack.environment(), sqs, dynamodb, folder
        self._cleanup = ExitStack()

    def make(self) -> Place:
        """Make a place of its own."""
        mark = uuid4().hex[:8]
        folder = self._folder / mark
        folder.mkdir()
        (folder / "journal").touch()
        queue, second, table = f"shop-{mark}", f"second-{mark}", f"results-{mark}"
        for name in (queue, second, dead_letter_queue(queue), dead_letter_queue(second)):
            url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
            self._cleanup.callback(self._sqs.delete_queue, QueueUrl=url)
        self._dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._cleanup.callback(self._dynamodb.delete_table, TableName=table)
        variables = {
            "INTEROP_QUEUE": queue,
            "INTEROP_SECOND_QUEUE": second,
            "INTEROP_TABLE": table,
            "INTEROP_JOURNAL": str(folder / "journal"),
        }
        place = Place(folder, {**self._environment, **variables}, queue, second)
        self._cleanup.callback(place.stop_workers)
        return place

    def close(self) -> None:
        self._cleanup.close()


@pytest.fixture(scope="module")
def places(
    local_stack: Any, sqs_client: Any, dynamodb_client: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Places]:
    made = Places(local_stack, sqs_client, dynamodb_client, tmp_path_factory.mktemp("interop"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def place(places: Places) -> Place:
    """The place of most tests of a module."""
    return places.make()


@pytest.fixture(scope="module")
def sides(place: Place) -> Iterator[dict[str, Project]]:
    """The project of each package in this process, by the package's name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT))
        patch.delitem(sys.modules, "shop_errors", raising=False)
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in place.environment.items():
            patch.setenv(name, value)
        loaded = {package: Project(package, place.folder / package) for package in PACKAGES}
        yield loaded
        for project in loaded.values():
            project.close()
