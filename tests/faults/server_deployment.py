"""Deployments whose broker is one server and whose results are in SQLite, and the faults that they share."""

from __future__ import annotations

import json
import random
import sqlite3
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from emulators.process import Emulator
from taskq_cloud.core.ports import Broker, Depth
from taskq_cloud.errors import OperationalError
from taskq_cloud.testing.driving import driving
from taskq_cloud.testing.waiting import until
from tests.faults.deployment import Deployment, kill_something

TASKS: Final = 200
"""How many tasks are sent before the first kill."""


class SQLiteDeployment(Deployment):
    """A queue with its dead-letter queue on any broker, results in SQLite, and the workers.

    Attributes:
        settings: environment variables that a test adds or changes.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.results = directory / "results.db"
        self.settings: dict[str, str] = {}

    @property
    @abstractmethod
    def broker_url(self) -> str:
        """The URL of the broker, for the workers and the producer."""

    @abstractmethod
    def depth(self, queue: str) -> Depth:
        """Return how many messages are in a queue."""

    def environment(self) -> dict[str, str]:
        return {
            "TASKQ_BROKER": self.broker_url,
            "TASKQ_RESULTS": f"sqlite:///{self.results}",
            "TASKQ_VISIBILITY_TIMEOUT": "3",
            "TASKQ_WAIT_TIME_SECONDS": "1",
            "TASKQ_TASK_MAX_RECEIVES": "100",
            "FAULT_RUNS": str(self.runs_path),
            **self.settings,
        }

    def send_squares(self, numbers: range) -> dict[str, int]:
        """Call `square` for every number. Return the numbers by task id."""
        with closing(self.app()) as app:
            square = app.task(name="fault_app.square")(lambda number: None)
            results = square.map_async([(number,) for number in numbers])
        return {result.id: number for number, result in zip(numbers, results, strict=True)}

    def send_slow_square(self, number: int, seconds: float) -> None:
        """Call `slow_square`, which runs so long."""
        with closing(self.app()) as app:
            app.send_task("fault_app.slow_square", (number, seconds))

    def documents(self) -> dict[str, dict[str, Any]]:
        if not self.results.exists():
            return {}
        with closing(sqlite3.connect(self.results)) as connection:
            # The worker creates the file first and its table afterwards.
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'results'").fetchone():
                return {}
            rows = connection.execute("SELECT id, payload FROM results").fetchall()
        documents = {task_id: json.loads(payload) for task_id, payload in rows}
        return {
            task_id: document for task_id, document in documents.items() if document
        }  # notes of begun runs are empty

    def final(self) -> int:
        return self.states()["SUCCESS"]

    def left(self) -> int:
        return self.depth("celery").total

    def check_accounts(self, sent: dict[str, int], timeout_seconds: float = 60) -> None:
        super().check_accounts(sent, timeout_seconds)
        assert self.depth("celery-dead") == Depth(0, 0, 0)

    def kill_workers(self, times: int) -> Iterator[int]:
        """Start two workers, and kill one or a child of one whenever an eighth of the tasks has ended.

        Yields:
            The number of each kill, from 1.
        """
        rng, options = random.Random(3), ("-P", "processes", "-c", "2", "--prefetch-multiplier", "8")
        for _ in range(2):
            self.start_worker(*options)
        for kill in range(1, times + 1):
            self.wait_until_ended(kill * TASKS // 8)
            kill_something(self, rng, options)
            yield kill

    def kill_runs_until_dead_lettered(self) -> None:
        """Kill the worker in both runs that a message may have, and check that it is dead-lettered then."""
        self.settings["TASKQ_TASK_MAX_RECEIVES"] = "2"
        self.send_slow_square(7, 60)
        for run in (1, 2):
            worker = self.start_worker("-P", "solo")
            self.wait_until_run(7, run)
            worker.kill()
            worker.wait()
        self.start_worker("-P", "solo")
        until(lambda: self.depth("celery-dead") == Depth(1, 0, 0), self.logs, 30)
        assert self.left() == 0


class ServerDeployment(SQLiteDeployment):
    """A queue on a server of this test's own, which the test kills and starts again.

    Args:
        server: the server, which is running.
        directory: the folder for logs, results and the file of runs.
    """

    def __init__(self, server: Emulator, directory: Path) -> None:
        super().__init__(directory)
        self.server = server

    @property
    def broker_url(self) -> str:
        return self.server.url

    def restart_server(self) -> None:
        """Kill the server with SIGKILL, and start it again."""
        self.server.kill()
        self.server.start()

    def check_sends_outlive_a_kill(self) -> None:
        """Kill the server in the middle of sends: an accepted call is kept, and a refused one may be."""
        accepted: dict[str, int] = {}
        with closing(self.app()) as app:
            square = app.task(name="fault_app.square")(lambda number: None)
            for number in range(60):
                if number == 30:
                    self.server.kill()
                try:
                    accepted[square.delay(number).id] = number
                except OperationalError:
                    self.server.start()
        assert len(accepted) == 59
        assert self.left() == 59
        self.start_worker("-P", "threads", "-c", "4")
        self.check_accounts(accepted)


def depth_of(broker: Broker, queue: str) -> Depth:
    """Ask a broker of one call how many messages are in a queue."""
    with driving("sync", broker.services) as run:
        depth = run(broker.depth(queue))
    assert depth is not None, "the broker doesn't count messages"
    return depth
