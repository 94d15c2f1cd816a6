"""Test when clients are opened and closed: by short-lived event loops, across a fork, with expired credentials."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.clients import connections, loop_clients
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.core.flows import Call, CallError, Flow, Trouble
from taskq_cloud.core.ports import Depth, Service

CALLERS = 10


@pytest.fixture
def app(aws_environment: dict[str, str], make_queue: Callable[..., str]) -> Iterator[TaskQ]:
    made = TaskQ("tests", broker="sqs://eu-west-1/", task_default_queue=make_queue())
    yield made
    made.close()


def waiting(depth: Depth | None) -> int:
    """Return the number of waiting messages. Fail if the broker has not counted them."""
    assert depth is not None
    return depth.waiting


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_ended_event_loops_leave_no_open_files(app: TaskQ, caplog: pytest.LogCaptureFixture) -> None:
    async def send() -> None:
        await app.asend_task("any.task")

    asyncio.run(send())
    before = open_files()
    for _ in range(5):
        asyncio.run(send())
    assert open_files() <= before
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_closed_application_can_be_used_again(app: TaskQ) -> None:
    for _ in range(2):
        await app.asend_task("any.task")
        await app.aclose()
    assert waiting(await app.arun(app.broker.depth(app.conf.task_default_queue))) == 2
    await app.aclose()


class Expiring:
    """A client module whose first client has expired credentials, and whose clients record whether they are closed.

    Args:
        callers: how many calls the first client waits for before it fails them all.
    """

    def __init__(self, callers: int) -> None:
        self.clients: list[_Client] = []
        self.all_in = threading.Barrier(callers)
        self.callers = callers
        self.go_on = asyncio.Event()

    def open_client(self, service: str, options: Any) -> _Client:
        self.clients.append(_Client(self, expired=not self.clients))
        return self.clients[-1]

    async def open_async_client(self, service: str, options: Any) -> _AsyncClient:
        return _AsyncClient(self.open_client(service, options))


class _Client:
    def __init__(self, module: Expiring, *, expired: bool) -> None:
        self.module, self.expired, self.closed = module, expired, False

    def call(self, call: Call) -> str:
        if self.expired:
            self.module.all_in.wait(20)
            raise CallError(call, "ExpiredToken", "too old", Trouble.CREDENTIALS)
        return "done"

    def close(self) -> None:
        self.closed = True


class _AsyncClient:
    def __init__(self, client: _Client) -> None:
        self._client = client

    async def call(self, call: Call) -> str:
        if call.operation == "wait":
            await self._client.module.go_on.wait()
            assert not self._client.closed, "the client was closed during the call"
            return "waited"
        await asyncio.sleep(0)  # lets every call reach the first client
        return self._client.call(call)

    async def close(self) -> None:
        self._client.close()


def one(call: Call) -> Flow[str]:
    answer: str = yield call
    return answer


async def test_async_calls_with_expired_credentials_renew_once_and_interrupt_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = Expiring(callers=1)
    monkeypatch.setattr(loop_clients, "client_module", lambda service: module)
    here = AsyncConnections({"svc": Service("any")})
    slow = asyncio.create_task(here.run(one(Call("svc", "wait"))))
    answers = await asyncio.gather(*(here.run(one(Call("svc", "get"))) for _ in range(CALLERS)))
    assert answers == ["done"] * CALLERS
    assert [client.closed for client in module.clients] == [False, False]
    module.go_on.set()
    assert await slow == "waited"
    assert [client.closed for client in module.clients] == [True, False]
    await here.close()
    assert [client.closed for client in module.clients] == [True, True]


def test_threads_with_expired_credentials_renew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Expiring(callers=CALLERS)
    monkeypatch.setattr(connections, "client_module", lambda service: module)
    here = connections.Connections({"svc": Service("any")})
    with ThreadPoolExecutor(CALLERS) as threads:
        answers = list(threads.map(lambda _: here.run(one(Call("svc", "get"))), range(CALLERS)))
    assert answers == ["done"] * CALLERS
    assert [client.closed for client in module.clients] == [True, False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_process_opens_its_own_clients(app: TaskQ) -> None:
    app.send_task("any.task")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            app.send_task("any.task")
            asyncio.run(app.asend_task("any.task"))
            code = 0
        finally:
            os._exit(code)
    app.send_task("any.task")
    assert os.waitpid(child, 0)[1] == 0
    assert waiting(app.run(app.broker.depth(app.conf.task_default_queue))) == 4
