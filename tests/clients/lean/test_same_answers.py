"""Tests that the lean driver and the SDK send the same requests, and make the same of the same answers."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from taskq_cloud.clients import aws
from taskq_cloud.clients.lean.client import NOT_MADE
from taskq_cloud.core.flows import Call, CallError, Trouble
from tests.clients.lean.twin import Canned, Twin
from tests.conftest import StackAddress

REGION = "eu-west-1"

LEAN = slice(2)
"""The first two drivers: the lean one, in a thread and on an event loop."""


class Drivers:
    """All four drivers of one service: lean and the SDK's, each in this thread and on the event loop."""

    def __init__(self, service: str, twin: Twin) -> None:
        self._service = service
        self._twin = twin
        self._clients: list[aws.AWSClient | aws.AsyncAWSClient] = []

    async def open(self) -> None:
        options = {"region": REGION, "endpoint_url": self._twin.url}
        for lean in (True, False):
            self._clients.append(aws.open_client(self._service, {**options, "lean": lean}))
            self._clients.append(await aws.open_async_client(self._service, {**options, "lean": lean}))

    async def close(self) -> None:
        for client in self._clients:
            if isinstance(client, aws.AsyncAWSClient):
                await client.close()
            else:
                client.close()

    async def answers(
        self, operation: str, canned: Any = None, *, drivers: slice = slice(None), **parameters: Any
    ) -> list[Any]:
        """Make a call by each driver, or by these, and return the answers, or the errors as tuples."""
        call = Call(self._service, operation, parameters)
        self._twin.forget(canned)
        found: list[Any] = []
        for client in self._clients[drivers]:
            try:
                # Not by the client itself, which records the calls that policies have to allow.
                if isinstance(client, aws.AsyncAWSClient):
                    on_loop = client._lean or client._sdk
                    assert on_loop is not None
                    answer = await on_loop.call(call)
                else:
                    driver = client._lean or client._sdk
                    assert driver is not None
                    answer = await asyncio.to_thread(driver.call, call)
                assert answer is not NOT_MADE, "the lean driver leaves the call to the SDK"
            except CallError as error:
                found.append((error.code, error.message, error.trouble))
            except Exception as error:  # such as the SDK's AttributeError, over JSON that isn't an object
                if client._lean is not None:
                    raise
                found.append(error)
            else:
                answer["ResponseMetadata"].pop("MaxAttemptsReached", None)  # of the SDK's retries, which are off
                found.append(answer)
        return found

    async def answer(self, operation: str, canned: Any = None, **parameters: Any) -> Any:
        """Make a call by each driver, and return the answer, after the comparison of all."""
        lean, async_lean, sdk, async_sdk = await self.answers(operation, canned, **parameters)
        assert lean == sdk
        assert async_lean == async_sdk
        assert lean == async_lean
        requests = self._twin.seen
        assert len(requests) == 4
        assert requests[0] == requests[1] == requests[2] == requests[3]
        return lean


@pytest.fixture
def twin(local_stack: StackAddress, aws_environment: dict[str, str]) -> Iterator[Twin]:
    address = urlsplit(local_stack.endpoint_url)
    with Twin((str(address.hostname), address.port or 80)) as twin:
        yield twin


@pytest.fixture
async def sqs(twin: Twin) -> AsyncIterator[Drivers]:
    drivers = Drivers("sqs", twin)
    await drivers.open()
    yield drivers
    await drivers.close()


@pytest.fixture
async def dynamodb(twin: Twin) -> AsyncIterator[Drivers]:
    drivers = Drivers("dynamodb", twin)
    await drivers.open()
    yield drivers
    await drivers.close()


@pytest.fixture
async def s3(twin: Twin) -> AsyncIterator[Drivers]:
    drivers = Drivers("s3", twin)
    await drivers.open()
    yield drivers
    await drivers.close()


ATTRIBUTES = {
    "text": {"DataType": "String", "StringValue": "h\u00e9"},
    "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    "number": {"DataType": "Number", "StringValue": "1.5"},
}


async def test_sqs_answers_are_the_sdks(sqs: Drivers, make_queue: Callable[..., str]) -> None:
    name = make_queue("same")
    url = (await sqs.answer("get_queue_url", QueueName=name))["QueueUrl"]
    sent = await sqs.answer("send_message", QueueUrl=url, MessageBody="a", MessageAttributes=ATTRIBUTES)
    assert sent["MD5OfMessageBody"] == "0cc175b9c0f1b6a831c399e269772661"
    entries = [
        {"Id": "0", "MessageBody": "b", "DelaySeconds": 0, "MessageAttributes": ATTRIBUTES},
        {"Id": "1", "MessageBody": "\u00fc \ufffd \U0001f600"},
    ]
    assert len((await sqs.answer("send_message_batch", QueueUrl=url, Entries=entries))["Successful"]) == 2
    names = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    received: list[Any] = []
    while len(received) < 3:
        part = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "VisibilityTimeout": 30}
        received += (await sqs.answer("receive_message", QueueUrl=url, **part, **names))["Messages"]
    assert {each["Body"] for each in received} == {"a", "b", "\u00fc \ufffd \U0001f600"}
    assert [each["MessageAttributes"]["bytes"]["BinaryValue"] for each in received if each["Body"] < "c"] == [
        b"\x00\xff"
    ] * 2
    receipts = [each["ReceiptHandle"] for each in received]
    await sqs.answer("change_message_visibility", QueueUrl=url, ReceiptHandle=receipts[0], VisibilityTimeout=10)
    longer = [
        {"Id": "0", "ReceiptHandle": receipts[1], "VisibilityTimeout": 40},
        {"Id": "1", "ReceiptHandle": "no receipt", "VisibilityTimeout": 40},
    ]
    changed = await sqs.answer("change_message_visibility_batch", QueueUrl=url, Entries=longer)
    assert ([each["Id"] for each in changed["Successful"]], len(changed["Failed"])) == (["0"], 1)
    await sqs.answer("delete_message", QueueUrl=url, ReceiptHandle=receipts[0])
    gone = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts[1:])]
    assert len((await sqs.answer("delete_message_batch", QueueUrl=url, Entries=gone))["Successful"]) == 2
    asked = await sqs.answer("get_queue_attributes", QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert asked["Attributes"] == {"ApproximateNumberOfMessages": "0"}
    assert "Messages" not in await sqs.answer("receive_message", QueueUrl=url)


async def test_sqs_errors_are_the_sdks(sqs: Drivers, make_queue: Callable[..., str], sqs_client: Any) -> None:
    url = sqs_client.get_queue_url(QueueName=make_queue("same"))["QueueUrl"]
    code, _, trouble = await sqs.answer("get_queue_url", QueueName="no-such-queue")
    assert (code, trouble) == ("AWS.SimpleQueueService.NonExistentQueue", Trouble.REFUSED)
    await sqs.answer("send_message", QueueUrl=url + "-missing", MessageBody="a")
    await sqs.answer("delete_message", QueueUrl=url, ReceiptHandle="no receipt")
    code, _, _ = await sqs.answer("send_message_batch", QueueUrl=url, Entries=[])
    assert code == "AWS.SimpleQueueService.EmptyBatchRequest"


async def test_dynamodb_answers_are_the_sdks(dynamodb: Drivers, make_table: Callable[..., str]) -> None:
    table = make_table("same")
    item = {
        "id": {"S": "1"},
        "number": {"N": "1.50"},
        "bytes": {"B": b"\x00\xff"},
        "sets": {"M": {"s": {"SS": ["a"]}, "n": {"NS": ["1"]}, "b": {"BS": [b"x"]}}},
        "list": {"L": [{"NULL": True}, {"BOOL": False}, {"M": {"deep": {"B": b""}}}]},
    }
    condition = {
        "ConditionExpression": "attribute_not_exists(#id)",
        "ExpressionAttributeNames": {"#id": "id"},
    }
    written = await dynamodb.answer("put_item", TableName=table, Item=item, ReturnValues="ALL_OLD")
    assert "Attributes" not in written
    code, _, trouble = await dynamodb.answer("put_item", TableName=table, Item=item, **condition)
    assert (code, trouble) == ("ConditionalCheckFailedException", Trouble.REFUSED)
    read = await dynamodb.answer("get_item", TableName=table, Key={"id": {"S": "1"}}, ConsistentRead=True)
    assert read["Item"]["bytes"] == {"B": b"\x00\xff"}
    assert read["Item"]["list"]["L"][2] == {"M": {"deep": {"B": b""}}}
    assert "Item" not in await dynamodb.answer("get_item", TableName=table, Key={"id": {"S": "2"}})
    changed = await dynamodb.answer(
        "update_item",
        TableName=table,
        Key={"id": {"S": "1"}},
        UpdateExpression="SET #number = :n ADD #new :one",
        ExpressionAttributeNames={"#number": "number", "#new": "new"},
        ExpressionAttributeValues={":n": {"N": "2"}, ":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )
    assert changed["Attributes"]["new"] == {"N": "1"}
    requests = [{"PutRequest": {"Item": {"id": {"S": each}, "b": {"B": b"x"}}}} for each in "23"]
    done = await dynamodb.answer("batch_write_item", RequestItems={table: requests})
    assert done["UnprocessedItems"] == {}
    keys = {"Keys": [{"id": {"S": each}} for each in "239"], "ConsistentRead": True}
    several = await dynamodb.answer("batch_get_item", RequestItems={table: keys})
    assert sorted(each["id"]["S"] for each in several["Responses"][table]) == ["2", "3"]
    code, _, _ = await dynamodb.answer("get_item", TableName="no-such-table", Key={"id": {"S": "1"}})
    assert code == "ResourceNotFoundException"
    await dynamodb.answer("batch_get_item", RequestItems={"no-such-table": keys})
    await dynamodb.answer("put_item", TableName=table, Item={"no-key": {"S": "1"}})


async def test_batch_of_statements_is_answered_as_by_the_sdk(dynamodb: Drivers) -> None:
    statement = "INSERT INTO \"t\" VALUE {'id': ?, 'b': ?}"
    refused = {"Code": "DuplicateItem", "Message": "there", "Item": {"b": {"B": "eHg="}}, "Unknown": 1}
    answer = {"Responses": [{"TableName": "t"}, {"Error": refused}, {"Item": {"b": {"B": "eHg="}}}], "Unknown": []}
    statements = [{"Statement": statement, "Parameters": [{"S": "1"}, {"B": b"xx"}]}] * 3
    made = await dynamodb.answer("batch_execute_statement", _json(200, answer), Statements=statements)
    assert made["Responses"][1]["Error"] == {"Code": "DuplicateItem", "Message": "there", "Item": {"b": {"B": b"xx"}}}


async def test_s3_answers_are_the_sdks(s3: Drivers, make_bucket: Callable[..., str]) -> None:
    place = {"Bucket": make_bucket("same"), "Key": "live/a b+\u00fc~.json"}
    more = {"Metadata": {"State": "STARTED", "n": "1"}, "ContentType": "application/json", "IfNoneMatch": "*"}
    written = await s3.answer("put_object", **place, Body=b'{"a": 1}', **more)
    assert written["ETag"]
    code, _, trouble = await s3.answer("put_object", **place, Body=b"", IfNoneMatch="*")
    assert (code, trouble) == ("PreconditionFailed", Trouble.REFUSED)
    read = await s3.answer("get_object", **place)
    assert (read["Body"], read["ContentLength"]) == (b'{"a": 1}', 8)
    assert {name.lower(): value for name, value in read["Metadata"].items()} == {"state": "STARTED", "n": "1"}
    assert read["LastModified"].tzinfo is not None
    code, _, _ = await s3.answer("get_object", **place, Range="bytes=0-3")
    assert code == "ObjectTooLarge"
    assert (await s3.answer("get_object", **place, Range="bytes=0-100"))["Body"] == b'{"a": 1}'
    await s3.answer("put_object", **place, Body=b"x" * 200_000, IfMatch=written["ETag"])
    assert len((await s3.answer("get_object", **place))["Body"]) == 200_000
    assert (await s3.answer("get_object", Bucket=place["Bucket"], Key="no-such-key"))[0] == "NoSuchKey"
    assert (await s3.answer("get_object", Bucket="no-such-bucket-1", Key="k"))[0] == "NoSuchBucket"


def _json(status: int, body: Any, *headers: tuple[str, str]) -> Canned:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Canned(
        status, (("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-RequestId", "1"), *headers), content
    )


QUERY = "x-amzn-query-error"
JSON_ERRORS: dict[str, Canned] = {
    "a namespace": _json(400, {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "gone"}),
    "the old name": _json(400, {"__type": "com.amazonaws.sqs#A", "message": "m"}, (QUERY, "AWS.Old;Sender")),
    "no old name": _json(400, {"__type": "A", "message": "m"}, (QUERY, ";Sender")),
    "a malformed old name": _json(400, {"__type": "A", "message": "m"}, (QUERY, "AWS.Old")),
    "a URL behind the code": _json(400, {"__type": "A:http://internal.amazon.com/x#y/", "Message": "M"}),
    "no code": _json(403, {"message": "no"}),
    "nothing": _json(400, b""),
    "text": _json(400, b"not JSON"),
    "an empty 503": _json(503, b""),
    "a page of a load balancer": _json(502, b"<html><body>Bad Gateway</body></html>"),
    "other HTML": _json(500, b"<!DOCTYPE html><p>"),
    "throttling": _json(400, {"__type": "com.amazon.coral.availability#ThrottlingException", "message": "slow"}),
    "an expired token": _json(400, {"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "old"}),
    "clock skew": _json(403, {"__type": "InvalidSignatureException", "message": "Signature expired: 2026 is now"}),
    "an internal error": _json(500, {"__type": "InternalFailure", "message": ""}),
    "a redirect": _json(302, b""),
    "an unknown status": _json(599, b""),
    "more members": _json(
        400, {"__type": "ConditionalCheckFailedException", "message": "m", "Item": {"a": {"S": "1"}}}
    ),
}


async def test_errors_in_json_are_the_sdks(sqs: Drivers, dynamodb: Drivers) -> None:
    for name, canned in JSON_ERRORS.items():
        found = await sqs.answer("send_message", canned, QueueUrl="https://q", MessageBody="m")
        assert isinstance(found, tuple), name
        found = await dynamodb.answer("get_item", canned, TableName="t", Key={"id": {"S": "1"}})
        assert isinstance(found, tuple), name


async def test_answer_has_only_known_members_that_are_not_null(sqs: Drivers) -> None:
    message = {"MessageId": "1", "Body": None, "New": 1, "Attributes": {"a": "b"}, "MessageAttributes": {}}
    canned = _json(200, {"Messages": [message], "New": {}})
    found = await sqs.answer("receive_message", canned, QueueUrl="https://q")
    assert found["Messages"] == [{"MessageId": "1", "Attributes": {"a": "b"}, "MessageAttributes": {}}]


async def test_answer_that_is_not_the_services_is_a_transient_failure(dynamodb: Drivers) -> None:
    # The SDK takes text for an answer without members: an item that is there would be missing.
    for body in (b"<html>a portal</html>", b'{"Item": {"id"', b"[]", b'{"Item": 1}', b"null", b"[" * 100_000):
        found = await dynamodb.answers("get_item", _json(200, body), TableName="t", Key={"id": {"S": "1"}})
        assert (found[0][0], found[0][2]) == ("ResponseParserError", Trouble.TRANSIENT), body
        assert found[1] == found[0], body


async def test_deeply_nested_refusal_is_the_error_of_its_status(dynamodb: Drivers) -> None:
    for body in (b"[" * 100_000, b'{"message": ' + b"[" * 100_000):
        found = await dynamodb.answers("get_item", _json(400, body), TableName="t", Key={"id": {"S": "1"}})
        assert found[0] == found[1] == ("400", body.decode(), Trouble.REFUSED)


async def test_answer_with_a_wrong_checksum_is_a_transient_failure(dynamodb: Drivers) -> None:
    right = _json(200, {"Item": {}}, ("x-amz-crc32", str(zlib.crc32(b'{"Item": {}}'))))
    assert (await dynamodb.answer("get_item", right, TableName="t", Key={"id": {"S": "1"}}))["Item"] == {}
    wrong = _json(200, {"Item": {}}, ("x-amz-crc32", "1"))
    lean, async_lean, _, _ = await dynamodb.answers("get_item", wrong, TableName="t", Key={"id": {"S": "1"}})
    assert (lean[0], lean[2]) == (async_lean[0], async_lean[2]) == ("ChecksumError", Trouble.TRANSIENT)


def _xml(status: int, body: str, *headers: tuple[str, str]) -> Canned:
    ids = (("x-amz-request-id", "R"), ("x-amz-id-2", "H"), ("Content-Type", "application/xml"))
    return Canned(status, (*ids, *headers), body.encode())


XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
XML_ERRORS: dict[str, Canned] = {
    "S3's form": _xml(404, XML + "<Error><Code>NoSuchKey</Code><Message>a &amp; b</Message><Key>k</Key></Error>"),
    "another form": _xml(400, XML + "<ErrorResponse><Error><Code>A</Code><Message>m</Message></Error></ErrorResponse>"),
    "no code": _xml(400, XML + "<Error><Message>m</Message></Error>"),
    "an encoding that it doesn't have": _xml(
        403, XML.replace("UTF-8", "big5") + "<Error><Code>A</Code><Message>\u00fc</Message></Error>"
    ),
    "an encoding that doesn't exist": _xml(400, XML.replace("UTF-8", "foo") + "<Error><Code>A</Code></Error>"),
    "no XML": _xml(403, "Forbidden"),
    "nothing": _xml(412, ""),
    "an empty 500": _xml(500, ""),
    "a page of a load balancer": _xml(503, "<html><body>busy</body></html>"),
    "SlowDown": _xml(503, XML + "<Error><Code>SlowDown</Code><Message>Reduce</Message></Error>"),
    "clock skew": _xml(403, XML + "<Error><Code>RequestTimeTooSkewed</Code><Message>m</Message></Error>"),
    "an expired token": _xml(400, XML + "<Error><Code>ExpiredToken</Code><Message>m</Message></Error>"),
    "not modified": _xml(304, ""),
}


async def test_errors_in_xml_are_the_sdks(s3: Drivers) -> None:
    for name, canned in XML_ERRORS.items():
        for operation, more in (("get_object", {}), ("put_object", {"Body": b"b"})):
            found = await s3.answer(operation, canned, Bucket="bucket", Key="k", **more)
            assert isinstance(found, tuple), (name, operation)


async def test_write_that_is_answered_with_an_error_and_the_status_200_has_failed(s3: Drivers) -> None:
    canned = _xml(200, XML + "<Error><Code>InternalError</Code><Message>again</Message></Error>")
    found = await s3.answer("put_object", canned, Bucket="bucket", Key="k", Body=b"b")
    assert found == ("InternalError", "again", Trouble.TRANSIENT)


HEADERS = (
    ("ETag", '"e"'),
    ("Last-Modified", "Mon, 30 Nov 2026 01:20:36 GMT"),
    ("x-amz-version-id", "v"),
    ("x-amz-server-side-encryption", "aws:kms"),
    ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
    ("x-amz-missing-meta", "2"),
    ("x-amz-meta-a", "1"),
    ("x-amz-meta-b", "2"),
    ("Expires", "Tue, 01 Dec 2026 00:00:00 GMT"),
    ("x-amz-object-lock-retain-until-date", "2026-12-01T00:00:00.000Z"),
    ("x-amz-tagging-count", "3"),
    ("x-amz-object-size", "5"),
    ("Content-Type", "text/plain"),
)


async def test_headers_of_an_object_are_the_sdks_members(s3: Drivers) -> None:
    found = await s3.answer("get_object", Canned(200, HEADERS, b"hello"), Bucket="bucket", Key="k")
    assert found["BucketKeyEnabled"] is True
    assert found["MissingMeta"] == 2
    written = await s3.answer("put_object", Canned(200, HEADERS, b""), Bucket="bucket", Key="k", Body=b"hello")
    assert written["Size"] == 5
    for value in ("never", f"Mon, 30 Nov {10**20} 01:20:36 GMT"):
        odd = Canned(200, (("Expires", value),), b"hello")
        for found in await s3.answers("get_object", odd, drivers=LEAN, Bucket="bucket", Key="k"):
            assert ("Expires" in found, found["ExpiresString"]) == (False, value)


async def test_malformed_header_of_an_object_is_a_transient_failure(s3: Drivers) -> None:
    # The SDK raises errors of its own for most of these, and leaves the connection open.
    for name, value in (
        ("Last-Modified", f"Mon, 30 Nov {10**20} 01:20:36 GMT"),
        ("Last-Modified", "yesterday"),
        ("x-amz-missing-meta", "9" * 5_000),
        ("x-amz-tagging-count", "\xb2"),
    ):
        canned = Canned(200, ((name, value),), b"hello")
        found = await s3.answers("get_object", canned, drivers=LEAN, Bucket="bucket", Key="k")
        assert (found[0][0], found[0][2]) == ("ResponseParserError", Trouble.TRANSIENT), (name, value)
        assert found[1] == found[0]


CHECKSUMS = (
    ("x-amz-checksum-crc32", "NhCmhg==", None),
    ("x-amz-checksum-crc32", "AAAAAA==", "FlexibleChecksumError"),
    ("x-amz-checksum-crc32", "AAAAAA==-2", None),
    ("x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", None),
    ("x-amz-checksum-sha256", "AAAAAA==", "FlexibleChecksumError"),
    ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=", None),
)


async def test_checksum_of_an_object_is_verified(s3: Drivers) -> None:
    for name, value, code in CHECKSUMS:
        found = await s3.answer("get_object", Canned(200, ((name, value),), b"hello"), Bucket="bucket", Key="k")
        assert (found[0] if isinstance(found, tuple) else None) == code, (name, value)
