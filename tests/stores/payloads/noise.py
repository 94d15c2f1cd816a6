"""Incompressible text, and helpers that inspect a bucket and a queue."""

from __future__ import annotations

import base64
import random
from typing import Any

MB = 1_000_000


def noise(size: int) -> str:
    """Text of about this many characters, which compression doesn't make smaller."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()


def keys_of(s3_client: Any, bucket: str) -> list[str]:
    """The keys in a bucket."""
    return [each["Key"] for each in s3_client.list_objects_v2(Bucket=bucket).get("Contents", ())]


def received(sqs_client: Any, queue: str) -> dict[str, Any]:
    """Receive the next message of a queue, with its attributes."""
    url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]
    answer = sqs_client.receive_message(QueueUrl=url, WaitTimeSeconds=5, MessageAttributeNames=["All"])
    message: dict[str, Any]
    (message,) = answer["Messages"]
    return message


def dead_letter(sqs_client: Any, queue: str) -> str:
    """Receive the message in a queue's dead-letter queue, and return the reason in its attributes."""
    message = received(sqs_client, f"{queue}-dead")
    reason: str = message["MessageAttributes"]["dead_letter_reason"]["StringValue"]
    return reason
