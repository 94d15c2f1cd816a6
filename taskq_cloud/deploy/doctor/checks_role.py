"""The doctor's checks of roles: each role allows the calls that its code makes, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from taskq_cloud.core.model.environments import SECRETS_VARIABLE
from taskq_cloud.deploy.doctor.check import NOT_DEPLOYED, Check, require
from taskq_cloud.deploy.doctor.matching import ROLES, Pair
from taskq_cloud.deploy.doctor.observed import ObservedRole
from taskq_cloud.deploy.policy_documents import (
    Statement,
    applies_to,
    as_list,
    conditions,
    is_about_everyone,
    matches,
    services_in,
)
from taskq_cloud.deploy.topology.formats.iam import ArnPlaceholders, policies
from taskq_cloud.deploy.topology.model import Role

_POLICY: Final = "apply Terraform, or replace the policy with the one that taskq topology --format iam writes"

_OF_A_CONTAINER: Final = ("ecs:GetTaskProtection", "ecs:UpdateTaskProtection")
"""A worker protects its own container from being stopped, and only Terraform knows the container's ARN."""

_OF_A_VPC: Final = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
"""Lambda itself calls these with the role of a function in a VPC (Lambda Developer Guide, "Giving Lambda functions
access to resources in an Amazon VPC")."""

_OF_TRACES: Final = ("xray:PutTelemetryRecords", "xray:PutTraceSegments")
"""Lambda itself calls these with the role of a traced function (Lambda Developer Guide, "Visualize Lambda function
invocations using AWS X-Ray")."""

_OF_SECRETS: Final = ("secretsmanager:GetSecretValue", "ssm:GetParameter")
"""A function reads the secrets of ``TASKQ_SECRETS``, and only Terraform knows their ARNs."""

_ARN_FIELDS: Final = 7
"""The parts of a secret's own ARN; a reference may have more, which name a key of its JSON and a version."""

_OF_DESTINATIONS: Final = {
    "events": "events:PutEvents",
    "lambda": "lambda:InvokeFunction",
    "sns": "sns:Publish",
    "sqs": "sqs:SendMessage",
}
"""Service of a destination of asynchronous invocations -> the action that Lambda needs for it."""


def _of_platform(role: Pair[Role, ObservedRole]) -> Iterator[tuple[str, str]]:
    """Yield actions, with patterns of their resources, that the platform needs and the declaration doesn't hold."""
    if role.declared.assumed_by == "ecs-tasks.amazonaws.com":
        yield from ((action, "*") for action in _OF_A_CONTAINER)
    for function in role.observed.functions.values():
        if function.role != role.declared.name:
            continue
        if function.in_vpc:
            yield from ((action, "*") for action in _OF_A_VPC)
        if function.traced:
            yield from ((action, "*") for action in _OF_TRACES)
        if SECRETS_VARIABLE in function.environment:
            yield "kms:Decrypt", "*"
            for arn in json.loads(function.environment[SECRETS_VARIABLE]).values():
                own = ":".join(arn.split(":")[:_ARN_FIELDS])
                yield from ((action, own) for action in _OF_SECRETS)
        for target in function.destinations:
            yield _OF_DESTINATIONS.get(target.split(":")[2], "s3:PutObject"), target


def _trusts_its_service(role: Pair[Role, ObservedRole]) -> str | None:
    service = role.declared.assumed_by
    trusted = {each for statement in _allowing(role.live) for each in services_in(statement)}
    return require(
        service is None or service in trusted,
        f"it trusts {', '.join(sorted(trusted)) or 'no service'}; {service} is declared",
    )


def _trusts_nobody_else(role: Pair[Role, ObservedRole]) -> str | None:
    service = role.declared.assumed_by
    if service is None:
        return None
    others = sorted({each for statement in _allowing(role.live) for each in _others(statement, service)})
    return require(not others, f"it also trusts {', '.join(others)}; only {service} is declared")


def _allowing(role: ObservedRole) -> list[Statement]:
    """Return the statements that let somebody assume a role."""
    return [each for each in role.trust if each.get("Effect") == "Allow"]


def _others(statement: Statement, service: str) -> list[str]:
    principal = statement.get("Principal", {})
    if is_about_everyone(statement) or not isinstance(principal, Mapping):
        return ["everyone"]
    return [each for values in principal.values() for each in as_list(values) if each != service]


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
    of_platform = list(_of_platform(role))
    unused = sorted(
        f"{action} of {resource}"
        for statement in role.live.statements
        if statement.get("Effect") == "Allow"
        # A statement about all actions or resources except some exceeds every declared one.
        for action in as_list(statement.get("Action", "*"))
        for resource in as_list(statement.get("Resource", "*"))
        if not any(action.lower() == each.lower() and matches(resource, pattern) for each, pattern in of_platform)
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
        "role.missing",
        ROLES.missing,
        lambda role: None if role.declared.assumed_by else "there is no policy of this name",
        "callers need another policy that allows the declared calls, and nobody compares that one",
        severity="warning",
    ),
    Check(
        "role.trust",
        ROLES.deployed,
        _trusts_its_service,
        lambda role: f"{role.declared.assumed_by} can't assume the role: no task runs, or no message is sent",
    ),
    Check(
        "role.trust",
        ROLES.deployed,
        _trusts_nobody_else,
        "others can assume the role, and do everything that the code may do",
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
    covering = [each for each in role.statements if applies_to(each, action, resource)]
    # Only the call itself shows whether an undeclared condition holds, so an Allow with one doesn't count.
    wanted = conditions(declared)
    allows = any(each.get("Effect") == "Allow" and conditions(each) <= wanted for each in covering)
    denies = any(each.get("Effect") == "Deny" and not conditions(each) for each in covering)
    return allows and not denies


def _within(action: str, resource: str, statement: Statement, declared: Statement) -> bool:
    """Return whether a declared statement covers a deployed permission; a wildcard exceeds what it matches."""
    return (
        action.lower() in (each.lower() for each in declared["Action"])
        and any(matches(resource, each) for each in declared["Resource"])
        and conditions(declared) <= conditions(statement)
    )
