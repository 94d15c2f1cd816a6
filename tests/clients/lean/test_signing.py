"""Tests of signatures against AWS's published test suite, and against the signer of the SDK.

``sigv4_vectors.json`` has the requests and signatures of AWS's Signature Version 4 test suite, as aws-c-auth publishes
it (tests/aws-signing-test-suite/v4); paths and queries are in the suite's canonical form.
"""

from __future__ import annotations

import calendar
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from taskq_cloud.clients.aws_waits import Waits
from taskq_cloud.clients.lean.client import wire_of
from taskq_cloud.clients.lean.endpoints import Target, endpoint_of
from taskq_cloud.clients.lean.requests import Setting
from taskq_cloud.clients.lean.signing import Keys, Signer
from taskq_cloud.core.flows import Call

SUITE = json.loads((Path(__file__).parent / "sigv4_vectors.json").read_text("utf-8"))
NOW = datetime(2026, 11, 30, 1, 20, 36, tzinfo=UTC)
UNSIGNED = {"user-agent", "accept-encoding", "content-length", "x-amzn-trace-id"}
VALUE = {"M": {"l": {"L": [{"B": b"\x00\xff"}, {"BS": [b"1"]}, {"NULL": True}, {"BOOL": False}]}}}
CALLS = {
    "sqs": Call("sqs", "send_message", {"QueueUrl": "https://q", "MessageBody": "h\u00e9 \ud800 \U0001f600"}),
    "dynamodb": Call("dynamodb", "put_item", {"TableName": "t", "Item": {"id": {"S": "1"}, "m": VALUE}}),
    "s3 put": Call(
        "s3",
        "put_object",
        {
            "Bucket": "bucket",
            "Key": "a/b c+\u00fc~'()*",
            "Body": b"hello",
            "IfNoneMatch": "*",
            "Metadata": {"A": "x  y"},
        },
    ),
    "s3 put of nothing": Call("s3", "put_object", {"Bucket": "bucket", "Key": "a"}),
    "s3 get": Call("s3", "get_object", {"Bucket": "buck.et", "Key": "a", "Range": "bytes=0-9"}),
}


def test_suite_is_whole() -> None:
    assert len(SUITE["vectors"]) == 38


@pytest.mark.parametrize("vector", SUITE["vectors"], ids=lambda vector: str(vector["name"]))
def test_signature_is_that_of_the_published_suite(vector: dict[str, Any]) -> None:
    at = calendar.timegm(datetime.fromisoformat(SUITE["time"]).timetuple())
    signer = Signer(SUITE["service"], SUITE["region"], lambda: at)
    keys = Keys(**SUITE["credentials"], token=vector.get("token"))
    headers = [(name, value) for name, value in vector["headers"] if name.lower() != "x-amz-date"]
    body_hash = sha256(vector.get("body", "").encode()).hexdigest()
    signed = signer.sign(keys, vector["method"], vector["path"], headers, body_hash, vector.get("query", ""))
    assert dict(signed)["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={vector['signed_headers']}, Signature={vector['signature']}"
    )


@pytest.mark.parametrize("token", [None, "a/token+with=signs"])
@pytest.mark.parametrize("url", ["https://{}.eu-west-1.amazonaws.com", "http://127.0.0.1:4566"])
@pytest.mark.parametrize("name", list(CALLS))
def test_request_is_signed_as_by_the_sdk(
    name: str, url: str, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))
    call, keys = CALLS[name], Keys("AKIDEXAMPLE", "secret/key", token)
    endpoint = endpoint_of(url.format(call.service), None)
    assert endpoint is not None
    target = Target(call.service, "eu-west-1", endpoint, "127" in url, keys)
    request = wire_of(Setting(target, Waits(1, 1, 1), clock=NOW.timestamp)).request(call, keys)
    assert request is not None
    method, path, headers = parsed(request.head)
    authorization = headers.pop("Authorization")
    theirs = AWSRequest(method=method, url=f"{endpoint.scheme}://{headers['Host']}{path}", data=request.body)
    for header, value in headers.items():
        if header.lower() not in UNSIGNED and header not in ("X-Amz-Date", "X-Amz-Security-Token"):
            theirs.headers[header] = value
    if name.startswith("s3 put"):
        # What the SDK's client tells its signer of this operation.
        theirs.context["has_streaming_input"] = True
        theirs.context["checksum"] = {"request_algorithm": {"in": "header", "name": "x-amz-checksum-crc32"}}
    signer = auth.S3SigV4Auth if call.service == "s3" else auth.SigV4Auth
    signer(Credentials(keys.access_key, keys.secret_key, token), call.service, "eu-west-1").add_auth(theirs)
    assert theirs.headers["Authorization"] == authorization
    assert theirs.headers["X-Amz-Date"] == headers["X-Amz-Date"] == "20261130T012036Z"
    assert theirs.headers.get("X-Amz-Content-SHA256") == headers.get("X-Amz-Content-SHA256")


def parsed(head: bytes) -> tuple[str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    return method, path, dict(line.split(": ", 1) for line in lines)


def test_signing_key_is_made_anew_for_another_day_and_another_secret() -> None:
    times = iter([0, 0, 86_400, 86_400, 86_400])
    signer = Signer("sqs", "eu-west-1", lambda: next(times))
    signatures = [
        dict(signer.sign(keys, "POST", "/", [("Host", "q")], "0"))["Authorization"]
        for keys in (Keys("a", "s"), Keys("a", "s"), Keys("a", "s"), Keys("a", "other"), Keys("a", "s"))
    ]
    assert signatures[0] == signatures[1]
    assert signatures[2] == signatures[4]
    assert len(set(signatures)) == 3


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Keys("id", "secret", "token")) + str([Keys("id", "secret")])
