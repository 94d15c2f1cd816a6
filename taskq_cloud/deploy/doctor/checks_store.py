"""The doctor's checks of tables and buckets."""

from __future__ import annotations

from typing import Final

from taskq_cloud.deploy import aws_settings
from taskq_cloud.deploy.doctor.check import Check, denies_without_tls, equal, missing, require
from taskq_cloud.deploy.doctor.matching import BUCKETS, TABLES, Pair
from taskq_cloud.deploy.doctor.observed import ObservedBucket, ObservedTable
from taskq_cloud.deploy.topology.model import Bucket


def _lifecycle(bucket: Pair[Bucket, ObservedBucket]) -> str | None:
    live = bucket.live.lifecycle_rules
    expected = aws_settings.lifecycle_rules(bucket.declared, live)
    listed = ", ".join(f"{rule.prefix}* after {rule.expire_days} d" for rule in bucket.declared.lifecycle_rules)
    return require(
        aws_settings.rules_in_short(live) == aws_settings.rules_in_short(expected),
        f"its lifecycle rules differ from the declared ones, which are: {listed}",
    )


def _public_access(bucket: Pair[Bucket, ObservedBucket]) -> str | None:
    block = bucket.live.public_access_block
    off = sorted(name for name in aws_settings.PUBLIC_ACCESS_BLOCK if not block.get(name))
    return require(
        dict(block) == aws_settings.PUBLIC_ACCESS_BLOCK, f"these blocks of public access are off: {', '.join(off)}"
    )


def _encryption(store: Pair[object, ObservedTable | ObservedBucket]) -> str | None:
    """Compare with the declared key; without one, a key of the service itself always encrypts the data."""
    declared, live = store.topology.kms_key_arn, store.live.kms_key
    return require(
        declared in (None, live),
        f"it is encrypted with {live or 'a key of the service itself'}; {declared} is declared",
    )


CHECKS: Final = (
    missing("table.missing", TABLES, "results can't be stored: every message is given back and its task run again"),
    Check(
        "table.key",
        TABLES.deployed,
        lambda table: require(
            dict(table.live.key_schema) == {table.declared.hash_key: "HASH"}
            and table.live.attribute_types.get(table.declared.hash_key) == "S",
            f"its key is {dict(table.live.key_schema)}; the string {table.declared.hash_key!r} is declared",
        ),
        "DynamoDB refuses to read or write any record",
        "name another table in TASKQ_RESULTS: the key of a table can't be changed",
    ),
    Check(
        "table.ttl",
        TABLES.deployed,
        lambda table: equal(
            table.live.ttl_attribute or "no attribute", table.declared.ttl_attribute, "items expire by {}, not by {}"
        ),
        "results are never removed: the table grows without end, and so does its price",
        severity="warning",
    ),
    Check(
        "table.encryption",
        TABLES.deployed,
        _encryption,
        "results are stored under a key that is not yours: you can neither audit its use nor revoke it",
        "apply Terraform, or aws dynamodb update-table --sse-specification",
    ),
    missing("bucket.missing", BUCKETS, "large arguments and results raise StoreNotFound"),
    Check(
        "bucket.lifecycle",
        BUCKETS.deployed,
        _lifecycle,
        "objects are stored and paid for without end, or are removed while messages still refer to them",
    ),
    Check(
        "bucket.public",
        BUCKETS.deployed,
        _public_access,
        "an ACL or a policy can make arguments and results public",
    ),
    Check(
        "bucket.tls",
        BUCKETS.deployed,
        lambda bucket: denies_without_tls(bucket.live.policy),
        "arguments and results can travel unencrypted",
    ),
    Check(
        "bucket.encryption",
        BUCKETS.deployed,
        _encryption,
        "arguments and results are stored under a key that is not yours: you can neither audit its use nor revoke it",
    ),
)
