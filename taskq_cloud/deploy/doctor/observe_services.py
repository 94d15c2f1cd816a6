"""Observes the containers of a deployment: its ECS services, and the task definition that each of them runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import call
from taskq_cloud.deploy.doctor.observed import ObservedScaling, ObservedService
from taskq_cloud.deploy.topology.model import Topology

_NO_CLUSTER: Final = ("ClusterNotFoundException",)

_SCALING: Final = "application-autoscaling"
_TARGETS_PER_CALL: Final = 50
"""The most targets on a page (Application Auto Scaling API Reference, "DescribeScalableTargets")."""

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


def scaling(services: Iterable[str], cluster: str) -> Flow[dict[str, ObservedScaling]]:
    """Observe how services are scaled; a service that nothing scales is absent.

    Args:
        services: the names of services that exist.
        cluster: the cluster's name or ARN.
    """
    ids = {f"service/{cluster.rpartition('/')[2]}/{name}": name for name in services}
    resource, where = f"scaling of cluster {cluster}", {"ServiceNamespace": "ecs"}
    targets: list[Mapping[str, Any]] = []
    for first in range(0, len(ids), _TARGETS_PER_CALL):
        some = list(ids)[first : first + _TARGETS_PER_CALL]
        answer = yield from call(resource, _SCALING, "describe_scalable_targets", **where, ResourceIds=some)
        targets += (answer or {}).get("ScalableTargets", [])
    observed = {}
    for target in targets:
        answer = yield from call(
            resource, _SCALING, "describe_scaling_policies", **where, ResourceId=target["ResourceId"]
        )
        policies = (answer or {}).get("ScalingPolicies", [])
        backlogs = [_backlog_per_task(each.get("StepScalingPolicyConfiguration") or {}) for each in policies]
        observed[ids[target["ResourceId"]]] = ObservedScaling(
            target["MinCapacity"], target["MaxCapacity"], next((each for each in backlogs if each), None)
        )
    return observed


def _backlog_per_task(policy: Mapping[str, Any]) -> float | None:
    """Return the messages for each container, which the upper bound of a policy's first step tells."""
    steps = sorted(policy.get("StepAdjustments", []), key=lambda each: each.get("MetricIntervalLowerBound", -math.inf))
    if len(steps) > 1 and policy.get("AdjustmentType") == "ExactCapacity" and steps[0]["ScalingAdjustment"]:
        return float(steps[0]["MetricIntervalUpperBound"] / steps[0]["ScalingAdjustment"])
    return None


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
        log_group=_log_group(container.get("logConfiguration") or {}),
    )


def _log_group(configuration: Mapping[str, Any]) -> str | None:
    """Return the log group of a container whose logs go to CloudWatch."""
    if configuration.get("logDriver") != "awslogs":
        return None
    return (configuration.get("options") or {}).get("awslogs-group")
