"""Test that every task is accounted for on Pub/Sub: with the tests' own server, and results in SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq_cloud.core.ports import Depth
from tests.brokers.pubsub_server import PubSubServer
from tests.faults.server_deployment import TASKS, SQLiteDeployment

pytestmark = pytest.mark.slow

PROJECT = "test-project"


class PubSubDeployment(SQLiteDeployment):
    """A queue with its dead-letter queue on Pub/Sub, results in SQLite, and the workers."""

    def __init__(self, server: PubSubServer, directory: Path) -> None:
        super().__init__(directory)
        self.server = server
        self.settings["PUBSUB_EMULATOR_HOST"] = server.host
        server.make_queue("faults-celery-dead")
        dead = f"projects/{PROJECT}/topics/faults-celery-dead"
        server.make_queue("faults-celery", dead_letter_topic=dead, max_delivery_attempts=100)

    @property
    def broker_url(self) -> str:
        return f"pubsub://{PROJECT}/faults-"

    def depth(self, queue: str) -> Depth:
        """Return how many messages a queue has, whether or not a worker holds them."""
        return Depth(self.server.left(f"faults-{queue}"), 0, 0)


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubDeployment]:
    with PubSubServer(PROJECT) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        deployment = PubSubDeployment(server, tmp_path)
        yield deployment
        deployment.stop()


def test_no_task_is_lost_through_kills_duplicates_and_outage(deployment: PubSubDeployment) -> None:
    sent = deployment.send_squares(range(TASKS))
    deployment.server.send_copies("faults-celery", TASKS // 2)
    for kill in deployment.kill_workers(4):
        if kill == 2:
            deployment.server.stop()
            deployment.server.start()
            sent |= deployment.send_squares(range(TASKS, TASKS + 50))
    deployment.check_accounts(sent)


def test_burst_ends_although_the_broker_does_not_count_messages(deployment: PubSubDeployment) -> None:
    """The worker has gRPC channels open when its pool starts processes, and when it replaces them."""
    sent = deployment.send_squares(range(20))
    worker = deployment.start_worker("-P", "processes", "-c", "2", "--max-tasks-per-child", "3", "--burst")
    assert worker.wait(60) == 0
    deployment.check_accounts(sent)
    assert set(deployment.runs().values()) == {1}
    assert "fork" not in deployment.logs()


def test_task_running_at_sigterm_is_released_before_the_kill(deployment: PubSubDeployment) -> None:
    """Cloud Run kills ten seconds after SIGTERM. A released message need not wait for its lease to end."""
    deployment.send_slow_square(3, 60)
    worker = deployment.start_worker("-P", "processes", "-c", "1", "--shutdown-timeout", "8")
    deployment.wait_until_run(3, 1)
    worker.terminate()
    assert worker.wait(30) == 0
    [message] = deployment.server.state.subscriptions[
        f"projects/{PROJECT}/subscriptions/faults-celery"
    ].messages.values()
    assert message.ack_id is None
