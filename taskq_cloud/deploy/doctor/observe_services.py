"""Looks at the containers of a deployment: its services of ECS, and the task definition that each runs now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import ask
from taskq_cloud.deploy.doctor.observed import ObservedService
from taskq_cloud.deploy.topology.model import Topology

_NO_CLUSTER: Final = ("ClusterNotFoundException",)

LARGEST_LOOK: Final = 10
"""Services of one call (ECS API Reference, "DescribeServices")."""


def services(topology: Topology, cluster: str) -> Flow[dict[str, ObservedService]]:
    """The declared services that are there, by name.

    Args:
        topology: the declaration.
        cluster: the cluster's name or ARN; in one that is not there no service is.
    """
    names = [each.name for each in topology.services]
    found: list[Mapping[str, Any]] = []
    for first in range(0, len(names), LARGEST_LOOK):
        some = names[first : first + LARGEST_LOOK]
        answer = yield from ask(
            f"services of cluster {cluster}", "ecs", "describe_services", _NO_CLUSTER, cluster=cluster, services=some
        )
        found += (answer or {}).get("services", [])
    observed = {}
    for each in found:
        # One that was deleted is told of for a while, as INACTIVE or DRAINING.
        if each["status"] == "ACTIVE":
            what = f"service {each['serviceName']}"
            answer = yield from ask(what, "ecs", "describe_task_definition", taskDefinition=each["taskDefinition"])
            definition = (answer or {})["taskDefinition"]
            observed[each["serviceName"]] = _service(definition, _worker(definition["containerDefinitions"]))
    return observed


def _worker(containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The container of the worker: the one whose command runs it, beside which others may collect logs or traces."""
    return next((each for each in containers if "worker" in each.get("command", ())), containers[0])


def _service(definition: Mapping[str, Any], container: Mapping[str, Any]) -> ObservedService:
    role = definition.get("taskRoleArn")
    return ObservedService(
        role=str(role).rpartition("/")[2] if role else None,
        command=container.get("command", []),
        environment={each["name"]: each["value"] for each in container.get("environment", [])},
        cpu_units=int(definition.get("cpu") or container.get("cpu") or 0),
        memory_mb=int(definition.get("memory") or container.get("memory") or 0),
        stop_timeout_seconds=container.get("stopTimeout"),
    )
