"""Test that every task is accounted for on RabbitMQ, through killed workers and a killed server; results in SQLite."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import amqp
import pytest

from emulators.process import Emulator
from taskq_cloud.testing.waiting import until
from tests.faults.deployment import kill_something
from tests.faults.test_pubsub_accounting import PubSubDeployment

pytestmark = pytest.mark.slow

TASKS = 200


class RabbitMQDeployment(PubSubDeployment):
    """A queue on a RabbitMQ server whose data is on a disk, results in SQLite, and the workers."""

    def __init__(self, rabbitmq: Emulator, directory: Path) -> None:
        self.rabbitmq = rabbitmq
        self.directory = directory
        self.runs_path = directory / "runs"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.results = directory / "results.db"
        self.queue_type = "classic"
        self.more: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return {
            "TASKQ_BROKER": f"{self.rabbitmq.url}?queue_type={self.queue_type}",
            "TASKQ_RESULTS": f"sqlite:///{self.results}",
            "TASKQ_VISIBILITY_TIMEOUT": "6",
            "TASKQ_WAIT_TIME_SECONDS": "1",
            "TASKQ_TASK_MAX_RECEIVES": "100",
            "FAULT_RUNS": str(self.runs_path),
            **self.more,
        }

    def answers(self) -> bool:
        """Whether the server has its queue, which a quorum queue needs some time for after a start."""
        try:
            with amqp.Connection(f"127.0.0.1:{self.rabbitmq.port}", connect_timeout=5, read_timeout=5) as connection:
                connection.channel().queue_declare("celery", passive=True)
        except (OSError, amqp.AMQPError):
            return False
        return True

    def waiting(self, queue: str) -> int:
        with amqp.Connection(f"127.0.0.1:{self.rabbitmq.port}") as connection:
            try:
                return int(connection.channel().queue_declare(queue, passive=True).message_count)
            except amqp.NotFound:
                return 0

    def left(self) -> int:
        return self.waiting("celery")


@pytest.fixture
def deployment(own_server: Callable[[str], Emulator], tmp_path: Path) -> Iterator[RabbitMQDeployment]:
    deployment = RabbitMQDeployment(own_server("rabbitmq"), tmp_path)
    yield deployment
    deployment.stop()


def check_accounts(deployment: RabbitMQDeployment, sent: dict[str, int]) -> None:
    """Check that exactly the sent tasks have results, each with its own value, and that no message is left."""
    until(lambda: deployment.final() >= len(sent), lambda: f"{deployment.final()} ended\n{deployment.logs()}", 60)
    documents = deployment.documents()
    assert {task_id: document["result"] for task_id, document in documents.items()} == {
        task_id: number**2 for task_id, number in sent.items()
    }
    assert set(deployment.runs()) == set(sent.values())
    deployment.stop()  # what the workers have not settled goes back to the queue
    assert deployment.left() == 0
    assert deployment.waiting("celery-dead") == 0


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_no_task_is_lost_through_killed_workers_and_a_killed_server(
    deployment: RabbitMQDeployment, queue_type: str
) -> None:
    deployment.queue_type = queue_type
    rng, options = random.Random(3), ("-P", "processes", "-c", "2", "--prefetch-multiplier", "8")
    sent = deployment.send_squares(range(TASKS))
    for _ in range(2):
        deployment.start_worker(*options)
    for kills in range(1, 4):
        until(lambda: deployment.final() >= kills * TASKS // 8, deployment.logs, 60)
        kill_something(deployment, rng, options)
        if kills == 2:
            deployment.rabbitmq.kill()
            deployment.rabbitmq.start()
            until(deployment.answers, "the queue", 60)
            sent |= deployment.send_squares(range(TASKS, TASKS + 50))
    check_accounts(deployment, sent)


def test_task_that_runs_while_the_connection_is_lost_ends_once(deployment: RabbitMQDeployment) -> None:
    """Its acknowledgement comes too late, and the message's next delivery finds the result."""
    app = deployment.app()
    app.send_task("fault_app.slow_square", (3, 8))
    app.close()
    deployment.start_worker("-P", "threads", "-c", "1")
    until(lambda: deployment.runs()[3] == 1, deployment.logs, 30)
    deployment.rabbitmq.stop()
    deployment.rabbitmq.start()
    until(lambda: deployment.final() == 1, deployment.logs, 30)
    deployment.send_squares(range(5, 6))
    until(lambda: deployment.final() == 2, deployment.logs, 30)
    deployment.stop()
    assert deployment.runs() == {3: 1, 5: 1}
    assert deployment.left() == 0


def test_poisonous_task_is_dead_lettered_after_its_receives(deployment: RabbitMQDeployment) -> None:
    """A classic queue doesn't count deliveries, so the receivers do."""
    deployment.more = {"TASKQ_TASK_MAX_RECEIVES": "2"}
    app = deployment.app()
    app.send_task("fault_app.slow_square", (7, 60))
    app.close()
    for run in (1, 2):
        worker = deployment.start_worker("-P", "solo")
        until(lambda: deployment.runs()[7] == run, deployment.logs, 30)
        worker.kill()
        worker.wait()
    deployment.start_worker("-P", "solo")
    until(lambda: deployment.waiting("celery-dead") == 1, deployment.logs, 30)
    assert deployment.left() == 0
