"""Tests of the doctor on a whole deployment: it finds nothing at first, and then each fault that a real call plants.

Every fault is undone, so that it is not found again beside the next one. Faults that the AWS stack can't hold, such as
a queue without encryption, which SQS no longer creates, are planted on constructed data in ``test_doctor``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from emulators import aws as stacks
from taskq_cloud.deploy.doctor import checks_access, checks_pubsub, checks_server, checks_worker_pool
from taskq_cloud.deploy.doctor.calls import action_of
from taskq_cloud.deploy.doctor.checks import CHECKS
from tests.conftest import StackAddress
from tests.deploy.deployment import Deployment, trust
from tests.deploy.doctor import faults
from tests.docs.test_tables import rows

pytestmark = pytest.mark.slow

Plant: TypeAlias = Callable[[Deployment], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def live(local_stack: StackAddress) -> Iterator[Deployment]:
    """Return one deployment for all tests of this module."""
    from botocore.session import Session  # an optional requirement: without it, the tests without AWS still run

    def client_of(service: str) -> Any:
        return Session().create_client(
            service,
            region_name=stacks.REGION,
            endpoint_url=local_stack.endpoint_url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    with pytest.MonkeyPatch.context() as patch:
        for name, value in local_stack.environment().items():
            patch.setenv(name, value)
        deployment = Deployment(f"d{uuid4().hex[:8]}", client_of)
        yield deployment
        deployment.close()


def test_deployment_as_declared_has_no_findings(live: Deployment) -> None:
    assert live.findings() == []


PLANTED: list[tuple[str, set[str], Plant]] = [
    ("queue missing", {"queue.missing"}, lambda o: faults.without_queue(o, "reports")),
    ("dead-letter queue missing", {"queue.dead_letter_missing"}, lambda o: faults.without_queue(o, "work-dead")),
    (
        "visibility under six timeouts",
        {"queue.visibility"},
        lambda o: o.with_attributes("work", VisibilityTimeout="317"),
    ),
    ("no redrive policy", {"queue.redrive"}, lambda o: o.with_attributes("work", RedrivePolicy="")),
    ("redrive elsewhere, to a FIFO queue", {"queue.redrive"}, faults.fifo_dead_letters),
    (
        "maxReceiveCount of 4",
        {"queue.max_receives"},
        lambda o: o.with_attributes("work", RedrivePolicy=faults.redrive(o, maxReceiveCount=4)),
    ),
    (
        "dead letters kept no longer",
        {"queue.dead_letter_retention"},
        lambda o: o.with_attributes("work-dead", MessageRetentionPeriod="345600"),
    ),
    (
        "messages kept too short",
        {"queue.retention"},
        lambda o: o.with_attributes("work", MessageRetentionPeriod="3600"),
    ),
    ("a delay of the queue", {"queue.delay"}, lambda o: o.with_attributes("work", DelaySeconds="30")),
    ("short polling", {"queue.wait"}, lambda o: o.with_attributes("work", ReceiveMessageWaitTimeSeconds="0")),
    ("no TLS policy", {"queue.tls"}, lambda o: o.with_attributes("work", Policy="")),
    ("no TLS policy on dead letters", {"queue.tls"}, lambda o: o.with_attributes("work-dead", Policy="")),
    (
        "no TLS policy on the schedules' dead letters",
        {"queue.tls"},
        lambda o: o.with_attributes("schedules-dead", Policy=""),
    ),
    (
        "open to strangers",
        {"queue.public", "queue.tls"},
        lambda o: o.with_attributes("work", Policy=json.dumps(faults.OPEN_POLICY)),
    ),
    (
        "a service that sends for every account",
        {"queue.senders", "queue.tls"},
        lambda o: o.with_attributes("work", Policy=json.dumps(faults.OPEN_TO_S3)),
    ),
    ("an empty queue that is no longer declared", {"queue.undeclared"}, faults.undeclared_queue),
    (
        "queue under another key",
        {"queue.encryption"},
        lambda o: o.with_attributes("work", KmsMasterKeyId=o.other_key),
    ),
    (
        "FIFO queue without deduplication by content",
        {"queue.deduplication"},
        lambda o: o.with_attributes("orders.fifo", ContentBasedDeduplication="false"),
    ),
    (
        "dead-letter queue refuses every source",
        {"queue.redrive_allowed"},
        lambda o: o.with_attributes("work-dead", RedriveAllowPolicy='{"redrivePermission": "denyAll"}'),
    ),
    (
        "dead-letter queue accepts another source only",
        {"queue.redrive_allowed"},
        lambda o: o.with_attributes(
            "work-dead",
            RedriveAllowPolicy=json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [o.arn("reports")]}),
        ),
    ),
    ("function missing", {"function.missing"}, faults.without_function),
    ("timeout under the longest limit", {"function.timeout"}, lambda o: o.with_function(Timeout=7)),
    (
        "timeout over visibility",
        {"function.timeout", "function.timeout_over_visibility", "queue.visibility"},
        lambda o: o.with_function(Timeout=900),
    ),
    ("too little memory", {"function.memory"}, lambda o: o.with_function(MemorySize=128)),
    (
        "another application",
        {"function.environment"},
        lambda o: o.with_function(
            Environment={"Variables": {**o.topology.functions[0].environment, "TASKQ_APP": "other:app"}}
        ),
    ),
    ("another role", {"function.role"}, lambda o: o.with_function(Role=faults.OTHER_ROLE)),
    ("an old version", {"function.timeout"}, lambda o: faults.through_alias(o, Timeout=7)),
    ("a new version with less memory", {"function.memory"}, lambda o: faults.shifted(o, MemorySize=128)),
    ("messages past the alias", {"mapping.alias"}, faults.past_alias),
    ("an alias that does not exist", {"mapping.alias"}, faults.without_alias),
    ("snapshots of no version", {"function.snapshot"}, faults.with_snapshots),
    (
        "log lines as text",
        {"logs.format"},
        lambda o: o.with_function(LoggingConfig={"LogFormat": "Text", "LogGroup": next(iter(o.log_groups))}),
    ),
    ("no log group", {"logs.missing"}, lambda o: faults.log_group(o, "delete_log_group")),
    ("logs without end", {"logs.retention"}, lambda o: faults.log_group(o, "delete_retention_policy")),
    ("logs under the key of CloudWatch", {"logs.encryption"}, faults.log_group_without_key),
    (
        "failed tasks that nothing counts",
        {"alarm.filter"},
        lambda o: faults.log_group(
            o, "delete_metric_filter", filterName=f"{o.topology.functions[0].name}-failed-tasks"
        ),
    ),
    ("alarm missing", {"alarm.missing"}, lambda o: faults.alarm(o, "-work-dead-letters")),
    (
        "alarm of another queue",
        {"alarm.changed"},
        lambda o: faults.alarm(o, "-work-age", Dimensions={"QueueName": "x"}),
    ),
    ("alarm at the tenth dead letter", {"alarm.changed"}, lambda o: faults.alarm(o, "-work-dead-letters", Threshold=9)),
    ("alarm that tells nobody", {"alarm.actions"}, lambda o: faults.alarm(o, "-work-age", AlarmActions=[])),
    ("alarm that is turned off", {"alarm.actions"}, lambda o: faults.alarm(o, "-work-age", ActionsEnabled=False)),
    ("no topic", {"alarm.topic"}, faults.without_topic),
    ("topic under the key of SNS", {"alarm.topic"}, lambda o: faults.topic(o, "KmsMasterKeyId", "alias/aws/sns")),
    ("topic under a key of others", {"alarm.topic"}, lambda o: faults.topic(o, "KmsMasterKeyId", o.other_key)),
    (
        "topic closed to alarms",
        {"alarm.topic"},
        lambda o: faults.topic(o, "Policy", json.dumps(trust("events.amazonaws.com"))),
    ),
    ("topic without readers", {"alarm.subscribers"}, faults.without_subscription),
    ("loop detection", {"function.recursion"}, lambda o: faults.recursive_loop(o, "Terminate")),
    ("function switched off", {"function.concurrency"}, lambda o: faults.reserved(o, 0)),
    ("undeclared reserved concurrency", {"function.concurrency"}, lambda o: faults.reserved(o, 100)),
    ("mapping missing", {"mapping.missing"}, faults.without_mapping),
    ("mapping disabled", {"mapping.disabled"}, lambda o: o.with_mapping(Enabled=False)),
    (
        "no partial responses",
        {"mapping.partial_responses"},
        lambda o: o.with_mapping(FunctionResponseTypes=[]),
    ),
    (
        "batch without window",
        {"mapping.window", "mapping.batch_size"},
        lambda o: o.with_mapping(BatchSize=100, MaximumBatchingWindowInSeconds=0),
    ),
    (
        "an undeclared window",
        {"mapping.window", "queue.visibility"},
        lambda o: o.with_mapping(MaximumBatchingWindowInSeconds=300),
    ),
    ("batch of one", {"mapping.batch_size"}, lambda o: o.with_mapping(BatchSize=1)),
    ("no concurrency limit", {"mapping.concurrency"}, lambda o: o.with_mapping(ScalingConfig={})),
    (
        "another concurrency limit",
        {"mapping.concurrency"},
        lambda o: o.with_mapping(ScalingConfig={"MaximumConcurrency": 1000}),
    ),
    ("two functions on a queue", {"mapping.several"}, faults.another_function),
    (
        "a filter",
        {"mapping.filter"},
        lambda o: o.with_mapping(FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}),
    ),
    ("service missing", {"service.missing"}, faults.without_service),
    (
        "a worker of other queues",
        {"service.command"},
        lambda o: o.with_container(command=["taskq", "worker", "-Q", "other"]),
    ),
    ("containers of another broker", {"service.environment"}, lambda o: o.with_container(environment=[])),
    ("containers of another role", {"service.role"}, lambda o: o.with_container({"taskRoleArn": faults.OTHER_ROLE})),
    (
        "a setting that only the function has",
        {"function.environment"},
        lambda o: o.with_function(
            Environment={"Variables": {**o.topology.functions[0].environment, "TASKQ_TASK_IGNORE_RESULT": "true"}}
        ),
    ),
    ("more memory", {"function.memory"}, lambda o: o.with_function(MemorySize=1024)),
    ("a longer timeout", {"function.timeout", "queue.visibility"}, lambda o: o.with_function(Timeout=60)),
    ("function under another key", {"function.encryption"}, lambda o: o.with_function(KMSKeyArn=o.other_key)),
    (
        "longer visibility",
        {"queue.visibility"},
        lambda o: o.with_attributes("reports", VisibilityTimeout="40000"),
    ),
    (
        "more receives",
        {"queue.max_receives"},
        lambda o: o.with_attributes("work", RedrivePolicy=faults.redrive(o, maxReceiveCount=900)),
    ),
    (
        "messages kept too long",
        {"queue.retention"},
        lambda o: o.with_attributes("work", MessageRetentionPeriod="400000"),
    ),
    (
        "dead letters kept shorter than declared",
        {"queue.dead_letter_retention"},
        lambda o: o.with_attributes("work-dead", MessageRetentionPeriod="600000"),
    ),
    ("a short wait", {"queue.wait"}, lambda o: o.with_attributes("work", ReceiveMessageWaitTimeSeconds="3")),
    (
        "TLS denied for sending only",
        {"queue.tls"},
        lambda o: o.with_attributes("work", Policy=json.dumps(faults.tls_for(o, "sqs:SendMessage"))),
    ),
    (
        "TLS denied on a condition",
        {"queue.tls"},
        lambda o: o.with_attributes("work", Policy=json.dumps(faults.tls_for(o, "sqs:*", faults.OF_ACCOUNT))),
    ),
    ("a larger container", {"service.size"}, lambda o: o.with_container({"memory": "8192", "cpu": "2048"})),
    ("killed later", {"service.stop"}, lambda o: o.with_container(stopTimeout=119)),
    ("a small container", {"service.size"}, lambda o: o.with_container({"memory": "512", "cpu": "256"})),
    ("killed too soon", {"service.stop"}, lambda o: o.with_container(stopTimeout=2)),
    ("table missing", {"table.missing"}, faults.without_table),
    ("wrong key", {"table.key", "table.ttl"}, lambda o: faults.other_table(o, key="pk", **faults.encrypted(o.key))),
    ("TTL off", {"table.ttl"}, faults.without_ttl),
    ("table under DynamoDB's key", {"table.encryption", "table.ttl"}, faults.other_table),
    ("a table with capacity", {"table.billing"}, faults.with_capacity),
    (
        "a rule that removes everything",
        {"bucket.lifecycle"},
        lambda o: faults.bucket_rule(o, {"ID": "all", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}),
    ),
    ("bucket missing", {"bucket.missing"}, lambda o: faults.bucket(o, "delete_bucket")),
    ("no lifecycle", {"bucket.lifecycle"}, lambda o: faults.bucket(o, "delete_bucket_lifecycle")),
    ("public bucket", {"bucket.public"}, lambda o: faults.bucket(o, "delete_public_access_block")),
    ("bucket without TLS", {"bucket.tls"}, lambda o: faults.bucket(o, "delete_bucket_policy")),
    (
        "bucket under S3's key",
        {"bucket.encryption"},
        lambda o: faults.bucket(
            o, "put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [faults.DEFAULT_RULE]}
        ),
    ),
    ("no schedule group", {"schedules.group"}, faults.without_group),
    (
        "schedules' dead-letter queue missing",
        {"schedules.dead_letter_missing"},
        lambda o: faults.without_queue(o, "schedules-dead"),
    ),
    ("schedule missing", {"schedules.missing"}, faults.without_schedule),
    ("another time", {"schedules.changed"}, lambda o: o.with_schedule(ScheduleExpression="cron(0 4 * * ? *)")),
    ("a disabled schedule", {"schedules.changed"}, lambda o: o.with_schedule(State="DISABLED")),
    ("another queue", {"schedules.changed"}, lambda o: faults.target(o, Arn=o.arn("reports"))),
    (
        "context attributes escaped",
        {"schedules.changed"},
        lambda o: faults.target(o, Input=o.schedule()["Target"]["Input"].replace("<", r"\u003c")),
    ),
    ("a schedule with another role", {"schedules.role"}, lambda o: faults.target(o, RoleArn=faults.OTHER_ROLE)),
    ("a schedule without dead letters", {"schedules.dead_letters"}, lambda o: faults.target(o, DeadLetterConfig=None)),
    ("a schedule under another key", {"schedules.encryption"}, lambda o: o.with_schedule(KmsKeyArn=o.other_key)),
    ("role missing", {"role.missing"}, faults.without_role),
    ("a policy of callers missing", {"role.missing"}, faults.without_producer),
    (
        "a role that strangers may assume",
        {"role.trust"},
        lambda o: faults.trusting(o, "lambda.amazonaws.com", {"AWS": "arn:aws:iam::999999999999:root"}),
    ),
    ("role of another service", {"role.trust"}, lambda o: faults.trusting(o, "ec2.amazonaws.com")),
    ("a missing permission", {"role.permission_missing"}, lambda o: faults.without_statement(o, "GiveBack")),
    (
        "a permission denied",
        {"role.permission_missing"},
        lambda o: o.with_policy(
            faults.role_of(o, "function"), "deny", {**faults.allow("dynamodb:*", "*"), "Effect": "Deny"}
        ),
    ),
    (
        "an unused permission",
        {"role.permission_unused"},
        lambda o: o.with_policy(faults.role_of(o, "function"), "more", faults.allow("sqs:PurgeQueue", o.arn("work"))),
    ),
    ("an attached policy", {"role.permission_unused"}, lambda o: faults.attached(o, faults.allow("s3:*", "*"))),
    (
        "a standalone policy",
        {"role.permission_missing"},
        lambda o: o.with_producer(faults.allow("sqs:SendMessage", o.arn("work"))),
    ),
    (
        "two faults",
        {"queue.delay", "mapping.disabled"},
        lambda o: faults.together(o, o.with_attributes("work", DelaySeconds="1"), o.with_mapping(Enabled=False)),
    ),
]


@pytest.mark.parametrize(("checks", "plant"), [pytest.param(*each[1:], id=each[0]) for each in PLANTED])
def test_planted_fault_is_the_only_finding(live: Deployment, checks: set[str], plant: Plant) -> None:
    with plant(live):
        found = live.findings()
    assert {each.check for each in found} == checks
    for each in found:
        assert each.difference
        assert each.consequence
        assert each.remedy


def test_planted_faults_are_undone(live: Deployment) -> None:
    assert live.findings() == []


def test_every_check_that_aws_can_hold_is_planted_here() -> None:
    of_google = (*checks_pubsub.CHECKS, *checks_pubsub.SCHEDULE_CHECKS, *checks_access.CHECKS)
    on_google = {check.name for check in (*of_google, *checks_worker_pool.CHECKS)}
    on_servers = {check.name for check in checks_server.CHECKS}
    planted = set().union(*(checks for _, checks, _ in PLANTED))
    not_on_ministack = {"mapping.pollers", "queue.type", "service.scaling"}
    assert {check.name for check in CHECKS} - on_google - on_servers - planted == not_on_ministack


def test_skipped_areas_are_neither_observed_nor_checked(live: Deployment) -> None:
    live.calls.clear()
    with live.with_function(Timeout=7), live.with_attributes("work", DelaySeconds="1"):
        found = live.findings(
            skip=["undeclared", "functions", "services", "alarms", "logs", "stores", "schedules", "roles"]
        )
    assert [each.check for each in found] == ["queue.delay"]
    assert {call.service for call in live.calls} == {"sqs"}


def test_every_required_permission_is_documented(live: Deployment) -> None:
    live.calls.clear()
    with faults.attached(live, faults.allow("sqs:SendMessage", live.arn("work"))), faults.undeclared_queue(live):
        live.findings()
    documented = {
        action.strip(" `") for _, actions in rows("doctor.md", "## Permissions") for action in actions.split(",")
    }
    others = {each for each in documented if ":" not in each or each.startswith(("application-autoscaling:", "Micro"))}
    assert {action_of(call.service, call.operation) for call in live.calls} == documented - others
