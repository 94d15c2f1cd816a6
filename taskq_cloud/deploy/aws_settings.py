"""The settings of declared AWS resources in the services' own form: queue attributes, lifecycle rules and policies.

``provision`` writes these settings, and ``doctor`` compares them with a deployment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.deploy.policy_documents import as_list, denies_without_tls, statements
from taskq_cloud.deploy.topology.model import Bucket, DeadLetterQueue, Queue, Topology

_TLS_SID: Final = "DenyWithoutTLS"

PUBLIC_ACCESS_BLOCK: Final = {
    "BlockPublicAcls": True,
    "BlockPublicPolicy": True,
    "IgnorePublicAcls": True,
    "RestrictPublicBuckets": True,
}


def queue_attributes(topology: Topology, queue: Queue, arn: str, dead_arn: str) -> dict[str, str]:
    """Return the attributes of a queue, except ``FifoQueue``, which can only be set when the queue is created.

    Args:
        topology: the topology that declares the queue.
        queue: the queue.
        arn: its ARN.
        dead_arn: the ARN of its dead-letter queue.
    """
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
    """Return the attributes of a queue's dead-letter queue.

    Args:
        topology: the topology that declares the queue.
        queue: the source queue.
        arn: the ARN of the dead-letter queue.
        source_arn: the ARN of the source queue.
    """
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [source_arn]}
    return {
        "MessageRetentionPeriod": str(queue.dead_letter_queue.message_retention_seconds),
        "RedriveAllowPolicy": json.dumps(allow),
        **_encryption(topology),
        "Policy": json.dumps(with_tls({}, "sqs", [arn])),
    }


def schedules_dead_letter_attributes(topology: Topology, dead: DeadLetterQueue, arn: str) -> dict[str, str]:
    """Return the attributes of the queue for messages that schedules could not send; it has no source queue."""
    return {
        "MessageRetentionPeriod": str(dead.message_retention_seconds),
        **_encryption(topology),
        "Policy": json.dumps(with_tls({}, "sqs", [arn])),
    }


def lifecycle_rules(bucket: Bucket, present: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rules that a bucket should have: the declared ones, and present ones that have other ids."""
    declared = {rule.id for rule in bucket.lifecycle_rules}
    others = [dict(rule) for rule in present if rule.get("ID") not in declared]
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
    """Return the comparable part of lifecycle rules, without fields that the service adds.

    Returns:
        Rule id -> prefix, whether the rule is enabled, and the days after which objects expire.
    """
    return {
        str(rule.get("ID")): (
            rule.get("Filter", {}).get("Prefix", rule.get("Prefix", "")),
            rule.get("Status") == "Enabled",
            rule.get("Expiration", {}).get("Days"),
        )
        for rule in rules
    }


def bucket_arns(name: str, partition: str = "aws") -> list[str]:
    """Return the ARN of a bucket, and the pattern of its objects' ARNs."""
    arn = f"arn:{partition}:s3:::{name}"
    return [arn, f"{arn}/*"]


def with_tls(policy: Mapping[str, Any], service: str, resources: Sequence[str]) -> dict[str, Any]:
    """Return a policy that also denies requests without TLS; its other statements are kept.

    Args:
        policy: the policy that is there; an empty one if there is none.
        service: the prefix of the denied actions: ``"sqs"``.
        resources: the ARNs that the denial is about.
    """
    denial = {
        "Sid": _TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": f"{service}:*",
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    others = [each for each in statements(policy) if each.get("Sid") != _TLS_SID]
    return {**policy, "Version": policy.get("Version", "2012-10-17"), "Statement": [*others, denial]}


def changed_attributes(declared: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes to set on a queue: each one whose present value differs in meaning from the declared one.

    Args:
        declared: the attributes that the queue should have.
        present: the attributes that it has; a policy keeps its other statements.
    """
    changes = {name: value for name, value in declared.items() if not _same(name, value, present.get(name))}
    policy = _read(present.get("Policy"))
    if "Policy" in changes and policy:
        changes["Policy"] = json.dumps(with_tls(policy, "sqs", _resources(changes["Policy"])))
    return changes


def _same(name: str, declared: str, present: str | None) -> bool:
    if present is None or present == "":
        return declared in ("", "0")
    if name == "Policy":
        return denies_without_tls(present, "sqs", _resources(declared))
    if name == "RedrivePolicy":
        one, other = _read(declared), _read(present)
        return one["deadLetterTargetArn"] == other.get("deadLetterTargetArn") and int(one["maxReceiveCount"]) == int(
            other.get("maxReceiveCount", 0)
        )
    if declared.startswith("{"):
        return _read(declared) == _read(present)
    return declared.lower() == present.lower()


def _resources(policy: str) -> list[str]:
    """Return the resources of a declared policy, whose last statement is the denial."""
    return as_list(statements(policy)[-1]["Resource"])


def _encryption(topology: Topology) -> dict[str, str]:
    if topology.kms_key_arn:
        return {"KmsMasterKeyId": topology.kms_key_arn}
    return {"SqsManagedSseEnabled": "true"}


def _read(document: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document) if document else {}
    return found
