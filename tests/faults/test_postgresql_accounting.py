"""Test that every task is accounted for on PostgreSQL, through killed workers, callers and servers."""

from __future__ import annotations

import random
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
from tests.faults.server_deployment import TASKS, ServerDeployment, depth_of

pytestmark = pytest.mark.slow


class PostgreSQLDeployment(ServerDeployment):
    """A queue in PostgreSQL, results in SQLite, and the workers."""

    @property
    def broker_url(self) -> str:
        return f"{self.server.url}/postgres"

    def depth(self, queue: str) -> Depth:
        return depth_of(PostgreSQLBroker.from_url(urlsplit(self.broker_url), {}), queue)

    def end_connections(self) -> int:
        """End all connections but this one, as an administrator or a failover would; returns their number."""
        with psycopg.connect(self.broker_url, autocommit=True) as connection:
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


def test_no_task_is_lost_through_killed_workers_and_a_killed_server(deployment: PostgreSQLDeployment) -> None:
    sent = deployment.send_squares(range(TASKS))
    for kill in deployment.kill_workers(4):
        if kill == 1:
            assert deployment.end_connections() > 0
        if kill in (2, 3):
            deployment.restart_server()
            sent |= deployment.send_squares(range(kill * TASKS, kill * TASKS + 50))
    deployment.check_accounts(sent)


def test_committed_calls_run_once_and_rolled_back_ones_never(deployment: PostgreSQLDeployment) -> None:
    """Callers commit, roll back, and lose their connections or their server in the middle of their transactions."""
    deployment.start_worker("-P", "threads", "-c", "4")
    app, rng = deployment.app(), random.Random(7)
    square = app.task(name="fault_app.square")(lambda number: None)
    committed: dict[str, int] = {}
    for number in range(60):
        with suppress(psycopg.Error, OperationalError), psycopg.connect(deployment.broker_url) as connection:
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
                    deployment.restart_server()
            connection.rollback()
    app.close()
    assert len(committed) > 15
    deployment.check_accounts(committed)
    assert set(deployment.runs().values()) == {1}


def test_message_whose_send_returned_is_there_after_the_server_was_killed(deployment: PostgreSQLDeployment) -> None:
    deployment.check_sends_outlive_a_kill()


def test_poisonous_task_is_dead_lettered_after_its_receives(deployment: PostgreSQLDeployment) -> None:
    deployment.settings["TASKQ_VISIBILITY_TIMEOUT"] = "1"
    deployment.kill_runs_until_dead_lettered()
