"""Chains of tasks in a function, with the recursive loop detection that Lambda's page describes.

A proxy in front of the queue plays SQS's part: it keeps the trace header of each send with the messages, as SQS does in
``AWSTraceHeader``. A small Lambda counts the passages in the header's lineage, passes the header on in
``_X_AMZN_TRACE_ID``, and drops the message that would make its function's 17th invocation in one chain (Lambda
Developer Guide, "invocation-recursion": "approximately 16 times").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from emulators.call_counter import CallCounter
from taskq_cloud import TaskQ, chain
from tests.conftest import StackAddress

LONGEST_LOOP = 16
LINEAGE = "Lineage=1:4f5a3b2c:"


class TraceHeaders(CallCounter):
    """Keeps the trace header with which each message was sent."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(endpoint_url)
        self.of_message: dict[str, str] = {}
        self.sent = list[str | None]()

    def look_at_exchange(self, headers: Mapping[str, str], answer: bytes) -> None:
        header = headers.get("x-amzn-trace-id")
        self.sent.append(header)
        for sent in re.findall(rb'"MessageId": ?"([^"]+)"', answer) if header else ():
            self.of_message.setdefault(sent.decode(), header or "")


@dataclass
class DetectingLambda:
    """Invokes one function with the messages of its queue, one at a time, until the queue is empty.

    Args:
        headers: the trace headers of the messages.
        receive: receives a message, or None if there is none.
        monkeypatch: sets the variables of the function's environment.
        tracing: whether the function is traced.
        recursive_loop: the function's recursion configuration.
    """

    headers: TraceHeaders
    receive: Callable[[], Mapping[str, Any] | None]
    monkeypatch: pytest.MonkeyPatch
    tracing: bool = False
    recursive_loop: str = "Terminate"
    dropped: list[str] = field(default_factory=list)

    def run(self, handler: Callable[[Any, Any], Any]) -> int:
        """Return the number of invocations."""
        invocations = 0
        while (message := self.receive()) is not None:
            header = self.headers.of_message.get(message["MessageId"], "")
            passages = int(header.partition(LINEAGE)[2] or 0)
            if passages >= LONGEST_LOOP and self.recursive_loop == "Terminate":
                self.dropped.append(message["MessageId"])
                continue
            invocations += 1
            trace = f"Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled={int(self.tracing)}"
            self.monkeypatch.setenv("_X_AMZN_TRACE_ID", f"{trace};{LINEAGE}{passages + 1}")
            assert handler(self._event(message), None) == {"batchItemFailures": []}
        return invocations

    def _event(self, message: Mapping[str, Any]) -> dict[str, Any]:
        record = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": {"ApproximateReceiveCount": "1"},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:work",
        }
        return {"Records": [record]}


@dataclass
class Stage:
    """A function's application, and the Lambda that invokes it."""

    app: TaskQ
    function: DetectingLambda

    def run_chain(self, length: int) -> tuple[int, Any]:
        """Run a chain of tasks that count. Return the number of invocations, and the end's result if there is one."""
        app = self.app

        @app.task(name="count")
        def count(before: int = 0) -> int:
            return before + 1

        chain(count.s(), *[count.s().set(task_id=f"count-{number}") for number in range(2, length + 1)]).apply_async()
        invocations = self.function.run(app.lambda_handler())
        end = app.AsyncResult(f"count-{length}")
        return invocations, end.result if end.ready() else None


@pytest.fixture
def stage(
    aws_environment: dict[str, str],
    local_stack: StackAddress,
    sqs_client: Any,
    make_queue: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    queue = make_queue("work")
    url = sqs_client.get_queue_url(QueueName=queue)["QueueUrl"]

    def receive() -> Mapping[str, Any] | None:
        for message in sqs_client.receive_message(QueueUrl=url).get("Messages", ()):
            sqs_client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return dict(message)
        return None

    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "work")
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    with TraceHeaders(local_stack.endpoint_url) as headers:
        options = {"endpoint_url": headers.endpoint_url}
        app = TaskQ(
            "shop",
            broker="sqs://eu-west-1/",
            results="memory://",
            broker_transport_options=options,
            task_default_queue=queue,
        )
        yield Stage(app, DetectingLambda(headers, receive, monkeypatch))
        app.close()


@pytest.mark.slow
def test_untraced_chain_of_40_tasks_is_no_loop(stage: Stage) -> None:
    assert stage.run_chain(40) == (40, 40)
    assert stage.function.headers.sent
    assert set(stage.function.headers.sent) == {None}


@pytest.mark.slow
def test_traced_chain_of_40_tasks_needs_the_configuration_allow(stage: Stage) -> None:
    stage.function.tracing, stage.function.recursive_loop = True, "Allow"
    assert stage.run_chain(40) == (40, 40)


def test_traced_chain_is_stopped_after_16_passages_by_the_configuration_terminate(stage: Stage) -> None:
    stage.function.tracing = True
    assert stage.run_chain(40) == (16, None)
    assert len(stage.function.dropped) == 1


def test_function_that_asks_for_loop_detection_sends_its_lineage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_RECURSIVE_LOOP", "Terminate")
    assert stage.run_chain(20) == (16, None)


async def test_client_of_an_event_loop_sends_no_lineage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = f"Root=1-67891233-abcdef012345678912345678;Sampled=0;{LINEAGE}3"
    for sampled, sent in (("0", None), ("1", trace.replace("Sampled=0", "Sampled=1"))):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace.replace("Sampled=0", f"Sampled={sampled}"))
        stage.function.headers.sent.clear()
        await stage.app.asend_task("count")
        assert set(stage.function.headers.sent) == {sent}
    await stage.app.aclose()
