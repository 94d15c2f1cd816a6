"""The calls that the DynamoDB store makes on its table, and what their failures mean.

What is in the items, and under which conditions they are written, is the store's business
(``taskq_cloud.stores.results.dynamodb``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.core.backoff import DEFAULT_BACKOFF
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.errors import AccessDenied, OperationalError, TableNotFound, Unreachable
from taskq_cloud.stores.results._dynamodb_items import Item

GET_BATCH: Final = 100
"""Keys of one BatchGetItem (Amazon DynamoDB API Reference)."""

WRITE_BATCH: Final = 25
"""Requests of one BatchWriteItem (the same)."""

_CONDITION_FAILED: Final = "ConditionalCheckFailedException"

_DENIED: Final = frozenset(
    {"AccessDeniedException", "IncompleteSignature", "InvalidSignatureException", "MissingAuthenticationToken"}
)

_RNG: Final = random.Random()


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose key is ``id``, a string.

    Args:
        name: its name.
        place: its endpoint or region, for errors.
    """

    name: str
    place: str

    def get(self, key: str) -> Flow[Item | None]:
        """Read an item."""
        (answer,) = yield Gather([self._call("get_item", Key={"id": {"S": key}}, ConsistentRead=True)])
        item: Item | None = self._answered(answer).get("Item")
        return item

    def get_many(self, keys: Sequence[str]) -> Flow[list[Item]]:
        """Read items, in any order; those that are not there are left out."""
        return (yield from self._until_processed("batch_get_item", [{"id": {"S": key}} for key in keys], GET_BATCH))

    def delete_many(self, keys: Sequence[str]) -> Flow[None]:
        """Remove items."""
        requests = [{"DeleteRequest": {"Key": {"id": {"S": key}}}} for key in keys]
        yield from self._until_processed("batch_write_item", requests, WRITE_BATCH)

    def put(self, item: Item, condition: str, values: Mapping[str, Any]) -> Call:
        """The call that writes an item, if ``condition`` holds; ``met`` reads its answer."""
        return self._call(
            "put_item",
            Item=item,
            ConditionExpression=condition,
            ExpressionAttributeNames=_names(condition),
            ExpressionAttributeValues=values,
        )

    def update(self, key: str, change: str, condition: str, values: Mapping[str, Any]) -> Flow[Item | None]:
        """Change an item: all of it afterwards, or None where the condition doesn't hold."""
        call = self._call(
            "update_item",
            Key={"id": {"S": key}},
            UpdateExpression=change,
            ConditionExpression=condition,
            ExpressionAttributeNames=_names(f"{change} {condition}"),
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
        )
        (answer,) = yield Gather([call])
        item: Item | None = answer["Attributes"] if self.met(answer) else None
        return item

    def met(self, answer: Any) -> bool:
        """Whether the condition of the call that was answered so held."""
        if isinstance(answer, CallError) and answer.code == _CONDITION_FAILED:
            return False
        self._answered(answer)
        return True

    def _until_processed(self, operation: str, entries: Sequence[Any], largest: int) -> Flow[list[Item]]:
        """Make a batch operation on any number of entries; what the service leaves unprocessed is asked for again."""
        found: list[Item] = []
        stalled = 0
        while entries:
            chunks = [entries[at : at + largest] for at in range(0, len(entries), largest)]
            left: list[Any] = []
            for answer in (yield Gather([self._batch(operation, chunk) for chunk in chunks])):
                self._answered(answer)
                found += answer.get("Responses", {}).get(self.name, [])
                left += answer.get("UnprocessedItems", {}).get(self.name, [])
                left += answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            # An answer is cut short at 16 MB as well: a round that brings something is no reason to give up.
            stalled = stalled + 1 if len(left) == len(entries) else 0
            if stalled == DEFAULT_BACKOFF.attempts:
                raise Unreachable(
                    f"{self} is throttled: {operation} left {len(left)} items unprocessed {stalled} times; "
                    "raise its capacity, or make it an on-demand table"
                )
            entries = left
            if left:
                yield Sleep(DEFAULT_BACKOFF.seconds(stalled, _RNG))
        return found

    def _batch(self, operation: str, entries: Sequence[Any]) -> Call:
        request = {"Keys": entries, "ConsistentRead": True} if operation == "batch_get_item" else entries
        return Call("dynamodb", operation, {"RequestItems": {self.name: request}})

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call("dynamodb", operation, {"TableName": self.name, **parameters})

    def _answered(self, answer: Any) -> Any:
        """An answer; a failed call becomes an error that names the table and the way out."""
        if not isinstance(answer, CallError):
            return answer
        if answer.code == "ResourceNotFoundException":
            raise TableNotFound(
                f"{self} does not exist: create it, with a key 'id' of type S and the TTL attribute 'ttl': "
                f"aws dynamodb create-table --table-name {self.name} --billing-mode PAY_PER_REQUEST "
                "--attribute-definitions AttributeName=id,AttributeType=S --key-schema AttributeName=id,KeyType=HASH; "
                f"aws dynamodb update-time-to-live --table-name {self.name} "
                "--time-to-live-specification Enabled=true,AttributeName=ttl"
            ) from answer
        action = "dynamodb:" + answer.call.operation.title().replace("_", "")
        if answer.code in _DENIED or answer.trouble is Trouble.CREDENTIALS:
            raise AccessDenied(
                f"{self}: {action} was denied: {answer.code}: {answer.message}: check the credentials, and that their "
                "policy allows it"
            ) from answer
        if answer.trouble is Trouble.REFUSED:
            raise OperationalError(f"{self}: {action} was refused: {answer.code}: {answer.message}") from answer
        raise Unreachable(f"{self}: {action} was not answered: {answer.code}: {answer.message}") from answer

    def __str__(self) -> str:
        return f"DynamoDB table {self.name} ({self.place})"


def _names(expressions: str) -> dict[str, str]:
    """Every attribute by a substitute: many of their names are among DynamoDB's reserved words."""
    return {f"#{name}": name for name in re.findall(r"#(\w+)", expressions)}
