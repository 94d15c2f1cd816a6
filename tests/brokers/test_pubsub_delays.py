"""Tests of delays on Pub/Sub: parking by the receivers, and Cloud Tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import Acknowledge
from taskq_cloud.errors import DelayTooLong, OperationalError, PayloadTooLarge
from taskq_cloud.testing.contracts.receiving import LEASE_SECONDS
from tests.brokers.conftest import PROJECT
from tests.brokers.pubsub_server import PubSubServer

TASKS_QUEUE = f"projects/{PROJECT}/locations/europe-west1/queues/later"


@pytest.fixture
def app(pubsub_server: PubSubServer, tmp_path: Path) -> Iterator[TaskQ]:
    pubsub_server.make_queue("shop-celery")
    app = TaskQ("shop", broker=f"pubsub://{PROJECT}/shop-", results=f"sqlite:///{tmp_path}/results.db")
    app.task(name="notify")(lambda: None)
    yield app
    app.close()


@pytest.fixture
def app_with_tasks(pubsub_server: PubSubServer, app: TaskQ) -> Iterator[TaskQ]:
    pubsub_server.task_queues.add(TASKS_QUEUE)
    options = {"cloud_tasks_queue": TASKS_QUEUE, "cloud_tasks_service_account": "later@example.com"}
    other = TaskQ("shop", broker=app.conf.broker, results="disabled://", broker_transport_options=options)
    other.task(name="notify")(lambda: None)
    yield other
    other.close()


def test_call_due_within_ten_minutes_is_published_at_once(app: TaskQ, pubsub_server: PubSubServer) -> None:
    app.tasks["notify"].apply_async(countdown=600)
    assert pubsub_server.left("shop-celery") == 1


def test_call_due_after_ten_minutes_is_an_error_without_cloud_tasks(app: TaskQ, pubsub_server: PubSubServer) -> None:
    with pytest.raises(
        DelayTooLong, match=r"queue 'celery' holds a message back for at most 600 s: .*cloud_tasks_queue"
    ):
        app.tasks["notify"].apply_async(countdown=3600)
    with pytest.raises(DelayTooLong):
        app.tasks["notify"].apply_async(eta=datetime.now(UTC) + timedelta(days=2))
    assert pubsub_server.left("shop-celery") == 0


def test_cloud_tasks_publishes_a_call_when_it_is_due(app_with_tasks: TaskQ, pubsub_server: PubSubServer) -> None:
    app_with_tasks.tasks["notify"].apply_async(countdown=3600, message_attributes={"tenant": "a"})
    app_with_tasks.tasks["notify"].apply_async(countdown=60)
    [task] = pubsub_server.tasks
    assert task.http_request.url == f"https://pubsub.googleapis.com/v1/projects/{PROJECT}/topics/shop-celery:publish"
    assert task.http_request.oauth_token.service_account_email == "later@example.com"
    assert json.loads(task.http_request.body)["messages"][0]["attributes"] == {"tenant": "a"}

    broker = app_with_tasks.broker
    [soon] = app_with_tasks.run(broker.receive("celery", 10, 1, LEASE_SECONDS))
    app_with_tasks.run(broker.settle([Acknowledge(soon)]))
    pubsub_server.advance(3601)
    [due] = app_with_tasks.run(broker.receive("celery", 10, 5, LEASE_SECONDS))
    assert due.attributes == {"tenant": "a"}


def test_call_from_cloud_tasks_goes_to_the_end_of_its_group(app_with_tasks: TaskQ, pubsub_server: PubSubServer) -> None:
    pubsub_server.make_queue("shop-work.fifo", ordered=True)
    broker = app_with_tasks.broker

    def received(wait_seconds: float) -> list[tuple[str, str | None]]:
        found = app_with_tasks.run(broker.receive("work.fifo", 10, wait_seconds, LEASE_SECONDS))
        app_with_tasks.run(broker.settle([Acknowledge(each) for each in found]))
        return [(json.loads(each.body)["headers"]["id"], each.group) for each in found]

    for task_id, seconds in (("later", 3600), ("now", None)):
        options: dict[str, Any] = {
            "queue": "work.fifo",
            "MessageGroupId": "a",
            "task_id": task_id,
            "countdown": seconds,
        }
        app_with_tasks.tasks["notify"].apply_async(**options)
    assert received(1) == [("now", "a")]
    pubsub_server.advance(3601)
    assert received(5) == [("later", "a")]


def test_call_due_later_on_an_ordered_queue_is_an_error_without_cloud_tasks(app: TaskQ) -> None:
    with pytest.raises(DelayTooLong, match=r"queue 'work\.fifo' .*: a longer delay needs Cloud Tasks: set cloud_tasks"):
        app.tasks["notify"].apply_async(countdown=3600, queue="work.fifo")


def test_missing_cloud_tasks_queue_is_named_in_the_error(app_with_tasks: TaskQ, pubsub_server: PubSubServer) -> None:
    pubsub_server.task_queues.clear()
    with pytest.raises(OperationalError, match=f"{TASKS_QUEUE}, which does not exist"):
        app_with_tasks.tasks["notify"].apply_async(countdown=3600)


def test_call_too_large_for_cloud_tasks_is_refused(app_with_tasks: TaskQ, pubsub_server: PubSubServer) -> None:
    with pytest.raises(PayloadTooLarge, match="held by Cloud Tasks"):
        app_with_tasks.send_task("notify", ["x" * 900_000], countdown=3600)
