"""Exchange of large messages with Amazon's SQS Extended Client for Python, in both directions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqs_extended_client.client import SQSExtendedClientSession

from emulators.aws import REGION
from taskq_cloud.core.messages import protocol
from taskq_cloud.core.model.message import Message
from tests.serverless.events import Context, batch, failures, record
from tests.stores.payloads.noise import MB, dead_letter, noise, received
from tests.worker.serving import serving

TEXT = noise(3 * MB)


@pytest.fixture
def peer(aws_environment: dict[str, str]) -> Iterator[Any]:
    """Amazon's client; a test sets the client's bucket."""
    session: Any = SQSExtendedClientSession
    client = session(region_name=REGION).client("sqs")
    yield client
    client.close()
    client.s3_client.close()


def send(peer: Any, shop: SimpleNamespace, bucket: str, *, legacy: bool = False) -> str:
    """Send a large message through Amazon's client; returns the task's id."""
    peer.large_payload_support = bucket
    peer.use_legacy_attribute = legacy
    message = Message(task="length", id="from-the-peer", args=[TEXT])
    url = peer.get_queue_url(QueueName=shop.queue)["QueueUrl"]
    peer.send_message(QueueUrl=url, MessageBody=protocol.encode(message, shop.queue))
    return message.id


@pytest.mark.parametrize("legacy", [False, True])
async def test_worker_follows_pointer_to_a_payload_source(
    make_shop: Callable[..., SimpleNamespace], make_bucket: Callable[..., str], peer: Any, legacy: bool
) -> None:
    bucket = make_bucket("shared")
    shop = make_shop(payload_sources=[bucket])
    result = shop.app.AsyncResult(send(peer, shop, bucket, legacy=legacy))
    async with serving(shop.app):
        assert await result.aget(timeout=20) == len(TEXT)


async def test_message_with_pointer_to_another_bucket_is_dead_lettered(
    shop: SimpleNamespace, peer: Any, make_bucket: Callable[..., str], sqs_client: Any
) -> None:
    bucket = make_bucket("foreign")
    send(peer, shop, bucket)
    handler = shop.app.lambda_handler()
    message = received(sqs_client, shop.queue)
    answer = handler(batch(record(message["Body"], queue=shop.queue)), Context())
    assert failures(answer) == [] and shop.seen == []
    reason = dead_letter(sqs_client, shop.queue)
    assert reason.startswith(f"ClaimError: the payload s3://{bucket}/")
    assert reason.endswith("add other places to payload_sources")


def test_lambda_function_follows_pointer_to_a_payload_source(
    make_shop: Callable[..., SimpleNamespace], make_bucket: Callable[..., str], peer: Any, sqs_client: Any
) -> None:
    bucket = make_bucket("shared")
    shop = make_shop(payload_sources=[bucket])
    result = shop.app.AsyncResult(send(peer, shop, bucket))
    message = received(sqs_client, shop.queue)
    size = message["MessageAttributes"]["ExtendedPayloadSize"]["StringValue"]
    event = batch(record(message["Body"], queue=shop.queue, attributes={"ExtendedPayloadSize": size}))
    assert failures(shop.app.lambda_handler()(event, Context())) == []
    assert result.get(timeout=5) == len(TEXT)
    assert shop.app.lambda_handler()(json.loads(message["Body"]), Context())["result"] == len(TEXT)


def test_amazons_client_follows_our_pointer(make_shop: Callable[..., SimpleNamespace], peer: Any) -> None:
    shop = make_shop(payload_format="sqs-extended", payload_compression=None)
    result = shop.length.delay(TEXT)
    peer.large_payload_support = shop.bucket
    url = peer.get_queue_url(QueueName=shop.queue)["QueueUrl"]
    (message,) = peer.receive_message(QueueUrl=url, WaitTimeSeconds=5, MessageAttributeNames=["All"])["Messages"]
    read = protocol.decode(json.loads(message["Body"]), "m")
    assert (read.id, read.args) == (result.id, [TEXT])
    assert message["ReceiptHandle"].startswith(
        f"-..s3BucketName..-{shop.bucket}-"
    )  # Amazon's client deletes the object by this receipt


async def test_worker_follows_our_own_pointer(make_shop: Callable[..., SimpleNamespace], sqs_client: Any) -> None:
    shop = make_shop(payload_format="sqs-extended", payload_compression=None)
    result = shop.twice.delay(TEXT)
    url = sqs_client.get_queue_url(QueueName=shop.queue)["QueueUrl"]
    answer = sqs_client.receive_message(QueueUrl=url, VisibilityTimeout=0, MessageAttributeNames=["All"])
    size = answer["Messages"][0]["MessageAttributes"]["ExtendedPayloadSize"]
    assert size["DataType"] == "Number" and int(size["StringValue"]) > len(TEXT)
    async with serving(shop.app):
        assert await result.aget(timeout=20) == len(TEXT)
    assert shop.seen == [len(TEXT)] * 2
