"""Looks at a deployment: read-only calls, one thing after the other. Containers, schedules and roles have modules."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor import observe_roles, observe_schedules, observe_services
from taskq_cloud.deploy.doctor.calls import ask
from taskq_cloud.deploy.doctor.observed import (
    Observed,
    ObservedBucket,
    ObservedFunction,
    ObservedMapping,
    ObservedQueue,
    ObservedTable,
)
from taskq_cloud.deploy.topology.model import Topology

T = TypeVar("T")

_NO_QUEUE: Final = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_NO_RESOURCE: Final = ("ResourceNotFoundException", "ResourceNotFound")
_NO_BUCKET: Final = ("404", "NoSuchBucket")
_ENCRYPTED: Final = ("ENABLED", "ENABLING", "UPDATING")

SKIPPABLE: Final = ("functions", "services", "stores", "schedules", "roles")
"""Areas that may be left out of a look; queues, which the others are compared with, may not."""


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
    encryption = described.get("SSEDescription", {})
    return ObservedTable(
        key_schema={each["AttributeName"]: each["KeyType"] for each in described["KeySchema"]},
        attribute_types={each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]},
        ttl_attribute=ttl.get("AttributeName") if ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None,
        kms_key=encryption.get("KMSMasterKeyArn") if encryption.get("Status") in _ENCRYPTED else None,
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
    """A function, and who takes from its queue; None: there is no such function.

    Args:
        name: the function's.
        queue_arn: the queue's ARN; None where there is no such queue, and so no mapping from it.
    """
    what = f"function {name}"
    found = yield from ask(what, "lambda", "get_function_configuration", _NO_RESOURCE, FunctionName=name)
    if found is None:
        return None
    reserved = yield from ask(what, "lambda", "get_function_concurrency", FunctionName=name)
    mappings: list[Mapping[str, Any]] = []
    if queue_arn is not None:
        # All of the queue's: what another function takes is not seen by this one.
        answer = yield from ask(what, "lambda", "list_event_source_mappings", EventSourceArn=queue_arn)
        mappings = (answer or {}).get("EventSourceMappings", [])
    takers = [(str(each["FunctionArn"]).split(":function:")[1].partition(":")[0], each) for each in mappings]
    return ObservedFunction(
        timeout_seconds=found["Timeout"],
        memory_mb=found["MemorySize"],
        environment=found.get("Environment", {}).get("Variables", {}),
        mappings=[_mapping(each) for taker, each in takers if taker == name],
        role=str(found["Role"]).rpartition("/")[2],
        reserved_concurrency=(reserved or {}).get("ReservedConcurrentExecutions"),
        others=[taker for taker, _ in takers if taker != name],
    )


def _mapping(found: Mapping[str, Any]) -> ObservedMapping:
    return ObservedMapping(
        uuid=found["UUID"],
        state=found.get("State", ""),
        batch_size=found.get("BatchSize") or 0,
        window_seconds=found.get("MaximumBatchingWindowInSeconds") or 0,
        response_types=found.get("FunctionResponseTypes") or [],
        maximum_concurrency=(found.get("ScalingConfig") or {}).get("MaximumConcurrency"),
        filters=[each["Pattern"] for each in (found.get("FilterCriteria") or {}).get("Filters", [])],
    )


def _kms_key(encryption: Mapping[str, Any] | None) -> str | None:
    rules = (encryption or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    return next((each["KMSMasterKeyID"] for each in defaults if each.get("KMSMasterKeyID")), None)


def everything(topology: Topology, cluster: str | None = None, skip: Collection[str] = ()) -> Flow[Observed]:
    """Look at all that a topology declares.

    Args:
        topology: the declaration.
        cluster: the cluster of ECS that its services run in; None: one of the deployment's name.
        skip: areas that are not looked at: ``SKIPPABLE``.

    Raises:
        AccessDenied: names the permission that is missing.
        OperationalError: a service refused to tell.
    """
    looked: dict[str, Any] = {"queues": (yield from _queues(topology))}
    if "functions" not in skip:
        looked["functions"] = yield from _functions(topology, looked["queues"])
    if "services" not in skip:
        looked["services"] = yield from observe_services.services(topology, cluster or topology.name)
    if "stores" not in skip:
        looked["tables"] = yield from _each(table, [each.name for each in topology.tables])
        looked["buckets"] = yield from _each(bucket, [each.name for each in topology.buckets if each.provider == "aws"])
    if "schedules" not in skip:
        looked["schedule_groups"], looked["schedules"] = yield from observe_schedules.schedules(topology)
    if "roles" not in skip:
        looked["roles"] = yield from observe_roles.roles(topology, looked["queues"])
    return Observed(**looked, skipped=frozenset(skip))


def _queues(topology: Topology) -> Flow[dict[str, ObservedQueue]]:
    names = [name for each in topology.queues for name in (each.name, each.dead_letter_queue.name)]
    group = topology.schedule_group
    if group is not None and group.dead_letter_queue is not None:
        names.append(group.dead_letter_queue.name)
    return (yield from _each(queue, names))


def _functions(topology: Topology, queues: Mapping[str, ObservedQueue]) -> Flow[dict[str, ObservedFunction]]:
    functions = {}
    for declared in topology.functions:
        source = queues.get(topology.queue_named(declared.queue).name)
        live = yield from function(declared.name, source.arn if source else None)
        if live is not None:
            functions[declared.name] = live
    return functions


def _each(look: Callable[[str], Flow[T | None]], names: Sequence[str]) -> Flow[dict[str, T]]:
    found = {}
    for name in names:
        seen = yield from look(name)
        if seen is not None:
            found[name] = seen
    return found
