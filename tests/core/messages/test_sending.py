"""Sending messages to several queues if one of them can't be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from taskq_cloud import TaskQ, group
from taskq_cloud.errors import QueueNotFound, SendError


@pytest.fixture
def app(aws_environment: dict[str, str]) -> Iterator[TaskQ]:
    app = TaskQ("shop", broker="sqs://eu-west-1/", results="memory://")
    app.task(name="add")(lambda number: number)
    yield app
    app.close()


def test_error_lists_only_the_messages_that_were_not_sent(app: TaskQ, make_queue: Callable[..., str]) -> None:
    work = make_queue("work")
    members = [app.signature("add", [number]).set(queue=queue) for number, queue in enumerate([work, "gone", work])]
    with pytest.raises(SendError) as caught:
        group(members).delay()
    assert {place: type(error) for place, error in caught.value.failures.items()} == {1: QueueNotFound}
    depth = app.run(app.broker.depth(work))
    assert depth is not None
    assert depth.total == 2


def test_single_missing_queue_raises_its_own_error(app: TaskQ) -> None:
    with pytest.raises(QueueNotFound, match="gone"):
        group(app.signature("add", [number]).set(queue="gone") for number in range(2)).delay()
