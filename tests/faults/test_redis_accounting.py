"""Test that every task is accounted for on Redis, through killed workers and a killed server; results in SQLite."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.process import Emulator
from taskq_cloud.brokers.redis import RedisBroker
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import OperationalError
from taskq_cloud.testing.driving import driving
from taskq_cloud.testing.waiting import until
from tests.faults.deployment import kill_something
from tests.faults.test_pubsub_accounting import PubSubDeployment

pytestmark = pytest.mark.slow

TASKS = 200


class RedisDeployment(PubSubDeployment):
    """A queue on a Redis server with an append-only file, results in SQLite, and the workers."""

    def __init__(self, redis: Emulator, directory: Path) -> None:
        self.redis = redis
        self.directory = directory
        self.runs_path = directory / "runs"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.results = directory / "results.db"
        self.more: dict[str, str] = {}

    def environment(self) -> dict[str, str]:
        return {
            "TASKQ_BROKER": self.redis.url,
            "TASKQ_RESULTS": f"sqlite:///{self.results}",
            "TASKQ_VISIBILITY_TIMEOUT": "3",
            "TASKQ_WAIT_TIME_SECONDS": "1",
            "TASKQ_TASK_MAX_RECEIVES": "100",
            "FAULT_RUNS": str(self.runs_path),
            **self.more,
        }

    def depth(self, queue: str) -> Depth:
        broker = RedisBroker(self.redis.url)
        with driving("sync", broker.services) as run:
            return run(broker.depth(queue))

    def left(self) -> int:
        return self.depth("celery").total

    def wait_until_ended(self, count: int) -> None:
        """Wait until so many tasks have ended."""
        until(lambda: self.final() >= count, self.logs, 60)

    def wait_until_run(self, number: int, times: int) -> None:
        """Wait until the task of a number has begun so often."""
        until(lambda: self.runs()[number] == times, self.logs, 30)


@pytest.fixture
def deployment(own_server: Callable[[str], Emulator], tmp_path: Path) -> Iterator[RedisDeployment]:
    deployment = RedisDeployment(own_server("redis"), tmp_path)
    yield deployment
    deployment.stop()


def check_accounts(deployment: RedisDeployment, sent: dict[str, int]) -> None:
    """Check that exactly the sent tasks have results, each with its own value, and that no message is left."""
    until(lambda: deployment.final() >= len(sent), lambda: f"{deployment.final()} ended\n{deployment.logs()}", 60)
    documents = deployment.documents()
    assert {task_id: document["result"] for task_id, document in documents.items()} == {
        task_id: number**2 for task_id, number in sent.items()
    }
    assert set(deployment.runs()) == set(sent.values())
    until(lambda: deployment.left() == 0, lambda: f"{deployment.left()} messages left\n{deployment.logs()}", 30)
    assert deployment.depth("celery-dead") == Depth(0, 0, 0)


def test_no_task_is_lost_through_killed_workers_and_a_killed_server(deployment: RedisDeployment) -> None:
    rng, options = random.Random(3), ("-P", "processes", "-c", "2", "--prefetch-multiplier", "8")
    sent = deployment.send_squares(range(TASKS))
    for _ in range(2):
        deployment.start_worker(*options)
    for kills in range(1, 5):
        deployment.wait_until_ended(kills * TASKS // 8)
        kill_something(deployment, rng, options)
        if kills in (2, 3):
            deployment.redis.kill()
            deployment.redis.start()
            more = range(kills * TASKS, kills * TASKS + 50)
            sent |= deployment.send_squares(more)
    check_accounts(deployment, sent)


def test_message_whose_send_returned_is_there_after_the_server_was_killed(deployment: RedisDeployment) -> None:
    """The server is killed in the middle of sends: an accepted call is kept, and a refused one may be."""
    app = deployment.app()
    square = app.task(name="fault_app.square")(lambda number: None)
    accepted: dict[str, int] = {}
    for number in range(60):
        if number == 30:
            deployment.redis.kill()
        try:
            accepted[square.delay(number).id] = number
        except OperationalError:
            deployment.redis.start()
    app.close()
    assert len(accepted) == 59
    assert deployment.left() == 59
    deployment.start_worker("-P", "threads", "-c", "4")
    check_accounts(deployment, accepted)


def test_poisonous_task_is_dead_lettered_after_its_receives(deployment: RedisDeployment) -> None:
    """A task whose worker dies each time is counted by the broker."""
    deployment.more = {"TASKQ_VISIBILITY_TIMEOUT": "1", "TASKQ_TASK_MAX_RECEIVES": "2"}
    app = deployment.app()
    app.send_task("fault_app.slow_square", (7, 60))
    app.close()
    for run in (1, 2):
        worker = deployment.start_worker("-P", "solo")
        deployment.wait_until_run(7, run)
        worker.kill()
        worker.wait()
    deployment.start_worker("-P", "solo")
    until(lambda: deployment.depth("celery-dead") == Depth(1, 0, 0), deployment.logs, 30)
    assert deployment.left() == 0
