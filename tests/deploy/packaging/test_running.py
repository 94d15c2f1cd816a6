"""Tests of built archives, which AWS's own runtime client runs in an interpreter without other packages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.deploy.packaging.build import Package

pytestmark = pytest.mark.slow

APP = {"TASKQ_APP": "shop.tasks:app"}


def sqs_event(message: dict[str, Any], queue: str) -> dict[str, Any]:
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:000000000000:{queue}",
    }
    return {"Records": [record]}


def test_batch_is_run_and_caller_reads_its_result(
    unpacked: tuple[Package, list[Path]],
    run_function: Callable[..., Any],
    aws_environment: dict[str, str],
    sqs_client: Any,
    make_queue: Callable[..., str],
    make_table: Callable[..., str],
) -> None:
    queue = make_queue("work")
    settings = {"broker": "sqs://eu-west-1/", "results": f"dynamodb://{make_table()}"}
    variables = {f"TASKQ_{name.upper()}": value for name, value in settings.items()}
    caller = TaskQ("caller", **settings)
    result = caller.send_task("shop.tasks.add", [2, 3], queue=queue)
    url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]
    (message,) = sqs_client.receive_message(QueueUrl=url, AttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    with run_function(unpacked[1], {**APP, **variables, **aws_environment}) as (api, _):
        assert api.invoke(sqs_event(message, queue)) == ("response", {"batchItemFailures": []})
    assert result.get(timeout=5) == 5
    caller.close()


def test_record_that_does_not_fit_into_remaining_time_is_given_back(
    unpacked: tuple[Package, list[Path]],
    run_function: Callable[..., Any],
    aws_environment: dict[str, str],
    sqs_client: Any,
    make_queue: Callable[..., str],
) -> None:
    queue = make_queue("work")
    url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]
    sqs_client.send_message(QueueUrl=url, MessageBody=json.dumps({"task": "shop.tasks.add", "args": [1, 2]}))
    (message,) = sqs_client.receive_message(QueueUrl=url, AttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    environment = {**APP, **aws_environment, "TASKQ_BROKER": "sqs://eu-west-1/"}
    with run_function(unpacked[1], environment) as (api, _):
        kind, answer = api.invoke(sqs_event(message, queue), seconds=10)
    assert (kind, answer) == ("response", {"batchItemFailures": [{"itemIdentifier": message["MessageId"]}]})


def test_repeated_message_of_a_schedule_runs_once(
    unpacked: tuple[Package, list[Path]],
    run_function: Callable[..., Any],
    aws_environment: dict[str, str],
    sqs_client: Any,
    dynamodb_client: Any,
    make_queue: Callable[..., str],
    make_table: Callable[..., str],
) -> None:
    queue, table = make_queue("work"), make_table()
    settings = {"broker": "sqs://eu-west-1/", "results": f"dynamodb://{table}"}
    declared = TaskQ(
        "declared",
        **settings,
        scheduler="eventbridge://shop?role=arn:aws:iam::000000000000:role/shop-scheduler",
        task_default_queue=queue,
        beat_schedule={"nightly": {"task": "shop.tasks.add", "args": [2, 3], "schedule": "0 3 * * *"}},
        deployment={"schedules": "terraform"},
    )
    declared.task(name="shop.tasks.add", time_limit=20)(lambda a, b: a + b)
    (schedule,) = declared.topology().schedules
    declared.close()
    # EventBridge Scheduler replaces the context attributes in a schedule's input.
    body = schedule.input.replace("<aws.scheduler.scheduled-time>", "2026-11-28T03:00:00Z")
    body = re.sub(r"<aws\.scheduler\.[a-z-]+>", "filled", body)
    url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]
    for _ in range(2):
        sqs_client.send_message(QueueUrl=url, MessageBody=body)
    variables = {f"TASKQ_{name.upper()}": value for name, value in settings.items()}
    with run_function(unpacked[1], {**APP, **variables, **aws_environment}) as (api, process):
        for _ in range(2):
            answer = sqs_client.receive_message(QueueUrl=url, AttributeNames=["All"], WaitTimeSeconds=5)
            (message,) = answer["Messages"]
            assert api.invoke(sqs_event(message, queue)) == ("response", {"batchItemFailures": []})
        process.kill()
        assert process.stdout.read().count("adding") == 1
    stored = dynamodb_client.scan(TableName=table)["Items"]
    results = [item["result"]["B"] for item in stored if item["id"]["S"].startswith("celery-task-meta-")]
    assert [json.loads(each)["result"] for each in results] == [5]


def test_eventbridge_event_calls_task_of_its_route(
    unpacked: tuple[Package, list[Path]], run_function: Callable[..., Any]
) -> None:
    routes = {"TASKQ_TASK_EVENT_ROUTES": json.dumps({"shop:Order*": "shop.tasks.placed"})}
    event = {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "source": "shop",
        "detail-type": "Order placed",
        "account": "000000000000",
        "time": "2026-11-28T03:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": {"order": 4711},
    }
    environment = {**APP, **routes, "TASKQ_BROKER": "memory://", "TASKQ_RESULTS": "memory://"}
    with run_function(unpacked[1], environment) as (api, _):
        kind, answer = api.invoke(event)
        assert (kind, answer["status"], answer["result"]) == ("response", "SUCCESS", 4711)
        kind, answer = api.invoke({**event, "detail-type": "Refund"})
        assert (kind, answer["errorType"]) == ("error", "DecodeError")


def test_direct_invocation_returns_result_or_error(
    unpacked: tuple[Package, list[Path]], run_function: Callable[..., Any]
) -> None:
    with run_function(unpacked[1], {**APP, "TASKQ_BROKER": "memory://", "TASKQ_RESULTS": "memory://"}) as (api, _):
        kind, answer = api.invoke({"task": "shop.tasks.add", "args": [2, 3]})
        assert (kind, answer["status"], answer["result"]) == ("response", "SUCCESS", 5)
        kind, answer = api.invoke({"task": "shop.tasks.ad", "args": [2, 3]})
        assert (kind, answer["errorType"]) == ("error", "NotRegistered")


def test_json_log_lines_of_a_task_carry_its_id(
    unpacked: tuple[Package, list[Path]], run_function: Callable[..., Any]
) -> None:
    environment = {
        **APP,
        "TASKQ_BROKER": "memory://",
        "TASKQ_RESULTS": "memory://",
        "TASKQ_LOG_LEVEL": "info",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
    }
    with run_function(unpacked[1], environment) as (api, process):
        api.invoke({"task": "shop.tasks.add", "id": "4711", "args": [2, 3]})
        process.kill()
        lines = [json.loads(line) for line in process.stdout.read().splitlines() if line.startswith("{")]
    assert {(line["logger"], line.get("task_id"), line.get("action")) for line in lines} >= {
        ("shop", "4711", None),
        ("taskq_cloud.execution", "4711", "task.succeeded"),
    }


def test_start_without_application_fails_with_a_reason(
    unpacked: tuple[Package, list[Path]], run_function: Callable[..., Any]
) -> None:
    with run_function(unpacked[1], {}) as (api, _):
        kind, answer = api.answer()
    assert kind == "init"
    assert answer["errorType"] == "ImproperlyConfigured"
    assert "TASKQ_APP is not set: set it to the application" in answer["errorMessage"]
