"""Observes a deployment with read-only calls, one after the other.

Queues, tables and buckets of AWS are read here. Functions, services, alarms, schedules and roles have modules of their
own, and so do the resources of other clouds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor import (
    observe_functions,
    observe_google,
    observe_monitoring,
    observe_roles,
    observe_schedules,
    observe_services,
    observe_undeclared,
)
from taskq_cloud.deploy.doctor.calls import NO_QUEUE, call
from taskq_cloud.deploy.doctor.observed import (
    Observed,
    ObservedBucket,
    ObservedQueue,
    ObservedScaling,
    ObservedSchedule,
    ObservedService,
    ObservedTable,
)
from taskq_cloud.deploy.topology.model import Topology

T = TypeVar("T")

_NO_RESOURCE: Final = ("ResourceNotFoundException", "ResourceNotFound")
_NO_BUCKET: Final = ("404", "NoSuchBucket")
_ENCRYPTED: Final = ("ENABLED", "ENABLING", "UPDATING")

SKIPPABLE: Final = (
    "servers",
    "undeclared",
    "functions",
    "services",
    "scaling",
    "alarms",
    "logs",
    "stores",
    "schedules",
    "roles",
    "tls",
)
"""Areas that can be left out. Queues can't: the other areas are compared with them."""


def queue(name: str) -> Flow[ObservedQueue | None]:
    """Observe a queue by its name in SQS; None if it does not exist."""
    resource = f"queue {name}"
    found = yield from call(resource, "sqs", "get_queue_url", NO_QUEUE, QueueName=name)
    if found is None:
        return None
    url = str(found["QueueUrl"])
    answer = yield from call(resource, "sqs", "get_queue_attributes", NO_QUEUE, QueueUrl=url, AttributeNames=["All"])
    return None if answer is None else ObservedQueue(url, answer["Attributes"])


def table(name: str) -> Flow[ObservedTable | None]:
    """Observe a table; None if it does not exist."""
    resource = f"table {name}"
    answer = yield from call(resource, "dynamodb", "describe_table", _NO_RESOURCE, TableName=name)
    if answer is None:
        return None
    described: Mapping[str, Any] = answer["Table"]
    answer = yield from call(resource, "dynamodb", "describe_time_to_live", TableName=name)
    ttl = (answer or {}).get("TimeToLiveDescription", {})
    billing = described.get("BillingModeSummary", {})
    encryption = described.get("SSEDescription", {})
    return ObservedTable(
        key_schema={each["AttributeName"]: each["KeyType"] for each in described["KeySchema"]},
        attribute_types={each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]},
        ttl_attribute=ttl.get("AttributeName") if ttl.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else None,
        kms_key=encryption.get("KMSMasterKeyArn") if encryption.get("Status") in _ENCRYPTED else None,
        # DynamoDB says nothing about a table that has always had provisioned capacity.
        on_demand=billing.get("BillingMode") == "PAY_PER_REQUEST",
    )


def bucket(name: str) -> Flow[ObservedBucket | None]:
    """Observe a bucket of S3; None if it does not exist."""
    resource = f"bucket {name}"
    if (yield from call(resource, "s3", "head_bucket", _NO_BUCKET, Bucket=name)) is None:
        return None
    lifecycle = yield from call(
        resource, "s3", "get_bucket_lifecycle_configuration", ("NoSuchLifecycleConfiguration",), Bucket=name
    )
    block = yield from call(
        resource, "s3", "get_public_access_block", ("NoSuchPublicAccessBlockConfiguration",), Bucket=name
    )
    policy = yield from call(resource, "s3", "get_bucket_policy", ("NoSuchBucketPolicy",), Bucket=name)
    encryption = yield from call(
        resource, "s3", "get_bucket_encryption", ("ServerSideEncryptionConfigurationNotFoundError",), Bucket=name
    )
    return ObservedBucket(
        lifecycle_rules=(lifecycle or {}).get("Rules", []),
        public_access_block=(block or {}).get("PublicAccessBlockConfiguration", {}),
        policy=json.loads(policy["Policy"]) if policy else None,
        kms_key=_kms_key(encryption),
    )


def _kms_key(encryption: Mapping[str, Any] | None) -> str | None:
    rules = (encryption or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
    defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
    return next((each["KMSMasterKeyID"] for each in defaults if each.get("KMSMasterKeyID")), None)


def everything(
    topology: Topology, cluster: str | None = None, skip: Collection[str] = (), location: str | None = None
) -> Flow[Observed]:
    """Observe all resources that a topology declares.

    Args:
        topology: the declaration.
        cluster: the name or ARN of the ECS cluster that its services run in; None: the cluster is named after the
            deployment.
        skip: areas to leave out, of ``SKIPPABLE``.
        location: the location of the worker pools on Cloud Run; None: that of the jobs of Cloud Scheduler. Without
            either, services are left out on Google Cloud.

    Raises:
        AccessDenied: a permission is missing; the error names it.
        OperationalError: a service did not answer, or refused a call.
    """
    location = observe_google.location_of(topology, location)
    if topology.provider == "google" and location is None:
        skip = (*skip, "services")
    queues = yield from _each(queue, topology.queue_names())
    undeclared = {} if "undeclared" in skip else (yield from observe_undeclared.undeclared(topology))
    functions = {} if "functions" in skip else (yield from observe_functions.functions(topology, queues))
    services, scaling = dict[str, ObservedService](), dict[str, ObservedScaling]()
    if "services" not in skip and topology.provider == "aws":
        services = yield from observe_services.services(topology, cluster or topology.name)
        if "scaling" not in skip:
            scaling = yield from observe_services.scaling(services, cluster or topology.name)
    groups_of_logs = [each.log_group for each in functions.values()] + [each.log_group for each in services.values()]
    groups, schedules = frozenset[str](), dict[str, ObservedSchedule]()
    if "schedules" not in skip:
        groups, schedules = yield from observe_schedules.schedules(topology)
    roles = {} if "roles" in skip else (yield from observe_roles.roles(topology, queues))
    return Observed(
        queues=queues,
        undeclared=undeclared,
        **(yield from observe_google.google(topology, location, skip)),
        **({} if "stores" in skip else (yield from _stores(topology))),
        functions=functions,
        services=services,
        scaling=scaling,
        **(yield from observe_monitoring.monitoring(topology, groups_of_logs, skip)),
        schedule_groups=groups,
        schedules=schedules,
        roles=roles,
        # Without the services, nothing tells how they should be scaled.
        skipped=frozenset(skip) | ({"scaling"} if "services" in skip else set()),
    )


def _stores(topology: Topology) -> Flow[dict[str, Any]]:
    """Observe tables and buckets; return the fields of ``Observed`` that hold them."""

    def names(provider: str) -> list[str]:
        return [each.name for each in topology.buckets if each.provider == provider]

    return {
        "tables": (yield from _each(table, [each.name for each in topology.tables])),
        "buckets": (yield from _each(bucket, names("aws"))),
        "google_buckets": (yield from _each(observe_google.bucket, names("google"))),
        "containers": (yield from _each(observe_google.container, names("azure"))),
    }


def _each(observe: Callable[[str], Flow[T | None]], names: Sequence[str]) -> Flow[dict[str, T]]:
    """Observe resources of one kind, and return the existing ones by name."""
    found = {}
    for name in names:
        observed = yield from observe(name)
        if observed is not None:
            found[name] = observed
    return found
