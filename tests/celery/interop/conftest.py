"""Fixtures of one project that is loaded twice: with Celery, and with ``taskq_cloud.celery``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
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

    def environment_of(self, *folders: Path) -> dict[str, str]:
        """The environment of a program that imports modules of these folders."""
        path = os.pathsep.join([*map(str, folders), *sys.path])
        # Celery's worker refuses to run as root if it accepts pickle, unless it is told to.
        return {**os.environ, **self.environment, "PYTHONPATH": path, "C_FORCE_ROOT": "1"}

    def run(self, name: str, program: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
        """Start a program of Python, which imports modules of a folder, and logs to a file of this name."""
        environment = {**self.environment_of(folder), "INTEROP_WORKER": name}
        command = [sys.executable, "-W", "ignore", "-m", *program]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)
        self.processes.append(process)
        return process

    def worker(self, package: str) -> subprocess.Popen[bytes]:
        """Start a worker of a package, which serves both queues, as a program."""
        program = ["celery"] if package == CELERY else ["taskq_cloud", "celery"]
        options = ["-P", "threads", "-c", "4", "-l", "INFO", "-Q", f"{self.queue},{self.second_queue}"]
        return self.run(
            package, [*program, "-A", "shop", "worker", *options], write_project(package, self.folder / package)
        )

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
def loaded(places: Places) -> Iterator[Callable[[Place], dict[str, Project]]]:
    """Returns a function that loads the project of each package in this process for a place: name -> project."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.syspath_prepend(str(PROJECT))
        patch.delitem(sys.modules, "shop_errors", raising=False)
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)

        def load(place: Place) -> dict[str, Project]:
            for name, value in place.environment.items():
                patch.setenv(name, value)
            sides = {package: Project(package, place.folder / package) for package in PACKAGES}
            for project in sides.values():
                stack.callback(project.close)
            return sides

        yield load


@pytest.fixture(scope="module")
def sides(place: Place, loaded: Callable[[Place], dict[str, Project]]) -> dict[str, Project]:
    """The project of each package in this process, by the package's name."""
    return loaded(place)
