"""Makes the DynamoDB store's calls on its table, and turns their failures into this package's errors.

The contents of the items, and the conditions for a write, are in ``taskq_cloud.stores.results.dynamodb``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.backoff import DEFAULT_BACKOFF, RNG
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Sleep, Trouble
from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.errors import AccessDenied, OperationalError, TableNotFound, Unreachable
from taskq_cloud.stores.results._dynamodb_items import Item

GET_BATCH: Final = 100
"""The most keys of one BatchGetItem (Amazon DynamoDB API Reference)."""

WRITE_BATCH: Final = 25
"""The most requests of one BatchWriteItem (Amazon DynamoDB API Reference)."""

STATEMENT_BATCH: Final = 25
"""The most statements of one BatchExecuteStatement (Amazon DynamoDB API Reference)."""

_CONDITION_FAILED: Final = "ConditionalCheckFailedException"

_DENIED: Final = frozenset(
    {"AccessDeniedException", "IncompleteSignature", "InvalidSignatureException", "MissingAuthenticationToken"}
)

_NO_STATEMENTS: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnknownOperationException", "UnrecognizedOperationException"}
)
"""Errors of statements that each further statement would meet."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose key is ``id``, a string.

    Args:
        name: the table's name.
        location: the table's endpoint or region, for errors.
    """

    name: str
    location: str
    _no_statements: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def get(self, key: str) -> Flow[Item | None]:
        """Read an item."""
        (answer,) = yield Gather([self._call("get_item", Key={"id": {"S": key}}, ConsistentRead=True)])
        item: Item | None = self._check(answer).get("Item")
        return item

    def get_many(self, keys: Sequence[str]) -> Flow[list[Item]]:
        """Read items; they come in any order, and a key without an item is left out."""
        return (yield from self._until_processed("batch_get_item", [{"id": {"S": key}} for key in keys], GET_BATCH))

    def delete_many(self, keys: Sequence[str]) -> Flow[None]:
        """Remove items."""
        requests = [{"DeleteRequest": {"Key": {"id": {"S": key}}}} for key in keys]
        yield from self._until_processed("batch_write_item", requests, WRITE_BATCH)

    def put(self, item: Item, condition: str, values: Mapping[str, Any]) -> Call:
        """Make the call that writes an item if ``condition`` holds; ``condition_held`` reads the call's answer."""
        return self._call(
            "put_item",
            Item=item,
            ConditionExpression=condition,
            ExpressionAttributeNames=_names(condition),
            ExpressionAttributeValues=values,
        )

    def insert_many(self, entries: Sequence[Item]) -> Flow[list[bool]]:
        """Write items whose keys the table doesn't have, 25 in a call.

        Returns:
            For each item whether it was written. An item that was refused, for whatever reason, isn't.
        """
        if not entries or self._no_statements.is_set():
            return [False] * len(entries)
        statements = [self._insertion(item) for item in entries]
        calls = [
            Call("dynamodb", "batch_execute_statement", {"Statements": statements[at : at + STATEMENT_BATCH]})
            for at in range(0, len(statements), STATEMENT_BATCH)
        ]
        inserted: list[bool] = []
        for call, answer in zip(calls, (yield Gather(calls)), strict=True):
            if isinstance(answer, CallError) and answer.trouble in (Trouble.TRANSIENT, Trouble.THROTTLED):
                self._check(answer)
            responses = self._responses(answer, len(call.parameters["Statements"]))
            inserted += ["Error" not in response for response in responses]
        return inserted

    def update(self, key: str, change: str, condition: str, values: Mapping[str, Any]) -> Flow[Item | None]:
        """Change an item; returns the whole item after the change, or None if the condition doesn't hold."""
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
        item: Item | None = answer["Attributes"] if self.condition_held(answer) else None
        return item

    def condition_held(self, answer: Any) -> bool:
        """Whether the condition of a call held, told from the call's answer."""
        if isinstance(answer, CallError) and answer.code == _CONDITION_FAILED:
            return False
        self._check(answer)
        return True

    def _until_processed(self, operation: str, entries: Sequence[Any], largest: int) -> Flow[list[Item]]:
        """Run a batch operation on any number of entries, and repeat it for the entries that the service left out."""
        found: list[Item] = []
        stalled = 0
        while entries:
            chunks = [entries[at : at + largest] for at in range(0, len(entries), largest)]
            left: list[Any] = []
            for answer in (yield Gather([self._batch(operation, chunk) for chunk in chunks])):
                self._check(answer)
                found += answer.get("Responses", {}).get(self.name, [])
                left += answer.get("UnprocessedItems", {}).get(self.name, [])
                left += answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            # Not only throttling cuts an answer short, 16 MB do as well: a round that processed anything is progress.
            stalled = stalled + 1 if len(left) == len(entries) else 0
            if stalled == DEFAULT_BACKOFF.attempts:
                raise Unreachable(
                    f"{self} is throttled: {operation} left all {len(left)} items unprocessed {stalled} times; "
                    "raise the table's capacity, or make it an on-demand table"
                )
            entries = left
            if left:
                yield Sleep(DEFAULT_BACKOFF.seconds(stalled, RNG))
        return found

    def _insertion(self, item: Item) -> dict[str, Any]:
        names = ", ".join(f"'{name}': ?" for name in item)
        return {"Statement": f'INSERT INTO "{self.name}" VALUE {{{names}}}', "Parameters": [*item.values()]}

    def _responses(self, answer: Any, count: int) -> Sequence[Mapping[str, Any]]:
        """Read the answers to the statements of a call; if this table takes no statements, remember that."""
        if isinstance(answer, CallError):
            responses: Sequence[Mapping[str, Any]] = [
                {"Error": {"Code": answer.code, "Message": answer.message}}
            ] * count
        else:
            responses = answer["Responses"]
        for error in (each["Error"] for each in responses if "Error" in each):
            if error.get("Code") in _NO_STATEMENTS and not self._no_statements.is_set():
                self._no_statements.set()
                import logging  # a process that only calls tasks writes no records

                logger = logging.getLogger("taskq_cloud.stores.dynamodb")
                logger.warning(
                    "%s takes no statements, so each result takes a request of its own: %s: %s; allow the action "
                    "dynamodb:PartiQLInsert",
                    self,
                    error["Code"],
                    error.get("Message", ""),
                    extra={"action": "store.statements_refused"},
                )
        return responses

    def _batch(self, operation: str, entries: Sequence[Any]) -> Call:
        request = {"Keys": entries, "ConsistentRead": True} if operation == "batch_get_item" else entries
        return Call("dynamodb", operation, {"RequestItems": {self.name: request}})

    def _call(self, operation: str, **parameters: Any) -> Call:
        return Call("dynamodb", operation, {"TableName": self.name, **parameters})

    def _check(self, answer: Any) -> Any:
        """Return the answer of a successful call, or raise an error that names the table and the remedy."""
        if not isinstance(answer, CallError):
            return answer
        if answer.code == "ResourceNotFoundException":
            raise TableNotFound(
                f"{self} does not exist; create it, with a key 'id' of type S and the TTL attribute 'ttl': "
                f"aws dynamodb create-table --table-name {self.name} --billing-mode PAY_PER_REQUEST "
                "--attribute-definitions AttributeName=id,AttributeType=S --key-schema AttributeName=id,KeyType=HASH; "
                f"aws dynamodb update-time-to-live --table-name {self.name} "
                "--time-to-live-specification Enabled=true,AttributeName=ttl"
            ) from answer
        action = "dynamodb:" + answer.call.operation.title().replace("_", "")
        if answer.code in _DENIED or answer.trouble is Trouble.CREDENTIALS:
            raise AccessDenied(
                f"{self}: {action} was denied: {answer.code}: {answer.message}; check the credentials and that their "
                "policy allows this action"
            ) from answer
        if answer.trouble is Trouble.REFUSED:
            raise OperationalError(f"{self}: {action} was refused: {answer.code}: {answer.message}") from answer
        raise Unreachable(
            f"{self} gave no answer to {action} after the retries ({answer.code}: {answer.message}); check the network "
            "and the endpoint"
        ) from answer

    def __str__(self) -> str:
        return f"DynamoDB table {self.name} ({self.location})"


def _names(expressions: str) -> dict[str, str]:
    """Substitutes for all attribute names in expressions, since DynamoDB reserves many of these names."""
    return {f"#{name}": name for name in re.findall(r"#(\w+)", expressions)}
