"""The alarms that the Terraform module ``observability`` makes for a declaration, by which the doctor finds others.

An application doesn't declare alarms: whether there are any, whom they tell, and thresholds that depend on the business
are inputs of Terraform. What each alarm watches follows from the declaration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taskq_cloud.deploy.topology.model import Topology

NAMESPACE: Final = "taskq"
"""The namespace of the metrics that are counted in logs."""

FAILED_TASKS: Final = '{ ($.action = "task.failed") && ($.level = "error" || $.level = "ERROR") }'
"""The pattern of the log lines of failed tasks, as a metric filter has it."""

_FUNCTION_METRICS: Final = ("Errors", "RecursiveInvocationsDropped", "Throttles")
_TABLE_METRICS: Final = ("ReadThrottleEvents", "WriteThrottleEvents")


@dataclass(frozen=True, slots=True)
class ExpectedAlarm:
    """An alarm that is expected if there are alarms.

    Args:
        name: its name.
        fields: the expected fields of ``DescribeAlarms``.
        unnoticed: what nobody notices without the alarm.
    """

    name: str
    fields: Mapping[str, Any]
    unnoticed: str


def failed_tasks_metric(worker: str) -> str:
    """Return the name of the metric that counts the failed tasks of a function or a service."""
    return f"{worker}-failed-tasks"


def expected_alarms(topology: Topology) -> list[ExpectedAlarm]:
    """Return the alarms of a declaration, whose functions, tables and queues are on AWS."""
    return [] if topology.provider != "aws" else [*_of_queues(topology), *_of_workers(topology), *_of_tables(topology)]


def _of_queues(topology: Topology) -> Iterator[ExpectedAlarm]:
    sqs, visible = "AWS/SQS", "ApproximateNumberOfMessagesVisible"
    for each in topology.queues:
        dead = each.dead_letter_queue.name
        yield ExpectedAlarm(
            f"{topology.name}-{each.queue}-age",
            _raised(sqs, "ApproximateAgeOfOldestMessage", "Maximum", QueueName=each.name),
            f"messages of {each.name} wait",
        )
        yield ExpectedAlarm(
            f"{topology.name}-{each.queue}-dead-letters",
            {**_raised(sqs, visible, "Maximum", QueueName=dead), "Threshold": 0},
            f"messages end in {dead} and are deleted there in the end",
        )
    group = topology.schedule_group
    if group is not None and group.dead_letter_queue is not None:
        dead = group.dead_letter_queue.name
        yield ExpectedAlarm(
            f"{topology.name}-schedules-dead-letters",
            {**_raised(sqs, visible, "Maximum", QueueName=dead), "Threshold": 0},
            f"calls of schedules end in {dead} and are deleted there in the end",
        )


def _of_workers(topology: Topology) -> Iterator[ExpectedAlarm]:
    for function in topology.functions:
        for metric in _FUNCTION_METRICS:
            yield ExpectedAlarm(
                f"{topology.name}-{function.name}-{metric.lower()}",
                {**_raised("AWS/Lambda", metric, "Sum", FunctionName=function.name), "Threshold": 0},
                f"invocations of {function.name} fail, are throttled or are dropped",
            )
    for worker in (*(each.name for each in topology.functions), *(each.name for each in topology.services)):
        metric = failed_tasks_metric(worker)
        unnoticed = f"tasks of {worker} fail"
        yield ExpectedAlarm(f"{topology.name}-{metric}", _raised(NAMESPACE, metric, "Sum"), unnoticed)


def _of_tables(topology: Topology) -> Iterator[ExpectedAlarm]:
    for table in topology.tables:
        for metric in _TABLE_METRICS:
            yield ExpectedAlarm(
                f"{topology.name}-{table.name}-{metric.lower()}",
                _raised("AWS/DynamoDB", metric, "Sum", TableName=table.name),
                f"DynamoDB throttles calls to {table.name}",
            )


def _raised(namespace: str, metric: str, statistic: str, **dimensions: str) -> dict[str, Any]:
    return {
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": dimensions,
        "Statistic": statistic,
        "ComparisonOperator": "GreaterThanThreshold",
    }
