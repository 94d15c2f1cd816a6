from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.session import Session

from emulators import aws as stacks
from emulators.call_counter import CallCounter, Fault
from tests.conftest import StackAddress

_ONE_ATTEMPT = Config(retries={"total_max_attempts": 1, "mode": "standard"})


@pytest.fixture
def counter(local_stack: StackAddress) -> Iterator[CallCounter]:
    with CallCounter(local_stack.endpoint_url) as counter:
        yield counter


def _client(service: str, counter: CallCounter) -> Any:
    return Session().create_client(
        service,
        "eu-west-1",
        endpoint_url=counter.endpoint_url,
        config=_ONE_ATTEMPT,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def sqs(counter: CallCounter) -> Iterator[Any]:
    client = _client("sqs", counter)
    yield client
    client.close()


@pytest.fixture
def url(make_queue: Callable[..., str], sqs_client: Any) -> str:
    url: str = sqs_client.get_queue_url(QueueName=make_queue())["QueueUrl"]
    return url


def _stored(sqs_client: Any, url: str) -> int:
    attributes = sqs_client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def test_calls_are_counted_by_operation_and_go_through(
    counter: CallCounter, sqs: Any, url: str, make_table: Callable[..., str]
) -> None:
    dynamodb = _client("dynamodb", counter)
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    dynamodb.put_item(TableName=make_table(), Item={"id": {"S": "1"}})
    dynamodb.close()

    assert [message["Body"] for message in messages] == ["0", "1", "2"]
    assert counter.counts() == {"SendMessage": 3, "ReceiveMessage": 1, "PutItem": 1}
    assert counter.total() == 5
    assert counter.bytes_in > 5 * 200
    assert counter.bytes_out > 5 * 100
    counter.reset()
    assert counter.counts() == {}
    assert counter.bytes_in == counter.bytes_out == 0


def test_body_of_a_megabyte_goes_through(counter: CallCounter, sqs: Any, url: str) -> None:
    body = "x" * 1_000_000
    sqs.send_message(QueueUrl=url, MessageBody=body)
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == body
    assert counter.bytes_in > 1_000_000
    assert counter.bytes_out > 1_000_000


def test_reset_before_the_call_leaves_the_endpoint_untouched(
    counter: CallCounter, sqs: Any, sqs_client: Any, url: str
) -> None:
    counter.fail_next("SendMessage", "reset_before")
    with pytest.raises(ConnectionClosedError):
        sqs.send_message(QueueUrl=url, MessageBody="lost")
    assert _stored(sqs_client, url) == 0
    sqs.send_message(QueueUrl=url, MessageBody="sent")
    assert _stored(sqs_client, url) == 1
    assert counter.counts() == {"SendMessage": 2}


def test_call_takes_effect_before_a_reset_after_it(counter: CallCounter, sqs: Any, sqs_client: Any, url: str) -> None:
    counter.fail_next("SendMessage", "reset_after")
    with pytest.raises(ConnectionClosedError):
        sqs.send_message(QueueUrl=url, MessageBody="stored all the same")
    assert _stored(sqs_client, url) == 1


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("throttle", "RequestThrottled"),
        ("expired_token", "ExpiredTokenException"),
        ("server_error", "InternalFailure"),
    ],
)
def test_planted_error_has_the_code_of_the_service(
    counter: CallCounter, sqs: Any, sqs_client: Any, url: str, kind: Fault, code: str
) -> None:
    counter.fail_next("SendMessage", kind, times=2)
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            sqs.send_message(QueueUrl=url, MessageBody="refused")
        assert caught.value.response["Error"]["Code"] == code
    assert _stored(sqs_client, url) == 0
    sqs.send_message(QueueUrl=url, MessageBody="taken")
    assert _stored(sqs_client, url) == 1


def test_throttled_call_of_dynamodb_has_the_code_of_dynamodb(
    counter: CallCounter, make_table: Callable[..., str]
) -> None:
    dynamodb = _client("dynamodb", counter)
    counter.fail_next("PutItem", "throttle")
    with pytest.raises(ClientError) as caught:
        dynamodb.put_item(TableName=make_table(), Item={"id": {"S": "1"}})
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    dynamodb.close()


def test_requests_without_a_target_are_counted_by_path_over_one_kept_connection(counter: CallCounter) -> None:
    port = int(counter.endpoint_url.rpartition(":")[2])
    connection = HTTPConnection("127.0.0.1", port)
    for _ in range(2):
        connection.request("GET", "/_ministack/health?verbose=1")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.close()
    assert counter.counts() == {"GET /_ministack/health": 2}


def test_client_that_expects_100_continue_gets_it(counter: CallCounter) -> None:
    port = int(counter.endpoint_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: AmazonSQS.ListQueues\r\nconnection: close\r\n"
            b"content-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(b"{}")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert counter.counts() == {"ListQueues": 1}


def test_client_connection_is_dropped_if_the_endpoint_is_gone(own_stack: stacks.Stack) -> None:
    own_stack.stop()
    with CallCounter(own_stack.endpoint_url) as counter:
        connection = HTTPConnection("127.0.0.1", int(counter.endpoint_url.rpartition(":")[2]), timeout=10)
        connection.request("GET", "/")
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
        connection.close()
