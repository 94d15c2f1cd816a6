"""The doctor's checks of roles: each allows what its code calls, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.observe_roles import as_list
from taskq_cloud.deploy.doctor.observed import Observed, ObservedRole
from taskq_cloud.deploy.topology.formats.iam import Place, policies
from taskq_cloud.deploy.topology.model import Role, Topology

APPLY: Final = "apply Terraform, or put the policy of taskq topology --format iam in its place"

_BESIDE: Final = {"ecs-tasks.amazonaws.com": frozenset({"ecs:gettaskprotection", "ecs:updatetaskprotection"})}
"""What a role may have beside its declaration: a worker protects its own container, whose ARN only Terraform knows."""


def role_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A role that a service assumes."""
    for role in topology.roles:
        if role.assumed_by is not None and role.name not in observed.roles:
            yield Finding(
                "role.missing",
                f"role {role.name}",
                "error",
                "declared, and not there",
                f"{role.assumed_by} runs its part with no role, or with another's permissions",
                "apply Terraform",
            )


def role_trust(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The service that assumes a role."""
    for role, there in _pairs(topology, observed):
        if role.assumed_by is not None and role.assumed_by not in there.trusted:
            yield Finding(
                "role.trust",
                f"role {role.name}",
                "error",
                f"it trusts {', '.join(sorted(there.trusted)) or 'no service'}; declared is {role.assumed_by}",
                f"{role.assumed_by} can't assume it: nothing runs, or nothing is sent",
                "apply Terraform",
            )


def permission_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A call that a role's code makes, and that its policies don't allow or that one of them denies."""
    declared = _declared(topology, observed)
    for role, there in _pairs(topology, observed):
        lacking = sorted(
            f"{action} of {resource}"
            for statement in declared[role.name]
            for action in statement["Action"]
            for resource in statement["Resource"]
            if not _allowed(there, action, resource, statement)
        )
        if lacking:
            yield Finding(
                "role.permission_missing",
                f"role {role.name}",
                "error",
                f"it doesn't allow {', '.join(lacking)}",
                "the calls are denied: tasks are given back until they are dead-lettered, or are never sent",
                APPLY,
            )


def permission_unused(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """What a role's policies allow, and its code never calls."""
    declared = _declared(topology, observed)
    for role, there in _pairs(topology, observed):
        beside = _BESIDE.get(role.assumed_by or "", frozenset())
        unused = sorted(
            f"{action} of {resource}"
            for statement in there.statements
            if statement.get("Effect") == "Allow"
            for action in as_list(statement.get("Action", "*"))
            for resource in as_list(statement.get("Resource", "*"))
            if action.lower() not in beside
            and not any(_within(action, resource, statement, each) for each in declared[role.name])
        )
        if unused:
            yield Finding(
                "role.permission_unused",
                f"role {role.name}",
                "warning",
                f"it allows {', '.join(unused)}, which the declared policy doesn't",
                "whoever gets hold of its credentials, or finds a hole in a task, can do more than the code does",
                APPLY,
            )


def _pairs(topology: Topology, observed: Observed) -> Iterator[tuple[Role, ObservedRole]]:
    for role in topology.roles:
        if role.name in observed.roles:
            yield role, observed.roles[role.name]


def _declared(topology: Topology, observed: Observed) -> dict[str, list[Mapping[str, Any]]]:
    """The statements of each role, in the account and Region that the queues are in."""
    place = Place()
    for queue in observed.queues.values():
        _, partition, _, region, account, _ = queue.arn.split(":", 5)
        place = Place(account, region, partition)
    return {name: policy["Statement"] for name, policy in policies(topology, place).items()}


def _allowed(there: ObservedRole, action: str, resource: str, declared: Mapping[str, Any]) -> bool:
    covering = [
        each
        for each in there.statements
        if any(fnmatchcase(action.lower(), pattern.lower()) for pattern in as_list(each.get("Action", [])))
        and any(fnmatchcase(resource, pattern) for pattern in as_list(each.get("Resource", [])))
    ]
    # Whether a condition that is not declared holds, only the call knows: an Allow with one is not counted on.
    allows = any(
        each.get("Effect") == "Allow" and each.get("Condition") in (None, {}, declared.get("Condition"))
        for each in covering
    )
    denies = any(each.get("Effect") == "Deny" and not each.get("Condition") for each in covering)
    return allows and not denies


def _within(action: str, resource: str, statement: Mapping[str, Any], declared: Mapping[str, Any]) -> bool:
    """Whether what is allowed is no more than a declared statement; a wildcard is more than what it stands for."""
    return (
        action.lower() in (each.lower() for each in declared["Action"])
        and any(fnmatchcase(resource, each) for each in declared["Resource"])
        and declared.get("Condition") in (None, statement.get("Condition"))
    )
