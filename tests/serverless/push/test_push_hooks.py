"""Hooks in a push endpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from taskq_cloud import Hooks, TaskQ
from taskq_cloud.hooks import Run
from tests.serverless.pushing import ACCOUNT, AUDIENCE, DEADLINE_SECONDS, SUBSCRIPTION, Issuer, envelope


class Noting(Hooks):
    """Records the start of the endpoint, and the ends of runs."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    async def function_started(self) -> None:
        self.calls.append("function_started")

    def after_run(self, run: Run, state: str, result: Any) -> None:
        self.calls.append((run.task, state, result))


@pytest.fixture
def noting(app: TaskQ) -> Noting:
    noting = Noting()
    app.add_hooks(noting)
    return noting


@pytest.fixture
def endpoint(app: TaskQ, issuer: Issuer, noting: Noting) -> Iterator[Any]:
    made = app.pubsub_push_handler(
        audience=AUDIENCE, service_account=ACCOUNT, deadline_seconds=DEADLINE_SECONDS, keys_url=issuer.url
    )
    yield made._handler
    made.close()


def test_endpoint_tells_its_start_once_with_the_first_push(endpoint: Any, noting: Noting) -> None:
    answers: list[int] = []

    def push(number: int) -> None:
        body = json.dumps({"task": "add", "id": f"t-{number}", "args": [number]})
        answers.append(endpoint.answer({}, envelope(body, SUBSCRIPTION, 1)).status.value)

    assert noting.calls == []
    threads = [threading.Thread(target=push, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [204] * 4
    assert noting.calls.count("function_started") == 1
    assert noting.calls[0] == "function_started"
    assert sorted(noting.calls[1:]) == [("add", "SUCCESS", number) for number in range(4)]


def test_run_over_its_limit_is_interrupted_and_told_by_the_endpoint(endpoint: Any, app: TaskQ, noting: Noting) -> None:
    cut_off: list[str] = []

    class CutOff(Hooks):
        def task_cut_off(self, received: Any, error: BaseException) -> None:
            cut_off.append(type(error).__name__)

    app.add_hooks(CutOff(), task="busy")
    endpoint.answer({}, envelope(json.dumps({"task": "busy", "id": "t-1"}), SUBSCRIPTION, 1))
    assert cut_off == ["TimeLimitExceeded"]
