"""Fixtures for the push endpoint: a Pub/Sub server, an application, and its endpoint served by WSGI and by ASGI."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.errors import Retry
from tests.brokers.pubsub_server import PubSubServer
from tests.serverless.pushing import (
    ACCOUNT,
    AUDIENCE,
    DEADLINE_SECONDS,
    PROJECT,
    SUBSCRIPTION,
    Issuer,
    envelope,
    post,
    served_by_asgi,
    served_by_wsgi,
)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubServer]:
    with PubSubServer(PROJECT) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        monkeypatch.setenv("CLOUD_TASKS_EMULATOR_HOST", server.host)
        for name in ("shop-celery", "shop-celery-dead"):
            server.make_queue(name)
        yield server


@pytest.fixture
def options() -> dict[str, Any]:
    return {}


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def app(server: PubSubServer, ran: list[Any], options: dict[str, Any]) -> Iterator[TaskQ]:
    app = TaskQ("shop", broker=f"pubsub://{PROJECT}/shop-", results="memory://", broker_transport_options=options)

    @app.task(name="add")
    def add(number: int) -> int:
        ran.append(number)
        return number

    @app.task(name="aadd")
    async def aadd(number: int) -> int:
        ran.append(number)
        return number

    @app.task(name="again")
    def again(number: int) -> int:
        raise Retry(when=30)

    @app.task(name="busy", time_limit=0.3)
    def busy() -> None:
        while True:
            time.sleep(0.01)

    @app.task(name="unlimited")
    def unlimited() -> None:
        while True:
            time.sleep(0.01)

    @app.task(name="long", time_limit=60)
    def long() -> None:
        ran.append("long")

    yield app
    app.close()


@pytest.fixture(params=["wsgi", "asgi"])
def url(request: pytest.FixtureRequest, app: TaskQ, issuer: Issuer) -> Iterator[str]:
    endpoint = app.pubsub_push_handler(
        audience=AUDIENCE, service_account=ACCOUNT, deadline_seconds=DEADLINE_SECONDS, keys_url=issuer.url
    )
    with (served_by_wsgi if request.param == "wsgi" else served_by_asgi)(endpoint) as url:
        yield url
    endpoint.close()


@pytest.fixture
def push(url: str, issuer: Issuer) -> Callable[..., int]:
    """Push a task, and return the status of the answer."""

    def push(task: str, *args: Any, attempt: int | None = 1, task_id: str = "t-1", **message: Any) -> int:
        body = json.dumps({"task": task, "id": task_id, "args": args, **message})
        return post(url, envelope(body, SUBSCRIPTION, attempt), issuer.token())[0]

    return push
