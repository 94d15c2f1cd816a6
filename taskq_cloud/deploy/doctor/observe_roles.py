"""Looks at the roles of a deployment: whom they trust, and all that their policies say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import ask
from taskq_cloud.deploy.doctor.observed import ObservedQueue, ObservedRole
from taskq_cloud.deploy.topology.model import Role, Topology

_ABSENT: Final = ("NoSuchEntity",)


def roles(topology: Topology, queues: Mapping[str, ObservedQueue]) -> Flow[dict[str, ObservedRole]]:
    """The declared roles that are there.

    Args:
        topology: the declaration.
        queues: those that are there; a policy is found by its ARN, and they know the account.
    """
    found = {}
    for role in topology.roles:
        seen = yield from (_policy_alone(role, queues) if role.assumed_by is None else _role(role.name))
        if seen is not None:
            found[role.name] = seen
    return found


def _policy_alone(role: Role, queues: Mapping[str, ObservedQueue]) -> Flow[ObservedRole | None]:
    """What nobody assumes is a policy, for the roles of whoever runs that code."""
    for queue in queues.values():
        _, partition, _, _, account, _ = queue.arn.split(":", 5)
        statements = yield from _managed(role.name, f"arn:{partition}:iam::{account}:policy/{role.name}")
        return None if statements is None else ObservedRole(statements)
    return None


def _role(name: str) -> Flow[ObservedRole | None]:
    what = f"role {name}"
    found = yield from ask(what, "iam", "get_role", _ABSENT, RoleName=name)
    if found is None:
        return None
    statements: list[Mapping[str, Any]] = []
    for policy in (yield from _pages(what, "list_role_policies", "PolicyNames", name)):
        answer = yield from ask(what, "iam", "get_role_policy", RoleName=name, PolicyName=policy)
        statements += _statements((answer or {})["PolicyDocument"])
    for attached in (yield from _pages(what, "list_attached_role_policies", "AttachedPolicies", name)):
        statements += (yield from _managed(name, attached["PolicyArn"])) or []
    return ObservedRole(statements, _trusted(found["Role"]["AssumeRolePolicyDocument"]))


def _managed(name: str, arn: str) -> Flow[list[Mapping[str, Any]] | None]:
    what = f"role {name}"
    found = yield from ask(what, "iam", "get_policy", _ABSENT, PolicyArn=arn)
    if found is None:
        return None
    version = found["Policy"]["DefaultVersionId"]
    answer = yield from ask(what, "iam", "get_policy_version", PolicyArn=arn, VersionId=version)
    return _statements((answer or {})["PolicyVersion"]["Document"])


def _pages(what: str, operation: str, key: str, role: str) -> Flow[list[Any]]:
    found: list[Any] = []
    more: dict[str, str] = {}
    while True:
        answer: Mapping[str, Any] = (yield from ask(what, "iam", operation, RoleName=role, **more)) or {}
        found += answer[key]
        if not answer.get("IsTruncated"):
            return found
        more = {"Marker": answer["Marker"]}


def _statements(document: Mapping[str, Any] | str) -> list[Mapping[str, Any]]:
    # The SDK reads the document; an emulator may leave it as text.
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
    """What IAM writes as one text or as several."""
    return [value] if isinstance(value, str) else list(value)
