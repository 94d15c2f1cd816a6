"""Creates an application's queues, tables, buckets and schedule group on AWS, for emulators and sandboxes.

Every resource is read first, and only differences are changed, so a second run makes no call that writes. Nothing is
removed: no queue, table, bucket, message or object. Terraform deploys functions, containers and roles; only the
recursion configuration of a function that exists is set here, because workflows depend on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from taskq_cloud.core.flows import Call, Flow, Sleep
from taskq_cloud.deploy import aws_settings
from taskq_cloud.deploy.doctor import observe, observe_functions, observe_schedules
from taskq_cloud.deploy.doctor.calls import call, region_of_environment
from taskq_cloud.deploy.doctor.observed import ObservedQueue
from taskq_cloud.deploy.policy_documents import denies_without_tls
from taskq_cloud.deploy.topology.model import Bucket, Function, Queue, Table, Topology
from taskq_cloud.errors import ImproperlyConfigured, OperationalError

TABLE_SECONDS: Final = 120
"""How long to wait for a new table; DynamoDB usually takes about ten seconds."""

_UNKNOWN_ARN: Final = "arn:aws:sqs:region:account:"
"""The ARN prefix of a queue that does not exist yet, in a dry run."""

_WITHOUT_LOCATION: Final = "us-east-1"
"""The Region that CreateBucket refuses as a LocationConstraint (Amazon S3 API Reference, "CreateBucket")."""


class Provisioner:
    """Creates and changes the declared resources of one deployment.

    Args:
        topology: the declaration.
        dry_run: list the changes without making them.
    """

    def __init__(self, topology: Topology, *, dry_run: bool = False) -> None:
        self._topology = topology
        self._dry_run = dry_run
        self.changes: list[str] = []
        """The changes that were made, or that a dry run would make, in order."""
        self._partition = "aws"

    def run(self) -> Flow[list[str]]:
        """Create the missing resources, and change the ones that differ.

        Returns:
            The changes, in order; an empty list if everything is as declared.

        Raises:
            ImproperlyConfigured: the provider isn't AWS, or a table can't be changed as declared.
            AccessDenied: a permission is missing; the error names it.
            OperationalError: a service did not answer or refused a call; the error names the resource.
        """
        if self._topology.provider != "aws":
            raise ImproperlyConfigured(
                "taskq provision creates resources on AWS only; docs/pubsub.md explains how to create those on Pub/Sub"
            )
        for queue in self._topology.queues:
            yield from self._queue(queue)
        for table in self._topology.tables:
            yield from self._table(table)
        for bucket in self._topology.buckets:
            if bucket.provider == "aws":
                yield from self._bucket(bucket)
        group = self._topology.schedule_group
        if group is not None and not (yield from observe_schedules.group(group.name)):
            change = f"create schedule group {group.name}"
            yield from self._do(change, "scheduler", "create_schedule_group", Name=group.name)
        if group is not None and group.dead_letter_queue is not None:
            dead = group.dead_letter_queue
            present = yield from self._present(dead.name, fifo=False)
            arn = present.arn if present else f"{_UNKNOWN_ARN}{dead.name}"
            attributes = aws_settings.schedules_dead_letter_attributes(self._topology, dead, arn)
            yield from self._attributes(dead.name, present, attributes)
        for function in self._topology.functions:
            yield from self._recursion(function)
        return self.changes

    def _do(self, change: str, service: str, operation: str, **parameters: Any) -> Flow[None]:
        if not self._dry_run:
            yield from call(change, service, operation, **parameters)
        self.changes.append(change)

    def _recursion(self, function: Function) -> Flow[None]:
        """Set the recursion configuration of a function that something else has created."""
        name, declared = function.name, function.recursive_loop
        if (yield from observe_functions.recursive_loop(name)) not in (None, declared):
            change = f"set the recursion configuration of function {name} to {declared}"
            put = "put_function_recursion_config"
            yield from self._do(change, "lambda", put, FunctionName=name, RecursiveLoop=declared)

    # -- queues

    def _queue(self, queue: Queue) -> Flow[None]:
        dead = yield from self._present(queue.dead_letter_queue.name, fifo=queue.fifo)
        arn = f"{dead.arn.rpartition(':')[0]}:{queue.name}" if dead else f"{_UNKNOWN_ARN}{queue.name}"
        dead_arn = dead.arn if dead else f"{_UNKNOWN_ARN}{queue.dead_letter_queue.name}"
        attributes = aws_settings.queue_attributes(self._topology, queue, arn, dead_arn)
        source = yield from self._present(queue.name, fifo=queue.fifo)
        yield from self._attributes(queue.name, source, attributes)
        of_dead = aws_settings.dead_letter_attributes(self._topology, queue, dead_arn, arn)
        yield from self._attributes(queue.dead_letter_queue.name, dead, of_dead)

    def _present(self, name: str, *, fifo: bool) -> Flow[ObservedQueue | None]:
        """Return a queue, which is created if it does not exist; None if a dry run would create it."""
        found = yield from observe.queue(name)
        if found is None:
            attributes = {"FifoQueue": "true"} if fifo else {}
            yield from self._do(f"create queue {name}", "sqs", "create_queue", QueueName=name, Attributes=attributes)
            found = None if self._dry_run else (yield from observe.queue(name))
        if found is not None:
            # Every application has a queue, so the first one tells the account's partition to the buckets.
            self._partition = found.arn.split(":")[1]
        return found

    def _attributes(self, name: str, present: ObservedQueue | None, attributes: Mapping[str, str]) -> Flow[None]:
        changes = aws_settings.changed_attributes(attributes, present.attributes if present else {})
        if not changes:
            return
        listed = ", ".join(f"{each}={_short(value)}" for each, value in sorted(changes.items()))
        yield from self._do(
            f"set {listed} on queue {name}",
            "sqs",
            "set_queue_attributes",
            QueueUrl=present.url if present else "",
            Attributes=changes,
        )

    # -- stores

    def _table(self, table: Table) -> Flow[None]:
        found = yield from observe.table(table.name)
        if found is None:
            key = self._topology.kms_key_arn
            encryption = {"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}} if key else {}
            yield from self._do(
                f"create table {table.name}, billed per request, with the key {table.hash_key}",
                "dynamodb",
                "create_table",
                TableName=table.name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": table.hash_key, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": table.hash_key, "KeyType": "HASH"}],
                **encryption,
            )
            if not self._dry_run:
                yield from self._until_active(table.name)
        elif found.key_schema != {table.hash_key: "HASH"} or found.attribute_types.get(table.hash_key) != "S":
            raise ImproperlyConfigured(
                f"table {table.name} exists with the key {dict(found.key_schema)}, which can't be changed; its key has"
                f" to be the string {table.hash_key!r}: name another table in TASKQ_RESULTS"
            )
        if found is None or found.ttl_attribute is None:
            yield from self._do(
                f"let items of table {table.name} expire by {table.ttl_attribute}",
                "dynamodb",
                "update_time_to_live",
                TableName=table.name,
                TimeToLiveSpecification={"Enabled": True, "AttributeName": table.ttl_attribute},
            )
        elif found.ttl_attribute != table.ttl_attribute:
            raise ImproperlyConfigured(
                f"items of table {table.name} expire by {found.ttl_attribute!r}, not by {table.ttl_attribute!r}: turn"
                " TTL off and run this again after an hour, because DynamoDB accepts another attribute only then; or"
                " name another table in TASKQ_RESULTS"
            )

    def _until_active(self, name: str) -> Flow[None]:
        for _ in range(TABLE_SECONDS):
            answer = yield Call("dynamodb", "describe_table", {"TableName": name})
            if answer["Table"]["TableStatus"] == "ACTIVE":
                return
            yield Sleep(1)
        raise OperationalError(
            f"table {name} is still being created after {TABLE_SECONDS} s: run taskq provision again"
        )

    def _bucket(self, bucket: Bucket) -> Flow[None]:
        found = yield from observe.bucket(bucket.name)
        name = bucket.name
        if found is None:
            region = bucket.region or region_of_environment() or self._topology.region or _WITHOUT_LOCATION
            where = {} if region == _WITHOUT_LOCATION else {"LocationConstraint": region}
            location = {"CreateBucketConfiguration": where} if where else {}
            yield from self._do(f"create bucket {name} in {region}", "s3", "create_bucket", Bucket=name, **location)
        if found is None or found.public_access_block != aws_settings.PUBLIC_ACCESS_BLOCK:
            yield from self._do(
                f"block public access to bucket {name}",
                "s3",
                "put_public_access_block",
                Bucket=name,
                PublicAccessBlockConfiguration=aws_settings.PUBLIC_ACCESS_BLOCK,
            )
        policy = found.policy if found else None
        arns = aws_settings.bucket_arns(name, self._partition)
        if not denies_without_tls(policy, "s3", arns):
            document = json.dumps(aws_settings.with_tls(policy or {}, "s3", arns))
            yield from self._do(
                f"deny access without TLS to bucket {name}", "s3", "put_bucket_policy", Bucket=name, Policy=document
            )
        present = found.lifecycle_rules if found else []
        rules = aws_settings.lifecycle_rules(bucket, present)
        if rules and aws_settings.rules_in_short(rules) != aws_settings.rules_in_short(present):
            listed = ", ".join(f"{rule.prefix}* after {rule.expire_days} d" for rule in bucket.lifecycle_rules)
            yield from self._do(
                f"let objects of bucket {name} expire: {listed}",
                "s3",
                "put_bucket_lifecycle_configuration",
                Bucket=name,
                LifecycleConfiguration={"Rules": rules},
            )
        key = self._topology.kms_key_arn
        if key and (found is None or found.kms_key != key):
            default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
            yield from self._do(
                f"encrypt bucket {name} with {key}",
                "s3",
                "put_bucket_encryption",
                Bucket=name,
                ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": default}]},
            )


def _short(value: str) -> str:
    return "..." if value.startswith("{") else value
