"""Observes the containers of a deployment: its ECS services, and the task definition that each of them runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import call
from taskq_cloud.deploy.doctor.observed import ObservedService
from taskq_cloud.deploy.topology.model import Topology

_NO_CLUSTER: Final = ("ClusterNotFoundException",)

SERVICES_PER_CALL: Final = 10
"""The most services that one call describes (ECS API Reference, "DescribeServices")."""


def services(topology: Topology, cluster: str) -> Flow[dict[str, ObservedService]]:
    """Observe the declared services, and return the existing ones by name.

    Args:
        topology: the declaration.
        cluster: the cluster's name or ARN; if the cluster does not exist, none of its services does.
    """
    names = [each.name for each in topology.services]
    found: list[Mapping[str, Any]] = []
    for first in range(0, len(names), SERVICES_PER_CALL):
        some = names[first : first + SERVICES_PER_CALL]
        answer = yield from call(
            f"services of cluster {cluster}", "ecs", "describe_services", _NO_CLUSTER, cluster=cluster, services=some
        )
        found += (answer or {}).get("services", [])
    observed = {}
    for each in found:
        # A deleted service is listed for a while, as INACTIVE or DRAINING.
        if each["status"] == "ACTIVE":
            resource = f"service {each['serviceName']}"
            answer = yield from call(resource, "ecs", "describe_task_definition", taskDefinition=each["taskDefinition"])
            definition = (answer or {})["taskDefinition"]
            observed[each["serviceName"]] = _service(definition, _worker(definition["containerDefinitions"]))
    return observed


def _worker(containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the container whose command runs the worker; other containers may collect logs or traces."""
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
