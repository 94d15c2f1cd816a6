"""Test that every task is accounted for on PostgreSQL, through killed workers, callers and servers."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from emulators.process import Emulator
from taskq_cloud.brokers.postgresql import PostgreSQLBroker
from taskq_cloud.core.ports import Depth
from taskq_cloud.errors import OperationalError
from taskq_cloud.testing.driving import driving
from taskq_cloud.testing.waiting import until
from tests.faults.deployment import kill_something
from tests.faults.test_pubsub_accounting import PubSubDeployment

pytestmark = pytest.mark.slow

TASKS = 200


class PostgreSQLDeployment(PubSubDeployment):
    """A queue in PostgreSQL, results in SQLite, and the workers."""

    def __init__(self, server: Emulator, directory: Path) -> None:
        self.postgresql = server
        self.directory = directory
        self.runs_path = directory / "runs"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.results = directory / "results.db"

    @property
    def url(self) -> str:
        return f"{self.postgresql.url}/postgres"

    def environment(self) -> dict[str, str]:
        return {
            "TASKQ_BROKER": self.url,
            "TASKQ_RESULTS": f"sqlite:///{self.results}",
            "TASKQ_VISIBILITY_TIMEOUT": "3",
            "TASKQ_WAIT_TIME_SECONDS": "1",
            "TASKQ_TASK_MAX_RECEIVES": "100",
            "FAULT_RUNS": str(self.runs_path),
        }

    def depth(self, queue: str) -> Depth:
        broker = PostgreSQLBroker.from_url(urlsplit(self.url), {})
        with driving("sync", broker.services) as run:
            return run(broker.depth(queue))

    def left(self) -> int:
        return self.depth("celery").total

    def end_connections(self) -> int:
        """End all connections but this one, as an administrator or a failover would; returns their number."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchall()
        return len(rows)


@pytest.fixture
def deployment(own_server: Callable[[str], Emulator], tmp_path: Path) -> Iterator[PostgreSQLDeployment]:
    deployment = PostgreSQLDeployment(own_server("postgresql"), tmp_path)
    yield deployment
    deployment.stop()


def check_accounts(deployment: PostgreSQLDeployment, sent: dict[str, int]) -> None:
    """Check that exactly the sent tasks have results, each with its own value, and that no message is left."""
    until(lambda: deployment.final() >= len(sent), lambda: f"{deployment.final()} ended\n{deployment.logs()}", 60)
    documents = deployment.documents()
    assert {task_id: document["result"] for task_id, document in documents.items()} == {
        task_id: number**2 for task_id, number in sent.items()
    }
    assert set(deployment.runs()) == set(sent.values())
    until(lambda: deployment.left() == 0, lambda: f"{deployment.left()} messages left\n{deployment.logs()}", 30)
    assert deployment.depth("celery-dead") == Depth(0, 0, 0)


def test_no_task_is_lost_through_killed_workers_and_a_killed_server(deployment: PostgreSQLDeployment) -> None:
    rng, options = random.Random(3), ("-P", "processes", "-c", "2", "--prefetch-multiplier", "8")
    sent = deployment.send_squares(range(TASKS))
    for _ in range(2):
        deployment.start_worker(*options)
    for kills in range(1, 5):
        until(lambda: deployment.final() >= kills * TASKS // 8, deployment.logs, 60)
        kill_something(deployment, rng, options)
        if kills == 1:
            assert deployment.end_connections() > 0
        if kills in (2, 3):
            deployment.postgresql.kill()
            deployment.postgresql.start()
            more = range(kills * TASKS, kills * TASKS + 50)
            sent |= deployment.send_squares(more)
    check_accounts(deployment, sent)


def test_committed_calls_run_once_and_rolled_back_ones_never(deployment: PostgreSQLDeployment) -> None:
    """Callers commit, roll back, and lose their connections or their server in the middle of their transactions."""
    deployment.start_worker("-P", "threads", "-c", "4")
    app, rng = deployment.app(), random.Random(7)
    square = app.task(name="fault_app.square")(lambda number: None)
    committed: dict[str, int] = {}
    for number in range(60):
        with suppress(psycopg.Error, OperationalError), psycopg.connect(deployment.url) as connection:
            with app.transaction(connection):
                result = square.delay(number)
            match rng.choice(
                ["commit", "commit", "roll back", "end connection", "kill server" if number == 30 else ""]
            ):
                case "commit":
                    connection.commit()
                    committed[result.id] = number
                case "end connection":
                    deployment.end_connections()
                case "kill server":
                    deployment.postgresql.kill()
                    deployment.postgresql.start()
            connection.rollback()
    app.close()
    assert len(committed) > 15
    check_accounts(deployment, committed)
    assert set(deployment.runs().values()) == {1}


def test_message_whose_send_returned_is_there_after_the_server_was_killed(deployment: PostgreSQLDeployment) -> None:
    app = deployment.app()
    square = app.task(name="fault_app.square")(lambda number: None)
    accepted: dict[str, int] = {}
    for number in range(60):
        if number == 30:
            deployment.postgresql.kill()
        try:
            accepted[square.delay(number).id] = number
        except OperationalError:
            deployment.postgresql.start()
    app.close()
    assert len(accepted) == 59
    assert deployment.left() == 59
    deployment.start_worker("-P", "threads", "-c", "4")
    check_accounts(deployment, accepted)


def test_poisonous_task_is_dead_lettered_after_its_receives(deployment: PostgreSQLDeployment) -> None:
    deployment.environment = lambda base=deployment.environment: {  # type: ignore[method-assign,misc]
        **base(),
        "TASKQ_VISIBILITY_TIMEOUT": "1",
        "TASKQ_TASK_MAX_RECEIVES": "2",
    }
    app = deployment.app()
    app.send_task("fault_app.slow_square", (7, 60))
    app.close()
    for run in (1, 2):
        worker = deployment.start_worker("-P", "solo")
        until(lambda: deployment.runs()[7] == run, deployment.logs, 30)
        worker.kill()
        worker.wait()
    deployment.start_worker("-P", "solo")
    until(lambda: deployment.depth("celery-dead") == Depth(1, 0, 0), deployment.logs, 30)
    assert deployment.left() == 0
