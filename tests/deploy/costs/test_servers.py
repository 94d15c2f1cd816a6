"""Tests of the cost of an application whose messages or results are on a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from taskq_cloud.cli import main
from taskq_cloud.deploy.costs.load import Load, QueueLoad, Served
from taskq_cloud.deploy.costs.model import usage
from taskq_cloud.deploy.costs.servers import server_work

SHOP = """
from taskq_cloud import TaskQ

app = TaskQ("shop", broker={broker!r}, results={results!r}, task_default_queue="orders")


@app.task(time_limit=30)
def charge(order: int) -> None: ...
"""


@pytest.fixture
def cost(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(name: str, broker: str, results: str, *arguments: str) -> Any:
        (tmp_path / f"{name}.py").write_text(SHOP.format(broker=broker, results=results))
        result = CliRunner().invoke(main, ["cost", "-A", name, "--tasks-per-day", "86400", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def served(**fields: Any) -> Served:
    given: dict[str, Any] = {"broker": "server", "store": "server", "broker_server": "redis", "results_server": "redis"}
    return Served(queues=(QueueLoad(name="orders", tasks=100),), **{**given, **fields})


def test_task_on_server_takes_a_send_a_receive_and_a_settlement() -> None:
    messages, results = server_work(served(), Load())
    assert (messages.requests, messages.request_bytes, messages.held_bytes) == (300, 100 * 2 * 1800, None)
    assert (results.requests, results.request_bytes) == (200, 200 * 500)
    assert usage(served(), Load()) == []


def test_batches_make_fewer_requests_to_server() -> None:
    [messages, _] = server_work(served(), Load(send_batch=10, messages_per_request=10))
    assert messages.requests == 30


def test_results_that_are_kept_take_memory() -> None:
    [_, results] = server_work(served(results_seconds=2 * 86_400), Load())
    assert results.held_bytes == 2 * 100 * 500


def test_results_that_nobody_stores_are_no_work() -> None:
    assert len(server_work(served(stores_results=False), Load())) == 1


def test_server_is_said_to_cost_by_the_hour_and_containers_are_priced(cost: Any) -> None:
    text = cost("cost_redis_shop", "redis://cache:6379/0", "redis://cache:6379/1")
    assert "the server of the messages, redis at cache:6379, is paid by the hour" in text
    assert "259,200 requests a day, 3.0 a task, or 3.0 a second" in text
    assert "the server of the results, redis at cache:6379, is paid" in text
    assert "Fargate vCPU-hours" in text
    assert "SQS" not in text


def test_results_on_server_leave_prices_of_queue(cost: Any) -> None:
    answer = json.loads(cost("cost_mixed_shop", "sqs://us-east-1/shop-", "postgresql://db/shop", "--format", "json"))
    assert "SQS sends" in [line["what"] for line in answer["lines"]]
    assert not [line for line in answer["lines"] if line["what"].startswith("DynamoDB")]
    [server] = answer["servers"]
    assert (server["what"], server["server"], server["requests_per_day"]) == (
        "results",
        "postgresql at db:5432",
        172_800,
    )
    assert server["kept_bytes"] == 86_400 * 500


def test_application_without_servers_has_no_servers_in_json(cost: Any) -> None:
    text = cost("cost_sqs_shop", "sqs://us-east-1/shop-", "disabled://", "--format", "json")
    assert "servers" not in json.loads(text)
