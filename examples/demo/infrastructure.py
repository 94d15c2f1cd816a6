"""What the shop needs of AWS: queues, dead-letter queues, a table, a Lambda function. Made here, and never by the shop.

In an account, Terraform would make the same.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from taskq_cloud.core.ports import dead_letter_queue
from taskq_cloud.testing.local_stack import REGION

EXAMPLES = Path(__file__).parents[1]
PREFIX = "shop-"
QUEUES = ("orders", "images")
TABLE = "shop-results"
FUNCTION = "shop-images"
FUNCTION_TIMEOUT_SECONDS = 30

SHOP_SETTINGS = {"TASKQ_BROKER": f"sqs://{REGION}/{PREFIX}", "TASKQ_RESULTS": f"dynamodb://{TABLE}"}


def client(service: str, endpoint_url: str) -> Any:
    """A client of one of the stack's services."""
    session: Any = boto3.Session()
    return session.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - any will do
        config=Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard"}),
    )


def queue_url(sqs: Any, queue: str) -> str:
    """The URL of one of the shop's queues, by its name without the prefix."""
    url: str = sqs.get_queue_url(QueueName=PREFIX + queue)["QueueUrl"]
    return url


def provision(endpoint_url: str, function_environment: Mapping[str, str]) -> None:
    """Make everything.

    Args:
        endpoint_url: where the stack answers.
        function_environment: the environment of the Lambda function, beside the shop's settings.
    """
    sqs = client("sqs", endpoint_url)
    arns = {queue: _make_queue(sqs, queue) for queue in QUEUES}
    _make_table(client("dynamodb", endpoint_url))
    _make_function(client("lambda", endpoint_url), arns["images"], {**SHOP_SETTINGS, **function_environment})


def _make_queue(sqs: Any, queue: str) -> str:
    dead = sqs.create_queue(QueueName=PREFIX + dead_letter_queue(queue))["QueueUrl"]
    redrive = {"deadLetterTargetArn": _arn(sqs, dead), "maxReceiveCount": 5}
    attributes = {
        # Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping": six times the timeout.
        "VisibilityTimeout": str(6 * FUNCTION_TIMEOUT_SECONDS),
        "RedrivePolicy": json.dumps(redrive),
    }
    return _arn(sqs, sqs.create_queue(QueueName=PREFIX + queue, Attributes=attributes)["QueueUrl"])


def _arn(sqs: Any, url: str) -> str:
    arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn


def _make_table(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=TABLE, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    dynamodb.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})


def _make_function(functions: Any, queue_arn: str, environment: Mapping[str, str]) -> None:
    functions.create_function(
        FunctionName=FUNCTION,
        Runtime="python3.12",
        Role="arn:aws:iam::000000000000:role/shop-images",
        Handler="shop.handler.handler",
        Code={"ZipFile": _shop_as_zip()},
        Timeout=FUNCTION_TIMEOUT_SECONDS,
        MemorySize=512,
        Environment={"Variables": dict(environment)},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=FUNCTION, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    functions.create_event_source_mapping(
        EventSourceArn=queue_arn,
        FunctionName=FUNCTION,
        BatchSize=10,
        # Without it Lambda deletes a batch whole, whatever the handler says of its records.
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2},
    )


def _shop_as_zip() -> bytes:
    """The function's code: the shop alone, as the stack's functions can import what is installed here."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((EXAMPLES / "shop").glob("*.py")):
            file.write(path, path.relative_to(EXAMPLES))
    return archive.getvalue()


def function_log(endpoint_url: str) -> str:
    """What the function's invocations have logged, from CloudWatch Logs."""
    pages = client("logs", endpoint_url).get_paginator("filter_log_events")
    events = [event for page in pages.paginate(logGroupName=f"/aws/lambda/{FUNCTION}") for event in page["events"]]
    return "".join(f"{event['message'].rstrip()}\n" for event in sorted(events, key=lambda event: event["timestamp"]))
