"""What the shop needs of AWS: queues, dead-letter queues, a table or a bucket. Made here, and never by the shop.

In an account, Terraform would make the same. The Lambda function is in ``aws_function``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from demo.infrastructure.aws_function import FUNCTION, FUNCTION_TIMEOUT_SECONDS, client, start_function
from demo.infrastructure.places import PREFIX, QUEUES, RESULTS, BrokerPlace, Infrastructure, Machine, Meter, StorePlace
from taskq_cloud.core.ports import dead_letter_queue
from taskq_cloud.results.dynamodb_items import KEY_FORMATS
from taskq_cloud.testing import local_stack
from taskq_cloud.testing.local_stack import REGION


def _start_sqs(machine: Machine) -> BrokerPlace:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    sqs = client("sqs", stack.endpoint_url)
    arns = {queue: _make_queue(sqs, queue) for queue in QUEUES}
    machine.say(f"SQS has the queues {PREFIX}orders and {PREFIX}images, and their dead-letter queues")

    def serve_images(environment: Mapping[str, str]) -> None:
        addresses = {"AWS_ENDPOINT_URL": stack.endpoint_url}
        start_function(machine, stack.endpoint_url, arns["images"], {**addresses, **environment})
        machine.say(f"The Lambda function {FUNCTION} serves the queue {PREFIX}images")

    return BrokerPlace(
        url=f"sqs://{REGION}/{PREFIX}",
        environment={"AWS_ENDPOINT_URL_SQS": counter.endpoint_url},
        uncounted={"endpoint_url": stack.endpoint_url},
        prefix=PREFIX,
        workers={"container": "orders"},
        start_function=serve_images,
        meter=Meter("SQS", counter, "not counted: how Lambda itself polls the queue of its function"),
    )


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


def _start_dynamodb(machine: Machine) -> StorePlace:
    stack = machine.aws_stack()
    counter = machine.count_calls(stack.endpoint_url)
    dynamodb = client("dynamodb", stack.endpoint_url)
    dynamodb.create_table(
        TableName=RESULTS,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(TableName=RESULTS, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    dynamodb.update_time_to_live(TableName=RESULTS, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
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
    client("s3", stack.endpoint_url).create_bucket(
        Bucket=RESULTS, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    machine.say(f"S3 has the bucket {RESULTS}")
    return StorePlace(
        url=f"s3://{RESULTS}",
        environment={"AWS_ENDPOINT_URL_S3": counter.endpoint_url},
        uncounted={},
        things=f"objects in the S3 bucket {RESULTS}",
        key_of="celery-task-meta-{}".format,
        meter=Meter("S3", counter),
    )


SQS = Infrastructure(local_stack.missing, _start_sqs)
DYNAMODB = Infrastructure(local_stack.missing, _start_dynamodb)
S3 = Infrastructure(local_stack.missing, _start_s3)
