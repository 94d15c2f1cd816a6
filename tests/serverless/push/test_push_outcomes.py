"""Test the outcome of a pushed message's task, and the status that the endpoint answers Pub/Sub with."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq_cloud import TaskQ, chord
from taskq_cloud.core.model.message import Acknowledge
from tests.brokers.pubsub_server import PubSubServer
from tests.serverless.pushing import PROJECT, SUBSCRIPTION, Issuer, dead_letters, envelope, post

TASKS_QUEUE = f"projects/{PROJECT}/locations/europe-west1/queues/later"


def test_unknown_task_is_pushed_again_until_its_attempts_run_out(
    push: Callable[..., int], server: PubSubServer
) -> None:
    assert push("unknown.task", attempt=1) == 503
    assert push("unknown.task", attempt=5) == 204
    assert len(dead_letters(server)) == 1


def test_message_pushed_twice_runs_once(push: Callable[..., int], ran: list[Any]) -> None:
    assert [push("add", 1, attempt=attempt) for attempt in (None, None, 2)] == [204] * 3
    assert ran == [1]


def test_workflow_finishes_by_pushes_that_each_come_twice(url: str, issuer: Issuer, app: TaskQ, ran: list[Any]) -> None:
    @app.task(name="total")
    def total(numbers: list[int], more: int = 0) -> int:
        return sum(numbers) + more

    add = app.signature("add")
    header = [app.signature("add", [number], immutable=True) for number in range(3)]
    result = (add.clone([10]) | chord(header, total.s(4)) | add).delay()
    deadline = time.monotonic() + 30
    while not result.ready():
        assert time.monotonic() < deadline, result.state
        for delivery in app.run(app.broker.receive("celery", 10, 0.1, 60)):
            for attempt in (1, 2):
                pushed = envelope(delivery.body, SUBSCRIPTION, attempt, messageId=delivery.message_id)
                assert post(url, pushed, issuer.token())[0] == 204
            app.run(app.broker.settle([Acknowledge(delivery)]))
    assert result.get(timeout=1) == 7
    # A message that comes twice may send and run the next task twice, but the workflow has one result.
    assert set(ran) == {0, 1, 2, 7, 10}


def test_errback_that_takes_the_error_is_called_by_the_endpoint(
    url: str, issuer: Issuer, app: TaskQ, server: PubSubServer, ran: list[Any]
) -> None:
    @app.task(name="called")
    def called(request: Any, exc: Exception, traceback: str) -> None:
        ran.append((request.id, exc.args, "in fail" in traceback))

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("no")

    fail.s().link_error(called.s()).apply_async(task_id="f")
    (delivery,) = app.run(app.broker.receive("celery", 10, 0.1, 60))
    for attempt in (1, 2):
        assert post(url, envelope(delivery.body, SUBSCRIPTION, attempt), issuer.token())[0] == 204
    assert ran == [("f", ("no",), True)]


def test_retry_is_sent_as_a_new_message(push: Callable[..., int], app: TaskQ, server: PubSubServer) -> None:
    assert push("again", 1) == 204
    assert app.AsyncResult("t-1").state == "RETRY"
    assert server.left("shop-celery") == 1


def test_time_limit_ends_task_at_the_endpoint(push: Callable[..., int], app: TaskQ) -> None:
    assert push("busy") == 204
    assert app.AsyncResult("t-1").state == "FAILURE"
    assert "TimeLimitExceeded" in repr(app.AsyncResult("t-1").result)


def test_task_ended_by_the_deadline_is_answered_503(push: Callable[..., int], app: TaskQ) -> None:
    assert push("unlimited", attempt=1) == 503
    assert app.AsyncResult("t-1").state == "PENDING"


def test_task_longer_than_the_deadline_is_not_started_and_logged(
    push: Callable[..., int], ran: list[Any], server: PubSubServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert push("long", attempt=1) == 503
    assert "raise the endpoint's deadline_seconds" in caplog.text
    assert push("long", attempt=5) == 204
    assert len(dead_letters(server)) == 1
    assert ran == []


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_task_not_due_is_answered_503_without_a_delay_service(
    push: Callable[..., int], server: PubSubServer, ran: list[Any]
) -> None:
    assert push("add", 1, eta=later(60)) == 503
    assert server.left("shop-celery") == 0
    assert ran == []


class TestWithCloudTasks:
    @pytest.fixture
    def options(self, server: PubSubServer) -> dict[str, Any]:
        server.task_queues.add(TASKS_QUEUE)
        return {"cloud_tasks_queue": TASKS_QUEUE, "cloud_tasks_service_account": "later@example.com"}

    def test_task_not_due_is_given_to_cloud_tasks(
        self, push: Callable[..., int], server: PubSubServer, ran: list[Any]
    ) -> None:
        assert push("add", 1, eta=later(60)) == 204
        assert len(server.tasks) == 1
        assert ran == []

    def test_retry_is_given_to_cloud_tasks(self, push: Callable[..., int], server: PubSubServer) -> None:
        assert push("again", 1) == 204
        assert len(server.tasks) == 1
        assert server.left("shop-celery") == 0
