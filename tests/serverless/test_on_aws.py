"""Test a real function on the AWS stack that a real queue feeds through an event source mapping."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import DEAD_LETTER_REASON
from taskq_cloud.errors import TimeLimitExceeded, WorkerLostError
from taskq_cloud.testing.waiting import until
from tests.conftest import StackAddress

pytestmark = pytest.mark.second_stack

TIMEOUT_SECONDS = 60
FUNCTION_SECONDS = 20


@dataclass
class Function:
    """A function, the application of its callers, and the clients with which a test inspects it."""

    name: str
    app: TaskQ
    queue_url: str
    dead_url: str
    sqs: Any
    functions: Any

    def invoke(self, event: dict[str, Any]) -> tuple[str | None, Any]:
        answer = self.functions.invoke(FunctionName=self.name, Payload=json.dumps(event))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def dead_letters(self, count: int) -> dict[str, str]:
        """Wait for ``count`` dead letters, and return their reasons by their bodies."""
        found: dict[str, str] = {}
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} dead letters: {found}"
            answer = self.sqs.receive_message(
                QueueUrl=self.dead_url, WaitTimeSeconds=1, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                found[message["Body"]] = message["MessageAttributes"][DEAD_LETTER_REASON]["StringValue"]
        return found

    def wait_until_empty(self) -> None:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def counts() -> dict[str, str]:
            answer = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
            return dict(answer["Attributes"])

        until(lambda: all(int(count) == 0 for count in counts().values()), lambda: str(counts()), TIMEOUT_SECONDS)


MakeFunction = Callable[..., Function]


SHOP = Path(__file__).with_name("shop.py").read_text()


def code(source: str = SHOP) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("shop.py", source)
    return archive.getvalue()


@pytest.fixture
def make_function(
    aws_environment: dict[str, str],
    local_stack: StackAddress,
    make_aws_client: Callable[[str, str], Any],
    sqs_client: Any,
    make_queue: Callable[..., str],
    make_table: Callable[..., str],
) -> Iterator[MakeFunction]:
    """Create queues, a table, a function and a mapping: ``make_function("work.fifo", TASKQ_...=...) -> Function``."""
    functions = make_aws_client("lambda", local_stack.endpoint_url)
    mappings, names, apps = list[str](), list[str](), list[TaskQ]()

    def make(queue: str = "work", source: str = SHOP, visibility_seconds: int = 600, **environment: str) -> Function:
        prefix = f"shop-{uuid4().hex[:8]}-"
        stem, _, fifo = queue.partition(".")
        dead = make_queue(f"{prefix}{stem}-dead{'.fifo' if fifo else ''}", exactly=True)
        name = make_queue(f"{prefix}{queue}", exactly=True, VisibilityTimeout=str(visibility_seconds))
        queue_url, dead_url = (sqs_client.get_queue_url(QueueName=each)["QueueUrl"] for each in (name, dead))
        settings = {"broker": f"sqs://eu-west-1/{prefix}", "results": f"dynamodb://{make_table()}"}
        variables = {f"TASKQ_{name.upper()}": value for name, value in settings.items()}
        functions.create_function(
            FunctionName=name.replace(".", "-"),
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/any",
            Handler="taskq_cloud.lambda_function.lambda_handler" if "TASKQ_APP" in environment else "shop.handler",
            Code={"ZipFile": code(source)},
            Timeout=FUNCTION_SECONDS,
            Environment={"Variables": {**variables, "TASKQ_TASK_DEFAULT_QUEUE": queue, **environment}},
        )
        names.append(name.replace(".", "-"))
        arn = sqs_client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        mapping = functions.create_event_source_mapping(
            EventSourceArn=arn,
            FunctionName=names[-1],
            BatchSize=10,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )
        mappings.append(mapping["UUID"])
        apps.append(TaskQ("caller", task_default_queue=queue, **settings))
        return Function(names[-1], apps[-1], queue_url, dead_url, sqs_client, functions)

    yield make
    for mapping in mappings:
        functions.delete_event_source_mapping(UUID=mapping)
    for name in names:
        functions.delete_function(FunctionName=name)
    for app in apps:
        app.close()
    functions.close()


def test_tasks_with_every_outcome_reach_their_end(make_function: MakeFunction) -> None:
    function = make_function()
    sums = [function.app.send_task(name, (n, 1)) for n in range(10) for name in ("add", "aadd")]
    failed = function.app.send_task("fail", ("why",))
    retried = function.app.send_task("second_attempt")
    given_back = function.app.send_task("second_receive")
    timed_out = function.app.send_task("endless")

    assert [each.get(TIMEOUT_SECONDS) for each in sums] == [n + 1 for n in range(10) for _ in range(2)]
    with pytest.raises(ValueError, match="why"):
        failed.get(TIMEOUT_SECONDS)
    assert retried.get(TIMEOUT_SECONDS) == 1
    # The queue's visibility timeout is 600 s, so the released message must have got its own.
    assert given_back.get(TIMEOUT_SECONDS) == 2
    with pytest.raises(TimeLimitExceeded):
        timed_out.get(TIMEOUT_SECONDS)
    function.wait_until_empty()


@pytest.mark.slow
def test_messages_that_cannot_be_run_are_dead_lettered_with_a_reason(make_function: MakeFunction) -> None:
    function = make_function(TASKQ_TASK_MAX_RECEIVES="1")
    unknown = function.app.send_task("unknown")
    too_long = function.app.send_task("add", (1, 2), time_limit=FUNCTION_SECONDS + 10)
    function.sqs.send_message(QueueUrl=function.queue_url, MessageBody="{not json")
    good = function.app.send_task("add", (1, 2))

    assert good.get(TIMEOUT_SECONDS) == 3
    reasons = {
        body if body == "{not json" else json.loads(body)["headers"]["id"]: reason
        for body, reason in function.dead_letters(3).items()
    }
    assert "NotRegistered" in reasons[unknown.id]
    assert "raise the function's timeout" in reasons[too_long.id]
    assert "the body is not JSON" in reasons["{not json"]
    assert [each.load().state for each in (unknown, too_long)] == ["FAILURE", "FAILURE"]
    function.wait_until_empty()


def test_message_group_keeps_its_order_behind_a_released_record(make_function: MakeFunction) -> None:
    function = make_function("work.fifo")
    first = function.app.send_task("second_receive", MessageGroupId="group")
    later = [function.app.send_task("add", (n, 0), MessageGroupId="group") for n in range(3)]
    other = function.app.send_task("add", (5, 0), MessageGroupId="other")

    assert other.get(TIMEOUT_SECONDS) == 5
    assert [each.get(TIMEOUT_SECONDS) for each in later] == [0, 1, 2]
    assert first.load().state == "SUCCESS"
    ends: list[Any] = [each.load().date_done for each in (first, *later)]
    assert ends == sorted(ends)
    function.wait_until_empty()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_task_that_ends_the_process_fails_and_its_batch_succeeds(make_function: MakeFunction) -> None:
    function = make_function(visibility_seconds=5)
    calls = [("add", (1, 0)), ("add", (2, 0)), ("poison", ("exits",)), *(("add", (n, 0)) for n in (3, 4, 5))]
    sums = [function.app.send_task(task, args) for task, args in calls]
    poison = sums.pop(2)

    assert [each.get(TIMEOUT_SECONDS) for each in sums] == [1, 2, 3, 4, 5]
    with pytest.raises(WorkerLostError, match="it may end the worker that runs it"):
        poison.get(TIMEOUT_SECONDS)
    (reason,) = function.dead_letters(1).values()
    assert reason.startswith("WorkerLostError: received 5 times")
    function.wait_until_empty()


def test_direct_invocation_of_function_returns_the_outcome(make_function: MakeFunction) -> None:
    function = make_function()
    error, answer = function.invoke({"task": "add", "args": [1, 2], "id": "mine"})
    assert (error, answer["status"], answer["result"]) == (None, "SUCCESS", 3)
    assert function.app.AsyncResult("mine").get(TIMEOUT_SECONDS) == 3

    error, answer = function.invoke({"task": "fail", "args": ["why"]})
    assert (error, answer["status"], answer["result"]["exc_message"]) == (None, "FAILURE", ["why"])

    error, answer = function.invoke({"task": "second_attempt", "id": "again"})
    assert (error, answer["status"]) == (None, "RETRY")
    assert function.app.AsyncResult("again").get(TIMEOUT_SECONDS) == 1

    error, answer = function.invoke({"task": "unknown"})
    assert error is not None
    assert "'unknown'" in answer["errorMessage"]


def test_function_process_survives_its_tasks(make_function: MakeFunction) -> None:
    function = make_function()
    before = function.invoke({"task": "process_id"})[1]["result"]
    for event in ({"task": "fail", "args": ["x"]}, {"task": "endless"}, {"task": "aadd", "args": [1, 2]}):
        assert function.invoke(event)[0] is None
    assert function.invoke({"task": "process_id"})[1]["result"] == before


def test_application_that_cannot_be_imported_loses_no_message(make_function: MakeFunction) -> None:
    function = make_function(source="import no_such_module\n" + SHOP, visibility_seconds=1, TASKQ_APP="shop:app")
    result = function.app.send_task("add", (1, 2))
    assert function.invoke({"task": "add", "args": [1, 2]})[0] is not None
    function.functions.update_function_code(FunctionName=function.name, ZipFile=code())
    assert result.get(TIMEOUT_SECONDS) == 3
    function.wait_until_empty()
