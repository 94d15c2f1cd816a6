"""The doctor's checks of tables and buckets, on every cloud."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from taskq_cloud.deploy import aws_settings
from taskq_cloud.deploy.doctor.check import (
    NOT_YOUR_KEY,
    Check,
    denies_without_tls,
    equal,
    missing,
    own_key,
    require,
)
from taskq_cloud.deploy.doctor.matching import BUCKETS, CONTAINERS, GOOGLE_BUCKETS, TABLES, Pair, partition_of
from taskq_cloud.deploy.doctor.observed import ObservedBucket
from taskq_cloud.deploy.doctor.observed_google import ObservedGoogleBucket
from taskq_cloud.deploy.topology.model import Bucket


def _lifecycle(bucket: Pair[Bucket, ObservedBucket]) -> str | None:
    live = bucket.live.lifecycle_rules
    expected = aws_settings.lifecycle_rules(bucket.declared, live)
    listed = ", ".join(f"{rule.prefix}* after {rule.expire_days} d" for rule in bucket.declared.lifecycle_rules)
    return require(
        aws_settings.rules_in_short(live) == aws_settings.rules_in_short(expected),
        f"its lifecycle rules differ from the declared ones, which are: {listed}",
    )


def _other_rules(bucket: Pair[Bucket, ObservedBucket]) -> str | None:
    declared = {rule.id for rule in bucket.declared.lifecycle_rules}
    rules = aws_settings.rules_in_short(bucket.live.lifecycle_rules).items()
    others = [
        (prefix, days)
        for name, (prefix, enabled, days) in rules
        if name not in declared and enabled and days is not None
    ]
    return _no_sooner(bucket.declared, others)


def _no_sooner(bucket: Bucket, others: Iterable[tuple[str, int]]) -> str | None:
    """Find rules of others, as prefix and days, that remove the application's objects sooner than its own rules do."""
    sooner = {
        f"{prefix}* after {days} d"
        for prefix, days in others
        if any(_overlap(prefix, each) for each in bucket.prefixes)
        and all(days < rule.expire_days for rule in bucket.lifecycle_rules if _overlap(prefix, rule.prefix))
    }
    return require(not sooner, f"lifecycle rules that are not declared remove objects: {', '.join(sorted(sooner))}")


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _google_rules(bucket: ObservedGoogleBucket) -> set[tuple[str, int]]:
    """Return the prefix and the days of each rule that deletes objects by their age."""
    deletions = [each["condition"] for each in bucket.lifecycle_rules if each.get("action", {}).get("type") == "Delete"]
    return {
        (prefix, each["age"]) for each in deletions if "age" in each for prefix in each.get("matchesPrefix") or [""]
    }


def _google_lifecycle(bucket: Pair[Bucket, ObservedGoogleBucket]) -> str | None:
    live = _google_rules(bucket.live)
    lacking = [rule for rule in bucket.declared.lifecycle_rules if (rule.prefix, rule.expire_days) not in live]
    listed = ", ".join(f"{rule.prefix}* after {rule.expire_days} d" for rule in lacking)
    return require(not lacking, f"it lacks declared lifecycle rules: {listed}")


def _other_google_rules(bucket: Pair[Bucket, ObservedGoogleBucket]) -> str | None:
    declared = {(rule.prefix, rule.expire_days) for rule in bucket.declared.lifecycle_rules}
    return _no_sooner(bucket.declared, _google_rules(bucket.live) - declared)


def _public_access(bucket: Pair[Bucket, ObservedBucket]) -> str | None:
    block = bucket.live.public_access_block
    off = sorted(name for name in aws_settings.PUBLIC_ACCESS_BLOCK if not block.get(name))
    return require(
        dict(block) == aws_settings.PUBLIC_ACCESS_BLOCK, f"these blocks of public access are off: {', '.join(off)}"
    )


def _bucket_arns(bucket: Pair[Bucket, ObservedBucket]) -> list[str]:
    return aws_settings.bucket_arns(bucket.declared.name, partition_of(bucket.observed))


_NO_STORE: Final = "large arguments and results raise StoreNotFound"
_NOT_REMOVED: Final = "objects are stored and paid for without end, or are removed while messages still refer to them"
_REMOVED_TOO_SOON: Final = "objects are removed while messages or callers still refer to them"
_REMOVE_RULES: Final = "remove these rules from the bucket, or let them begin with another prefix"
_PUBLIC: Final = "an ACL or a policy can make arguments and results public"

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
        own_key,
        NOT_YOUR_KEY,
        "apply Terraform, or aws dynamodb update-table --sse-specification",
    ),
    Check(
        "table.billing",
        TABLES.deployed,
        lambda table: require(table.live.on_demand, "its capacity is provisioned; payment by request is declared"),
        "a burst of results is throttled, and tasks wait for the table",
        "apply Terraform, or aws dynamodb update-table --billing-mode PAY_PER_REQUEST",
        severity="warning",
    ),
    missing("bucket.missing", BUCKETS, _NO_STORE),
    Check(
        "bucket.lifecycle",
        BUCKETS.deployed,
        _lifecycle,
        _NOT_REMOVED,
    ),
    Check(
        "bucket.lifecycle",
        BUCKETS.deployed,
        _other_rules,
        _REMOVED_TOO_SOON,
        _REMOVE_RULES,
    ),
    Check(
        "bucket.public",
        BUCKETS.deployed,
        _public_access,
        _PUBLIC,
    ),
    Check(
        "bucket.encryption",
        BUCKETS.deployed,
        own_key,
        NOT_YOUR_KEY,
    ),
    missing("bucket.missing", GOOGLE_BUCKETS, _NO_STORE),
    Check("bucket.lifecycle", GOOGLE_BUCKETS.deployed, _google_lifecycle, _NOT_REMOVED),
    Check("bucket.lifecycle", GOOGLE_BUCKETS.deployed, _other_google_rules, _REMOVED_TOO_SOON, _REMOVE_RULES),
    Check(
        "bucket.public",
        GOOGLE_BUCKETS.deployed,
        lambda bucket: require(
            bucket.live.public_access_prevention == "enforced" and bucket.live.uniform_access,
            "public access prevention is not enforced, or access is not uniform",
        ),
        _PUBLIC,
    ),
    missing("bucket.missing", CONTAINERS, _NO_STORE),
    Check(
        "bucket.public",
        CONTAINERS.deployed,
        lambda container: require(
            container.live.public_access is None, f"strangers may read it: {container.live.public_access}"
        ),
        _PUBLIC,
    ),
)

TLS_CHECKS: Final = (
    Check(
        "bucket.tls",
        BUCKETS.deployed,
        lambda bucket: denies_without_tls(bucket.live.policy, "s3", _bucket_arns(bucket)),
        "arguments and results can travel unencrypted",
    ),
)
