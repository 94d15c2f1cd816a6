"""What the shop needs of AWS: queues, dead-letter queues, a table or a bucket. ``taskq provision`` makes them.

In an account, Terraform would make the same. The Lambda function is in ``aws_function``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from demo.infrastructure.aws_function import FUNCTION, client, start_function
from demo.infrastructure.places import (
    EXAMPLES,
    PREFIX,
    RESULTS,
    BrokerPlace,
    Infrastructure,
    Machine,
    Meter,
    StorePlace,
    Unavailable,
)
from taskq_cloud.stores.results._dynamodb_items import KEY_FORMATS
from taskq_cloud.testing.aws_stacks import REGION

BROKER_URL: Final = f"sqs://{REGION}/{PREFIX}"


def _start_sqs(machine: Machine) -> BrokerPlace:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    sqs = client("sqs", stack.endpoint_url)
    _provision(f"dynamodb://{RESULTS}")
    machine.say(f"SQS has the queues {PREFIX}orders and {PREFIX}images, and their dead-letter queues")

    def serve_images(environment: Mapping[str, str]) -> None:
        addresses = {"AWS_ENDPOINT_URL": stack.endpoint_url}
        start_function(machine, stack.endpoint_url, _arn(sqs, "images"), {**addresses, **environment})
        machine.say(f"The Lambda function {FUNCTION} serves the queue {PREFIX}images")

    return BrokerPlace(
        url=BROKER_URL,
        environment={"AWS_ENDPOINT_URL_SQS": counter.endpoint_url},
        uncounted={"endpoint_url": stack.endpoint_url},
        prefix=PREFIX,
        workers={"container": "orders"},
        start_function=serve_images,
        meter=Meter("SQS", counter, "not counted: how Lambda itself polls the queue of its function"),
    )


def _arn(sqs: Any, queue: str) -> str:
    url = sqs.get_queue_url(QueueName=PREFIX + queue)["QueueUrl"]
    arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn


def _provision(results: str) -> None:
    """Make what the shop declares: ``taskq provision``, as a user calls it. What is there already stays."""
    settings = {"TASKQ_BROKER": BROKER_URL, "TASKQ_RESULTS": results}
    made = subprocess.run(
        [sys.executable, "-m", "taskq_cloud", "-A", "shop", "provision"],
        cwd=EXAMPLES,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise Unavailable(f"taskq provision made nothing of what the shop needs: {made.stderr.strip()}")


def _start_dynamodb(machine: Machine) -> StorePlace:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    _provision(f"dynamodb://{RESULTS}")
    machine.say(f"DynamoDB has the table {RESULTS}")
    return StorePlace(
        url=f"dynamodb://{RESULTS}",
        environment={"AWS_ENDPOINT_URL_DYNAMODB": counter.endpoint_url},
        uncounted={},
        things=f"items in the DynamoDB table {RESULTS}",
        key_of=KEY_FORMATS["plain"],
        meter=Meter("DynamoDB", counter),
    )


def _start_s3(machine: Machine) -> StorePlace:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    _provision(f"s3://{RESULTS}")
    machine.say(f"S3 has the bucket {RESULTS}")
    return StorePlace(
        url=f"s3://{RESULTS}",
        environment={"AWS_ENDPOINT_URL_S3": counter.endpoint_url},
        uncounted={},
        things=f"objects in the S3 bucket {RESULTS}",
        key_of="celery-task-meta-{}".format,
        meter=Meter("S3", counter),
    )


SQS = Infrastructure(_start_sqs)
DYNAMODB = Infrastructure(_start_dynamodb)
S3 = Infrastructure(_start_s3)
