"""Faults of a deployment: real calls that change it for the time of a ``with`` block, and undo the change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from taskq_cloud.deploy.doctor.expected_alarms import expected_alarms
from tests.deploy.deployment import ACCOUNT, Deployment, trust

OPEN_POLICY = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}]}
OPEN_TO_S3 = {"Statement": [{**OPEN_POLICY["Statement"][0], "Principal": {"Service": "s3.amazonaws.com"}}]}
OF_ACCOUNT = {"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}
OTHER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/other"
DEFAULT_RULE = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


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
    """Delete a queue; afterwards create it again with its old attributes, so that it looks unchanged."""
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


def undeclared_queue(live: Deployment) -> AbstractContextManager[None]:
    """Create a queue as Terraform did for an earlier declaration, and one of another deployment that begins alike."""
    sqs, names = live.clients["sqs"], {"old": live.topology.name, "others": f"{live.topology.name}-2"}
    return changed(
        lambda: [
            sqs.create_queue(QueueName=f"{live.prefix}-{name}", tags={"taskq": deployment})
            for name, deployment in names.items()
        ],
        lambda: [sqs.delete_queue(QueueUrl=live.url(name)) for name in names],
    )


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


def recursive_loop(live: Deployment, configured: str) -> AbstractContextManager[None]:
    put, name = live.clients["lambda"].put_function_recursion_config, live.topology.functions[0].name
    return changed(
        lambda: put(FunctionName=name, RecursiveLoop=configured), lambda: put(FunctionName=name, RecursiveLoop="Allow")
    )


@contextmanager
def through_alias(live: Deployment, **published: Any) -> Iterator[None]:
    """Publish a version with other settings, and let messages reach it through an alias."""
    function, name, uuid = live.clients["lambda"], live.topology.functions[0].name, live.mapping["UUID"]
    with live.with_function(**published):
        version = function.publish_version(FunctionName=name)["Version"]
    function.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    function.update_event_source_mapping(UUID=uuid, FunctionName=f"{name}:live")
    yield
    function.update_event_source_mapping(UUID=uuid, FunctionName=name)
    function.delete_alias(FunctionName=name, Name="live")


@contextmanager
def past_alias(live: Deployment) -> Iterator[None]:
    """Let messages reach the newest code although there is an alias."""
    function, name, uuid = live.clients["lambda"], live.topology.functions[0].name, live.mapping["UUID"]
    with through_alias(live):
        function.update_event_source_mapping(UUID=uuid, FunctionName=name)
        yield


@contextmanager
def without_alias(live: Deployment) -> Iterator[None]:
    """Delete the alias that messages go through."""
    function, name = live.clients["lambda"], live.topology.functions[0].name
    with through_alias(live):
        version = function.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
        function.delete_alias(FunctionName=name, Name="live")
        yield
        function.create_alias(FunctionName=name, Name="live", FunctionVersion=version)


@contextmanager
def shifted(live: Deployment, **published: Any) -> Iterator[None]:
    """Let an alias shift some of the messages to a version with other settings."""
    function, name = live.clients["lambda"], live.topology.functions[0].name
    with through_alias(live):
        with live.with_function(**published):
            version = function.publish_version(FunctionName=name)["Version"]
        weights = {"AdditionalVersionWeights": {version: 0.1}}
        function.update_alias(FunctionName=name, Name="live", RoutingConfig=weights)
        yield


@contextmanager
def with_snapshots(live: Deployment) -> Iterator[None]:
    """Turn SnapStart on, although messages reach no published version."""
    function, name = live.clients["lambda"], live.topology.functions[0].name
    function.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "PublishedVersions"})
    yield
    function.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "None"})


def alarm(live: Deployment, ending: str, **changes: Any) -> AbstractContextManager[None]:
    """Change the expected alarm whose name has an ending; without changes, delete it."""
    (name,) = (each.name for each in expected_alarms(live.topology) if each.name.endswith(ending))
    delete = live.clients["cloudwatch"].delete_alarms
    return changed(
        lambda: live.make_alarm(name, **changes) if changes else delete(AlarmNames=[name]),
        lambda: live.make_alarm(name),
    )


def topic(live: Deployment, attribute: str, value: str) -> AbstractContextManager[None]:
    """Change an attribute of the topic of the alarms."""
    sns = live.clients["sns"]
    before = sns.get_topic_attributes(TopicArn=live.topic)["Attributes"][attribute]

    def put(wanted: str) -> None:
        sns.set_topic_attributes(TopicArn=live.topic, AttributeName=attribute, AttributeValue=wanted)

    return changed(lambda: put(value), lambda: put(before))


def without_topic(live: Deployment) -> AbstractContextManager[None]:
    def remake() -> None:
        live.topic = live.make_topic()
        for each in expected_alarms(live.topology):
            live.make_alarm(each.name)

    return changed(lambda: live.clients["sns"].delete_topic(TopicArn=live.topic), remake)


def without_subscription(live: Deployment) -> AbstractContextManager[None]:
    sns = live.clients["sns"]
    (found,) = sns.list_subscriptions_by_topic(TopicArn=live.topic)["Subscriptions"]
    return changed(
        lambda: sns.unsubscribe(SubscriptionArn=found["SubscriptionArn"]),
        lambda: sns.subscribe(TopicArn=live.topic, Protocol="sqs", Endpoint=live.arn("work")),
    )


def log_group(live: Deployment, operation: str, **parameters: Any) -> AbstractContextManager[None]:
    """Make one call on the log group of the function; afterwards create it again."""
    logs, name = live.clients["logs"], f"/aws/lambda/{live.topology.functions[0].name}"

    def undo() -> None:
        if operation != "delete_log_group":
            logs.delete_log_group(logGroupName=name)
        live.make_log_group(name, kmsKeyId=live.key)

    return changed(lambda: getattr(logs, operation)(logGroupName=name, **parameters), undo)


def log_group_without_key(live: Deployment) -> AbstractContextManager[None]:
    """Make the log group of the function anew, because ministack can't take a key away from it."""
    logs, name = live.clients["logs"], f"/aws/lambda/{live.topology.functions[0].name}"

    def remake(**options: str) -> None:
        logs.delete_log_group(logGroupName=name)
        live.make_log_group(name, **options)

    return changed(remake, lambda: remake(kmsKeyId=live.key))


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


def with_capacity(live: Deployment) -> AbstractContextManager[None]:
    """Give the table a capacity of its own."""
    update, name = live.clients["dynamodb"].update_table, f"{live.prefix}-results"
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    return changed(
        lambda: update(TableName=name, BillingMode="PROVISIONED", ProvisionedThroughput=throughput),
        lambda: update(TableName=name, BillingMode="PAY_PER_REQUEST"),
    )


def bucket_rule(live: Deployment, rule: dict[str, Any]) -> AbstractContextManager[None]:
    """Add a lifecycle rule to the bucket; afterwards provision its declared rules alone."""
    s3, name = live.clients["s3"], f"{live.prefix}-payloads"

    def put() -> None:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [*rules, {"Status": "Enabled", **rule}]}
        )

    def undo() -> None:
        s3.delete_bucket_lifecycle(Bucket=name)
        live.provision()

    return changed(put, undo)


def tls_for(live: Deployment, action: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a policy of the queue ``work`` that denies an action without TLS, on a further condition."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": live.arn("work"),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}, **(condition or {})},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


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


def trusting(live: Deployment, service: str, more: dict[str, Any] | None = None) -> AbstractContextManager[None]:
    """Let a service, and optionally another principal, assume the role of the function."""
    role = role_of(live, "function")

    def put(trusted: str, others: dict[str, Any] | None = None) -> None:
        document = trust(trusted)
        if others is not None:
            document["Statement"].append({**document["Statement"][0], "Principal": others})
        live.clients["iam"].update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(document))

    return changed(lambda: put(service, more), lambda: put("lambda.amazonaws.com"))


def without_producer(live: Deployment) -> AbstractContextManager[None]:
    arn, name = f"arn:aws:iam::{ACCOUNT}:policy/{live.prefix}-producer", f"{live.prefix}-producer"
    return changed(lambda: live.clients["iam"].delete_policy(PolicyArn=arn), lambda: live.make_role(name))


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
