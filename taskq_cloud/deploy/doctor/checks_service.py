"""The doctor's checks of services: containers of ECS that run ``taskq worker``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.observed import Observed, ObservedService
from taskq_cloud.deploy.topology.model import Service, Topology

USUAL_STOP_SECONDS: Final = 30
"""ECS Developer Guide, "Task definition parameters": of a container that names no ``stopTimeout``."""


def service_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A service that serves queues."""
    for service in topology.services:
        if service.name not in observed.services:
            yield Finding(
                "service.missing",
                f"service {service.name}",
                "error",
                "declared, and not there (--cluster names the cluster, where it isn't called as the deployment is)",
                f"messages of {', '.join(service.queues)} wait until their retention ends",
                "apply Terraform",
            )


def service_command(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """What the containers run."""
    for service, there in _pairs(topology, observed):
        if tuple(there.command) != service.command:
            yield Finding(
                "service.command",
                f"service {service.name}",
                "error",
                f"its containers run {' '.join(there.command) or 'what their image says'}; declared is"
                f" {' '.join(service.command)}",
                "queues that are not named there are served by nobody",
                "apply Terraform",
            )


def service_environment(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Variables that lead containers elsewhere."""
    for service, there in _pairs(topology, observed):
        other = sorted(name for name, value in service.environment.items() if there.environment.get(name) != value)
        if other:
            yield Finding(
                "service.environment",
                f"service {service.name}",
                "error",
                f"other than declared: {', '.join(other)}",
                "they work with another broker, store or application than their callers",
                "apply Terraform",
            )


def service_role(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The role of the containers."""
    for service, there in _pairs(topology, observed):
        if there.role != service.role:
            yield Finding(
                "service.role",
                f"service {service.name}",
                "error",
                f"its task role is {there.role or 'none'}; declared is {service.role}",
                "calls are denied, or may be more than the code makes",
                "apply Terraform",
            )


def service_size(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Memory and processor."""
    for service, there in _pairs(topology, observed):
        if there.memory_mb < service.memory_mb or there.cpu_units < service.cpu_units:
            yield Finding(
                "service.size",
                f"service {service.name}",
                "error",
                f"a container has {there.cpu_units} CPU units and {there.memory_mb} MiB; declared are"
                f" {service.cpu_units} and {service.memory_mb}",
                "a task that needs more memory kills its container, and all that runs there comes back",
                "apply Terraform",
            )


def service_stop(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Time to end what runs."""
    for service, there in _pairs(topology, observed):
        seconds = USUAL_STOP_SECONDS if there.stop_timeout_seconds is None else there.stop_timeout_seconds
        if seconds < service.stop_timeout_seconds:
            yield Finding(
                "service.stop",
                f"service {service.name}",
                "error",
                f"it is killed {seconds} s after SIGTERM; declared are {service.stop_timeout_seconds} s",
                "tasks that would have ended in time are killed at every deployment, and run again",
                "apply Terraform",
            )


def _pairs(topology: Topology, observed: Observed) -> Iterator[tuple[Service, ObservedService]]:
    for service in topology.services:
        if service.name in observed.services:
            yield service, observed.services[service.name]
