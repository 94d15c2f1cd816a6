"""Test that every task is accounted for on Pub/Sub: with the tests' own server, and results in SQLite."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until
from tests.brokers.pubsub_server import PubSubServer
from tests.faults.deployment import Deployment, kill_something

pytestmark = pytest.mark.slow

PROJECT = "test-project"
TASKS = 200


class PubSubDeployment(Deployment):
    """A queue with its dead-letter queue on Pub/Sub, results in SQLite, and the workers."""

    def __init__(self, server: PubSubServer, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.prefix = "faults-"
        self.runs_path = directory / "runs"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.results = directory / "results.db"
        server.make_queue("faults-celery-dead")
        dead = f"projects/{PROJECT}/topics/faults-celery-dead"
        server.make_queue("faults-celery", dead_letter_topic=dead, max_delivery_attempts=100)

    def environment(self) -> dict[str, str]:
        return {
            "PUBSUB_EMULATOR_HOST": self.server.host,
            "TASKQ_BROKER": f"pubsub://{PROJECT}/{self.prefix}",
            "TASKQ_RESULTS": f"sqlite:///{self.results}",
            "TASKQ_VISIBILITY_TIMEOUT": "3",
            "TASKQ_WAIT_TIME_SECONDS": "1",
            "TASKQ_TASK_MAX_RECEIVES": "100",
            "FAULT_RUNS": str(self.runs_path),
        }

    def app(self) -> TaskQ:
        settings = self.environment()
        return TaskQ("producer", broker=settings["TASKQ_BROKER"], results=settings["TASKQ_RESULTS"])

    def send_squares(self, numbers: range) -> dict[str, int]:
        """Call `square` for every number. Return the numbers by task id."""
        app = self.app()
        square = app.task(name="fault_app.square")(lambda number: None)
        results = square.map_async([(number,) for number in numbers])
        app.close()
        return {result.id: number for number, result in zip(numbers, results, strict=True)}

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
        return sum(document["status"] == "SUCCESS" for document in self.documents().values())

    def left(self) -> int:
        return self.server.left("faults-celery")


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubDeployment]:
    with PubSubServer(PROJECT) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        deployment = PubSubDeployment(server, tmp_path)
        yield deployment
        deployment.stop()


def check_accounts(deployment: PubSubDeployment, sent: dict[str, int]) -> None:
    """Check that exactly the sent tasks have results, each with its own value, and that no message is left."""
    until(lambda: deployment.final() >= len(sent), lambda: f"{deployment.final()} ended\n{deployment.logs()}", 60)
    documents = deployment.documents()
    assert {task_id: document["result"] for task_id, document in documents.items()} == {
        task_id: number**2 for task_id, number in sent.items()
    }
    assert set(deployment.runs()) == set(sent.values())
    until(lambda: deployment.left() == 0, lambda: f"{deployment.left()} messages left\n{deployment.logs()}", 30)
    assert deployment.server.left("faults-celery-dead") == 0


def test_no_task_is_lost_through_kills_duplicates_and_outage(deployment: PubSubDeployment) -> None:
    rng, options = random.Random(3), ("-P", "processes", "-c", "2", "--prefetch-multiplier", "8")
    sent = deployment.send_squares(range(TASKS))
    deployment.server.send_copies("faults-celery", TASKS // 2)
    for _ in range(2):
        deployment.start_worker(*options)
    for kills in range(1, 5):
        until(lambda: deployment.final() >= kills * TASKS // 8, deployment.logs, 60)
        kill_something(deployment, rng, options)
        if kills == 2:
            deployment.server.stop()
            deployment.server.start()
            sent |= deployment.send_squares(range(TASKS, TASKS + 50))
    check_accounts(deployment, sent)


def test_burst_ends_although_the_broker_does_not_count_messages(deployment: PubSubDeployment) -> None:
    """The worker has gRPC channels open when its pool starts processes, and when it replaces them."""
    sent = deployment.send_squares(range(20))
    worker = deployment.start_worker("-P", "processes", "-c", "2", "--max-tasks-per-child", "3", "--burst")
    assert worker.wait(60) == 0
    check_accounts(deployment, sent)
    assert set(deployment.runs().values()) == {1}
    assert "fork" not in deployment.logs()


def test_task_running_at_sigterm_is_released_before_the_kill(deployment: PubSubDeployment) -> None:
    """Cloud Run kills ten seconds after SIGTERM. A released message need not wait for its lease to end."""
    app = deployment.app()
    app.send_task("fault_app.slow_square", (3, 60))
    app.close()
    worker = deployment.start_worker("-P", "processes", "-c", "1", "--shutdown-timeout", "8")
    until(lambda: deployment.runs()[3] == 1, deployment.logs, 30)
    worker.terminate()
    assert worker.wait(30) == 0
    [message] = deployment.server.state.subscriptions[
        f"projects/{PROJECT}/subscriptions/faults-celery"
    ].messages.values()
    assert message.ack_id is None
