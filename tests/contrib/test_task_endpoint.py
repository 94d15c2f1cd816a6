"""Tests of the endpoint that calls tasks, as HTTP clients see it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from taskq_cloud import TaskQ
from taskq_cloud.contrib.webhooks import TaskEndpoint
from taskq_cloud.errors import ImproperlyConfigured
from taskq_cloud.testing import run_tasks

TOKEN = "a-token-of-the-shop"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def app() -> TaskQ:
    app = TaskQ("shop", broker="memory://", results="memory://")

    @app.task(name="shop.add")
    def add(x: int, y: int = 1) -> int:
        return x + y

    @app.task(name="shop.fail")
    def fail() -> None:
        raise ValueError("out of stock")

    @app.task(name="internal.delete")
    def delete() -> None: ...

    return app


@pytest.fixture
async def client(app: TaskQ) -> AsyncIterator[httpx.AsyncClient]:
    endpoint = TaskEndpoint(app, tasks=["shop.*"], tokens=[TOKEN], secrets=[SECRET], most_bytes=1000)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=endpoint), base_url="http://shop") as client:
        yield client


async def test_call_and_its_result(app: TaskQ, client: httpx.AsyncClient) -> None:
    answer = await client.post("/tasks/shop.add", json={"args": [2], "kwargs": {"y": 3}}, headers=BEARER)
    assert answer.status_code == 202
    task_id = answer.json()["id"]
    assert answer.json() == {"id": task_id, "task": "shop.add"}
    path = f"/tasks/{task_id}"
    assert (await client.get(path, headers=BEARER)).json() == {"id": task_id, "state": "PENDING"}
    run_tasks(app)
    assert (await client.get(path, headers=BEARER)).json() == {"id": task_id, "state": "SUCCESS", "result": 5}


async def test_failure_is_read_as_an_error(app: TaskQ, client: httpx.AsyncClient) -> None:
    task_id = (await client.post("/tasks/shop.fail", headers=BEARER)).json()["id"]
    run_tasks(app)
    answer = (await client.get(f"/tasks/{task_id}", headers=BEARER)).json()
    assert answer == {
        "id": task_id,
        "state": "FAILURE",
        "error": {"type": "ValueError", "message": "out of stock"},
    }


def signed(body: bytes, message_id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(tz=UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(message_id, at, body.decode()),
    }


async def test_signed_request_sent_twice_is_one_piece_of_work(app: TaskQ, client: httpx.AsyncClient) -> None:
    body = json.dumps({"args": [1]}).encode()
    ids = set()
    for _ in range(2):
        answer = await client.post("/tasks/shop.add", content=body, headers=signed(body))
        ids.add(answer.json()["id"])
        run_tasks(app)
    assert len(ids) == 1
    other = await client.post("/tasks/shop.add", content=body, headers=signed(body, "msg_2"))
    assert other.json()["id"] not in ids


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer another-token"},
        {"authorization": f"Basic {TOKEN}"},
        {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"},
        {"webhook-id": "msg_1", "webhook-timestamp": "x", "webhook-signature": "nonsense"},
        {"webhook-signature": "v1,AAAA"},
    ],
)
async def test_request_without_a_valid_token_or_signature_is_refused(
    app: TaskQ, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await client.post("/tasks/shop.add", json={"args": [1]}, headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert app.run(app.broker.depth("celery")).total == 0  # type: ignore[union-attr]


async def test_old_and_changed_signed_requests_are_refused(client: httpx.AsyncClient) -> None:
    body = b'{"args": [1]}'
    old = signed(body, at=datetime.now(tz=UTC) - timedelta(minutes=6))
    for content, headers in ((body, old), (b'{"args": [2]}', signed(body)), (b"\xff", signed(body))):
        assert (await client.post("/tasks/shop.add", content=content, headers=headers)).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/tasks/internal.delete", b"{}", 404, "can't be called here"),
        ("/tasks/", b"{}", 404, "there is /tasks/<name>"),
        ("/other", b"{}", 404, "there is /tasks/<name>"),
        ("/tasks/shop.add", b"{", 400, "isn't JSON"),
        ("/tasks/shop.add", b"[" * 900, 400, "isn't JSON"),
        ("/tasks/shop.add", b"[1]", 400, "must be an object"),
        ("/tasks/shop.add", b'{"args": 5}', 400, "args must be a list"),
        ("/tasks/shop.add", b'{"kwargs": [5]}', 400, "kwargs an object"),
        ("/tasks/shop.add", b'{"args": [1], "serializer": "pickle"}', 400, "unknown: serializer"),
        ("/tasks/shop.add", b'{"args": []}', 422, "x"),
        ("/tasks/shop.add", b'{"args": [1], "countdown": "soon"}', 422, "countdown"),
        ("/tasks/shop.add", b'{"args": ["%s"]}' % (b"x" * 1000), 413, "more than 1000 bytes"),
    ],
)
async def test_wrong_request_says_what_is_wrong(
    client: httpx.AsyncClient, path: str, body: bytes, status: int, says: str
) -> None:
    answer = await client.post(path, content=body, headers=BEARER)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]


async def test_other_methods_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/tasks/shop.add", headers=BEARER)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_results_can_be_withheld(app: TaskQ) -> None:
    endpoint = TaskEndpoint(app, tasks=["shop.add"], tokens=[TOKEN], results=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=endpoint), base_url="http://shop") as client:
        assert (await client.get("/tasks/an-id", headers=BEARER)).status_code == 405


async def test_broker_that_is_down_is_a_503() -> None:
    app = TaskQ("shop", broker="sqs://eu-west-1/", broker_transport_options={"endpoint_url": "http://127.0.0.1:9"})
    endpoint = TaskEndpoint(app, tasks=["shop.add"], tokens=[TOKEN])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=endpoint), base_url="http://shop") as client:
        answer = await client.post("/tasks/shop.add", json={}, headers=BEARER)
    await app.aclose()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_endpoint_that_is_mounted_finds_its_paths(app: TaskQ) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    web = Starlette(routes=[Mount("/queue", TaskEndpoint(app, tasks=["shop.add"], tokens=[TOKEN]))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=web), base_url="http://shop") as client:
        answer = await client.post("/queue/tasks/shop.add", json={"args": [1]}, headers=BEARER)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tokens": ["short"]},
        {"secrets": ["whsec_"]},
        {"tokens": TOKEN},
        {"tokens": [TOKEN], "tasks": []},
        {"tokens": [TOKEN], "tasks": "shop.*"},
    ],
)
def test_endpoint_that_would_be_open_or_empty_is_refused(app: TaskQ, options: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured):
        TaskEndpoint(app, **{"tasks": ["shop.*"], **options})
