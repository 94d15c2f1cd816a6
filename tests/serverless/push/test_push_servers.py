"""Test the push endpoint under real web servers, started by the commands of docs/pubsub.md."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypercorn.utils import is_asgi

from taskq_cloud import TaskQ
from taskq_cloud.serverless.push_endpoint import PushEndpoint
from taskq_cloud.testing.waiting import until
from tests.brokers.pubsub_server import PubSubServer
from tests.serverless.pushing import ACCOUNT, AUDIENCE, SUBSCRIPTION, Issuer, envelope, post

ROOT = Path(__file__).parents[3]
PUSHES = 40
TIMEOUT_SECONDS = 60

APP = "tests.serverless.push.served_app:endpoint"
SERVERS = {
    "uvicorn": ["uvicorn", f"{APP}.asgi", "--port=PORT", "--timeout-graceful-shutdown=5"],
    "hypercorn": ["hypercorn", f"{APP}.asgi", "--bind=127.0.0.1:PORT", "--graceful-timeout=5"],
    "gunicorn, threads": ["gunicorn", APP, "--bind=127.0.0.1:PORT", "--threads=80", "--graceful-timeout=5"],
    "gunicorn, ASGI": ["gunicorn", APP, "--bind=127.0.0.1:PORT", "-k=asgi", "--graceful-timeout=5"],
}


@pytest.fixture
def endpoint(app: TaskQ) -> Iterator[PushEndpoint]:
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT)
    yield endpoint
    endpoint.close()


def test_uvicorn_and_hypercorn_take_the_endpoint_for_the_protocol_that_it_answers(endpoint: PushEndpoint) -> None:
    guesses = [uvicorn.Config(application) for application in (endpoint.asgi, endpoint)]
    for guess in guesses:
        guess.load()
    assert [guess.interface for guess in guesses] == ["asgi3", "asgi2"]
    assert (is_asgi(endpoint.asgi), is_asgi(endpoint)) == (True, False)


def test_call_without_a_protocols_arguments_is_a_type_error(endpoint: PushEndpoint) -> None:
    with pytest.raises(TypeError, match="not with 0 arguments"):
        endpoint()


async def test_asgi_2_call_is_answered(endpoint: PushEndpoint) -> None:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(event: MutableMapping[str, Any]) -> None:
        statuses.extend([event["status"]] if "status" in event else [])

    await endpoint({"type": "http", "method": "POST", "headers": []})(receive, send)
    assert statuses == [401]


async def test_request_cancelled_by_its_server_is_answered_503_and_its_task_ends(
    app: TaskQ, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended, statuses = asyncio.Event(), asyncio.Event(), list[int]()
    loop = asyncio.get_running_loop()

    @app.task(name="endless")
    async def endless() -> None:
        loop.call_soon_threadsafe(begun.set)
        try:
            await asyncio.Event().wait()
        finally:
            loop.call_soon_threadsafe(ended.set)

    body = envelope(json.dumps({"task": "endless", "id": "t-1"}), SUBSCRIPTION)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(event: MutableMapping[str, Any]) -> None:
        statuses.extend([event["status"]] if "status" in event else [])

    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    headers = [(b"authorization", f"Bearer {issuer.token()}".encode())]
    request = asyncio.create_task(endpoint.asgi({"type": "http", "method": "POST", "headers": headers}, receive, send))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await begun.wait()
        request.cancel()
        await request
        await ended.wait()
    assert statuses == [503]
    assert "the server ended a push before its task had ended" in caplog.text
    assert app.AsyncResult("t-1").state == "PENDING"
    endpoint.close()


@contextmanager
def served(command: list[str], folder: Path, issuer: Issuer) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Start a web server, wait until it answers, and end it after the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    arguments = [each.replace("PORT", str(port)) for each in command]
    environment = {**os.environ, "SERVED_FOLDER": str(folder), "SERVED_KEYS": issuer.url, "HOME": str(folder)}
    log = folder / "server.log"
    with log.open("ab") as lines:
        started = [sys.executable, "-m", *arguments]
        process = subprocess.Popen(started, cwd=ROOT, env=environment, stdout=lines, stderr=lines)
    try:
        until(lambda: answers(url, issuer), log.read_text, TIMEOUT_SECONDS)
        yield url, process
    finally:
        process.terminate()
        process.wait(TIMEOUT_SECONDS)


def answers(url: str, issuer: Issuer) -> bool:
    try:
        return post(url, b"", issuer.token(), method="GET")[0] == 405
    except OSError:
        return False


@pytest.fixture
def push_all(issuer: Issuer) -> Iterator[Callable[[str, int], list[Future[int | None]]]]:
    """Push forty tasks at once. An answer is None where the connection ends without one."""
    token = issuer.token()

    def push(url: str, attempt: int, number: int) -> int | None:
        gate = "early" if number < PUSHES / 2 else "late"
        body = json.dumps({"task": "wait", "id": f"t-{number}", "args": [number, gate]})
        try:
            return post(url, envelope(body, SUBSCRIPTION, attempt, messageId=f"m-{number}"), token)[0]
        except OSError:
            return None

    with ThreadPoolExecutor(PUSHES) as threads:
        yield lambda url, attempt: [threads.submit(push, url, attempt, number) for number in range(PUSHES)]


def numbers(folder: Path, name: str) -> Counter[int]:
    path = folder / name
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


@pytest.mark.slow
@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_no_push_is_lost_when_the_server_is_terminated_in_the_middle(
    command: list[str],
    server: PubSubServer,
    issuer: Issuer,
    push_all: Callable[[str, int], list[Future[int | None]]],
    tmp_path: Path,
) -> None:
    early, late = range(PUSHES // 2), range(PUSHES // 2, PUSHES)
    with served(command, tmp_path, issuer) as (url, process):
        pushes = push_all(url, 1)
        until(lambda: len(numbers(tmp_path, "begun")) == PUSHES, "forty runs", TIMEOUT_SECONDS)
        process.send_signal(signal.SIGTERM)
        (tmp_path / "early").touch()
        given = [push.result(TIMEOUT_SECONDS) for push in pushes]
        process.wait(TIMEOUT_SECONDS)
    # Runs that end in the server's graceful time are answered. The other messages come again.
    assert given[: len(early)] == [204] * len(early)
    assert not {200, 204} & set(given[len(early) :])
    assert numbers(tmp_path, "ended") == Counter(early)

    (tmp_path / "late").touch()
    with served(command, tmp_path, issuer) as (url, _):
        assert [push.result(TIMEOUT_SECONDS) for push in push_all(url, 2)] == [204] * PUSHES
    assert numbers(tmp_path, "begun") == Counter([*early, *late, *late])
    assert numbers(tmp_path, "ended") == Counter([*early, *late])
