"""A function with the batch processor of Powertools for AWS Lambda, which stores a result for each record."""

from typing import Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from work import TABLE, counted


def consumer() -> Any:
    dynamodb = boto3.client("dynamodb")
    processor = BatchProcessor(event_type=EventType.SQS)

    def store(record: SQSRecord) -> None:
        item = {"id": {"S": record.message_id}, "result": {"S": record.body}}
        dynamodb.put_item(TableName=TABLE, Item=item)

    def work(event: Any, context: Any) -> Any:
        return process_partial_response(event=event, record_handler=store, processor=processor, context=context)

    return counted(work)
