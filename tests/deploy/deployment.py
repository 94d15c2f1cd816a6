"""A whole deployment on the AWS stack: the resources of ``taskq provision``, and those that Terraform would create.

No function and no container runs anything here: the doctor only reads how they are configured.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from taskq_cloud import TaskQ
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, Flow
from taskq_cloud.deploy.doctor import observe
from taskq_cloud.deploy.doctor.calls import services
from taskq_cloud.deploy.doctor.checks import findings
from taskq_cloud.deploy.doctor.expected_alarms import FAILED_TASKS, NAMESPACE, expected_alarms, failed_tasks_metric
from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.provision import Provisioner
from taskq_cloud.deploy.topology.formats import iam
from taskq_cloud.deploy.topology.model import Topology
from tests.deploy.conftest import remove

ACCOUNT = "000000000000"
SERVICES = ("cloudwatch", "dynamodb", "ecs", "iam", "kms", "lambda", "logs", "s3", "scheduler", "sns", "sqs")


def application(prefix: str, key: str) -> TaskQ:
    """Return an application that declares every kind of resource that the doctor checks."""
    app = TaskQ(
        prefix,
        broker=f"sqs://eu-west-1/{prefix}-",
        results=f"dynamodb://{prefix}-results",
        payloads=f"s3://{prefix}-payloads/live",
        scheduler=f"eventbridge://{prefix}?role=arn:aws:iam::{ACCOUNT}:role/{prefix}-scheduler"
        f"&dead_letter=arn:aws:sqs:eu-west-1:{ACCOUNT}:{prefix}-schedules-dead",
        task_default_queue="work",
        beat_schedule={"nightly": {"task": "shop.length", "args": ["abc"], "schedule": "0 3 * * *"}},
        deployment={"kms_key_arn": key, "schedules": "terraform", "function": {"maximum_concurrency": 2}},
    )
    app.task(name="shop.length", time_limit=5)(len)
    app.task(name="shop.report", queue="reports")(len)
    app.task(name="shop.ordered", queue="orders.fifo")(len)
    return app


class Deployment:
    """A deployment of everything that an application declares.

    Args:
        prefix: the prefix of all names.
        client_of: opens the client of a service.
    """

    def __init__(self, prefix: str, client_of: Callable[[str], Any]) -> None:
        self.clients = {name: client_of(name) for name in SERVICES}
        self.key = self.clients["kms"].create_key()["KeyMetadata"]["Arn"]
        self.other_key = self.clients["kms"].create_key()["KeyMetadata"]["Arn"]
        self.app = application(prefix, self.key)
        self.prefix = prefix
        self.topology: Topology = self.app.topology(app_path="shop:app")
        self.calls: list[Call] = []
        # Shared by all observations, because opening the clients takes longer than observing.
        self._connections = Connections(services(self.topology, self.app.services()))
        self.provision()
        for role in self.topology.roles:
            self.make_role(role.name)
        for name in self.log_groups:
            self.make_log_group(name, kmsKeyId=self.key)
        self.make_function()
        self.clients["ecs"].create_cluster(clusterName=self.topology.name)
        self.clients["ecs"].register_task_definition(**self._definition())
        self.make_service()
        self.make_schedule()
        self.topic = self.make_topic()
        for name in (each.name for each in expected_alarms(self.topology)):
            self.make_alarm(name)

    @property
    def log_groups(self) -> dict[str, str]:
        """The log group of each function and service -> the name of the function or service."""
        functions = {f"/aws/lambda/{each.name}": each.name for each in self.topology.functions}
        return functions | {f"/taskq/{each.name}": each.name for each in self.topology.services}

    def provision(self) -> None:
        """Run ``taskq provision``; a second run repairs what a test has changed."""
        self._connections.run(Provisioner(self.topology).run())

    def findings(self, skip: Collection[str] = ("scaling",)) -> list[Finding]:
        """Observe the deployment, and return the doctor's findings. No local stack has Application Auto Scaling."""
        flow = _recording(observe.everything(self.topology, skip=skip), self.calls)
        return findings(self.topology, self._connections.run(flow))

    def url(self, name: str) -> str:
        """Return the URL of a queue, by its name without the prefix."""
        return str(self.clients["sqs"].get_queue_url(QueueName=f"{self.prefix}-{name}")["QueueUrl"])

    def arn(self, name: str) -> str:
        """Return the ARN of a queue, by its name without the prefix."""
        return f"arn:aws:sqs:eu-west-1:{ACCOUNT}:{self.prefix}-{name}"

    @property
    def mapping(self) -> Mapping[str, Any]:
        """The only event source mapping of the queue ``work``."""
        (found,) = self.clients["lambda"].list_event_source_mappings(EventSourceArn=self.arn("work"))[
            "EventSourceMappings"
        ]
        return dict(found)

    @contextmanager
    def with_attributes(self, name: str, **attributes: str) -> Iterator[None]:
        """Change attributes of a queue for the time of a ``with`` block."""
        sqs, url = self.clients["sqs"], self.url(name)
        before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        yield
        sqs.set_queue_attributes(QueueUrl=url, Attributes={each: before.get(each, "") for each in attributes})

    @contextmanager
    def with_mapping(self, **changes: Any) -> Iterator[None]:
        """Change the event source mapping for the time of a ``with`` block."""
        before = {"Enabled": True, "FilterCriteria": {"Filters": []}, **self.mapping}
        update = self.clients["lambda"].update_event_source_mapping
        update(UUID=before["UUID"], **changes)
        yield
        update(UUID=before["UUID"], **{name: before[name] for name in changes})

    @contextmanager
    def with_function(self, **changes: Any) -> Iterator[None]:
        """Change the function's configuration for the time of a ``with`` block."""
        function, name = self.clients["lambda"], self.topology.functions[0].name
        before = function.get_function_configuration(FunctionName=name)
        function.update_function_configuration(FunctionName=name, **changes)
        yield
        function.update_function_configuration(FunctionName=name, **{each: before[each] for each in changes})

    @contextmanager
    def with_container(self, task: Mapping[str, Any] = {}, **changes: Any) -> Iterator[None]:
        """Run the service with another revision of its task definition for the time of a ``with`` block."""
        ecs, service = self.clients["ecs"], self.topology.services[0]
        before = self._definition()
        container = {**before["containerDefinitions"][0], **changes}
        fields = {**before, **task, "containerDefinitions": [container]}
        made = ecs.register_task_definition(**{name: fields[name] for name in before})["taskDefinition"]
        ecs.update_service(cluster=self.topology.name, service=service.name, taskDefinition=made["taskDefinitionArn"])
        yield
        ecs.update_service(cluster=self.topology.name, service=service.name, taskDefinition=f"{service.name}:1")

    @contextmanager
    def with_schedule(self, **changes: Any) -> Iterator[None]:
        """Change the schedule for the time of a ``with`` block."""
        scheduler = self.clients["scheduler"]
        before = self.schedule()
        scheduler.update_schedule(**{**before, **changes})
        yield
        scheduler.update_schedule(**before)

    @contextmanager
    def with_policy(self, role: str, name: str, *statements: Mapping[str, Any]) -> Iterator[None]:
        """Add a policy to a role for the time of a ``with`` block."""
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self.clients["iam"].put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
        yield
        self.clients["iam"].delete_role_policy(RoleName=role, PolicyName=name)

    @contextmanager
    def with_producer(self, *statements: Mapping[str, Any]) -> Iterator[None]:
        """Replace the statements of the producer's policy for the time of a ``with`` block."""
        iam_, name = self.clients["iam"], f"{self.prefix}-producer"
        arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"

        def put(policy: Mapping[str, Any]) -> None:
            iam_.delete_policy(PolicyArn=arn)
            iam_.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))

        put({"Version": "2012-10-17", "Statement": list(statements)})
        yield
        put(self._policy(name))

    def close(self) -> None:
        """Remove everything."""
        iam_, lambda_, ecs = (self.clients[name] for name in ("iam", "lambda", "ecs"))
        lambda_.delete_event_source_mapping(UUID=self.mapping["UUID"])
        for function in self.topology.functions:
            lambda_.delete_function(FunctionName=function.name)
        for service in self.topology.services:
            ecs.delete_service(cluster=self.topology.name, service=service.name, force=True)
        ecs.delete_cluster(cluster=self.topology.name)
        for role in self.topology.roles:
            if role.assumed_by is None:
                iam_.delete_policy(PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/{role.name}")
            else:
                iam_.delete_role_policy(RoleName=role.name, PolicyName=role.name)
                iam_.delete_role(RoleName=role.name)
        self.clients["cloudwatch"].delete_alarms(AlarmNames=[each.name for each in expected_alarms(self.topology)])
        self.clients["sns"].delete_topic(TopicArn=self.topic)
        for name in self.log_groups:
            self.clients["logs"].delete_log_group(logGroupName=name)
        self._connections.close()
        self.app.close()
        remove(self.clients, self.prefix)
        for client in self.clients.values():
            client.close()

    def make_role(self, name: str) -> None:
        """Create a declared role with its policy, or only the policy if no service assumes the role."""
        role, iam_ = self.topology.role_named(name), self.clients["iam"]
        document = json.dumps(self._policy(name))
        if role.assumed_by is None:
            iam_.create_policy(PolicyName=name, PolicyDocument=document)
            return
        iam_.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust(role.assumed_by)))
        iam_.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=document)

    def _policy(self, role: str) -> Mapping[str, Any]:
        policy: Mapping[str, Any] = iam.policies(self.topology, iam.ArnPlaceholders(ACCOUNT, "eu-west-1"))[role]
        return policy

    def make_function(self) -> None:
        """Create the function, and its event source mapping unless there is one."""
        (function,) = self.topology.functions
        client = self.clients["lambda"]
        client.create_function(
            FunctionName=function.name,
            Role=f"arn:aws:iam::{ACCOUNT}:role/{function.role}",
            Runtime="python3.13",
            Handler="taskq_cloud.lambda_function.lambda_handler",
            Code={"ZipFile": _archive()},
            Timeout=function.timeout_seconds,
            MemorySize=function.memory_mb,
            Environment={"Variables": function.environment},
            KMSKeyArn=self.key,
            LoggingConfig={"LogFormat": "JSON", "LogGroup": f"/aws/lambda/{function.name}"},
        )
        client.put_function_recursion_config(FunctionName=function.name, RecursiveLoop=function.recursive_loop)
        if not client.list_event_source_mappings(EventSourceArn=self.arn(function.queue))["EventSourceMappings"]:
            self.make_mapping()

    def make_mapping(self) -> None:
        """Create the event source mapping."""
        (function,) = self.topology.functions
        self.clients["lambda"].create_event_source_mapping(
            FunctionName=function.name,
            EventSourceArn=self.arn(function.queue),
            BatchSize=function.batch_size,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            ScalingConfig={"MaximumConcurrency": function.maximum_concurrency},
        )

    def _definition(self) -> dict[str, Any]:
        (service,) = self.topology.services
        environment = [{"name": name, "value": value} for name, value in service.environment.items()]
        return {
            "family": service.name,
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": str(service.cpu_units),
            "memory": str(service.memory_mb),
            "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{service.role}",
            "containerDefinitions": [
                {
                    "name": "worker",
                    "image": "shop",
                    "command": list(service.command),
                    "environment": environment,
                    "stopTimeout": service.stop_timeout_seconds,
                    "logConfiguration": {
                        "logDriver": "awslogs",
                        "options": {"awslogs-group": f"/taskq/{service.name}", "awslogs-region": "eu-west-1"},
                    },
                }
            ],
        }

    def make_service(self) -> None:
        """Create the service, without a running container."""
        (service,) = self.topology.services
        self.clients["ecs"].create_service(
            cluster=self.topology.name,
            serviceName=service.name,
            taskDefinition=f"{service.name}:1",
            desiredCount=0,
            launchType="FARGATE",
        )

    def make_log_group(self, name: str, **options: str) -> None:
        """Create a log group, and the filter that counts the failed tasks in it."""
        logs, metric = self.clients["logs"], failed_tasks_metric(self.log_groups[name])
        logs.create_log_group(logGroupName=name, **options)
        logs.put_retention_policy(logGroupName=name, retentionInDays=30)
        counted = {"metricNamespace": NAMESPACE, "metricName": metric, "metricValue": "1"}
        logs.put_metric_filter(
            logGroupName=name, filterName=metric, filterPattern=FAILED_TASKS, metricTransformations=[counted]
        )

    def make_topic(self) -> str:
        """Create the topic of the alarms, with a key that CloudWatch may use and a subscription; return its ARN."""
        key = self.clients["kms"].create_key(Policy=json.dumps(of_cloudwatch("kms:Decrypt", "kms:GenerateDataKey*")))
        attributes = {
            "KmsMasterKeyId": key["KeyMetadata"]["Arn"],
            "Policy": json.dumps(of_cloudwatch("sns:Publish")),
        }
        arn = self.clients["sns"].create_topic(Name=f"{self.prefix}-alarms", Attributes=attributes)["TopicArn"]
        self.clients["sns"].subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self.arn("work"))
        return str(arn)

    def make_alarm(self, name: str, **changes: Any) -> None:
        """Create an expected alarm, or replace it by one that differs."""
        (expected,) = (each for each in expected_alarms(self.topology) if each.name == name)
        fields = {"Threshold": 900, **expected.fields, "Period": 60, "EvaluationPeriods": 1, **changes}
        dimensions = [{"Name": each, "Value": value} for each, value in fields["Dimensions"].items()]
        actions = {"AlarmActions": [self.topic], **changes}
        self.clients["cloudwatch"].put_metric_alarm(AlarmName=name, **{**fields, **actions, "Dimensions": dimensions})

    def schedule(self) -> dict[str, Any]:
        """Return the parameters that the schedule is created with."""
        (schedule,), group = self.topology.schedules, self.topology.schedule_group
        assert group is not None
        return {
            "Name": schedule.name,
            "GroupName": group.name,
            "ScheduleExpression": schedule.expression,
            "ScheduleExpressionTimezone": schedule.timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "KmsKeyArn": self.key,
            "Target": {
                "Arn": self.arn(schedule.queue),
                "RoleArn": group.role_arn,
                "Input": schedule.input,
                "DeadLetterConfig": {"Arn": self.arn("schedules-dead")},
            },
        }

    def make_schedule(self) -> None:
        """Create the schedule."""
        self.clients["scheduler"].create_schedule(**self.schedule())


def trust(service: str) -> dict[str, Any]:
    """Return a policy that lets a service assume a role."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def of_cloudwatch(*actions: str) -> dict[str, Any]:
    """Return the policy of a topic or a key that allows actions to the alarms of the account."""
    source = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    principal = {"Service": "cloudwatch.amazonaws.com"}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": principal,
                "Action": list(actions),
                "Resource": "*",
                "Condition": {**source, "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:*:{ACCOUNT}:alarm:*"}},
            }
        ],
    }


def _archive() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        file.writestr("shop.py", "")
    return written.getvalue()


def _recording(flow: Flow[Any], calls: list[Call]) -> Flow[Any]:
    """Run a flow unchanged, and append its calls to a list."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = flow.send(answer) if error is None else flow.throw(error)
        except StopIteration as end:
            return end.value
        if isinstance(step, Call):
            calls.append(step)
        answer, error = None, None
        try:
            answer = yield step
        except Exception as raised:
            error = raised
