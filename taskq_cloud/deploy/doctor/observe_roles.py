"""Observes the roles of a deployment: the services that they trust, and the statements of all their policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy import policy_documents
from taskq_cloud.deploy.doctor.calls import call
from taskq_cloud.deploy.doctor.observed import ObservedQueue, ObservedRole
from taskq_cloud.deploy.topology.model import Role, Topology

_ABSENT: Final = ("NoSuchEntity",)


def roles(topology: Topology, queues: Mapping[str, ObservedQueue]) -> Flow[dict[str, ObservedRole]]:
    """Observe the declared roles, and return the existing ones by name.

    Args:
        topology: the declaration.
        queues: the observed queues; their ARNs name the account, which the ARN of a policy needs.
    """
    found = {}
    for role in topology.roles:
        observed = yield from (_standalone_policy(role, queues) if role.assumed_by is None else _role(role.name))
        if observed is not None:
            found[role.name] = observed
    return found


def _standalone_policy(role: Role, queues: Mapping[str, ObservedQueue]) -> Flow[ObservedRole | None]:
    """Observe a role that no service assumes: it is deployed as a policy, which callers attach to their own roles."""
    for queue in queues.values():
        _, partition, _, _, account, _ = queue.arn.split(":", 5)
        statements = yield from _managed(role.name, f"arn:{partition}:iam::{account}:policy/{role.name}")
        return None if statements is None else ObservedRole(statements)
    return None


def _role(name: str) -> Flow[ObservedRole | None]:
    resource = f"role {name}"
    found = yield from call(resource, "iam", "get_role", _ABSENT, RoleName=name)
    if found is None:
        return None
    statements: list[Mapping[str, Any]] = []
    for policy in (yield from _pages(resource, "list_role_policies", "PolicyNames", name)):
        answer = yield from call(resource, "iam", "get_role_policy", RoleName=name, PolicyName=policy)
        statements += policy_documents.statements((answer or {})["PolicyDocument"])
    for attached in (yield from _pages(resource, "list_attached_role_policies", "AttachedPolicies", name)):
        statements += (yield from _managed(name, attached["PolicyArn"])) or []
    return ObservedRole(statements, policy_documents.statements(found["Role"]["AssumeRolePolicyDocument"]))


def _managed(name: str, arn: str) -> Flow[list[Mapping[str, Any]] | None]:
    """Read the statements of a managed policy's default version; None if the policy does not exist."""
    resource = f"role {name}"
    found = yield from call(resource, "iam", "get_policy", _ABSENT, PolicyArn=arn)
    if found is None:
        return None
    version = found["Policy"]["DefaultVersionId"]
    answer = yield from call(resource, "iam", "get_policy_version", PolicyArn=arn, VersionId=version)
    return policy_documents.statements((answer or {})["PolicyVersion"]["Document"])


def _pages(resource: str, operation: str, key: str, role: str) -> Flow[list[Any]]:
    """Read all pages of a listing; its entries are under ``key``."""
    found: list[Any] = []
    marker: dict[str, str] = {}
    while True:
        answer: Mapping[str, Any] = (yield from call(resource, "iam", operation, RoleName=role, **marker)) or {}
        found += answer[key]
        if not answer.get("IsTruncated"):
            return found
        marker = {"Marker": answer["Marker"]}
