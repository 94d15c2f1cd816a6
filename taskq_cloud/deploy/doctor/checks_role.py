"""The doctor's checks of roles: each role allows the calls that its code makes, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, TypeAlias

from taskq_cloud.deploy.doctor.check import NOT_DEPLOYED, Check, require
from taskq_cloud.deploy.doctor.matching import ROLES, Pair
from taskq_cloud.deploy.doctor.observe_roles import as_list
from taskq_cloud.deploy.doctor.observed import ObservedRole
from taskq_cloud.deploy.topology.formats.iam import ArnPlaceholders, policies
from taskq_cloud.deploy.topology.model import Role

Statement: TypeAlias = Mapping[str, Any]
"""A statement of a policy, as IAM writes it."""

_POLICY: Final = "apply Terraform, or replace the policy with the one that taskq topology --format iam writes"

_ALSO_ALLOWED: Final = {"ecs-tasks.amazonaws.com": frozenset({"ecs:gettaskprotection", "ecs:updatetaskprotection"})}
"""Actions that a role may have in addition to its declaration: a worker protects its own container from being stopped,
and only Terraform knows the container's ARN."""


def _trusts_its_service(role: Pair[Role, ObservedRole]) -> str | None:
    service, trusted = role.declared.assumed_by, role.live.trusted
    return require(
        service is None or service in trusted,
        f"it trusts {', '.join(sorted(trusted)) or 'no service'}; {service} is declared",
    )


def _allows_declared_calls(role: Pair[Role, ObservedRole]) -> str | None:
    lacking = sorted(
        f"{action} of {resource}"
        for statement in _declared_statements(role)
        for action in statement["Action"]
        for resource in statement["Resource"]
        if not _allowed(role.live, action, resource, statement)
    )
    return require(not lacking, f"it doesn't allow {', '.join(lacking)}")


def _allows_nothing_else(role: Pair[Role, ObservedRole]) -> str | None:
    declared = _declared_statements(role)
    also_allowed = _ALSO_ALLOWED.get(role.declared.assumed_by or "", frozenset())
    unused = sorted(
        f"{action} of {resource}"
        for statement in role.live.statements
        if statement.get("Effect") == "Allow"
        for action in as_list(statement.get("Action", "*"))
        for resource in as_list(statement.get("Resource", "*"))
        if action.lower() not in also_allowed
        and not any(_within(action, resource, statement, each) for each in declared)
    )
    return require(not unused, f"it allows {', '.join(unused)}, which the declared policy does not")


CHECKS: Final = (
    Check(
        "role.missing",
        ROLES.missing,
        lambda role: NOT_DEPLOYED if role.declared.assumed_by else None,
        lambda role: f"{role.declared.assumed_by} runs without a role, or with the permissions of another one",
    ),
    Check(
        "role.trust",
        ROLES.deployed,
        _trusts_its_service,
        lambda role: f"{role.declared.assumed_by} can't assume the role: no task runs, or no message is sent",
    ),
    Check(
        "role.permission_missing",
        ROLES.deployed,
        _allows_declared_calls,
        "these calls are denied: tasks are given back until they are dead-lettered, or are never sent",
        _POLICY,
    ),
    Check(
        "role.permission_unused",
        ROLES.deployed,
        _allows_nothing_else,
        "anyone who obtains its credentials, or exploits a task, can do more than the code does",
        _POLICY,
        severity="warning",
    ),
)


def _declared_statements(role: Pair[Role, ObservedRole]) -> list[Statement]:
    """Return the statements of the declared policy, with the account and Region that the queues are in."""
    placeholders = ArnPlaceholders()
    for queue in role.observed.queues.values():
        _, partition, _, region, account, _ = queue.arn.split(":", 5)
        placeholders = ArnPlaceholders(account, region, partition)
    statements: list[Statement] = policies(role.topology, placeholders)[role.declared.name]["Statement"]
    return statements


def _allowed(role: ObservedRole, action: str, resource: str, declared: Statement) -> bool:
    """Return whether the role's policies allow an action on a resource, as IAM evaluates them."""
    covering = [
        each
        for each in role.statements
        if any(fnmatchcase(action.lower(), pattern.lower()) for pattern in as_list(each.get("Action", [])))
        and any(fnmatchcase(resource, pattern) for pattern in as_list(each.get("Resource", [])))
    ]
    # Only the call itself shows whether an undeclared condition holds, so an Allow with one doesn't count.
    allows = any(
        each.get("Effect") == "Allow" and each.get("Condition") in (None, {}, declared.get("Condition"))
        for each in covering
    )
    denies = any(each.get("Effect") == "Deny" and not each.get("Condition") for each in covering)
    return allows and not denies


def _within(action: str, resource: str, statement: Statement, declared: Statement) -> bool:
    """Return whether a declared statement covers a deployed permission; a wildcard exceeds what it matches."""
    return (
        action.lower() in (each.lower() for each in declared["Action"])
        and any(fnmatchcase(resource, each) for each in declared["Resource"])
        and declared.get("Condition") in (None, statement.get("Condition"))
    )
