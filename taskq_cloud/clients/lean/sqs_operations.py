"""The operations of SQS that the lean driver makes (Amazon SQS API Reference)."""

from __future__ import annotations

from typing import Final

from taskq_cloud.clients.lean.shapes import BLOB, FLAG, INTEGER, TEXT, TEXT_MAP, TEXTS, ListOf, MapOf, Shape, Structure

TARGET: Final = "AmazonSQS"
"""The prefix of an operation's name in the header ``X-Amz-Target``."""

_ATTRIBUTE: Final = Structure(
    ["DataType"],
    StringValue=TEXT,
    BinaryValue=BLOB,
    StringListValues=TEXTS,
    BinaryListValues=ListOf(BLOB),
    DataType=TEXT,
)
_MESSAGE: Final[dict[str, Shape]] = {
    "MessageBody": TEXT,
    "DelaySeconds": INTEGER,
    "MessageAttributes": MapOf(_ATTRIBUTE),
    "MessageSystemAttributes": MapOf(_ATTRIBUTE),
    "MessageDeduplicationId": TEXT,
    "MessageGroupId": TEXT,
}
_SENT: Final[dict[str, Shape]] = {
    "MessageId": TEXT,
    "MD5OfMessageBody": TEXT,
    "MD5OfMessageAttributes": TEXT,
    "MD5OfMessageSystemAttributes": TEXT,
    "SequenceNumber": TEXT,
}
_RECEIVED: Final = Structure(
    MessageId=TEXT,
    ReceiptHandle=TEXT,
    MD5OfBody=TEXT,
    Body=TEXT,
    Attributes=TEXT_MAP,
    MD5OfMessageAttributes=TEXT,
    MessageAttributes=MapOf(_ATTRIBUTE),
)
_FAILED: Final = ListOf(Structure(["Id", "SenderFault", "Code"], Id=TEXT, SenderFault=FLAG, Code=TEXT, Message=TEXT))
_NOTHING: Final = Structure()


def _batch(entry: Structure) -> Structure:
    return Structure(["QueueUrl", "Entries"], QueueUrl=TEXT, Entries=ListOf(entry))


def _batch_answer(successful: Structure) -> Structure:
    return Structure(["Successful", "Failed"], Successful=ListOf(successful), Failed=_FAILED)


_ID: Final = _batch_answer(Structure(["Id"], Id=TEXT))

OPERATIONS: Final[dict[str, tuple[str, Structure, Structure]]] = {
    "send_message": (
        "SendMessage",
        Structure(["QueueUrl", "MessageBody"], QueueUrl=TEXT, **_MESSAGE),
        Structure(**_SENT),
    ),
    "send_message_batch": (
        "SendMessageBatch",
        _batch(Structure(["Id", "MessageBody"], Id=TEXT, **_MESSAGE)),
        _batch_answer(Structure(["Id", "MessageId", "MD5OfMessageBody"], Id=TEXT, **_SENT)),
    ),
    "receive_message": (
        "ReceiveMessage",
        Structure(
            ["QueueUrl"],
            QueueUrl=TEXT,
            AttributeNames=TEXTS,
            MessageSystemAttributeNames=TEXTS,
            MessageAttributeNames=TEXTS,
            MaxNumberOfMessages=INTEGER,
            VisibilityTimeout=INTEGER,
            WaitTimeSeconds=INTEGER,
            ReceiveRequestAttemptId=TEXT,
        ),
        Structure(Messages=ListOf(_RECEIVED)),
    ),
    "delete_message": (
        "DeleteMessage",
        Structure(["QueueUrl", "ReceiptHandle"], QueueUrl=TEXT, ReceiptHandle=TEXT),
        _NOTHING,
    ),
    "delete_message_batch": (
        "DeleteMessageBatch",
        _batch(Structure(["Id", "ReceiptHandle"], Id=TEXT, ReceiptHandle=TEXT)),
        _ID,
    ),
    "change_message_visibility": (
        "ChangeMessageVisibility",
        Structure(
            ["QueueUrl", "ReceiptHandle", "VisibilityTimeout"],
            QueueUrl=TEXT,
            ReceiptHandle=TEXT,
            VisibilityTimeout=INTEGER,
        ),
        _NOTHING,
    ),
    "change_message_visibility_batch": (
        "ChangeMessageVisibilityBatch",
        _batch(Structure(["Id", "ReceiptHandle"], Id=TEXT, ReceiptHandle=TEXT, VisibilityTimeout=INTEGER)),
        _ID,
    ),
    "get_queue_url": (
        "GetQueueUrl",
        Structure(["QueueName"], QueueName=TEXT, QueueOwnerAWSAccountId=TEXT),
        Structure(QueueUrl=TEXT),
    ),
    "get_queue_attributes": (
        "GetQueueAttributes",
        Structure(["QueueUrl"], QueueUrl=TEXT, AttributeNames=TEXTS),
        Structure(Attributes=TEXT_MAP),
    ),
}
"""Method of the SDK -> the operation's name, the shape of its parameters, and the shape of its answer."""
