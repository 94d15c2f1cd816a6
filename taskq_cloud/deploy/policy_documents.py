"""Reads policy documents of AWS as IAM evaluates them, whoever has written them.

IAM takes one value as a scalar or as a list of one, and returns the form that was written: Terraform writes scalars,
``taskq topology`` writes lists. Case doesn't matter in the names of actions and of condition keys. So documents are
compared in a normal form, and never as they are written (IAM User Guide, "IAM JSON policy elements").
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

Statement: TypeAlias = Mapping[str, Any]
"""A statement of a policy, as IAM writes it."""

Conditions: TypeAlias = frozenset[tuple[str, str, frozenset[str]]]
"""The conditions of a statement in normal form: operator and key in lower case, and the values."""

_SOURCES: Final = frozenset({"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"})
"""The condition keys that limit a service to the resources that it acts for (IAM User Guide, "confused-deputy")."""

_WITHOUT_TLS: Final[tuple[Conditions, ...]] = tuple(
    frozenset({(operator, "aws:securetransport", frozenset({"false"}))}) for operator in ("bool", "boolifexists")
)
"""The conditions under which a statement is about requests without TLS, and about all of them."""


def as_list(value: Any) -> list[Any]:
    """Return a list of a value that IAM writes as one value or as a list of values."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def statements(document: Mapping[str, Any] | str | None) -> list[Statement]:
    """Return the statements of a document, which may be JSON text; none if there is no document."""
    read: Mapping[str, Any] = json.loads(document or "{}") if isinstance(document, str) else document or {}
    return as_list(read.get("Statement", []))


def conditions(statement: Statement) -> Conditions:
    """Return the conditions of a statement in normal form."""
    return frozenset(
        (operator.lower(), key.lower(), frozenset(_value(operator, each) for each in as_list(values)))
        for operator, keys in (statement.get("Condition") or {}).items()
        for key, values in keys.items()
    )


def applies_to(statement: Statement, action: str, resource: str) -> bool:
    """Return whether a statement is about an action on a resource, its conditions aside."""
    action = action.lower()
    actions = [each.lower() for each in as_list(statement.get("Action", statement.get("NotAction", [])))]
    resources = as_list(statement.get("Resource", statement.get("NotResource", [])))
    return any(matches(action, each) for each in actions) is ("NotAction" not in statement) and any(
        matches(resource, each) for each in resources
    ) is ("NotResource" not in statement)


def matches(text: str, pattern: str) -> bool:
    """Return whether a text matches a pattern of IAM, in which only ``*`` and ``?`` have a meaning."""
    return _pattern(pattern).fullmatch(text) is not None


def is_about_everyone(statement: Statement) -> bool:
    """Return whether a statement of a resource's policy is about every principal, or about all except some."""
    principal = statement.get("Principal")
    return "NotPrincipal" in statement or "*" in as_list(
        principal.get("AWS", []) if isinstance(principal, Mapping) else principal
    )


def services_in(statement: Statement) -> list[str]:
    """Return the services that a statement of a resource's policy names as principals."""
    principal = statement.get("Principal")
    return as_list(principal.get("Service", [])) if isinstance(principal, Mapping) else []


def denies_without_tls(document: Mapping[str, Any] | str | None, service: str, resources: Sequence[str]) -> bool:
    """Return whether a policy denies every request without TLS to all the resources, whoever makes it.

    Args:
        document: the policy of a queue or a bucket; None: there is none.
        service: the prefix of the service's actions: ``"sqs"``.
        resources: ARNs.
    """
    denials = [
        each
        for each in statements(document)
        if each.get("Effect") == "Deny"
        and "NotPrincipal" not in each
        and is_about_everyone(each)
        and conditions(each) in _WITHOUT_TLS
    ]
    # A denial of single actions leaves the others open: an action that doesn't exist stands for all of them.
    return all(any(applies_to(each, f"{service}:AnyAction", resource) for each in denials) for resource in resources)


def allows_everyone(document: Mapping[str, Any] | str | None) -> bool:
    """Return whether a policy allows something to everyone without a condition, or only under that of using TLS."""
    return any(
        each.get("Effect") == "Allow" and is_about_everyone(each) and not _keys(each) - {"aws:securetransport"}
        for each in statements(document)
    )


def allows_service(
    document: Mapping[str, Any] | None, service: str, action: str, resource: str, context: Mapping[str, str]
) -> bool:
    """Return whether the policy of a resource allows an action to a service.

    Args:
        document: the policy; None: there is none.
        service: the principal: ``"cloudwatch.amazonaws.com"``.
        action: the action: ``"sns:Publish"``.
        resource: the ARN of the resource.
        context: the values of condition keys in this case; a condition on another key does not hold.
    """
    effects = {
        each.get("Effect")
        for each in statements(document)
        if applies_to(each, action, resource)
        and (is_about_everyone(each) or service in services_in(each))
        and _hold(each, context)
    }
    return effects == {"Allow"}


def _hold(statement: Statement, context: Mapping[str, str]) -> bool:
    """Return whether the conditions of a statement hold; a value may be a pattern, whatever the operator."""
    return all(
        key in context and any(matches(context[key], value) for value in values) is ("not" not in operator)
        for operator, key, values in conditions(statement)
    )


def services_of_every_account(document: Mapping[str, Any] | str | None) -> list[str]:
    """Return the services that a policy allows to act for the resources of any account, sorted."""
    found: set[str] = set()
    for each in statements(document):
        if each.get("Effect") == "Allow" and not _keys(each) & _SOURCES:
            found.update(services_in(each))
    return sorted(found)


def _keys(statement: Statement) -> set[str]:
    """Return the keys of a statement's conditions."""
    return {key for _, key, _ in conditions(statement)}


def _value(operator: str, value: Any) -> str:
    # JSON has numbers and truth values, which IAM compares as text.
    text = json.dumps(value) if isinstance(value, bool | int | float) else str(value)
    return text.lower() if operator.lower().startswith("bool") else text


@lru_cache(maxsize=1_024)
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = ({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    return re.compile("".join(parts), re.DOTALL)
