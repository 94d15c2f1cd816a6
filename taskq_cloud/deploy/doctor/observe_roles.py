"""Observes the roles of a deployment: the services that they trust, and the statements of all their policies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Flow
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
        statements += _statements((answer or {})["PolicyDocument"])
    for attached in (yield from _pages(resource, "list_attached_role_policies", "AttachedPolicies", name)):
        statements += (yield from _managed(name, attached["PolicyArn"])) or []
    return ObservedRole(statements, _trusted(found["Role"]["AssumeRolePolicyDocument"]))


def _managed(name: str, arn: str) -> Flow[list[Mapping[str, Any]] | None]:
    """Read the statements of a managed policy's default version; None if the policy does not exist."""
    resource = f"role {name}"
    found = yield from call(resource, "iam", "get_policy", _ABSENT, PolicyArn=arn)
    if found is None:
        return None
    version = found["Policy"]["DefaultVersionId"]
    answer = yield from call(resource, "iam", "get_policy_version", PolicyArn=arn, VersionId=version)
    return _statements((answer or {})["PolicyVersion"]["Document"])


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


def _statements(document: Mapping[str, Any] | str) -> list[Mapping[str, Any]]:
    # The SDK decodes the document; emulators may leave it as text.
    read: Mapping[str, Any] = json.loads(document) if isinstance(document, str) else document
    found = read.get("Statement", [])
    return [found] if isinstance(found, Mapping) else list(found)


def _trusted(document: Mapping[str, Any] | str) -> frozenset[str]:
    services: set[str] = set()
    for each in _statements(document):
        principal = each.get("Principal", {})
        if each.get("Effect") == "Allow" and isinstance(principal, Mapping):
            services.update(as_list(principal.get("Service", [])))
    return frozenset(services)


def as_list(value: str | Sequence[str]) -> list[str]:
    """Return a list of a value that IAM writes as one string or as a list of strings."""
    return [value] if isinstance(value, str) else list(value)
