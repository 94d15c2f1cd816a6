"""Test task protection against an agent on a socket that answers as the ECS documentation says."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.testing.waiting import auntil
from taskq_cloud.worker import protection
from taskq_cloud.worker.options import WorkerOptions
from taskq_cloud.worker.protection import Protection
from tests.worker.serving import serving

TASK_ARN = "arn:aws:ecs:us-west-2:111122223333:task/1234567890abcdef0"
ON = {"ProtectionEnabled": True, "ExpiresInMinutes": 10}
OFF = {"ProtectionEnabled": False}
NOT_VALID = 200, {"failure": {"Arn": TASK_ARN, "Detail": None, "Reason": "TASK_NOT_VALID"}}
DENIED = 400, {"requestID": "12345", "error": {"Arn": TASK_ARN, "Code": "AccessDeniedException", "Message": "not you"}}
THROTTLED = 500, {"requestID": "1", "error": {"Arn": TASK_ARN, "Code": "ThrottlingException", "Message": "Rate"}}
TIMED_OUT = 504, {"error": {"Arn": TASK_ARN, "Code": "RequestCanceled", "Message": "Timed out calling Amazon ECS"}}


class Agent:
    """The agent's API: records each request, and grants it or gives the answer that the test has set."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: list[tuple[int, Any]] = []
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                assert self.path == "/api/0123/task-protection/v1/state"
                assert self.headers["Content-Type"] == "application/json"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                agent.asked.append(body)
                granted = {"TaskArn": TASK_ARN, "ProtectionEnabled": body["ProtectionEnabled"]}
                status, answer = agent.answers.pop(0) if agent.answers else (200, {"protection": granted})
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Log nothing on standard error."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}/api/0123"


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    thread = threading.Thread(target=agent.server.serve_forever, args=(0.01,))
    thread.start()
    yield agent
    agent.server.shutdown()
    thread.join()
    agent.server.server_close()


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def protected(agent: Agent, clock: Clock) -> Protection:
    return Protection(agent.uri, 25, clock)


async def _pass(protected: Protection, clock: Clock, seconds: int) -> None:
    """Let time pass, and check the protection each second."""
    for _ in range(seconds):
        clock.now += 1
        await protected.check()


async def test_short_task_costs_no_protection_request(protected: Protection, agent: Agent, clock: Clock) -> None:
    for _ in range(20):
        with protected.run():
            await _pass(protected, clock, 24)
    await protected.stop()
    assert agent.asked == []


async def test_long_task_is_protected_until_a_minute_after_its_end(
    protected: Protection, agent: Agent, clock: Clock
) -> None:
    with protected.run():
        await _pass(protected, clock, 24)
        assert agent.asked == []
        await _pass(protected, clock, 1)
        assert agent.asked == [ON]
        await _pass(protected, clock, 899)
        assert agent.asked == [ON, ON, ON]
    await _pass(protected, clock, 59)
    assert agent.asked == [ON, ON, ON]
    await _pass(protected, clock, 1)
    assert agent.asked == [ON, ON, ON, OFF]
    await _pass(protected, clock, 600)
    await protected.stop()
    assert agent.asked == [ON, ON, ON, OFF]


async def test_hour_of_long_tasks_costs_thirteen_requests(protected: Protection, agent: Agent, clock: Clock) -> None:
    for _ in range(36):
        with protected.run(), protected.run():
            await _pass(protected, clock, 100)
    await _pass(protected, clock, 120)
    assert agent.asked == [ON] * 12 + [OFF]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(NOT_VALID, "TASK_NOT_VALID", id="failure"),
        pytest.param(DENIED, "AccessDeniedException: not you", id="denied"),
        pytest.param(THROTTLED, "ThrottlingException", id="throttled"),
        pytest.param(TIMED_OUT, "RequestCanceled", id="timed-out"),
        pytest.param((404, b"404 page not found"), "JSONDecodeError", id="no-such-endpoint"),
        pytest.param((200, {"protection": {"ProtectionEnabled": False}}), "the agent answered 200", id="not-enabled"),
        pytest.param((200, ["?"]), "the agent answered 200", id="no-object"),
        pytest.param((200, {"failure": "?", "protection": 3}), "the agent answered 200", id="no-objects-within"),
        pytest.param((200, b"x" * 100_000), "longer than", id="endless"),
    ],
)
async def test_refused_request_is_logged_once_and_retried(
    protected: Protection,
    agent: Agent,
    clock: Clock,
    answer: tuple[int, Any],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "taskq_cloud.worker")
    agent.answers = [answer] * 3
    with protected.run():
        await _pass(protected, clock, 25 + 5 + 10 + 20)
    assert agent.asked == [ON] * 4
    assert [(vars(record)["action"], record.levelname) for record in caplog.records] == [
        ("protection.failed", "WARNING"),
        ("protection.changed", "INFO"),
    ]
    assert said in caplog.messages[0]


async def test_missing_agent_is_logged_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as gone:
        uri = f"http://127.0.0.1:{gone.server_port}/api/0123"
    protected = Protection(uri, 25, clock)
    with protected.run():
        await _pass(protected, clock, 60)
    assert [vars(record)["action"] for record in caplog.records] == ["protection.failed"]
    assert "ConnectionRefusedError" in caplog.text


@pytest.mark.parametrize("uri", ["169.254.170.2/api", "https://127.0.0.1/api", "http://127.0.0.1:port/api"])
async def test_invalid_agent_address_is_logged_once(uri: str, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    protected = Protection(uri, 25, clock)
    with protected.run():
        await _pass(protected, clock, 60)
    assert [vars(record)["action"] for record in caplog.records] == ["protection.failed"]


async def test_wait_for_silent_agent_is_cut_short_and_logged(
    clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protection, "ANSWER_SECONDS", 0.05)

    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts the connection, and nobody answers
        protected = Protection(f"http://127.0.0.1:{silent.getsockname()[1]}/api", 25, clock)
        with protected.run():
            await _pass(protected, clock, 25)
    assert "no answer within" in caplog.text


async def test_expired_protection_is_requested_anew(
    protected: Protection, agent: Agent, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "taskq_cloud.worker")
    with protected.run():
        await _pass(protected, clock, 25)
        agent.answers = [TIMED_OUT] * 7  # from 300 s on, until the protection has expired
        await _pass(protected, clock, 300 + 5 + 10 + 20 + 40 + 80 + 160 + 300)
    assert agent.asked == [ON] * 9
    assert [vars(record)["action"] for record in caplog.records] == [
        "protection.changed",
        "protection.failed",
        "protection.changed",
    ]


def test_agent_address_comes_from_ecs_unless_protection_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def uri(**settings: Any) -> str | None:
        return WorkerOptions.from_settings(TaskQ("tests", **settings).conf, ["celery"]).ecs_agent_uri

    monkeypatch.delenv("ECS_AGENT_URI", raising=False)
    assert uri() is None
    monkeypatch.setenv("ECS_AGENT_URI", "http://169.254.170.2/api/0123")
    assert uri() == "http://169.254.170.2/api/0123"
    assert uri(worker_task_protection=False) is None


# -- the worker


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(protection, "LINGER_SECONDS", 0.1)


@pytest.mark.usefixtures("_quick")
async def test_worker_protects_only_long_tasks(app: TaskQ, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", agent.uri)
    go_on = threading.Event()

    @app.task
    def quick() -> None:
        """End at once."""

    @app.task
    def block() -> str:
        go_on.wait(20)
        return "done"

    async with serving(app, shutdown_timeout=5) as worker:
        worker._protection._after_seconds = 0.5
        for ended in quick.map_async([()] * 50):
            await ended.aget(timeout=10)
        assert agent.asked == []
        result = block.delay()
        await auntil(lambda: agent.asked == [ON], "the protection of the long task")
        go_on.set()
        assert await result.aget(timeout=10) == "done"
        await auntil(lambda: agent.asked == [ON, OFF], "the end of the protection")
    assert agent.asked == [ON, OFF]


@pytest.mark.usefixtures("_quick")
async def test_stopping_worker_ends_its_protection_last(
    app: TaskQ, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", agent.uri)
    monkeypatch.setattr(protection, "LINGER_SECONDS", 60)
    go_on = threading.Event()

    @app.task
    def block() -> str:
        go_on.wait(20)
        return "done"

    result = block.delay()
    async with serving(app) as worker:
        worker._protection._after_seconds = 0.0
        await auntil(lambda: agent.asked == [ON], "the protection")
        worker.stop()
        assert agent.asked == [ON]
        go_on.set()
    assert result.state == "SUCCESS"
    assert agent.asked == [ON, OFF]


@pytest.mark.usefixtures("_quick")
async def test_refused_protection_fails_no_task(app: TaskQ, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", agent.uri)
    agent.answers = [DENIED] * 9

    @app.task
    def block() -> str:
        threading.Event().wait(0.3)
        return "done"

    async with serving(app) as worker:
        worker._protection._after_seconds = 0.0
        assert await block.delay().aget(timeout=10) == "done"
        await auntil(lambda: agent.asked == [ON], "the call that is refused")
    assert not worker.crashed
