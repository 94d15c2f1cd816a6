"""Functions on bare boto3: one sends a message, one stores a result for each record of a batch."""

import json
from typing import Any

import boto3
from work import QUEUE, TABLE, counted


def producer() -> Any:
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]

    def send(event: Any, context: Any) -> str:
        return str(sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"number": 1}))["MessageId"])

    return counted(send)


def consumer() -> Any:
    dynamodb = boto3.client("dynamodb")

    def work(event: Any, context: Any) -> dict[str, list[Any]]:
        for record in event["Records"]:
            dynamodb.put_item(TableName=TABLE, Item={"id": {"S": record["messageId"]}, "result": {"S": record["body"]}})
        return {"batchItemFailures": []}

    return counted(work)
