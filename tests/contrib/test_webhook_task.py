"""Tests of the task that calls a URL, against a web server on loopback."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from taskq_cloud import TaskQ
from taskq_cloud.contrib.webhooks import WebhookFailed, WebhookRefused, webhook_task
from taskq_cloud.contrib.webhooks.hosts import AllowedHosts
from taskq_cloud.contrib.webhooks.requests import RetriableFailure, request
from taskq_cloud.contrib.webhooks.task import pause_seconds
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.testing import run_tasks
from tests.contrib.webhooks_server import Reply, WebServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def application(*hosts: str, **options: Any) -> tuple[TaskQ, Any]:
    app = TaskQ("hooks", broker="memory://", results="memory://")
    return app, webhook_task(app, hosts=hosts, http=True, **options)


def test_json_answer_is_the_result() -> None:
    with WebServer(Reply(201, b'{"order": 5}', {"content-type": "application/json; charset=utf-8"})) as server:
        app, webhook = application(server.host)
        result = webhook.delay(f"{server.url}/orders", json={"id": 5, "name": "Zoë"}, headers={"X-Shop": "a"})
        run_tasks(app)
    answer = result.get(timeout=1)
    assert (answer["status"], answer["json"]) == (201, {"order": 5})
    [request] = server.requests
    assert (request.method, request.path, json.loads(request.body)) == ("POST", "/orders", {"id": 5, "name": "Zoë"})
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-shop"] == "a"
    assert request.headers["webhook-id"] == result.id


def test_text_answer_and_query_of_a_get() -> None:
    with WebServer(Reply(200, "grün".encode(), {"content-type": "text/plain; charset=utf-8"})) as server:
        app, webhook = application(server.host)
        result = webhook.delay(f"{server.url}/colour", method="GET", params={"of": "grass"})
        run_tasks(app)
    assert result.get(timeout=1)["text"] == "grün"
    assert (server.requests[0].path, server.requests[0].body) == ("/colour?of=grass", b"")


def test_signature_is_verified_by_the_specifications_library() -> None:
    with WebServer() as server:
        app, webhook = application(server.host, secret=SECRET)
        webhook.delay(server.url, json=[1])
        run_tasks(app)
    [request] = server.requests
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == [1]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_status_that_may_pass_is_retried_with_one_id(status: int) -> None:
    with WebServer(Reply(status, headers={"retry-after": "0"}), Reply(200, b"ok")) as server:
        app, webhook = application(server.host)
        result = webhook.delay(server.url)
        run_tasks(app)
    assert result.get(timeout=1)["text"] == "ok"
    assert [each.headers["webhook-id"] for each in server.requests] == [result.id] * 2


def test_last_retry_ends_in_the_failure() -> None:
    with WebServer(Reply(503, b"busy", {"retry-after": "0"})) as server:
        app, webhook = application(server.host, max_retries=2)
        result = webhook.delay(server.url)
        run_tasks(app)
    with pytest.raises(WebhookFailed, match=r"answered 503: busy") as raised:
        result.get(timeout=1)
    assert raised.value.status == 503
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("after", "seconds"),
    [("7", 7), ("99999", 3600), ((datetime.now(tz=UTC) - timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 0)],
    ids=["seconds", "too long", "a date in the past"],
)
def test_pause_is_the_one_that_the_server_asks_for(after: str, seconds: float) -> None:
    with WebServer(Reply(429, headers={"retry-after": after})) as server, pytest.raises(RetriableFailure) as raised:
        request("POST", server.url, None, {}, b"", 5, 1000)
    assert pause_seconds(raised.value, 0) == pytest.approx(seconds, abs=1)


def test_pause_grows_with_the_retries() -> None:
    failure = RetriableFailure("busy", 503)
    assert failure.retry_after is None
    for retries, longest in enumerate([2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]):
        assert longest / 2 <= pause_seconds(failure, retries) <= longest


@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 422, 501])
def test_other_status_fails_at_once(status: int) -> None:
    with WebServer(Reply(status, b"no")) as server:
        app, webhook = application(server.host)
        result = webhook.delay(server.url)
        run_tasks(app)
    with pytest.raises(WebhookFailed, match=rf"answered {status}: no"):
        result.get(timeout=1)
    assert len(server.requests) == 1


def test_redirect_is_not_followed() -> None:
    with WebServer(Reply(302, headers={"location": "http://169.254.169.254/"})) as server:
        app, webhook = application(server.host)
        result = webhook.delay(server.url)
        run_tasks(app)
    with pytest.raises(WebhookFailed, match="a redirect to 'http://169"):
        result.get(timeout=1)


def test_answer_over_the_limit_is_not_read_to_its_end() -> None:
    with WebServer(Reply(200, b"x" * 100_000)) as server:
        app, webhook = application(server.host, most_bytes=1000)
        result = webhook.delay(server.url)
        run_tasks(app)
    with pytest.raises(WebhookFailed, match="more than 1000 bytes"):
        result.get(timeout=1)


def test_server_without_an_answer_is_tried_again() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(RetriableFailure, match="gave no answer: ConnectError"):
            request("POST", url, None, {}, b"", 5, 1000)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://api.example.com/", "its scheme must be https"),
        ("file:///etc/passwd", "its scheme must be https"),
        ("https://example.com/", "example.com at port 443 isn't in the list"),
        ("https://evil-example.org/", "isn't in the list"),
        ("https://api.example.com.evil.org/", "isn't in the list"),
        ("https://api.example.com:8443/", "at port 8443 isn't in the list"),
        ("https://user:secret@api.example.com/", "holds a user's name or password"),
        ("https://api.example.com@evil.org/", "holds a user's name"),
        ("https://[::1]/", "isn't in the list"),
        ("https://[::1/", "can't be read"),
        ("https://api.example.com:99999/", "can't be read"),
        ("https:///path", "a URL without a host"),
    ],
)
def test_url_outside_the_list_is_refused(url: str, says: str) -> None:
    with pytest.raises(WebhookRefused) as raised:
        AllowedHosts(["api.example.com", "*.example.org", "other.net:8080"]).check(url)
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/x?y=1",
        "https://API.example.com./",
        "https://a.b.example.org/",
        "https://api.example.com:443/",
        "https://other.net:8080/",
    ],
)
def test_url_in_the_list_is_allowed(url: str) -> None:
    AllowedHosts(["api.example.com", "*.example.org", "other.net:8080"]).check(url)


def test_refused_url_is_never_called() -> None:
    with WebServer() as server:
        app, webhook = application("api.example.com")
        result = webhook.delay(server.url)
        run_tasks(app)
    assert server.requests == []
    assert result.state == "FAILURE"


@pytest.mark.parametrize("hosts", [[], "api.example.com", ["*"], ["https://api.example.com"], ["*.*.com"], ["a:b"]])
def test_wrong_list_of_hosts_is_refused(hosts: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="host"):
        AllowedHosts(hosts)


@pytest.mark.parametrize("secret", ["", "whsec_", "no base64 é"])
def test_wrong_secret_is_refused_at_the_declaration(secret: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="isn't Base64"):
        application("api.example.com", secret=secret)
