"""Test batches with a task that ends the function's process: with AWS's runtime client, SQS and DynamoDB."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import DEAD_LETTER_REASON
from taskq_cloud.errors import WorkerLostError
from tests.serverless.local_function import LocalFunction, Mapped

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

MOST_RECEIVES = 5
MOST_SECONDS = 120


@pytest.mark.parametrize(
    ("how", "queue"),
    [("exits", "work"), ("runs out of memory", "work"), ("never returns", "work"), ("runs out of memory", "work.fifo")],
)
def test_task_that_ends_the_process_fails_and_its_batch_succeeds(
    how: str,
    queue: str,
    aws_environment: dict[str, str],
    sqs_client: Any,
    make_queue: Callable[..., str],
    make_table: Callable[..., str],
) -> None:
    prefix, (stem, dot, fifo) = f"shop-{uuid4().hex[:8]}-", queue.partition(".")
    dead = make_queue(f"{prefix}{stem}-dead{dot}{fifo}", exactly=True)
    dead_url = sqs_client.get_queue_url(QueueName=dead)["QueueUrl"]
    dead_arn = sqs_client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = f'{{"deadLetterTargetArn": "{dead_arn}", "maxReceiveCount": {MOST_RECEIVES}}}'
    name = make_queue(f"{prefix}{queue}", exactly=True, VisibilityTimeout="600", RedrivePolicy=redrive)
    settings = {"broker": f"sqs://eu-west-1/{prefix}", "results": f"dynamodb://{make_table()}"}
    variables = {f"TASKQ_{key.upper()}": value for key, value in settings.items()}
    caller = TaskQ("caller", task_default_queue=queue, **settings)
    group: dict[str, Any] = {"MessageGroupId": "group"} if fifo else {}
    calls = [("add", (1, 0)), ("add", (2, 0)), ("poison", (how,)), *(("add", (number, 0)) for number in (3, 4, 5))]
    sent = [caller.send_task(task, args, **group) for task, args in calls]

    most_received = 0
    with LocalFunction({**aws_environment, **variables, "TASKQ_TASK_DEFAULT_QUEUE": queue}, seconds=8) as function:
        mapping, deadline = Mapped(function, sqs_client, name), time.monotonic() + MOST_SECONDS
        while any(not result.ready() for result in sent):
            assert time.monotonic() < deadline, [result.state for result in sent]
            most_received = max([most_received, *(receives for _, receives in mapping.poll())])

    assert [each.get(1) for each in sent if each is not sent[2]] == [1, 2, 3, 4, 5]
    with pytest.raises(WorkerLostError, match="it may end the worker that runs it"):
        sent[2].get(1)
    assert (function.deaths, most_received) == (MOST_RECEIVES - 1, MOST_RECEIVES)
    received = sqs_client.receive_message(QueueUrl=dead_url, MessageAttributeNames=["All"], WaitTimeSeconds=5)
    (letter,) = received["Messages"]
    reason = letter["MessageAttributes"][DEAD_LETTER_REASON]["StringValue"]
    assert reason.startswith("WorkerLostError: received 5 times")
    caller.close()
