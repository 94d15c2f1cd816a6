"""Test how push requests are read: wrapped, unwrapped, truncated or malformed ones, and other requests."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Message
from taskq_cloud.core.model.outcome import Abandoned, Invocation
from taskq_cloud.serverless.oidc import KeySet, TokenVerifier
from taskq_cloud.serverless.pubsub_push import PushHandler
from tests.brokers.pubsub_server import PubSubServer
from tests.serverless.pushing import (
    ACCOUNT,
    AUDIENCE,
    DEADLINE_SECONDS,
    SUBSCRIPTION,
    Issuer,
    dead_letters,
    envelope,
    post,
    served_by_wsgi,
)


def test_unwrapped_push_is_read_from_its_headers(url: str, issuer: Issuer, app: TaskQ, ran: list[Any]) -> None:
    headers = {
        "x-goog-pubsub-subscription-name": SUBSCRIPTION,
        "x-goog-pubsub-message-id": "m-7",
        "x-goog-pubsub-publish-time": "2026-01-02T03:04:05.678Z",
        "Content-Type": "application/json",
    }
    body = json.dumps({"task": "add", "id": "t-7", "args": [7]}).encode()
    assert post(url, body, issuer.token(), headers)[0] == 204
    assert ran == [7]
    assert post(url, body, issuer.token(), {"x-goog-pubsub-message-id": "m-7"})[0] == 400


UNWRAPPED = {"x-goog-pubsub-subscription-name": SUBSCRIPTION, "x-goog-pubsub-message-id": "m-7"}


@pytest.fixture
def truncated(app: TaskQ, issuer: Issuer) -> Iterator[Callable[[str], int]]:
    """Call the endpoint as a server does when the sender disconnects within the body. Return the answer's status."""
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    headers = {**UNWRAPPED, "authorization": f"Bearer {issuer.token()}", "content-length": "100"}
    half, statuses = b'{"task": "add", "id": ', list[int]()

    def by_wsgi() -> None:
        environ: dict[str, Any] = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        environ |= {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "100", "wsgi.input": io.BytesIO(half)}
        list(endpoint(environ, lambda status, _: statuses.append(int(status.split()[0]))))

    def by_asgi() -> None:
        events: list[dict[str, Any]] = [
            {"type": "http.request", "body": half, "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            return events.pop(0)

        async def send(event: dict[str, Any]) -> None:
            statuses.extend([event["status"]] if "status" in event else [])

        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        asyncio.run(endpoint({"type": "http", "method": "POST", "headers": raw}, receive, send))

    def push(server: str) -> int:
        (by_wsgi if server == "wsgi" else by_asgi)()
        return statuses[0]

    yield push
    endpoint.close()


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_truncated_push_is_answered_400(truncated: Callable[[str], int], server: PubSubServer, kind: str) -> None:
    assert truncated(kind) == 400
    assert dead_letters(server) == []


def test_push_without_length_is_answered_411(app: TaskQ, issuer: Issuer, server: PubSubServer) -> None:
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    with served_by_wsgi(endpoint) as url:
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
        headers = {**UNWRAPPED, "Authorization": f"Bearer {issuer.token()}"}
        connection.request("POST", "/", iter([b'{"task": "add"}']), headers, encode_chunked=True)
        assert connection.getresponse().status == 411
        connection.close()
    endpoint.close()
    assert dead_letters(server) == []


def test_task_is_not_started_when_push_has_no_time_left(app: TaskQ, ran: list[Any]) -> None:
    push = PushHandler(
        app.runtime(), TokenVerifier(KeySet("http://127.0.0.1:1"), [AUDIENCE], [ACCOUNT], 0), DEADLINE_SECONDS
    )
    step = Invocation(message=Message(task="add", id="t-1", args=[1]), queue="celery", message_id="m-1", hostname="h")
    assert isinstance(push._perform(step, time.monotonic()), Abandoned)
    push.close()
    assert ran == []


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000])
def test_invalid_content_length_is_not_a_server_error(app: TaskQ, issuer: Issuer, length: str) -> None:
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}
    list(endpoint(environ, lambda status, _: statuses.append(status)))
    assert statuses == ["401 Unauthorized"]
    endpoint.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"task": "add", "args": [1]}',
        b'{"message": {"messageId": "1", "data": "%%%"}, "subscription": "s"}',
        b'{"message": {"messageId": "1", "data": "e30="}}',
        b'{"message": {"data": "e30="}, "subscription": "s"}',
        b'{"message": {"messageId": 1}, "subscription": "s"}',
        b'{"message": {"messageId": "1", "publishTime": "yesterday"}, "subscription": "s"}',
        b'{"message": {"messageId": "1", "attributes": {"a": 1}}, "subscription": "s"}',
        b'{"message": {"messageId": "1", "orderingKey": {"a": 1}}, "subscription": "s"}',
        b'{"message": {"messageId": "1"}, "subscription": "s", "deliveryAttempt": Infinity}',
        b'{"message": {"messageId": "1"}, "subscription": "s", "deliveryAttempt": NaN}',
        b'{"message": {"messageId": "1"}, "subscription": "s", "deliveryAttempt": -1}',
        b'{"message": {"messageId": "1"}, "subscription": "s", "deliveryAttempt": 1e30}',
        b"[" * 100_000,
        b'{"message": ' + b"[[]," * 1_000_000,
        b'{"message":' * 50_000 + b"1" + b"}" * 50_000,
    ],
    ids=lambda body: f"{body!r:.60}",
)
def test_request_that_is_not_a_push_is_answered_400(url: str, issuer: Issuer, ran: list[Any], body: bytes) -> None:
    assert post(url, body, issuer.token()) == (400, "not a Pub/Sub push")
    assert ran == []


def test_other_method_or_oversized_push_is_not_read(url: str, issuer: Issuer) -> None:
    assert post(url, b"", issuer.token(), method="GET")[0] == 405
    headers = {"Content-Length": "16000001"}
    # The answer comes before the body is sent, and sending the body would then fail.
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
    connection.request("POST", "/", headers={**headers, "Authorization": f"Bearer {issuer.token()}"})
    assert connection.getresponse().status == 413
    connection.close()


def test_message_that_is_not_a_task_is_dead_lettered(url: str, issuer: Issuer, server: PubSubServer) -> None:
    assert post(url, envelope(b"\xff\x00 no task", SUBSCRIPTION), issuer.token())[0] == 204
    [attributes] = dead_letters(server)
    assert attributes[DEAD_LETTER_REASON].startswith("DecodeError")


def test_refused_dead_letter_is_answered_503(url: str, issuer: Issuer, server: PubSubServer) -> None:
    server.state.topics.clear()
    assert post(url, envelope(b"no task", SUBSCRIPTION), issuer.token())[0] == 503
