"""Observes the queues that were deployed for an application and are no longer declared: the next apply deletes them."""

from __future__ import annotations

from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import NO_QUEUE, call
from taskq_cloud.deploy.doctor.observed import ObservedQueue
from taskq_cloud.deploy.topology.model import Topology

TAG: Final = "taskq"
"""The tag with which the Terraform modules mark the resources of a deployment; its value is the deployment's name."""

_PAGE: Final = 1000


def undeclared(topology: Topology) -> Flow[dict[str, ObservedQueue]]:
    """Return the queues that have the deployment's tag and are not declared, by name in SQS."""
    if not topology.queues:
        return {}
    declared = set(topology.queue_names())
    found = {}
    for url in (yield from _urls(_prefix(topology))):
        name = url.rpartition("/")[2]
        if name not in declared:
            queue = yield from _tagged(name, url, topology.name)
            if queue is not None:
                found[name] = queue
    return found


def _prefix(topology: Topology) -> str:
    """Return the beginning that the names of an application's queues have in common."""
    first, *others = [each.name.removesuffix(each.queue) for each in topology.queues]
    while not all(each.startswith(first) for each in others):
        first = first[:-1]
    return first


def _urls(prefix: str) -> Flow[list[str]]:
    found: list[str] = []
    more: dict[str, Any] = {"QueueNamePrefix": prefix} if prefix else {}
    while True:
        answer = yield from call(f"queues {prefix}*", "sqs", "list_queues", MaxResults=_PAGE, **more)
        found += (answer or {}).get("QueueUrls", ())
        token = (answer or {}).get("NextToken")
        if not token:
            return found
        more["NextToken"] = token


def _tagged(name: str, url: str, deployment: str) -> Flow[ObservedQueue | None]:
    """Observe a queue if it has the deployment's tag."""
    resource = f"queue {name}"
    answer = yield from call(resource, "sqs", "list_queue_tags", NO_QUEUE, QueueUrl=url)
    if (answer or {}).get("Tags", {}).get(TAG) != deployment:
        return None
    found = yield from call(resource, "sqs", "get_queue_attributes", NO_QUEUE, QueueUrl=url, AttributeNames=["All"])
    return None if found is None else ObservedQueue(url, found["Attributes"])
