"""The doctor's checks of tables and buckets."""

from __future__ import annotations

from collections.abc import Iterator

from taskq_cloud.deploy import aws_settings
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.matching import PROVISION, buckets_of, tables_of
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.model import Topology


def table_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The table of the results."""
    for table in topology.tables:
        if table.name not in observed.tables:
            yield Finding(
                "table.missing",
                f"table {table.name}",
                "error",
                "declared, and not there",
                "results can't be stored: every message is given back and run again",
                PROVISION,
            )


def table_key(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The key that records are found by."""
    for table, there in tables_of(topology, observed):
        if dict(there.key_schema) != {table.hash_key: "HASH"} or there.attribute_types.get(table.hash_key) != "S":
            yield Finding(
                "table.key",
                f"table {table.name}",
                "error",
                f"its key is {dict(there.key_schema)}; declared is {table.hash_key}, a string",
                "DynamoDB refuses every read and write of a record",
                "name another table in TASKQ_RESULTS: a key can't be changed",
            )


def table_ttl(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Expiry of records."""
    for table, there in tables_of(topology, observed):
        if there.ttl_attribute != table.ttl_attribute:
            yield Finding(
                "table.ttl",
                f"table {table.name}",
                "warning",
                f"items expire by {there.ttl_attribute or 'nothing'}; declared is {table.ttl_attribute}",
                "results are never removed: the table grows, and is paid, for ever",
                PROVISION,
            )


def table_encryption(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Encryption with the declared key; without one, DynamoDB's own is always there."""
    for table, there in tables_of(topology, observed):
        if topology.kms_key_arn and there.kms_key != topology.kms_key_arn:
            yield Finding(
                "table.encryption",
                f"table {table.name}",
                "error",
                f"it is encrypted with {there.kms_key or 'a key of DynamoDB'}; declared is {topology.kms_key_arn}",
                "results rest under a key that is not yours: you can neither audit nor withdraw its use",
                "apply Terraform, or aws dynamodb update-table --sse-specification",
            )


def bucket_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A bucket of results or payloads."""
    for bucket in topology.buckets:
        if bucket.provider == "aws" and bucket.name not in observed.buckets:
            yield Finding(
                "bucket.missing",
                f"bucket {bucket.name}",
                "error",
                "declared, and not there",
                "large arguments and results raise StoreNotFound",
                PROVISION,
            )


def bucket_lifecycle(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Rules that remove what has expired, and nothing sooner."""
    for bucket, there in buckets_of(topology, observed):
        rules = aws_settings.lifecycle_rules(bucket, there.lifecycle_rules)
        if aws_settings.rules_in_short(rules) != aws_settings.rules_in_short(there.lifecycle_rules):
            listed = ", ".join(f"{rule.prefix}* after {rule.expire_days} d" for rule in bucket.lifecycle_rules)
            yield Finding(
                "bucket.lifecycle",
                f"bucket {bucket.name}",
                "error",
                f"its lifecycle rules are not as declared: {listed}",
                "objects are kept, and paid, for ever, or removed while messages still claim them",
                PROVISION,
            )


def bucket_public(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Public access."""
    for bucket, there in buckets_of(topology, observed):
        if dict(there.public_access_block) != aws_settings.PUBLIC_ACCESS_BLOCK:
            off = sorted(name for name in aws_settings.PUBLIC_ACCESS_BLOCK if not there.public_access_block.get(name))
            yield Finding(
                "bucket.public",
                f"bucket {bucket.name}",
                "error",
                f"not blocked: {', '.join(off)}",
                "an ACL or a policy can make arguments and results public",
                PROVISION,
            )


def bucket_tls(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A policy against plain HTTP."""
    for bucket, there in buckets_of(topology, observed):
        if not aws_settings.denies_without_tls(there.policy):
            yield Finding(
                "bucket.tls",
                f"bucket {bucket.name}",
                "error",
                "no policy denies what comes without TLS",
                "arguments and results may travel in the clear",
                PROVISION,
            )


def bucket_encryption(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Encryption with the declared key; without one, S3's own is always there."""
    for bucket, there in buckets_of(topology, observed):
        if topology.kms_key_arn and there.kms_key != topology.kms_key_arn:
            yield Finding(
                "bucket.encryption",
                f"bucket {bucket.name}",
                "error",
                f"it is encrypted with {there.kms_key or 'SSE-S3'}; declared is {topology.kms_key_arn}",
                "arguments and results rest under a key that is not yours: you can neither audit nor withdraw its use",
                PROVISION,
            )
