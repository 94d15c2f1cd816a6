"""Tests that a fault of a deployment is reported while it lasts, and that work resumes by itself afterwards."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from emulators.aws import Ministack, environment
from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import until
from tests.faults.deployment import AWSDeployment, deployed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_stack: Ministack) -> Iterator[AWSDeployment]:
    with deployed(own_stack, tmp_path) as made:
        for name, value in environment(made.counter.endpoint_url).items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def app(deployment: AWSDeployment) -> Iterator[TaskQ]:
    made = deployment.app()
    yield made
    made.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def health(port: int) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def send_squares(app: TaskQ, numbers: range) -> set[int]:
    def square(number: int) -> None:
        """Stands for the worker's task."""

    name = "fault_app.square"
    task = app.tasks.get(name) or app.task(name=name)(square)
    task.map_async([(number,) for number in numbers])
    return set(numbers)


def check_each_ran_once(deployment: AWSDeployment, numbers: set[int]) -> None:
    until(lambda: deployment.final() == len(numbers), deployment.logs, 60)
    assert deployment.states() == {"SUCCESS": len(numbers)}
    assert deployment.runs() == dict.fromkeys(numbers, 1)
    until(lambda: deployment.left() == 0, lambda: f"{deployment.left()} messages left", 30)


def test_deleted_queue_shows_in_health_and_is_served_once_recreated(
    deployment: AWSDeployment, app: TaskQ, free_port: int
) -> None:
    deployment.start_worker("-P", "threads", "-c", "2", "--health-port", str(free_port))
    sent = send_squares(app, range(10))
    check_each_ran_once(deployment, sent)
    assert health(free_port)["queues"]["celery"]["error"] is None
    deployment.sqs.delete_queue(QueueUrl=deployment.queue_url)
    until(lambda: "does not exist" in str(health(free_port)["queues"]["celery"]["error"]), deployment.logs, 30)
    assert "no messages can be received from queue celery; next attempt in 1 s" in deployment.logs()
    deployment.sqs.create_queue(QueueName=f"{deployment.prefix}celery")
    sent |= send_squares(app, range(10, 20))
    check_each_ran_once(deployment, sent)
    assert health(free_port)["queues"]["celery"]["error"] is None
    assert "Traceback" not in deployment.logs()


def test_results_wait_for_a_missing_table(deployment: AWSDeployment, app: TaskQ) -> None:
    sent = send_squares(app, range(12))
    deployment.dynamodb.delete_table(TableName=f"{deployment.prefix}results")
    deployment.start_worker("-P", "threads", "-c", "2")
    until(lambda: "does not exist" in deployment.logs(), deployment.logs, 30)
    deployment.create_table()
    check_each_ran_once(deployment, sent)


def test_worker_started_before_its_endpoint_serves_it_later(deployment: AWSDeployment, app: TaskQ) -> None:
    sent = send_squares(app, range(5))
    deployment.stack.stop()
    worker = deployment.start_worker("-P", "threads", "-c", "2")
    until(lambda: "no messages can be received from queue celery" in deployment.logs(), deployment.logs, 30)
    assert worker.poll() is None
    deployment.stack.start()
    check_each_ran_once(deployment, sent)


def test_repeatedly_expired_credentials_cost_no_second_run(deployment: AWSDeployment, app: TaskQ) -> None:
    sent = send_squares(app, range(200))
    for operation in ("ReceiveMessage", "PutItem", "UpdateItem", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"):
        deployment.counter.fail_next(operation, "expired_token", 9)
    deployment.start_worker("-P", "threads", "-c", "4")
    check_each_ran_once(deployment, sent)
    assert "Traceback" not in deployment.logs()


def test_worker_without_its_endpoint_ends_in_time(deployment: AWSDeployment, app: TaskQ) -> None:
    worker = deployment.start_worker("-P", "threads", "-c", "1", "--shutdown-timeout", "6")
    app.send_task("fault_app.slow_square", (1, 3600))
    until(lambda: deployment.runs() == {1: 1}, deployment.logs, 30)
    deployment.stack.stop()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0, deployment.logs()
    deployment.stack.start()
