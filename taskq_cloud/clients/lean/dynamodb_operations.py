"""The operations of DynamoDB that the lean driver makes (Amazon DynamoDB API Reference).

Parameters that are older than expressions, and those that ask for the capacity that was consumed, are left to the SDK.
"""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.clients.lean.shapes import BLOB, FLAG, TEXT, TEXT_MAP, TEXTS, ListOf, MapOf, Scalar, Shape, Structure

TARGET: Final = "DynamoDB_20120810"
"""The prefix of an operation's name in the header ``X-Amz-Target``."""


class _Value:
    """An attribute's value, which may contain further values."""

    bare = False

    def __init__(self) -> None:
        self.members = Structure(
            S=TEXT,
            N=TEXT,
            B=BLOB,
            SS=TEXTS,
            NS=TEXTS,
            BS=ListOf(BLOB),
            M=MapOf(self),
            L=ListOf(self),
            NULL=FLAG,
            BOOL=FLAG,
        )

    def fits(self, value: Any) -> bool:
        """Whether a parameter has this shape."""
        return self.members.fits(value)

    def read(self, value: Any) -> Any:
        """Turn a value of an answer into the SDK's."""
        return self.members.read(value)


VALUE: Final = _Value()
"""The shape of an attribute's value."""

_ITEM: Final = MapOf(VALUE)
_NAME: Final = Scalar(str, least=1)
_EXPRESSIONS: Final[dict[str, Shape]] = {
    "TableName": _NAME,
    "ExpressionAttributeNames": TEXT_MAP,
}
_CONDITION: Final[dict[str, Shape]] = {
    "ConditionExpression": TEXT,
    "ExpressionAttributeValues": _ITEM,
    "ReturnValues": TEXT,
    "ReturnValuesOnConditionCheckFailure": TEXT,
}
_WRITE: Final = Structure(PutRequest=Structure(["Item"], Item=_ITEM), DeleteRequest=Structure(["Key"], Key=_ITEM))
_READ: Final = Structure(
    ["Keys"],
    Keys=ListOf(_ITEM, least=1),
    ConsistentRead=FLAG,
    ProjectionExpression=TEXT,
    ExpressionAttributeNames=TEXT_MAP,
)
_UNREAD: Final = Structure(["Keys"], **{**_READ.members, "AttributesToGet": ListOf(TEXT, least=1)})
_STATEMENT: Final = Structure(
    ["Statement"],
    Statement=_NAME,
    Parameters=ListOf(VALUE, least=1),
    ConsistentRead=FLAG,
    ReturnValuesOnConditionCheckFailure=TEXT,
)
_EXECUTED: Final = Structure(Error=Structure(Code=TEXT, Message=TEXT, Item=_ITEM), TableName=TEXT, Item=_ITEM)

OPERATIONS: Final[dict[str, tuple[str, Structure, Structure]]] = {
    "get_item": (
        "GetItem",
        Structure(["TableName", "Key"], Key=_ITEM, ConsistentRead=FLAG, ProjectionExpression=TEXT, **_EXPRESSIONS),
        Structure(Item=_ITEM),
    ),
    "put_item": (
        "PutItem",
        Structure(["TableName", "Item"], Item=_ITEM, **_EXPRESSIONS, **_CONDITION),
        Structure(Attributes=_ITEM),
    ),
    "update_item": (
        "UpdateItem",
        Structure(["TableName", "Key"], Key=_ITEM, UpdateExpression=TEXT, **_EXPRESSIONS, **_CONDITION),
        Structure(Attributes=_ITEM),
    ),
    "batch_get_item": (
        "BatchGetItem",
        Structure(["RequestItems"], RequestItems=MapOf(_READ, least=1)),
        Structure(Responses=MapOf(ListOf(_ITEM)), UnprocessedKeys=MapOf(_UNREAD)),
    ),
    "batch_write_item": (
        "BatchWriteItem",
        Structure(["RequestItems"], RequestItems=MapOf(ListOf(_WRITE, least=1), least=1)),
        Structure(UnprocessedItems=MapOf(ListOf(_WRITE))),
    ),
    "batch_execute_statement": (
        "BatchExecuteStatement",
        Structure(["Statements"], Statements=ListOf(_STATEMENT, least=1)),
        Structure(Responses=ListOf(_EXECUTED)),
    ),
}
"""Method of the SDK -> the operation's name, the shape of its parameters, and the shape of its answer."""
