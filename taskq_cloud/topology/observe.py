"""Looks at a deployment: read-only calls, one thing after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from taskq_cloud.core.calls import Flow
from taskq_cloud.topology.asking import ask
from taskq_cloud.topology.model import Topology
from taskq_cloud.topology.observed import (
    Observed,
    ObservedBucket,
    ObservedFunction,
    ObservedMapping,
    ObservedQueue,
    ObservedTable,
)

T = TypeVar("T")

_NO_QUEUE: Final = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_NO_RESOURCE: Final = ("ResourceNotFoundException", "ResourceNotFound")
_NO_BUCKET: Final = ("404", "NoSuchBucket")


def queue(name: str) -> Flow[ObservedQueue | None]:
    """A queue by its name in SQS; None: there is none."""
    what = f"queue {name}"
    found = yield from ask(what, "sqs", "get_queue_url", _NO_QUEUE, QueueName=name)
    if found is None:
        return None
    url = str(found["QueueUrl"])
    answer = yield from ask(what, "sqs", "get_queue_attributes", _NO_QUEUE, QueueUrl=url, AttributeNames=["All"])
    return None if answer is None else ObservedQueue(url, answer["Attributes"])


def table(name: str) -> Flow[ObservedTable | None]:
    """A table; None: there is none."""
    what = f"table {name}"
    answer = yield from ask(what, "dynamodb", "describe_table", _NO_RESOURCE, TableName=name)
    if answer is None:
        return None
    described: Mapping[str, Any] = answer["Table"]
    answer = yield from ask(what, "dynamodb", "describe_time_to_live", TableName=name)
    ttl = (answer or {}).get("TimeToLiveDescription", {})
    return ObservedTable(
        key_schema={each["AttributeName"]: each["KeyType"] for each in described["KeySchema"]},
        attribute_types={each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]},
        ttl_attribute=ttl.get("AttributeName") if ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None,
        kms_key=described.get("SSEDescription", {}).get("KMSMasterKeyArn"),
    )


def bucket(name: str) -> Flow[ObservedBucket | None]:
    """A bucket of S3; None: there is none."""
    what = f"bucket {name}"
    if (yield from ask(what, "s3", "head_bucket", _NO_BUCKET, Bucket=name)) is None:
        return None
    lifecycle = yield from ask(
        what, "s3", "get_bucket_lifecycle_configuration", ("NoSuchLifecycleConfiguration",), Bucket=name
    )
    block = yield from ask(
        what, "s3", "get_public_access_block", ("NoSuchPublicAccessBlockConfiguration",), Bucket=name
    )
    policy = yield from ask(what, "s3", "get_bucket_policy", ("NoSuchBucketPolicy",), Bucket=name)
    encryption = yield from ask(
        what, "s3", "get_bucket_encryption", ("ServerSideEncryptionConfigurationNotFoundError",), Bucket=name
    )
    return ObservedBucket(
        lifecycle_rules=(lifecycle or {}).get("Rules", []),
        public_access_block=(block or {}).get("PublicAccessBlockConfiguration", {}),
        policy=json.loads(policy["Policy"]) if policy else None,
        kms_key=_kms_key(encryption),
    )


def function(name: str, queue_arn: str | None) -> Flow[ObservedFunction | None]:
    """A function and its mappings from a queue; None: there is none.

    Args:
        name: the function's.
        queue_arn: the queue's ARN; None where there is no such queue, and so no mapping from it.
    """
    what = f"function {name}"
    found = yield from ask(what, "lambda", "get_function_configuration", _NO_RESOURCE, FunctionName=name)
    if found is None:
        return None
    mappings: list[Mapping[str, Any]] = []
    if queue_arn is not None:
        answer = yield from ask(
            what, "lambda", "list_event_source_mappings", FunctionName=name, EventSourceArn=queue_arn
        )
        mappings = (answer or {}).get("EventSourceMappings", [])
    return ObservedFunction(
        timeout_seconds=found["Timeout"],
        memory_mb=found["MemorySize"],
        environment=found.get("Environment", {}).get("Variables", {}),
        mappings=[_mapping(each) for each in mappings],
    )


def schedule_group(name: str) -> Flow[bool]:
    """Whether a schedule group is there."""
    found = yield from ask(f"schedule group {name}", "scheduler", "get_schedule_group", _NO_RESOURCE, Name=name)
    return found is not None


def _mapping(found: Mapping[str, Any]) -> ObservedMapping:
    return ObservedMapping(
        uuid=found["UUID"],
        state=found.get("State", ""),
        batch_size=found.get("BatchSize") or 0,
        window_seconds=found.get("MaximumBatchingWindowInSeconds") or 0,
        response_types=found.get("FunctionResponseTypes") or [],
        maximum_concurrency=(found.get("ScalingConfig") or {}).get("MaximumConcurrency"),
    )


def _kms_key(encryption: Mapping[str, Any] | None) -> str | None:
    rules = (encryption or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    return next((each["KMSMasterKeyID"] for each in defaults if each.get("KMSMasterKeyID")), None)


def everything(topology: Topology) -> Flow[Observed]:
    """Look at all that a topology declares.

    Raises:
        AccessDenied: names the permission that is missing.
        OperationalError: a service refused to tell.
    """
    queues: dict[str, ObservedQueue] = {}
    for each in topology.queues:
        for name in (each.name, each.dead_letter_queue.name):
            found = yield from queue(name)
            if found is not None:
                queues[name] = found
    functions = {}
    for declared in topology.functions:
        source = queues.get(topology.queue_named(declared.queue).name)
        live = yield from function(declared.name, source.arn if source else None)
        if live is not None:
            functions[declared.name] = live
    tables = yield from _each(table, [each.name for each in topology.tables])
    buckets = yield from _each(bucket, [each.name for each in topology.buckets if each.provider == "aws"])
    groups = set()
    if topology.schedule_group is not None and (yield from schedule_group(topology.schedule_group.name)):
        groups.add(topology.schedule_group.name)
    return Observed(queues, tables, buckets, functions, frozenset(groups))


def _each(look: Callable[[str], Flow[T | None]], names: Sequence[str]) -> Flow[dict[str, T]]:
    found = {}
    for name in names:
        seen = yield from look(name)
        if seen is not None:
            found[name] = seen
    return found
