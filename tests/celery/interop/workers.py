"""Workers of both packages as programs, for a project of the folder ``project`` with settings of the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from emulators.process import wait_or_kill
from taskq_cloud.testing.waiting import until
from tests.celery.interop import loading
from tests.celery.interop.loading import CELERY, PACKAGES

SECONDS: Final = 20


def get(result: Any, **options: Any) -> Any:
    """The value of a result, which is there in time."""
    return result.get(timeout=SECONDS, interval=0.02, **options)


@dataclass
class Pair:
    """A project of both packages in this process, and a worker of each.

    Attributes:
        module: the project's module.
        folder: where the written projects, the journal and the logs are.
        environments: package -> the settings of its programs.
        queues: package -> the queue that only its worker serves.
        shared: the queue that both workers serve; None: there is none.
        sides: package -> the project in this process.
    """

    module: str
    folder: Path
    environments: dict[str, dict[str, str]]
    queues: dict[str, str]
    shared: str | None = None
    sides: dict[str, ModuleType] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def journal(self, kind: str) -> list[list[Any]]:
        """The lines of a kind in the journal, with the names of the workers that have written them."""
        lines = [json.loads(line) for line in (self.folder / "journal").read_text().splitlines()]
        return [[worker, *rest] for worker, found, *rest in lines if found == kind]

    def worker(self, package: str, queue: str | None = None) -> subprocess.Popen[bytes]:
        """Start a worker of a package, which serves the package's queue and the shared one, or only ``queue``."""
        program = ["celery"] if package == CELERY else ["taskq_cloud", "celery"]
        options = ["-A", self.module, "worker", "-P", "threads", "-c", "2", "-l", "INFO"]
        queues = [queue] if queue else [self.queues[package], *filter(None, [self.shared])]
        # A node's name is its own: on RabbitMQ, a second one of the name can't have its mailbox, which is exclusive.
        options += ["-Q", ",".join(queues), "-n", f"{queues[0]}@test"]
        environment = {
            **os.environ,
            **self.environments[package],
            "PYTHONPATH": os.pathsep.join([str(self.folder / package), *sys.path]),
            "INTEROP_WORKER": queue or package,
        }
        with (self.folder / f"{queue or package}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *program, *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=environment,
            )
        self.processes.append(process)
        return process

    def wait_until_ready(self, package: str) -> None:
        """Wait until the worker of a package has declared its queues, and takes messages from them."""
        log, line = self.folder / f"{package}.log", f"{self.queues[package]}@test ready."
        until(lambda: line in log.read_text(), log.read_text, SECONDS)

    def stop(self) -> None:
        """Stop the workers, and wait until they have ended."""
        for process in self.processes:
            process.terminate()
        while self.processes:
            wait_or_kill(self.processes.pop(), SECONDS)


@contextmanager
def pair_of_workers(
    module: str,
    folder: Path,
    environments: dict[str, dict[str, str]],
    queues: dict[str, str],
    shared: str | None = None,
) -> Iterator[Pair]:
    """Load a project for both packages, and run a worker of each until the end of the block."""
    (folder / "journal").touch()
    made = Pair(module, folder, environments, queues, shared)
    for given in environments.values():
        given["INTEROP_JOURNAL"] = str(folder / "journal")
    for package in PACKAGES:
        loading.write_project(package, folder / package)
        made.worker(package)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for package in PACKAGES:
                for name, value in environments[package].items():
                    patch.setenv(name, value)
                made.sides[package] = loading.load(folder / package, module)
            for package in PACKAGES:  # Celery's messages to an exchange or a queue that isn't there yet are lost
                made.wait_until_ready(package)
            yield made
    finally:
        made.stop()
        for side in made.sides.values():
            side.app.close()
