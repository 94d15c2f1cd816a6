"""Test direct invocations: the answers, and the errors that make Lambda's retries and destinations apply."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from taskq_cloud.core.flows import Flow, Sleep
from taskq_cloud.core.messages import protocol
from taskq_cloud.core.records.record import Record
from taskq_cloud.errors import DecodeError, Ignore, NotRegistered, OperationalError, Reject
from tests.serverless.events import Context, Shop, call_of, make_app


def test_direct_invocation_returns_the_result_document(shop: Shop) -> None:
    context = Context()
    answer = shop.handler({"task": "add", "args": [3], "kwargs": {}}, context)
    assert {key: answer[key] for key in ("status", "result", "task_id", "traceback")} == {
        "status": "SUCCESS",
        "result": 3,
        "task_id": context.aws_request_id,
        "traceback": None,
    }
    assert json.loads(json.dumps(answer)) == answer
    assert shop.app.AsyncResult(context.aws_request_id).get() == 3
    assert shop.broker.settled == []


@pytest.mark.parametrize("ignored", [False, True], ids=["from the store", "from the outcome"])
def test_answer_is_json_whatever_the_task_returns(shop: Shop, ignored: bool) -> None:
    @shop.app.task(name="ratio", ignore_result=ignored)
    def ratio() -> list[float]:
        return [float("nan"), float("inf"), 0.5]

    answer = shop.handler({"task": "ratio", "args": []}, Context())
    assert answer["result"] == [None, None, 0.5]
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_second_invocation_with_one_task_id_does_not_run_again(shop: Shop) -> None:
    event = {"task": "aadd", "args": [3], "id": "mine"}
    answers = [shop.handler(event, Context()) for _ in range(2)]
    assert [answer["task_id"] for answer in answers] == ["mine", "mine"]
    assert answers[0] == answers[1]
    assert shop.ran == [3]


def test_second_attempt_by_lambda_does_not_run_the_task_again(shop: Shop) -> None:
    context = Context()
    for _ in range(2):
        shop.handler({"task": "add", "args": [3]}, context)
    assert shop.ran == [3]


def test_celery_message_is_accepted(shop: Shop) -> None:
    body = json.loads(protocol.encode(call_of("add", 3, id="mine"), "work"))
    assert shop.handler(body, Context())["task_id"] == "mine"


def test_failing_task_is_answered_with_failure_document(shop: Shop) -> None:
    answer = shop.handler({"task": "fail", "args": ["why"]}, Context())
    assert answer["status"] == "FAILURE"
    assert answer["result"] == {"exc_type": "ValueError", "exc_message": ["why"], "exc_module": "builtins"}
    assert "ValueError: why" in answer["traceback"]


def test_retry_is_sent_to_the_tasks_queue(shop: Shop) -> None:
    shop.app.task(name="routed", queue="elsewhere", autoretry_for=(KeyError,))(lambda: dict[str, int]()["nothing"])
    answers = [shop.handler({"task": name, "args": args}, Context()) for name, args in (("again", [1]), ("routed", []))]
    assert [answer["status"] for answer in answers] == ["RETRY", "RETRY"]
    assert [queue for queue, _ in shop.broker.sent] == ["celery", "elsewhere"]


def test_task_not_due_yet_is_parked(shop: Shop) -> None:
    answer = shop.handler({"task": "add", "args": [1], "eta": "2999-01-01T00:00:00+00:00", "id": "later"}, Context())
    assert (answer["status"], answer["task_id"]) == ("PENDING", "later")
    ((_, parked),) = shop.broker.sent
    assert parked.delay_seconds == 900
    assert shop.ran == []


@pytest.mark.parametrize(
    ("task", "status"), [("add", "SUCCESS"), ("fail", "FAILURE"), ("again", "RETRY"), ("forget", "IGNORED")]
)
def test_answer_without_a_stored_result_gives_the_outcome(shop: Shop, task: str, status: str) -> None:
    @shop.app.task(name="forget")
    def forget(_number: int) -> None:
        raise Ignore

    answer = shop.handler({"task": task, "args": [1], "ignore_result": True, "id": "x"}, Context())
    assert (answer["status"], answer["task_id"]) == (status, "x")
    assert shop.app.AsyncResult("x").state == "PENDING"


@pytest.mark.parametrize(
    "event",
    [
        {"source": "aws.s3", "detail-type": "Object Created", "id": "e-1", "detail": {"key": "a.png"}},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}]},
        {
            "Records": [
                {"EventSource": "aws:sns", "Sns": {"TopicArn": "a:b:uploads", "Message": "hi", "MessageId": "1"}}
            ]
        },
    ],
    ids=["eventbridge", "s3", "sns"],
)
def test_routed_event_runs_its_task(event: Any) -> None:
    app = make_app(task_event_routes={"aws*": "on_event"})

    @app.task(name="on_event")
    def on_event(document: dict[str, Any]) -> list[str]:
        return sorted(document)

    document = event["Records"][0]["Sns"] | {"Type": "Notification"} if "Sns" in str(event) else event
    assert app.lambda_handler()(event, Context())["result"] == sorted(document)


def test_task_message_in_sns_notification_runs(shop: Shop) -> None:
    message = json.dumps({"task": "add", "args": [3]})
    event = {"Records": [{"EventSource": "aws:sns", "Sns": {"TopicArn": "t", "Message": message, "MessageId": "n-1"}}]}
    answer = shop.handler(event, Context())
    assert (answer["result"], answer["task_id"]) == (3, "n-1")


@pytest.mark.parametrize(
    ("event", "error", "text"),
    [
        ({"nothing": "known"}, DecodeError, "neither a task's message nor a known event"),
        ([1, 2], DecodeError, "isn't a JSON object but list"),
        ({"source": "a", "detail-type": "b"}, DecodeError, "'a:b'"),
        ({"task": "add", "args": 3}, DecodeError, "args must be a list"),
        ({"task": "unknown"}, NotRegistered, "'unknown'"),
    ],
)
def test_event_that_is_not_a_task_raises(shop: Shop, event: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        shop.handler(event, Context())


TASK_IN_A_REQUEST = {"headers": {"task": "add", "id": "mine", "host": "api"}, "body": "[[3], {}, null]"}


@pytest.mark.parametrize(
    "event",
    [
        {**TASK_IN_A_REQUEST, "version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "POST"}}},
        {**TASK_IN_A_REQUEST, "httpMethod": "POST", "path": "/", "requestContext": {"stage": "prod"}},
        {**TASK_IN_A_REQUEST, "httpMethod": "POST", "requestContext": {"elb": {"targetGroupArn": "arn"}}},
        {"body": '{"task": "add", "args": [3]}', "requestContext": {"eventType": "MESSAGE"}},
        {**TASK_IN_A_REQUEST, "raw_path": "/", "method": "POST", "is_base64_encoded": False},
        {"type": "REQUEST", "methodArn": "arn", "headers": {"task": "add"}, "body": "[[3], {}, {}]"},
        {"task": "add", "args": [3], "requestContext": {}},
    ],
    ids=["api-v2", "api-v1", "alb", "websocket", "lattice", "authorizer", "with-a-task"],
)
def test_http_request_is_not_run(shop: Shop, event: Any) -> None:
    with pytest.raises(DecodeError, match="is an HTTP request"):
        shop.handler(event, Context())
    assert shop.ran == []


def test_event_with_foreign_headers_is_not_run(shop: Shop) -> None:
    with pytest.raises(DecodeError, match="isn't a message of Celery's"):
        shop.handler(TASK_IN_A_REQUEST, Context())
    assert shop.ran == []


def test_direct_invocation_of_rejected_task_raises(shop: Shop) -> None:
    @shop.app.task(name="picky")
    def picky() -> None:
        raise Reject("not this one")

    with pytest.raises(Reject, match="not this one"):
        shop.handler({"task": "picky", "id": "x"}, Context())
    assert shop.app.AsyncResult("x").state == "FAILURE"


def test_task_longer_than_the_function_raises_with_remedy(shop: Shop) -> None:
    with pytest.raises(Reject, match="raise the function's timeout to at least 33 s"):
        shop.handler({"task": "slow", "args": [1]}, Context(20))


def test_store_error_raises_operational_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(_records: Sequence[Record]) -> Flow[Any]:
        yield from ()
        raise OperationalError("no table")

    monkeypatch.setattr(shop.app.store, "save", save)
    with pytest.raises(OperationalError, match=r"task add\[x\] was not brought to an end"):
        shop.handler({"task": "add", "args": [1], "id": "x"}, Context())


@pytest.mark.usefixtures("no_garbage_collection")
def test_task_that_outlasts_the_function_fails(shop: Shop) -> None:
    shop.app.task(name="wait")(lambda: threading.Event().wait(60))
    answer = shop.handler({"task": "wait"}, Context(2.6))
    assert answer["status"] == "FAILURE"
    assert answer["result"]["exc_type"] == "WorkerLostError"


@pytest.mark.usefixtures("no_garbage_collection")
def test_hanging_store_does_not_delay_the_error(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(_records: Sequence[Record]) -> Flow[Any]:
        yield Sleep(60)

    monkeypatch.setattr(shop.app.store, "save", save)
    with pytest.raises(OperationalError, match="the function's time was over"):
        shop.handler({"task": "add", "args": [1]}, Context(2.6))
