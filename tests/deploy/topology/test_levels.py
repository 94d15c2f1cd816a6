"""Topologies of applications with levels of priority: each level has a queue, and what serves it."""

from __future__ import annotations

from typing import Any

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.errors import ImproperlyConfigured


def make(time_limit: float, broker: str = "sqs://eu-west-1/shop-", **settings: Any) -> Topology:
    app = TaskQ(
        "shop",
        broker=broker,
        results="dynamodb://shop-results",
        task_default_queue="orders",
        task_queue_max_priority=9,
        **settings,
    )
    app.task(name="charge", time_limit=time_limit)(print)
    return app.topology()


def test_each_level_has_a_queue_with_a_dead_letter_queue_and_permissions() -> None:
    topology = make(30)
    assert {each.queue: (each.name, each.dead_letter_queue.name) for each in topology.queues} == {
        "orders": ("shop-orders", "shop-orders-dead"),
        "orders-p1": ("shop-orders-p1", "shop-orders-p1-dead"),
        "orders-p2": ("shop-orders-p2", "shop-orders-p2-dead"),
    }
    assert all([task.name for task in each.tasks] == ["charge"] for each in topology.queues)
    (producer,) = (role for role in topology.roles if role.name == "shop-producer")
    resources = [each for statement in producer.statements for each in statement.resources if ":sqs:" in each]
    assert [each.rpartition(":")[2] for each in resources] == ["shop-orders", "shop-orders-p1", "shop-orders-p2"]


def test_each_level_has_a_function_whose_options_are_those_of_the_queue() -> None:
    functions = {
        "orders": {"maximum_concurrency": 10, "memory_mb": 1024},
        "orders-p0": {"maximum_concurrency": 2},
        "orders-p2": {"maximum_concurrency": 50},
    }
    topology = make(30, deployment={"functions": functions})
    assert {each.queue: (each.name, each.maximum_concurrency, each.memory_mb) for each in topology.functions} == {
        "orders": ("shop-orders", 2, 1024),
        "orders-p1": ("shop-orders-p1", 10, 1024),
        "orders-p2": ("shop-orders-p2", 50, 1024),
    }


def test_one_service_serves_all_levels() -> None:
    (service,) = make(5000).services
    assert service.queues == ("orders", "orders-p1", "orders-p2")
    assert service.command[-1] == "orders-p0,orders-p1,orders-p2"


@pytest.mark.parametrize("usual", [["orders"], ["orders-p0", "orders-p1"]])
def test_level_can_have_a_service_of_its_own(usual: list[str]) -> None:
    services = {"urgent": {"queues": ["orders-p2"], "minimum_tasks": 1}, "usual": {"queues": usual}}
    found = {each.name: each for each in make(5000, deployment={"services": services}).services}
    assert found["shop-urgent"].queues == ("orders-p2",)
    assert found["shop-usual"].queues == ("orders", "orders-p1")
    assert found["shop-usual"].command[-1] == "orders-p0,orders-p1"


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="no Lambda function serves a queue 'orders-p3'"):
        make(30, deployment={"functions": {"orders-p3": {}}})


def test_each_level_has_a_subscription_on_google() -> None:
    topology = make(30, "pubsub://my-project/shop-")
    assert [each.subscription for each in topology.subscriptions] == ["shop-orders", "shop-orders-p1", "shop-orders-p2"]
