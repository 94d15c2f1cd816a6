"""Test that every task is accounted for on Redis, through killed workers and a killed server; results in SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.process import Emulator
from taskq_cloud.brokers.redis import RedisBroker
from taskq_cloud.core.ports import Depth
from tests.faults.server_deployment import TASKS, ServerDeployment, depth_of

pytestmark = pytest.mark.slow


class RedisDeployment(ServerDeployment):
    """A queue on a Redis server with an append-only file, results in SQLite, and the workers."""

    def depth(self, queue: str) -> Depth:
        return depth_of(RedisBroker(self.server.url), queue)


@pytest.fixture
def deployment(own_server: Callable[[str], Emulator], tmp_path: Path) -> Iterator[RedisDeployment]:
    deployment = RedisDeployment(own_server("redis"), tmp_path)
    yield deployment
    deployment.stop()


def test_no_task_is_lost_through_killed_workers_and_a_killed_server(deployment: RedisDeployment) -> None:
    sent = deployment.send_squares(range(TASKS))
    for kill in deployment.kill_workers(4):
        if kill in (2, 3):
            deployment.restart_server()
            sent |= deployment.send_squares(range(kill * TASKS, kill * TASKS + 50))
    deployment.check_accounts(sent)


def test_message_whose_send_returned_is_there_after_the_server_was_killed(deployment: RedisDeployment) -> None:
    deployment.check_sends_outlive_a_kill()


def test_poisonous_task_is_dead_lettered_after_its_receives(deployment: RedisDeployment) -> None:
    """A task whose worker dies each time is counted by the broker."""
    deployment.settings["TASKQ_VISIBILITY_TIMEOUT"] = "1"
    deployment.kill_runs_until_dead_lettered()
