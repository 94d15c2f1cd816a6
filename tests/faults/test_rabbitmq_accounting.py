"""Test that every task is accounted for on RabbitMQ, through killed workers and a killed server; results in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import amqp
import pytest

from emulators.process import Emulator
from taskq_cloud.core.ports import Depth
from taskq_cloud.testing.waiting import until
from tests.faults.server_deployment import TASKS, ServerDeployment

pytestmark = pytest.mark.slow


class RabbitMQDeployment(ServerDeployment):
    """A queue on a RabbitMQ server whose data is on a disk, results in SQLite, and the workers."""

    def __init__(self, server: Emulator, directory: Path) -> None:
        super().__init__(server, directory)
        self.queue_type = "classic"
        self.settings["TASKQ_VISIBILITY_TIMEOUT"] = "6"

    @property
    def broker_url(self) -> str:
        return f"{self.server.url}?queue_type={self.queue_type}"

    def answers(self) -> bool:
        """Whether the server has its queue, which a quorum queue needs some time for after a start."""
        try:
            with amqp.Connection(f"127.0.0.1:{self.server.port}", connect_timeout=5, read_timeout=5) as connection:
                connection.channel().queue_declare("celery", passive=True)
        except (OSError, amqp.AMQPError):
            return False
        return True

    def depth(self, queue: str) -> Depth:
        """Return how many messages are ready in a queue; the server doesn't count those that a worker holds."""
        with amqp.Connection(f"127.0.0.1:{self.server.port}") as connection:
            try:
                return Depth(int(connection.channel().queue_declare(queue, passive=True).message_count), 0, 0)
            except amqp.NotFound:
                return Depth(0, 0, 0)

    def wait_until_settled(self) -> None:
        self.stop()  # what the workers have not settled goes back to the queue
        assert self.left() == 0


@pytest.fixture
def deployment(own_server: Callable[[str], Emulator], tmp_path: Path) -> Iterator[RabbitMQDeployment]:
    deployment = RabbitMQDeployment(own_server("rabbitmq"), tmp_path)
    yield deployment
    deployment.stop()


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_no_task_is_lost_through_killed_workers_and_a_killed_server(
    deployment: RabbitMQDeployment, queue_type: str
) -> None:
    deployment.queue_type = queue_type
    sent = deployment.send_squares(range(TASKS))
    for kill in deployment.kill_workers(3):
        if kill == 2:
            deployment.restart_server()
            until(deployment.answers, "the queue", 60)
            sent |= deployment.send_squares(range(TASKS, TASKS + 50))
    deployment.check_accounts(sent)


def test_task_that_runs_while_the_connection_is_lost_ends_once(deployment: RabbitMQDeployment) -> None:
    """Its acknowledgement comes too late, and the message's next delivery finds the result."""
    deployment.send_slow_square(3, 8)
    deployment.start_worker("-P", "threads", "-c", "1")
    deployment.wait_until_run(3, 1)
    deployment.server.stop()
    deployment.server.start()
    until(lambda: deployment.final() == 1, deployment.logs, 30)
    deployment.send_squares(range(5, 6))
    until(lambda: deployment.final() == 2, deployment.logs, 30)
    deployment.stop()
    assert deployment.runs() == {3: 1, 5: 1}
    assert deployment.left() == 0


def test_poisonous_task_is_dead_lettered_after_its_receives(deployment: RabbitMQDeployment) -> None:
    """A classic queue doesn't count deliveries, so the receivers do."""
    deployment.kill_runs_until_dead_lettered()
