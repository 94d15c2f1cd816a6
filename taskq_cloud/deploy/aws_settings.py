"""The attributes, rules and policies that a declaration comes to, in the services' own form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.deploy.topology.model import Bucket, DeadLetterQueue, Queue, Topology

_TLS_SID: Final = "DenyWithoutTLS"

PUBLIC_ACCESS_BLOCK: Final = {
    "BlockPublicAcls": True,
    "BlockPublicPolicy": True,
    "IgnorePublicAcls": True,
    "RestrictPublicBuckets": True,
}


def queue_attributes(topology: Topology, queue: Queue, arn: str, dead_arn: str) -> dict[str, str]:
    """The attributes of a queue; ``FifoQueue`` is set when it is created, and never after."""
    redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": queue.max_receive_count}
    return {
        "DelaySeconds": "0",
        "MessageRetentionPeriod": str(queue.message_retention_seconds),
        "ReceiveMessageWaitTimeSeconds": str(queue.receive_wait_time_seconds),
        "RedrivePolicy": json.dumps(redrive),
        "VisibilityTimeout": str(queue.visibility_timeout_seconds),
        **_encryption(topology),
        "Policy": json.dumps(with_tls({}, "sqs", [arn])),
        # EventBridge Scheduler sends no deduplication id.
        **({"ContentBasedDeduplication": "true"} if queue.fifo else {}),
    }


def dead_letter_attributes(topology: Topology, queue: Queue, arn: str, source_arn: str) -> dict[str, str]:
    """The attributes of its dead-letter queue."""
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [source_arn]}
    return {
        "MessageRetentionPeriod": str(queue.dead_letter_queue.message_retention_seconds),
        "RedriveAllowPolicy": json.dumps(allow),
        **_encryption(topology),
        "Policy": json.dumps(with_tls({}, "sqs", [arn])),
    }


def schedules_dead_letter_attributes(topology: Topology, dead: DeadLetterQueue, arn: str) -> dict[str, str]:
    """The attributes of the queue of what schedules could not send; it is the dead-letter queue of no other queue."""
    return {
        "MessageRetentionPeriod": str(dead.message_retention_seconds),
        **_encryption(topology),
        "Policy": json.dumps(with_tls({}, "sqs", [arn])),
    }


def lifecycle_rules(bucket: Bucket, present: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rules of a bucket: its own, and those of others that are there."""
    own = {rule.id: rule for rule in bucket.lifecycle_rules}
    others = [dict(rule) for rule in present if rule.get("ID") not in own]
    return others + [
        {
            "ID": rule.id,
            "Filter": {"Prefix": rule.prefix},
            "Status": "Enabled",
            "Expiration": {"Days": rule.expire_days},
        }
        for rule in bucket.lifecycle_rules
    ]


def rules_in_short(rules: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, bool, int | None]]:
    """Of each rule, by its id: the prefix, whether it is enabled, and the days; what a service adds is left out."""
    return {
        str(rule.get("ID")): (
            rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")),
            rule.get("Status") == "Enabled",
            rule.get("Expiration", {}).get("Days"),
        )
        for rule in rules
    }


def dumps(document: Mapping[str, Any]) -> str:
    """A policy as text."""
    return json.dumps(document)


def with_tls(policy: Mapping[str, Any], service: str, resources: Sequence[str]) -> dict[str, Any]:
    """A policy that denies what comes without TLS, beside what it says already."""
    denial = {
        "Sid": _TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": f"{service}:*",
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    others = [each for each in _statements(policy) if each.get("Sid") != _TLS_SID]
    return {**policy, "Version": policy.get("Version", "2012-10-17"), "Statement": [*others, denial]}


def denies_without_tls(policy: Mapping[str, Any] | None) -> bool:
    """Whether a policy denies everyone what comes without TLS."""
    return any(
        each.get("Effect") == "Deny"
        and each.get("Principal") in ("*", {"AWS": "*"})
        and str(each.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport")).lower() == "false"
        for each in _statements(policy or {})
    )


def allows_everyone(policy: Mapping[str, Any]) -> bool:
    """Whether a policy allows something to everyone, on no condition."""
    return any(
        each.get("Effect") == "Allow" and each.get("Principal") in ("*", {"AWS": "*"}) and not each.get("Condition")
        for each in _statements(policy)
    )


def changed_attributes(wanted: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """The attributes to set; one that is written otherwise and means the same is none of them."""
    changes = {name: value for name, value in wanted.items() if not _same(name, value, present.get(name))}
    policy = _read(present.get("Policy"))
    if "Policy" in changes and policy:
        resources = _statements(_read(changes["Policy"]))[-1]["Resource"]
        changes["Policy"] = json.dumps(with_tls(policy, "sqs", resources))
    return changes


def _same(name: str, wanted: str, present: str | None) -> bool:
    if present is None or present == "":
        return wanted in ("", "0")
    if name == "Policy":
        return denies_without_tls(_read(present))
    if name == "RedrivePolicy":
        one, other = _read(wanted), _read(present)
        return one["deadLetterTargetArn"] == other.get("deadLetterTargetArn") and int(one["maxReceiveCount"]) == int(
            other.get("maxReceiveCount", 0)
        )
    if wanted.startswith("{"):
        return _read(wanted) == _read(present)
    return wanted.lower() == present.lower()


def _encryption(topology: Topology) -> dict[str, str]:
    if topology.kms_key_arn:
        return {"KmsMasterKeyId": topology.kms_key_arn}
    return {"SqsManagedSseEnabled": "true"}


def _statements(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = policy.get("Statement", [])
    return [found] if isinstance(found, dict) else list(found)


def _read(document: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document) if document else {}
    return found
