"""Events as Lambda passes them, a context whose time a test sets, and a broker that records its calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar
from uuid import uuid4

from taskq_cloud import TaskQ
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages import protocol
from taskq_cloud.core.model.capabilities import BrokerCapabilities
from taskq_cloud.core.model.message import Delivery, Message, Outgoing, Refused, Sent, Settlement
from taskq_cloud.core.ports import Depth, Service
from taskq_cloud.stores.results.memory import MemoryResults

_numbers = count(1)


class Context:
    """Lambda's context object. ``seconds`` is the time that the function has left."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.aws_request_id = str(uuid4())

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@dataclass
class NotingBroker:
    """Records sent messages and settlements.

    Attributes:
        refused: the ids of the messages that it does not settle.
        failure: the error that every settlement raises.
    """

    capabilities: ClassVar[BrokerCapabilities] = BrokerCapabilities(
        largest_message_bytes=1 << 20,
        send_batch=10,
        receive_batch=10,
        longest_wait_seconds=20,
        longest_delay_seconds=900,
        longest_ordered_delay_seconds=0,
        longest_lease_seconds=43_200,
        ordering=True,
        deduplicates=True,
        shared_between_processes=False,
        durable=False,
        dead_letters_by_count=True,
    )
    sent: list[tuple[str, Outgoing]] = field(default_factory=list)
    settled: list[Any] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    failure: Exception | None = None

    services: ClassVar[Mapping[str, Service]] = {}

    def queue_named(self, full_name: str, /) -> str:
        return full_name.removeprefix("shop-")

    def send(self, queue: str, messages: Sequence[Outgoing]) -> Flow[list[Sent | Refused]]:
        yield from ()
        self.sent += [(queue, each) for each in messages]
        return [Sent(str(next(_numbers))) for _ in messages]

    def settle(self, settlements: Sequence[Settlement]) -> Flow[list[Refused | None]]:
        yield from ()
        if self.failure:
            raise self.failure
        self.settled += settlements
        return [Refused(OSError("no")) if s.delivery.message_id in self.refused else None for s in settlements]

    def receive(self, queue: str, limit: int, wait_seconds: float, lease_seconds: float) -> Flow[list[Delivery]]:
        raise NotImplementedError

    def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> Flow[list[Refused | None]]:
        raise NotImplementedError

    def depth(self, queue: str) -> Flow[Depth | None]:
        raise NotImplementedError

    def purge(self, queue: str) -> Flow[int | None]:
        raise NotImplementedError


@dataclass
class Shop:
    """An application with a task of each kind.

    Attributes:
        app: the application.
        ran: the arguments of the runs, in order.
        broker: the application's broker.
        handler: the application's Lambda handler.
    """

    app: TaskQ
    ran: list[Any]
    broker: NotingBroker
    handler: Callable[[Any, Any], Any]


def make_app(**settings: Any) -> TaskQ:
    app = TaskQ("lambda-test", broker="memory://", results="memory://", **settings)
    vars(app).update(broker=NotingBroker(), store=MemoryResults())
    return app


def record(
    body: str | Message,
    *,
    message_id: str | None = None,
    receives: int = 1,
    group: str | None = None,
    queue: str = "shop-work",
    attributes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a record of a batch. The body is text, or a ``Message`` that is encoded."""
    message_id = message_id or f"m{next(_numbers)}"
    if group is not None and not queue.endswith(".fifo"):
        queue += ".fifo"
    return {
        "messageId": message_id,
        "receiptHandle": f"receipt-of-{message_id}",
        "body": protocol.encode(body, "work") if isinstance(body, Message) else body,
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": "1700000000123",
            "SenderId": "000000000000",
            **({"MessageGroupId": group} if group is not None else {}),
        },
        "messageAttributes": {
            name: {"stringValue": value, "dataType": "String", "stringListValues": [], "binaryListValues": []}
            for name, value in (attributes or {}).items()
        },
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:000000000000:{queue}",
        "awsRegion": "eu-west-1",
    }


def record_of(message: Mapping[str, Any], queue: str) -> dict[str, Any]:
    """Return a message that was received from SQS in the form in which Lambda hands it to a function."""
    attributes = {
        name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
        for name, value in message.get("MessageAttributes", {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": attributes,
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:eu-west-1:000000000000:{queue}",
    }


def batch(*records: Mapping[str, Any]) -> dict[str, Any]:
    return {"Records": list(records)}


def call_of(task: str, *args: Any, **fields: Any) -> Message:
    """Return the message of a call, with a new id unless one is given."""
    fields.setdefault("id", str(uuid4()))
    return Message(task=task, args=args, **fields)


def failures(answer: Mapping[str, Any]) -> list[str]:
    """Return the message ids that an answer lists. Fail if the answer has another shape."""
    assert set(answer) == {"batchItemFailures"}
    assert json.loads(json.dumps(answer)) == answer
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]
