"""An exception that is raised into a call comes out as itself: the call isn't taken for a failed one, nor repeated."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import hashlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.connections import Connections
from taskq_cloud.clients.interruptions import interruption_in
from taskq_cloud.core.flows import Call, Flow
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.model.outcome import Invocation, Succeeded
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import SoftTimeLimitExceeded, TimeLimitExceeded
from taskq_cloud.pools.interruptible import Interruptible
from taskq_cloud.serverless.time_limits import TimeKeeper


class Overdue(Exception):
    """An exception of an application's own, by which its alarm ends a task."""


class Server:
    """An HTTP server that does something while its client waits for the answer, and then answers or not."""

    def __init__(self, meanwhile: Callable[[], object], *, answers: bool) -> None:
        self.requests = 0
        self._meanwhile = meanwhile
        self.answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            connection.recv(65_536)
            self.requests += 1
            self._meanwhile()
            if self.answers:
                body = json.dumps({"MessageId": "1", "MD5OfMessageBody": hashlib.md5(b"x").hexdigest()}).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n"
                connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
                connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self._open:
            connection.close()


@contextmanager
def serving(meanwhile: Callable[[], object], *, answers: bool = False) -> Iterator[Server]:
    server = Server(meanwhile, answers=answers)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(autouse=True, params=["lean", "sdk"])
def environment(
    aws_environment: dict[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clients find credentials; both drivers of AWS's calls are tested."""
    monkeypatch.setenv("TASKQ_AWS_LEAN_CLIENT", str(request.param == "lean"))


def services(url: str) -> dict[str, Service]:
    lean = os.environ["TASKQ_AWS_LEAN_CLIENT"] == "True"
    return {"sqs": Service("aws", (("region", "eu-west-1"), ("endpoint_url", url), ("lean", lean)))}


def send(url: str) -> Flow[Any]:
    return (yield Call("sqs", "send_message", {"QueueUrl": f"{url}/1/work", "MessageBody": "x"}))


@contextmanager
def alarm(handler: Callable[..., object]) -> Iterator[Callable[[], None]]:
    """Handle SIGALRM in the main thread, and give the function that sends it there."""
    previous = signal.signal(signal.SIGALRM, handler)
    try:
        yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(
    "error",
    [SoftTimeLimitExceeded(), TimeLimitExceeded(5), Overdue("late"), TimeoutError("late"), ValueError("late")],
    ids=lambda error: type(error).__name__,
)
def test_exception_of_an_alarm_during_a_call_comes_out_as_itself(error: Exception) -> None:
    def ring(_number: int, _frame: object) -> None:
        raise error

    with alarm(ring) as send_alarm, serving(send_alarm) as server:
        connections = Connections(services(server.url))
        try:
            raise KeyError("an exception that is being handled meanwhile")
        except KeyError:
            with pytest.raises(type(error)) as caught:
                connections.run(send(server.url))
        connections.close()
        assert caught.value is error
        assert server.requests == 1


def test_exception_of_a_bound_alarm_comes_out_as_itself() -> None:
    class Alarm:
        def ring(self, name: str, _number: int, _frame: object) -> None:
            raise TimeoutError(name)

    with alarm(functools.partial(Alarm().ring, "bound")) as send_alarm, serving(send_alarm) as server:
        connections = Connections(services(server.url))
        with pytest.raises(TimeoutError, match="bound"):
            connections.run(send(server.url))
        connections.close()
        assert server.requests == 1


@pytest.mark.parametrize("kind", [SoftTimeLimitExceeded, Overdue])
def test_exception_raised_into_a_calling_thread_comes_out_as_itself(kind: type[Exception]) -> None:
    caught: list[BaseException] = []
    threads: list[threading.Thread] = []

    def raise_in_thread() -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threads[0].ident or 0), ctypes.py_object(kind))

    with serving(raise_in_thread, answers=True) as server:
        connections = Connections(services(server.url))

        def call() -> None:
            try:
                connections.run(send(server.url))
            except BaseException as error:
                caught.append(error)

        threads.append(threading.Thread(target=call))
        threads[0].start()
        threads[0].join()
        connections.close()
        assert [type(error) for error in caught] == [kind]
        assert server.requests == 1


@pytest.mark.parametrize("kind", [SoftTimeLimitExceeded, Overdue])
async def test_exception_raised_into_a_coroutine_comes_out_as_itself(kind: type[Exception]) -> None:
    loop = asyncio.get_running_loop()
    running: list[Interruptible[Any]] = []
    with serving(lambda: loop.call_soon_threadsafe(running[0].interrupt, kind())) as server:
        connections = AsyncConnections(services(server.url))
        running.append(Interruptible(connections.run(send(server.url))))

        async def call() -> Any:
            return await running[0]

        with pytest.raises(kind):
            await asyncio.create_task(call())
        await connections.close()
        assert server.requests == 1


def test_soft_limit_during_a_send_reaches_the_task() -> None:
    app = TaskQ("shop", broker="memory://")
    ran: list[str] = []
    with serving(lambda: None, answers=True) as server:
        connections = Connections(services(server.url))
        connections.run(send(server.url))  # opens the client, which may take longer than the limit
        server.answers = False

        def sends() -> str:
            try:
                connections.run(send(server.url))
            except SoftTimeLimitExceeded:
                ran.append("cleaned up")
            return "ended"

        app.task(name="sends")(sends)
        invocation = Invocation(message=Message(task="sends", id="1"), soft_time_limit=0.5)
        keeper = TimeKeeper()
        with keeper.deadline(60):
            outcome = keeper.run(app.runtime().runner, invocation, 30)
        connections.close()
    assert outcome == Succeeded('"ended"')
    assert ran == ["cleaned up"]
    assert server.requests == 2


# -- the chain of an SDK's exception


def chained(*errors: BaseException) -> BaseException:
    """The last of some exceptions, each of which was raised while the one before it was handled."""
    for inner, outer in pairwise(errors):
        outer.__context__ = inner
    return errors[-1]


class Wrapper(Exception):
    pass


def test_limit_that_was_handled_before_the_call_is_left_alone() -> None:
    before = SoftTimeLimitExceeded()
    assert interruption_in(chained(before, OSError(), Wrapper()), before, Wrapper) is None
    assert interruption_in(chained(before, OSError(), Wrapper()), None, Wrapper) is before


def test_broken_connection_is_no_interruption() -> None:
    for cause in (ConnectionResetError(), TimeoutError(), ValueError()):
        assert interruption_in(chained(cause, Wrapper()), None, Wrapper) is None


def test_exception_of_an_unknown_class_counts_where_the_sdk_has_wrapped_it() -> None:
    late = Overdue()
    assert interruption_in(chained(late, Wrapper()), None, Wrapper) is late
    assert interruption_in(chained(late, OSError(), Wrapper()), None, Wrapper) is None


def test_exceptions_that_lead_to_each_other_have_an_end() -> None:
    first, second = OSError(), Wrapper()
    first.__context__, second.__context__ = second, first
    assert interruption_in(second, None, Wrapper) is None
