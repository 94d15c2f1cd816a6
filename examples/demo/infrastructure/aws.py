"""SQS as a broker, and DynamoDB or S3 as a result store, on a local AWS stack.

``taskq provision`` creates the queues, the table and the bucket; in an account, Terraform would create them. The Lambda
function is in ``aws_function``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from demo.infrastructure.aws_function import FUNCTION, client, start_function
from demo.infrastructure.interface import (
    EXAMPLES,
    PREFIX,
    RESULTS,
    Infrastructure,
    Machine,
    Meter,
    RunningBroker,
    RunningStore,
    Unavailable,
)
from emulators.aws import REGION

BROKER_URL: Final = f"sqs://{REGION}/{PREFIX}"


def _start_sqs(machine: Machine) -> RunningBroker:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    sqs = client("sqs", stack.endpoint_url)
    _provision(f"dynamodb://{RESULTS}")
    machine.say(f"Created the SQS queues {PREFIX}orders and {PREFIX}images, and their dead-letter queues")

    def serve_images(environment: Mapping[str, str]) -> None:
        endpoint = {"AWS_ENDPOINT_URL": stack.endpoint_url}
        start_function(machine, stack.endpoint_url, _arn(sqs, "images"), {**endpoint, **environment})
        machine.say(f"The Lambda function {FUNCTION} serves the queue {PREFIX}images")

    return RunningBroker(
        url=BROKER_URL,
        environment={"AWS_ENDPOINT_URL_SQS": counter.endpoint_url},
        uncounted={"endpoint_url": stack.endpoint_url},
        prefix=PREFIX,
        workers={"container": "orders"},
        start_function=serve_images,
        meter=Meter("SQS", counter, "Requests with which Lambda itself polls the queue are not counted."),
    )


def _arn(sqs: Any, queue: str) -> str:
    url = sqs.get_queue_url(QueueName=PREFIX + queue)["QueueUrl"]
    arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return arn


def _provision(results: str) -> None:
    """Run ``taskq provision``, which creates the resources that the shop declares; existing ones are kept."""
    settings = {"TASKQ_BROKER": BROKER_URL, "TASKQ_RESULTS": results}
    provisioned = subprocess.run(
        [sys.executable, "-m", "taskq_cloud", "-A", "shop", "provision"],
        cwd=EXAMPLES,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    if provisioned.returncode:
        raise Unavailable(f"taskq provision could not create the shop's resources: {provisioned.stderr.strip()}")


def _start_dynamodb(machine: Machine) -> RunningStore:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    _provision(f"dynamodb://{RESULTS}")
    machine.say(f"Created the DynamoDB table {RESULTS}")
    return RunningStore(
        url=f"dynamodb://{RESULTS}",
        environment={"AWS_ENDPOINT_URL_DYNAMODB": counter.endpoint_url},
        uncounted={},
        contents=f"items in the DynamoDB table {RESULTS}",
        key_of="celery-task-meta-{}".format,
        meter=Meter("DynamoDB", counter),
    )


def _start_s3(machine: Machine) -> RunningStore:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    _provision(f"s3://{RESULTS}")
    machine.say(f"Created the S3 bucket {RESULTS}")
    return RunningStore(
        url=f"s3://{RESULTS}",
        environment={"AWS_ENDPOINT_URL_S3": counter.endpoint_url},
        uncounted={},
        contents=f"objects in the S3 bucket {RESULTS}",
        key_of="celery-task-meta-{}".format,
        meter=Meter("S3", counter),
    )


SQS = Infrastructure(_start_sqs)
DYNAMODB = Infrastructure(_start_dynamodb)
S3 = Infrastructure(_start_s3)
