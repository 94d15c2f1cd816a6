"""Tests of calls to endpoints that accept connections and don't answer, or answer with something else."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.clients import aws
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.base import SDKClient, without_lean_driver
from taskq_cloud.clients.connections import Connections
from taskq_cloud.clients.lean import json_protocol
from taskq_cloud.clients.lean.sockets import Sockets
from taskq_cloud.core.flows import Call, CallError, Trouble
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import TimeoutError as TaskTimeoutError
from taskq_cloud.errors import Unreachable

GET = Call("dynamodb", "get_item", {"TableName": "t", "Key": {"id": {"S": "1"}}})


def serve(answer: bytes | None) -> Iterator[str]:
    """An endpoint on loopback that gives every request one answer; None: it accepts and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        connections: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection)
                if answer is not None:
                    connection.recv(65_536)
                    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\nConnection: close\r\n\r\n"
                    connection.sendall(head.encode() + answer)
                    connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in connections:
                each.close()


@pytest.fixture
def silent(aws_environment: dict[str, str]) -> Iterator[str]:
    yield from serve(None)


@pytest.fixture
def nonsense(aws_environment: dict[str, str]) -> Iterator[str]:
    yield from serve(b"\xff\xfe not UTF-8")


def services(endpoint_url: str) -> dict[str, Service]:
    options = {"region": "eu-west-1", "endpoint_url": endpoint_url}
    return {name: Service("aws", tuple(options.items())) for name in ("sqs", "dynamodb")}


def test_answer_that_is_not_utf8_is_a_transient_failure(nonsense: str) -> None:
    connections = Connections(services(nonsense))
    with closing(connections), pytest.raises(CallError) as caught:
        connections.perform(GET)
    assert (caught.value.code, caught.value.trouble) == ("UnicodeDecodeError", Trouble.TRANSIENT)


async def test_answer_that_is_not_utf8_is_a_transient_failure_on_an_event_loop(nonsense: str) -> None:
    connections = AsyncConnections(services(nonsense))
    with pytest.raises(CallError) as caught:
        await connections.perform(GET)
    await connections.close()
    assert (caught.value.code, caught.value.trouble) == ("UnicodeDecodeError", Trouble.TRANSIENT)


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize(
    ("wait_seconds", "expected"), [(None, aws.READ_TIMEOUT_SECONDS), (0, 5.0), (20, aws.POLL_TIMEOUT_SECONDS)]
)
def test_only_long_polls_wait_long_for_an_answer(
    silent: str, wait_seconds: int | None, expected: float, lean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    if lean:
        monkeypatch.setattr(Sockets, "exchange", lambda self, head, body, seconds, look: seen.append(seconds))
        monkeypatch.setattr(json_protocol, "_read", lambda *_: {})
    monkeypatch.setattr(SDKClient, "call", lambda self, call: seen.append(self._client.meta.config.read_timeout))
    connections = Connections(services(silent) if lean else without_lean_driver(services(silent)))
    more = {} if wait_seconds is None else {"WaitTimeSeconds": wait_seconds}
    connections.perform(Call("sqs", "receive_message", {"QueueUrl": silent, **more}))
    connections.close()
    assert seen == [expected]
    assert aws.POLL_TIMEOUT_SECONDS > 20 > aws.READ_TIMEOUT_SECONDS


@pytest.fixture
def app(silent: str) -> Iterator[Callable[[], TaskQ]]:
    apps: list[TaskQ] = []

    def make() -> TaskQ:
        apps.append(
            TaskQ("silent", broker="memory://", results=f"dynamodb://results?region=eu-west-1&endpoint_url={silent}")
        )
        return apps[-1]

    yield make
    for each in apps:
        each.close()


def test_get_ends_at_its_timeout_though_the_store_gives_no_answer(app: Callable[[], TaskQ]) -> None:
    result: Any = app().AsyncResult("t-1")
    begin = time.monotonic()
    with pytest.raises(TaskTimeoutError, match="task t-1 is unknown after 1 s: the result store gave no answer"):
        result.get(timeout=1)
    assert time.monotonic() - begin < 1 + aws.READ_TIMEOUT_SECONDS / 2


async def test_aget_ends_at_its_timeout_though_the_store_gives_no_answer(app: Callable[[], TaskQ]) -> None:
    made = app()
    begin = time.monotonic()
    with pytest.raises(TaskTimeoutError, match="the result store gave no answer"):
        await made.AsyncResult("t-1").aget(timeout=1)
    assert time.monotonic() - begin < 1 + aws.READ_TIMEOUT_SECONDS / 2
    await asyncio.wait_for(made.aclose(), 10)


def test_group_ends_at_its_timeout_though_the_store_gives_no_answer(app: Callable[[], TaskQ]) -> None:
    made = app()
    begin = time.monotonic()
    with pytest.raises(TaskTimeoutError, match="the result store gave no answer"):
        made.ResultSet([made.AsyncResult("t-1"), made.AsyncResult("t-2")]).get(timeout=1)
    assert time.monotonic() - begin < 1 + aws.READ_TIMEOUT_SECONDS / 2


def bounded(endpoint_url: str) -> TaskQ:
    return TaskQ(
        "bounded",
        broker="sqs://eu-west-1",
        broker_transport_options={"endpoint_url": endpoint_url},
        results=f"dynamodb://results?region=eu-west-1&endpoint_url={endpoint_url}",
        service_timeout=0.4,
    )


CALLERS: dict[str, Callable[[Any], Any]] = {
    "delay": lambda app: app.send_task("t", queue="q"),
    "state": lambda app: app.AsyncResult("t-1").state,
    "revoke": lambda app: app.AsyncResult("t-1").revoke(),
}


@pytest.mark.parametrize("caller", list(CALLERS))
def test_caller_waits_as_long_as_the_setting_says(silent: str, caller: str) -> None:
    app = bounded(silent)
    begin = time.monotonic()
    with closing(app), pytest.raises(Unreachable):
        CALLERS[caller](app)
    assert time.monotonic() - begin < 0.4 + aws.READ_TIMEOUT_SECONDS / 2  # of which opening a client is most


async def test_caller_on_an_event_loop_waits_as_long_as_the_setting_says(silent: str) -> None:
    app = bounded(silent)
    begin = time.monotonic()
    with pytest.raises(Unreachable):
        await app.asend_task("t", queue="q")
    assert time.monotonic() - begin < 0.4 + aws.READ_TIMEOUT_SECONDS / 2
    await app.aclose()


BLOB = {"container": "c", "blob": "b", "most_bytes": None}
OTHER_CLIENTS = {
    "azure": Call("azure", "download_blob", BLOB),
    "gcs": Call("gcs", "download", {"bucket": "b", "name": "n"}),
    "pubsub": Call("publisher", "publish", {"topic": "projects/p/topics/t", "messages": [{"data": b"1"}]}),
    "cloud_tasks": Call("cloud_tasks", "create_task", {"parent": "projects/p/locations/l/queues/q", "task": {}}),
}


@pytest.mark.parametrize("name", list(OTHER_CLIENTS))
def test_calls_of_other_clouds_end_in_time(silent: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = silent.removeprefix("http://")
    account = f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint={silent}/a;"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
    for variable, value in (
        ("STORAGE_EMULATOR_HOST", silent),
        ("PUBSUB_EMULATOR_HOST", address),
        ("CLOUD_TASKS_EMULATOR_HOST", address),
    ):
        monkeypatch.setenv(variable, value)
    call = OTHER_CLIENTS[name]
    module = name if name in ("azure", "gcs") else "pubsub"
    with closing(Connections({call.service: Service(module)}, 0.4)) as connections:
        for _ in range(2):  # the first call imports an SDK, too
            begin = time.monotonic()
            with pytest.raises(CallError) as caught:
                connections.perform(call)
            assert caught.value.trouble is Trouble.TRANSIENT
        assert time.monotonic() - begin < 0.4 + aws.READ_TIMEOUT_SECONDS / 2
