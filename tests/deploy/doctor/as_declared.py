"""Deployments that match their declarations: what the doctor would observe after a clean apply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskq_cloud import TaskQ
from taskq_cloud.deploy import aws_settings
from taskq_cloud.deploy.doctor.checks_access import worker_account, worker_members
from taskq_cloud.deploy.doctor.observed import (
    Observed,
    ObservedBucket,
    ObservedFunction,
    ObservedMapping,
    ObservedQueue,
    ObservedRole,
    ObservedScaling,
    ObservedSchedule,
    ObservedService,
    ObservedTable,
)
from taskq_cloud.deploy.doctor.observed_google import (
    ObservedContainer,
    ObservedGoogleBucket,
    ObservedJob,
    ObservedSubscription,
    ObservedWorkerPool,
)
from taskq_cloud.deploy.topology.formats import iam
from taskq_cloud.deploy.topology.model import Bucket, Function, Role, ScheduleGroup, Topology

ACCOUNT, REGION = "123456789012", "eu-west-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/shop"
AGENT = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
NIGHTLY = {"nightly": {"task": "shop.charge", "schedule": "0 3 * * *", "args": [1]}}


def on_aws() -> Topology:
    """Return a topology on AWS with every kind of resource."""
    app = TaskQ(
        "shop",
        broker=f"sqs://{REGION}/shop-",
        results="dynamodb://shop-results",
        payloads="s3://shop-payloads/live",
        scheduler=f"eventbridge://shop?role=arn:aws:iam::{ACCOUNT}:role/shop-scheduler"
        f"&dead_letter=arn:aws:sqs:{REGION}:{ACCOUNT}:shop-schedules-dead",
        task_default_queue="orders",
        beat_schedule=NIGHTLY,
        deployment={"schedules": "terraform", "kms_key_arn": KEY},
    )
    app.task(name="shop.charge", time_limit=30)(len)
    app.task(name="shop.build_report", queue="reports", time_limit=3600)(len)
    return app.topology(app_path="shop:app")


def on_google() -> Topology:
    """Return a topology on Google Cloud, with payloads on Azure."""
    app = TaskQ(
        "shop",
        broker="pubsub://shop-prod/shop-",
        results="gs://shop-results/live",
        payloads="azureblob://payloads?account_url=https://shop.blob.core.windows.net",
        scheduler="cloudscheduler://shop-prod/europe-west1",
        task_default_queue="orders",
        beat_schedule=NIGHTLY,
        deployment={"schedules": "terraform"},
    )
    app.task(name="shop.charge", time_limit=30)(len)
    return app.topology(app_path="shop:app")


def deployed(topology: Topology) -> Observed:
    """Return the deployment that matches a topology."""
    group = topology.schedule_group
    policies = iam.policies(topology, iam.ArnPlaceholders(ACCOUNT, REGION))
    return Observed(
        queues=_queues(topology),
        tables={
            each.name: ObservedTable(
                {each.hash_key: "HASH"}, {each.hash_key: "S"}, each.ttl_attribute, topology.kms_key_arn
            )
            for each in topology.tables
        },
        buckets={each.name: _bucket(each, topology) for each in topology.buckets if each.provider == "aws"},
        functions={each.name: _function(each, topology) for each in topology.functions},
        services={
            each.name: ObservedService(
                each.role,
                each.command,
                each.environment,
                each.cpu_units,
                each.memory_mb,
                each.stop_timeout_seconds,
            )
            for each in topology.services
        },
        scaling={
            each.name: ObservedScaling(each.minimum_tasks, each.maximum_tasks, each.backlog_per_task)
            for each in topology.services
        },
        schedule_groups=frozenset({group.name} if group else ()),
        schedules=_schedules(topology, group),
        roles={role.name: ObservedRole(policies[role.name]["Statement"], trusted(role)) for role in topology.roles},
        **(_of_google(topology) if topology.provider == "google" else {}),
    )


def trusted(role: Role) -> list[Mapping[str, Any]]:
    """Return the statements of the trust policy of a role."""
    principal = {"Service": role.assumed_by}
    return [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}] if role.assumed_by else []


def _arn(name: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def _queues(topology: Topology) -> dict[str, ObservedQueue]:
    found = {}
    for queue in topology.queues:
        dead, arn, dead_arn = queue.dead_letter_queue.name, _arn(queue.name), _arn(queue.dead_letter_queue.name)
        found[queue.name] = aws_settings.queue_attributes(topology, queue, arn, dead_arn)
        found[dead] = aws_settings.dead_letter_attributes(topology, queue, dead_arn, arn)
    group = topology.schedule_group
    if group is not None and group.dead_letter_queue is not None:
        dead = group.dead_letter_queue.name
        found[dead] = aws_settings.schedules_dead_letter_attributes(topology, group.dead_letter_queue, _arn(dead))
    return {name: ObservedQueue("", {**attributes, "QueueArn": _arn(name)}) for name, attributes in found.items()}


def _bucket(bucket: Bucket, topology: Topology) -> ObservedBucket:
    policy = aws_settings.with_tls({}, "s3", aws_settings.bucket_arns(bucket.name))
    rules = aws_settings.lifecycle_rules(bucket, [])
    return ObservedBucket(rules, aws_settings.PUBLIC_ACCESS_BLOCK, policy, topology.kms_key_arn)


def _function(function: Function, topology: Topology) -> ObservedFunction:
    pollers = function.provisioned_pollers
    mapping = ObservedMapping(
        "uuid",
        "Enabled",
        function.batch_size,
        function.batching_window_seconds,
        ["ReportBatchItemFailures"],
        function.maximum_concurrency,
        None if pollers is None else (pollers.minimum, pollers.maximum),
    )
    return ObservedFunction(
        function.timeout_seconds,
        function.memory_mb,
        function.environment,
        [mapping],
        function.role,
        function.reserved_concurrency,
        kms_key=topology.kms_key_arn,
        recursive_loop=function.recursive_loop,
    )


def _schedules(topology: Topology, group: ScheduleGroup | None) -> dict[str, ObservedSchedule]:
    found = {}
    for each in topology.schedules:
        assert group is not None
        assert group.dead_letter_queue is not None
        fields = {**each.model_dump(), "queue": topology.queue_named(each.queue).name}
        dead = _arn(group.dead_letter_queue.name)
        found[each.name] = ObservedSchedule(fields, group.role_arn, dead, group.kms_key_arn)
    return found


def _of_google(topology: Topology) -> dict[str, Any]:
    topics: dict[str, list[str]] = {}
    subscriptions: dict[str, ObservedSubscription] = {}
    access: dict[str, dict[str, frozenset[str]]] = {}
    topic_of: dict[str, str] = {}
    workers = worker_members(topology)
    for each in topology.subscriptions:
        topic, dead = (topology.google_name("topics", name) for name in (each.topic, each.dead_letter_topic))
        queue, of_dead = (
            topology.google_name("subscriptions", name) for name in (each.subscription, each.dead_letter_subscription)
        )
        topic_of[each.queue] = topic
        topics |= {topic: [], dead: []}
        subscriptions[queue] = ObservedSubscription(
            topic=topic,
            ordered=each.ordered,
            ack_deadline_seconds=each.ack_deadline_seconds,
            retention_seconds=each.message_retention_seconds,
            expires_after_seconds=0,
            dead_letter_topic=dead,
            max_delivery_attempts=each.max_delivery_attempts,
            push_endpoint="",
        )
        subscriptions[of_dead] = ObservedSubscription(dead, False, 60, 1_209_600, 0, "", 0, "")
        access |= {
            topic: {"roles/pubsub.publisher": frozenset(workers)},
            dead: {"roles/pubsub.publisher": frozenset([*workers, AGENT])},
            queue: {
                "roles/pubsub.subscriber": frozenset([*workers, AGENT]),
                "roles/pubsub.viewer": frozenset(workers),
            },
            of_dead: {},
        }
    return {
        "access": access,
        "worker_pools": {
            each.name: ObservedWorkerPool(
                worker_account(topology, each.name),
                each.command,
                each.environment,
                each.memory_mb,
                max(1, each.minimum_tasks),
            )
            for each in topology.services
        },
        "topics": topics,
        "subscriptions": subscriptions,
        "jobs": {
            topology.google_name(f"locations/{each.location}/jobs", each.name): ObservedJob(
                {**each.model_dump(), "queue": topic_of[each.queue]}, "ENABLED"
            )
            for each in topology.scheduler_jobs
        },
        "google_buckets": {
            each.name: ObservedGoogleBucket(
                [
                    {
                        "action": {"type": "Delete"},
                        "condition": {"age": rule.expire_days, "matchesPrefix": [rule.prefix]},
                    }
                    for rule in each.lifecycle_rules
                ],
                "enforced",
                True,
            )
            for each in topology.buckets
            if each.provider == "google"
        },
        "containers": {each.name: ObservedContainer(None) for each in topology.buckets if each.provider == "azure"},
    }
