"""Tests of the doctor on a whole deployment: it finds nothing at first, and then each fault that a real call plants.

Every fault is undone, so that it is not found again beside the next one. Faults that the AWS stack can't hold, such as
a queue without encryption, which SQS no longer creates, are planted on constructed data in ``test_doctor``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from taskq_cloud.deploy.doctor.calls import action_of
from taskq_cloud.deploy.doctor.checks import CHECKS
from taskq_cloud.testing import aws_stacks as stacks
from tests.deploy.deployment import ACCOUNT, Deployment, trust
from tests.docs.test_tables import rows

Plant: TypeAlias = Callable[[Deployment], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def live(local_stack) -> Iterator[Deployment]:
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


def test_deployment_as_declared_has_no_findings(live):
    assert live.findings() == []


def redrive(live: Deployment, **changes: Any) -> str:
    return json.dumps({"deadLetterTargetArn": live.arn("work-dead"), "maxReceiveCount": 5, **changes})


def allow(action: str, resource: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


@contextmanager
def changed(do: Callable[[], Any], undo: Callable[[], Any]) -> Iterator[None]:
    do()
    yield
    undo()


def without_queue(live: Deployment, name: str) -> AbstractContextManager[None]:
    """Delete a queue, and create it again with its old attributes, which is all that tells the two apart."""
    sqs, url = live.clients["sqs"], live.url(name)
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    settable = ("Policy", "KmsMasterKeyId", "RedriveAllowPolicy", "MessageRetentionPeriod", "VisibilityTimeout")
    kept = {each: attributes[each] for each in (*settable, "RedrivePolicy") if each in attributes}
    kept["ReceiveMessageWaitTimeSeconds"] = attributes["ReceiveMessageWaitTimeSeconds"]
    return changed(
        lambda: sqs.delete_queue(QueueUrl=url),
        lambda: sqs.create_queue(QueueName=url.rpartition("/")[2], Attributes=kept),
    )


def fifo_dead_letters(live: Deployment) -> AbstractContextManager[None]:
    other = f"{live.prefix}-other.fifo"
    sqs = live.clients["sqs"]

    @contextmanager
    def plant() -> Iterator[None]:
        url = sqs.create_queue(QueueName=other, Attributes={"FifoQueue": "true"})["QueueUrl"]
        with live.with_attributes("work", RedrivePolicy=redrive(live, deadLetterTargetArn=live.arn("other.fifo"))):
            yield
        sqs.delete_queue(QueueUrl=url)

    return plant()


def another_function(live: Deployment) -> AbstractContextManager[None]:
    """Add another function that receives from the same queue."""
    function, made = live.clients["lambda"], {}

    @contextmanager
    def plant() -> Iterator[None]:
        name = f"{live.prefix}-other"
        first = function.get_function_configuration(FunctionName=live.topology.functions[0].name)
        function.create_function(
            FunctionName=name,
            **{each: first[each] for each in ("Role", "Runtime", "Handler", "Timeout")},
            Code={"ZipFile": b"PK\x05\x06" + b"\0" * 18},
        )
        made["UUID"] = function.create_event_source_mapping(FunctionName=name, EventSourceArn=live.arn("work"))["UUID"]
        yield
        function.delete_event_source_mapping(UUID=made["UUID"])
        function.delete_function(FunctionName=name)

    return plant()


def without_mapping(live: Deployment) -> AbstractContextManager[None]:
    delete = live.clients["lambda"].delete_event_source_mapping
    return changed(lambda: delete(UUID=live.mapping["UUID"]), live.make_mapping)


def reserved(live: Deployment, instances: int) -> AbstractContextManager[None]:
    function, name = live.clients["lambda"], live.topology.functions[0].name
    return changed(
        lambda: function.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=instances),
        lambda: function.delete_function_concurrency(FunctionName=name),
    )


def without_function(live: Deployment) -> AbstractContextManager[None]:
    function, name = live.clients["lambda"], live.topology.functions[0].name
    return changed(lambda: function.delete_function(FunctionName=name), live.make_function)


def without_service(live: Deployment) -> AbstractContextManager[None]:
    ecs, name = live.clients["ecs"], live.topology.services[0].name
    return changed(lambda: ecs.delete_service(cluster=live.prefix, service=name, force=True), live.make_service)


def other_table(live: Deployment, key: str = "id", **more: Any) -> AbstractContextManager[None]:
    """Replace the results table by one with another key; afterwards provision the declared one again."""
    dynamodb, name = live.clients["dynamodb"], f"{live.prefix}-results"

    def make() -> None:
        dynamodb.delete_table(TableName=name)
        dynamodb.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            **more,
        )

    def undo() -> None:
        dynamodb.delete_table(TableName=name)
        live.provision()

    return changed(make, undo)


def encrypted(key: str) -> dict[str, Any]:
    return {"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}}


def bucket(live: Deployment, operation: str, **parameters: Any) -> AbstractContextManager[None]:
    """Make one call on a bucket; afterwards provision the bucket again."""
    call = getattr(live.clients["s3"], operation)
    return changed(lambda: call(Bucket=f"{live.prefix}-payloads", **parameters), live.provision)


def without_table(live: Deployment) -> AbstractContextManager[None]:
    return changed(lambda: live.clients["dynamodb"].delete_table(TableName=f"{live.prefix}-results"), live.provision)


def without_ttl(live: Deployment) -> AbstractContextManager[None]:
    off = {"Enabled": False, "AttributeName": "ttl"}
    return changed(
        lambda: live.clients["dynamodb"].update_time_to_live(
            TableName=f"{live.prefix}-results", TimeToLiveSpecification=off
        ),
        live.provision,
    )


def without_schedule(live: Deployment) -> AbstractContextManager[None]:
    scheduler, name = live.clients["scheduler"], live.topology.schedules[0].name
    return changed(lambda: scheduler.delete_schedule(Name=name, GroupName=live.prefix), live.make_schedule)


def without_group(live: Deployment) -> AbstractContextManager[None]:
    scheduler = live.clients["scheduler"]

    def undo() -> None:
        live.provision()
        live.make_schedule()

    return changed(lambda: scheduler.delete_schedule_group(Name=live.prefix), undo)


def target(live: Deployment, **changes: Any) -> AbstractContextManager[None]:
    """Change the schedule's target; a field that is None is left out."""
    wanted = {**live.schedule()["Target"], **changes}
    return live.with_schedule(Target={name: value for name, value in wanted.items() if value is not None})


def role_of(live: Deployment, kind: str) -> str:
    services = {"function": "lambda.amazonaws.com", "service": "ecs-tasks.amazonaws.com"}
    (name,) = [each.name for each in live.topology.roles if each.assumed_by == services[kind]]
    return name


def without_statement(live: Deployment, sid: str) -> AbstractContextManager[None]:
    """Remove one statement from the function's policy."""
    iam, role = live.clients["iam"], role_of(live, "function")
    before = iam.get_role_policy(RoleName=role, PolicyName=role)["PolicyDocument"]
    after = {**before, "Statement": [each for each in before["Statement"] if each["Sid"] != sid]}

    def put(document: Any) -> None:
        iam.put_role_policy(RoleName=role, PolicyName=role, PolicyDocument=json.dumps(document))

    return changed(lambda: put(after), lambda: put(before))


def attached(live: Deployment, *statements: dict[str, Any]) -> AbstractContextManager[None]:
    """Attach a policy to the role of the containers."""
    iam, role = live.clients["iam"], role_of(live, "service")
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    arn = f"arn:aws:iam::{ACCOUNT}:policy/{live.prefix}-more"

    def do() -> None:
        iam.create_policy(PolicyName=f"{live.prefix}-more", PolicyDocument=document)
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)

    def undo() -> None:
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
        iam.delete_policy(PolicyArn=arn)

    return changed(do, undo)


def trusting(live: Deployment, service: str) -> AbstractContextManager[None]:
    role = role_of(live, "function")

    def put(trusted: str) -> None:
        document = json.dumps(trust(trusted))
        live.clients["iam"].update_assume_role_policy(RoleName=role, PolicyDocument=document)

    return changed(lambda: put(service), lambda: put("lambda.amazonaws.com"))


def without_role(live: Deployment) -> AbstractContextManager[None]:
    iam, role = live.clients["iam"], role_of(live, "service")

    def remove() -> None:
        iam.delete_role_policy(RoleName=role, PolicyName=role)
        iam.delete_role(RoleName=role)

    return changed(remove, lambda: live.make_role(role))


def together(live: Deployment, *plants: AbstractContextManager[None]) -> AbstractContextManager[None]:
    """Plant several faults at once."""

    @contextmanager
    def plant() -> Iterator[None]:
        with ExitStack() as stack:
            for each in plants:
                stack.enter_context(each)
            yield

    return plant()


STRANGERS = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}]}
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/other"
DEFAULT_RULE = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}

PLANTED: list[tuple[str, set[str], Plant]] = [
    ("queue missing", {"queue.missing"}, lambda o: without_queue(o, "reports")),
    ("dead-letter queue missing", {"queue.dead_letter_missing"}, lambda o: without_queue(o, "work-dead")),
    (
        "visibility under six timeouts",
        {"queue.visibility"},
        lambda o: o.with_attributes("work", VisibilityTimeout="317"),
    ),
    ("no redrive policy", {"queue.redrive"}, lambda o: o.with_attributes("work", RedrivePolicy="")),
    ("redrive elsewhere, to a FIFO queue", {"queue.redrive"}, fifo_dead_letters),
    (
        "maxReceiveCount of 4",
        {"queue.max_receives"},
        lambda o: o.with_attributes("work", RedrivePolicy=redrive(o, maxReceiveCount=4)),
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
        lambda o: o.with_attributes("work", Policy=json.dumps(STRANGERS)),
    ),
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
    ("function missing", {"function.missing"}, without_function),
    ("timeout under the longest limit", {"function.timeout"}, lambda o: o.with_function(Timeout=7)),
    (
        "timeout over visibility",
        {"function.timeout_over_visibility", "queue.visibility"},
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
    ("another role", {"function.role"}, lambda o: o.with_function(Role=OTHER_ROLE)),
    ("function switched off", {"function.concurrency"}, lambda o: reserved(o, 0)),
    ("undeclared reserved concurrency", {"function.concurrency"}, lambda o: reserved(o, 100)),
    ("mapping missing", {"mapping.missing"}, without_mapping),
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
    ("two functions on a queue", {"mapping.several"}, another_function),
    (
        "a filter",
        {"mapping.filter"},
        lambda o: o.with_mapping(FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}),
    ),
    ("service missing", {"service.missing"}, without_service),
    (
        "a worker of other queues",
        {"service.command"},
        lambda o: o.with_container(command=["taskq", "worker", "-Q", "other"]),
    ),
    ("containers of another broker", {"service.environment"}, lambda o: o.with_container(environment=[])),
    ("containers of another role", {"service.role"}, lambda o: o.with_container({"taskRoleArn": OTHER_ROLE})),
    ("a small container", {"service.size"}, lambda o: o.with_container({"memory": "512", "cpu": "256"})),
    ("killed too soon", {"service.stop"}, lambda o: o.with_container(stopTimeout=2)),
    ("table missing", {"table.missing"}, without_table),
    ("wrong key", {"table.key", "table.ttl"}, lambda o: other_table(o, key="pk", **encrypted(o.key))),
    ("TTL off", {"table.ttl"}, without_ttl),
    ("table under DynamoDB's key", {"table.encryption", "table.ttl"}, other_table),
    ("bucket missing", {"bucket.missing"}, lambda o: bucket(o, "delete_bucket")),
    ("no lifecycle", {"bucket.lifecycle"}, lambda o: bucket(o, "delete_bucket_lifecycle")),
    ("public bucket", {"bucket.public"}, lambda o: bucket(o, "delete_public_access_block")),
    ("bucket without TLS", {"bucket.tls"}, lambda o: bucket(o, "delete_bucket_policy")),
    (
        "bucket under S3's key",
        {"bucket.encryption"},
        lambda o: bucket(o, "put_bucket_encryption", ServerSideEncryptionConfiguration={"Rules": [DEFAULT_RULE]}),
    ),
    ("no schedule group", {"schedules.group"}, without_group),
    (
        "schedules' dead-letter queue missing",
        {"schedules.dead_letter_missing"},
        lambda o: without_queue(o, "schedules-dead"),
    ),
    ("schedule missing", {"schedules.missing"}, without_schedule),
    ("another time", {"schedules.changed"}, lambda o: o.with_schedule(ScheduleExpression="cron(0 4 * * ? *)")),
    ("a disabled schedule", {"schedules.changed"}, lambda o: o.with_schedule(State="DISABLED")),
    ("another queue", {"schedules.changed"}, lambda o: target(o, Arn=o.arn("reports"))),
    (
        "context attributes escaped",
        {"schedules.changed"},
        lambda o: target(o, Input=o.schedule()["Target"]["Input"].replace("<", r"\u003c")),
    ),
    ("a schedule with another role", {"schedules.role"}, lambda o: target(o, RoleArn=OTHER_ROLE)),
    ("a schedule without dead letters", {"schedules.dead_letters"}, lambda o: target(o, DeadLetterConfig=None)),
    ("role missing", {"role.missing"}, without_role),
    ("role of another service", {"role.trust"}, lambda o: trusting(o, "ec2.amazonaws.com")),
    ("a missing permission", {"role.permission_missing"}, lambda o: without_statement(o, "GiveBack")),
    (
        "a permission denied",
        {"role.permission_missing"},
        lambda o: o.with_policy(role_of(o, "function"), "deny", {**allow("dynamodb:*", "*"), "Effect": "Deny"}),
    ),
    (
        "an unused permission",
        {"role.permission_unused"},
        lambda o: o.with_policy(role_of(o, "function"), "more", allow("sqs:PurgeQueue", o.arn("work"))),
    ),
    ("an attached policy", {"role.permission_unused"}, lambda o: attached(o, allow("s3:*", "*"))),
    (
        "a standalone policy",
        {"role.permission_missing"},
        lambda o: o.with_producer(allow("sqs:SendMessage", o.arn("work"))),
    ),
    (
        "two faults",
        {"queue.delay", "mapping.disabled"},
        lambda o: together(o, o.with_attributes("work", DelaySeconds="1"), o.with_mapping(Enabled=False)),
    ),
]


@pytest.mark.parametrize(("checks", "plant"), [pytest.param(*each[1:], id=each[0]) for each in PLANTED])
def test_planted_fault_is_the_only_finding(live, checks, plant):
    with plant(live):
        found = live.findings()
    assert {each.check for each in found} == checks
    for each in found:
        assert each.difference
        assert each.consequence
        assert each.remedy


def test_planted_faults_are_undone(live):
    assert live.findings() == []


def test_every_check_that_aws_can_hold_is_planted_here():
    assert {check.name for check in CHECKS} - set().union(*(checks for _, checks, _ in PLANTED)) == {"queue.type"}


def test_skipped_areas_are_neither_observed_nor_checked(live):
    live.calls.clear()
    with live.with_function(Timeout=7), live.with_attributes("work", DelaySeconds="1"):
        found = live.findings(skip=["functions", "services", "stores", "schedules", "roles"])
    assert [each.check for each in found] == ["queue.delay"]
    assert {call.service for call in live.calls} == {"sqs"}


def test_every_required_permission_is_documented(live):
    live.calls.clear()
    with attached(live, allow("sqs:SendMessage", live.arn("work"))):
        live.findings()
    documented = {
        action.strip(" `") for _, actions in rows("doctor.md", "## Permissions") for action in actions.split(",")
    }
    assert {action_of(call.service, call.operation) for call in live.calls} == documented
