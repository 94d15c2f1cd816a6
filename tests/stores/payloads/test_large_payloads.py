"""Arguments and results over the limits of SQS and DynamoDB, with a worker and a Lambda function on the AWS stack."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from emulators.call_counter import CallCounter
from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import Message, Outgoing, Sent
from taskq_cloud.errors import ClaimError, ImproperlyConfigured, PayloadTooLarge, StoreNotFound
from taskq_cloud.results.async_result import AsyncResult
from tests.conftest import StackAddress
from tests.serverless.events import Context, batch, failures, record
from tests.stores.payloads.noise import MB, dead_letter, keys_of, noise, received
from tests.worker.serving import serving


async def test_large_arguments_and_results_go_through_a_worker(shop: SimpleNamespace, s3_client: Any) -> None:
    text = noise(3 * MB)
    sent, asent = shop.length.delay(text), await shop.length.adelay(text)
    enlarged = shop.enlarge.delay(2 * MB)
    async with serving(shop.app):
        assert await sent.aget(timeout=20) == len(text)
        assert await asent.aget(timeout=20) == len(text)
        assert await enlarged.aget(timeout=20) == noise(2 * MB)
    assert shop.app.AsyncResult(enlarged.id).get(timeout=5) == noise(2 * MB)
    kinds = sorted(key.split("/")[1] for key in keys_of(s3_client, shop.bucket))
    assert kinds == ["arguments", "arguments", "results"]


async def test_retry_of_a_message_with_stored_arguments_stores_nothing_new(
    shop: SimpleNamespace, s3_client: Any
) -> None:
    text = noise(3 * MB)
    result = shop.twice.delay(text)
    (first,) = keys_of(s3_client, shop.bucket)
    async with serving(shop.app):
        assert await result.aget(timeout=20) == len(text)
    assert shop.seen == [len(text)] * 2
    assert keys_of(s3_client, shop.bucket) == [first]


async def test_large_result_becomes_the_argument_of_the_next_task(shop: SimpleNamespace, s3_client: Any) -> None:
    """The chain is as Celery sends it: the result of ``enlarge`` is the argument of ``length``."""
    follow = {"task": "length", "args": [], "kwargs": {}, "options": {"queue": shop.queue, "task_id": "after"}}
    message = {"task": "enlarge", "args": [2 * MB], "kwargs": {}, "chain": [follow]}
    (answer,) = shop.app.run(shop.app.broker.send(shop.queue, [Outgoing(body=json.dumps(message))]))
    assert isinstance(answer, Sent)
    async with serving(shop.app):
        assert await shop.app.AsyncResult("after").aget(timeout=20) == 2 * MB
    assert sorted(key.split("/")[1] for key in keys_of(s3_client, shop.bucket)) == ["arguments", "results"]


async def test_arguments_that_fit_after_compression_are_not_stored(shop: SimpleNamespace, s3_client: Any) -> None:
    result = shop.length.delay("a" * 3 * MB)
    async with serving(shop.app):
        assert await result.aget(timeout=20) == 3 * MB
    assert keys_of(s3_client, shop.bucket) == []


def test_lambda_function_reads_stored_arguments(shop: SimpleNamespace, sqs_client: Any) -> None:
    text = noise(3 * MB)
    result = shop.length.delay(text)
    message = received(sqs_client, shop.queue)
    answer = shop.app.lambda_handler()(batch(record(message["Body"], queue=shop.queue)), Context())
    assert failures(answer) == []
    assert result.get(timeout=5) == len(text)


def test_invoked_lambda_function_returns_large_results(shop: SimpleNamespace, sqs_client: Any) -> None:
    handler = shop.app.lambda_handler()
    assert handler({"task": "enlarge", "args": [2 * MB]}, Context())["result"] == noise(2 * MB)
    shop.length.delay(noise(3 * MB))
    event = json.loads(received(sqs_client, shop.queue)["Body"])
    assert handler(event, Context())["result"] == 3 * MB


def test_invocation_with_missing_payload_raises_an_error_with_its_key(
    shop: SimpleNamespace, sqs_client: Any, s3_client: Any
) -> None:
    shop.length.delay(noise(3 * MB))
    event = json.loads(received(sqs_client, shop.queue)["Body"])
    (key,) = keys_of(s3_client, shop.bucket)
    s3_client.delete_object(Bucket=shop.bucket, Key=key)
    with pytest.raises(ClaimError, match=key):
        shop.app.lambda_handler()(event, Context())


# Missing, altered and foreign payloads


async def dead_letter_reason(shop: SimpleNamespace, sqs_client: Any, result: AsyncResult[Any]) -> str:
    """Run a worker until the task has failed; returns the reason why its message was dead-lettered."""
    async with serving(shop.app):
        with pytest.raises(ClaimError) as caught:
            await result.aget(timeout=20)
    reason = dead_letter(sqs_client, shop.queue)
    assert reason == f"ClaimError: {caught.value}"
    assert shop.seen == []
    return reason


async def test_message_with_missing_payload_is_dead_lettered(
    shop: SimpleNamespace, sqs_client: Any, s3_client: Any
) -> None:
    result = shop.length.delay(noise(3 * MB))
    (key,) = keys_of(s3_client, shop.bucket)
    s3_client.delete_object(Bucket=shop.bucket, Key=key)
    assert f"the payload s3://{shop.bucket}/{key} is missing" in await dead_letter_reason(shop, sqs_client, result)


async def test_message_with_altered_payload_is_dead_lettered(
    shop: SimpleNamespace, sqs_client: Any, s3_client: Any
) -> None:
    result = shop.length.delay(noise(3 * MB))
    (key,) = keys_of(s3_client, shop.bucket)
    body = s3_client.get_object(Bucket=shop.bucket, Key=key)["Body"].read()
    s3_client.put_object(Bucket=shop.bucket, Key=key, Body=body[:-1] + b"!")
    assert "doesn't have the SHA-256 digest" in await dead_letter_reason(shop, sqs_client, result)


async def test_message_with_payload_in_another_bucket_is_dead_lettered(
    make_shop: Callable[..., SimpleNamespace], make_bucket: Callable[..., str], sqs_client: Any, s3_client: Any
) -> None:
    shop = make_shop()
    elsewhere = TaskQ("shop", broker="sqs://", results="disabled://", payloads=f"s3://{make_bucket('foreign')}")
    sent = elsewhere.send_task("length", [noise(3 * MB)], queue=shop.queue)
    elsewhere.close()
    reason = await dead_letter_reason(shop, sqs_client, shop.app.AsyncResult(sent.id))
    assert f"payloads may come from s3://{shop.bucket}/shop/ only" in reason


async def test_message_is_given_back_while_the_payload_store_does_not_answer(
    shop: SimpleNamespace, sqs_client: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = noise(3 * MB)
    result = shop.length.delay(text)
    body = received(sqs_client, shop.queue)["Body"]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{closed.getsockname()[1]}")
        where = {name: getattr(shop.app.conf, name) for name in ("broker", "results", "payloads", "task_default_queue")}
        silent = TaskQ("shop", **where)
        silent.task(name="length")(shop.length.__wrapped__)
        answer = silent.lambda_handler()(batch(record(body, queue=shop.queue, message_id="m1")), Context())
        silent.close()
    assert failures(answer) == ["m1"]
    assert [vars(each)["action"] for each in caplog.records if each.levelname == "ERROR"] == ["task.given_back"]
    assert shop.seen == [] and not result.ready()
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    assert failures(shop.app.lambda_handler()(batch(record(body, queue=shop.queue)), Context())) == []
    assert result.get(timeout=5) == len(text)


def test_call_with_missing_bucket_sends_nothing(make_shop: Callable[..., SimpleNamespace]) -> None:
    shop = make_shop(payloads="s3://no-such-bucket-here")
    with pytest.raises(StoreNotFound, match="no-such-bucket-here"):
        shop.length.delay(noise(3 * MB))
    assert shop.app.run(shop.app.broker.depth(shop.queue)).total == 0


def test_errors_without_payload_store_name_the_setting(make_shop: Callable[..., SimpleNamespace]) -> None:
    shop = make_shop(payloads=None)
    with pytest.raises(PayloadTooLarge, match="set TASKQ_PAYLOADS"):
        shop.length.delay(noise(3 * MB))
    document = shop.app.lambda_handler()({"task": "enlarge", "args": [2 * MB]}, Context())
    assert document["status"] == "FAILURE"
    assert "set TASKQ_PAYLOADS" in document["result"]["exc_message"][0]


def test_payload_url_that_is_not_a_bucket_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"payloads can't be kept in 'sqlite:///x\.db'"):
        TaskQ("shop", payloads="sqlite:///x.db").payloads


def test_results_and_payloads_with_different_client_options_are_refused(
    aws_environment: dict[str, str], make_bucket: Callable[..., str]
) -> None:
    bucket = make_bucket()
    app = TaskQ("shop", broker="memory://", results=f"s3://{bucket}?region=eu-west-1", payloads=f"s3://{bucket}/large")
    with pytest.raises(ImproperlyConfigured, match="give both URLs the same options"):
        app.send_task("length", ["x"])


# Number of calls


@pytest.fixture
def counted(
    local_stack: StackAddress, monkeypatch: pytest.MonkeyPatch, make_shop: Callable[..., SimpleNamespace]
) -> Iterator[tuple[SimpleNamespace, CallCounter]]:
    """An application whose calls are counted, and which stores messages over 10,000 bytes in the bucket."""
    shop = make_shop(payload_threshold=10_000)
    with CallCounter(local_stack.endpoint_url) as counter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counter.endpoint_url)
        yield shop, counter
        shop.app.close()


def calls_of(counter: CallCounter) -> dict[str, int]:
    """The counted calls by operation; calls on objects by HTTP method only."""
    counts: dict[str, int] = {}
    for operation, count in counter.counts().items():
        name = operation.split(" ")[0]
        counts[name] = counts.get(name, 0) + count
    return counts


def test_small_message_takes_no_additional_calls(counted: tuple[SimpleNamespace, CallCounter]) -> None:
    shop, counter = counted
    result = shop.length.delay("x" * 10)
    assert calls_of(counter) == {"GetQueueUrl": 1, "SendMessageBatch": 1}
    counter.reset()
    message = Message(task="length", id=result.id, args=["x" * 10])
    assert failures(shop.app.lambda_handler()(batch(record(message, queue=shop.queue)), Context())) == []
    assert calls_of(counter) == {"PutItem": 1}
    counter.reset()
    assert result.get(timeout=5) == 10
    assert calls_of(counter) == {"GetItem": 1}


def test_hundred_large_messages_take_a_hundred_puts_and_ten_sends(counted: tuple[SimpleNamespace, CallCounter]) -> None:
    shop, counter = counted
    shop.length.map_async([(noise(20_000 + 4 * number),) for number in range(100)])
    assert calls_of(counter) == {"GetQueueUrl": 1, "PUT": 100, "SendMessageBatch": 10}
