"""Hooks in Lambda functions."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from taskq_cloud import Hooks, TaskQ
from taskq_cloud.core.model.message import Message
from taskq_cloud.hooks import Received, Run
from taskq_cloud.serverless.starting import restore
from tests.serverless.events import Context, make_app, record

tenant: ContextVar[str] = ContextVar("tenant", default="none")


class Noting(Hooks):
    """Records what a function tells."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def function_started(self) -> None:
        await asyncio.sleep(0)
        self.calls.append("function_started")

    def function_restored(self) -> None:
        self.calls.append("function_restored")

    def task_received(self, received: Received) -> None:
        self.calls.append(("received", received.task))

    async def before_run(self, run: Run) -> None:
        await asyncio.sleep(0)
        tenant.set(run.headers.get("tenant", "none"))

    async def after_run(self, run: Run, state: str, result: Any) -> None:
        await asyncio.sleep(0)
        self.calls.append((run.task, state, result, tenant.get()))


@pytest.fixture
def noting() -> Noting:
    return Noting()


def declare(app: TaskQ) -> None:
    @app.task(name="whose")
    def whose() -> str:
        return tenant.get()

    @app.task(name="awhose")
    async def awhose() -> str:
        return tenant.get()

    @app.task(name="endless", time_limit=0.2)
    def endless() -> None:
        while True:
            pass


def call(task: str, task_id: str) -> Message:
    return Message(task=task, id=task_id, headers={"tenant": task_id})


@pytest.mark.parametrize("side_by_side", [1, 3])
def test_function_calls_hooks_at_its_start_and_around_each_run(noting: Noting, side_by_side: int) -> None:
    app = make_app(hooks=[noting], lambda_concurrency=side_by_side)
    declare(app)
    handler = app.lambda_handler()
    assert noting.calls == ["function_started"]
    answer = handler({"Records": [record(call("whose", "a")), record(call("awhose", "b"))]}, Context())
    assert answer == {"batchItemFailures": []}
    ends = [each for each in noting.calls if len(each) == 4]
    assert sorted(ends) == [("awhose", "SUCCESS", "b", "b"), ("whose", "SUCCESS", "a", "a")]
    assert [app.AsyncResult(task_id).get() for task_id in ("a", "b")] == ["a", "b"]
    assert tenant.get() == "none", "the context is that of one run"


def test_run_over_its_time_limit_is_interrupted_for_hooks(noting: Noting) -> None:
    app = make_app(hooks=[noting])
    declare(app)
    handler = app.lambda_handler()
    handler({"Records": [record(call("endless", "a"))]}, Context())
    assert app.AsyncResult("a").state == "FAILURE"
    ((_, state, error, _),) = [each for each in noting.calls if len(each) == 4]
    assert (state, type(error).__name__) == ("INTERRUPTED", "TimeLimitExceeded")


def test_restored_function_tells_its_hooks(noting: Noting) -> None:
    app = make_app(hooks=[noting])
    restore(app.runtime())
    assert noting.calls == ["function_restored"]
