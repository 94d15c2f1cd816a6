"""Tests of the doctor's checks on constructed data, without a service; ``test_live_doctor`` makes real calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from click.testing import CliRunner

from taskq_cloud import TaskQ
from taskq_cloud.cli import main
from taskq_cloud.core.flows import run
from taskq_cloud.deploy import aws_settings
from taskq_cloud.deploy.doctor import observe, observe_services
from taskq_cloud.deploy.doctor.checks import CHECKS, findings
from taskq_cloud.deploy.doctor.checks_role import _OF_A_VPC, _OF_TRACES
from taskq_cloud.deploy.doctor.observed import Observed, ObservedQueue
from taskq_cloud.deploy.provision import Provisioner
from taskq_cloud.deploy.topology.model import Topology
from tests.deploy.conftest import drive
from tests.deploy.doctor.as_declared import deployed, on_aws
from tests.docs.test_tables import rows

Plant: TypeAlias = Callable[[Observed], Observed]
"""Returns an observed deployment with one fault in it."""

ROLE = "arn:aws:iam::123456789012:role/shop-scheduler"
ARN = "arn:aws:sqs:eu-west-1:123456789012:"
BUS = "arn:aws:events:eu-west-1:123456789012:event-bus/shop"
TABLE, BUCKET, FUNCTION, WORK, DEAD = "shop-results", "shop-data", "shop-work", "shop-work", "shop-work-dead"


@pytest.fixture
def topology() -> Topology:
    app = TaskQ(
        "shop",
        broker="sqs://eu-west-1/shop-",
        results=f"dynamodb://{TABLE}",
        payloads=f"s3://{BUCKET}",
        scheduler=f"eventbridge://shop?role={ROLE}",
        task_default_queue="work",
    )
    app.task(name="shop.length", time_limit=5)(len)
    return app.topology()


@pytest.fixture
def observed(topology: Topology) -> Observed:
    """Return a deployment that matches its declaration."""
    return deployed(topology)


def test_deployment_as_declared_has_no_findings(topology: Topology, observed: Observed) -> None:
    assert findings(topology, observed) == []


def without(section: str, name: str) -> Plant:
    def plant(o: Observed) -> Observed:
        changes: dict[str, Any] = {section: {key: value for key, value in getattr(o, section).items() if key != name}}
        return replace(o, **changes)

    return plant


def queue(name: str, **attributes: str) -> Plant:
    def plant(o: Observed) -> Observed:
        there = o.queues[name]
        return replace(o, queues={**o.queues, name: replace(there, attributes={**there.attributes, **attributes})})

    return plant


def part(section: str, name: str, **fields: Any) -> Plant:
    def plant(o: Observed) -> Observed:
        there = getattr(o, section)
        changes: dict[str, Any] = {section: {**there, name: replace(there[name], **fields)}}
        return replace(o, **changes)

    return plant


def mapping(**fields: Any) -> Plant:
    def plant(o: Observed) -> Observed:
        there = o.functions[FUNCTION]
        return part("functions", FUNCTION, mappings=[replace(there.mappings[0], **fields)])(o)

    return plant


def redrive(**fields: str) -> Plant:
    policy = {"deadLetterTargetArn": ARN + DEAD, "maxReceiveCount": "5", **fields}
    return queue(WORK, RedrivePolicy=json.dumps(policy))


TLS = {"Bool": {"aws:SecureTransport": "true"}}


def policy(**fields: Any) -> Plant:
    """Add a statement to the policy of the queue."""
    allow = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": ARN + WORK, **fields}
    return queue(WORK, Policy=json.dumps(aws_settings.with_tls({"Statement": [allow]}, "sqs", [ARN + WORK])))


NOTHING: dict[str, Any] = {
    "name": "shop",
    "provider": "aws",
    "region": "eu-west-1",
    "kms_key_arn": None,
    "environment": {},
}
UNBLOCKED = {**aws_settings.PUBLIC_ACCESS_BLOCK, "BlockPublicPolicy": False}

PLANTED: list[tuple[str, str, Plant]] = [
    ("queue missing", "queue.missing", without("queues", WORK)),
    ("no dead-letter queue", "queue.dead_letter_missing", without("queues", DEAD)),
    ("visibility under 6 timeouts", "queue.visibility", queue(WORK, VisibilityTimeout="317")),
    ("no redrive policy", "queue.redrive", queue(WORK, RedrivePolicy="")),
    ("redrive elsewhere", "queue.redrive", redrive(deadLetterTargetArn=f"{ARN}other")),
    ("maxReceiveCount of 4", "queue.max_receives", redrive(maxReceiveCount="4")),
    ("dead-letter queue of other type", "queue.type", queue(DEAD, FifoQueue="true")),
    ("queue of other type", "queue.type", queue(WORK, FifoQueue="true")),
    ("dead letters kept no longer", "queue.dead_letter_retention", queue(DEAD, MessageRetentionPeriod="345600")),
    ("messages kept too short", "queue.retention", queue(WORK, MessageRetentionPeriod="3600")),
    ("a delay of the queue", "queue.delay", queue(WORK, DelaySeconds="30")),
    ("short polling", "queue.wait", queue(WORK, ReceiveMessageWaitTimeSeconds="0")),
    ("no TLS policy", "queue.tls", queue(WORK, Policy="")),
    ("everyone under a void condition", "queue.public", policy(Principal="*", Condition=TLS)),
    ("a service for every account", "queue.senders", policy(Principal={"Service": "s3.amazonaws.com"}, Condition=TLS)),
    ("no TLS policy on dead letters", "queue.tls", queue(DEAD, Policy="")),
    ("no encryption", "queue.encryption", queue(WORK, SqsManagedSseEnabled="false")),
    ("function missing", "function.missing", without("functions", FUNCTION)),
    ("timeout under the longest limit", "function.timeout", part("functions", FUNCTION, timeout_seconds=7)),
    ("timeout over visibility", "function.timeout_over_visibility", part("functions", FUNCTION, timeout_seconds=900)),
    ("too little memory", "function.memory", part("functions", FUNCTION, memory_mb=128)),
    ("another broker", "function.environment", part("functions", FUNCTION, environment={})),
    ("mapping missing", "mapping.missing", part("functions", FUNCTION, mappings=[])),
    ("mapping disabled", "mapping.disabled", mapping(state="Disabled")),
    ("no partial responses", "mapping.partial_responses", mapping(response_types=[])),
    ("batch without window", "mapping.window", mapping(batch_size=11)),
    ("batch too large", "mapping.batch_size", mapping(batch_size=11, window_seconds=1)),
    ("no concurrency limit", "mapping.concurrency", mapping(maximum_concurrency=None)),
    ("provisioned pollers", "mapping.pollers", mapping(pollers=(2, 50))),
    ("table missing", "table.missing", without("tables", TABLE)),
    ("wrong key", "table.key", part("tables", TABLE, key_schema={"pk": "HASH"})),
    ("key of wrong type", "table.key", part("tables", TABLE, attribute_types={"id": "N"})),
    ("TTL off", "table.ttl", part("tables", TABLE, ttl_attribute=None)),
    ("bucket missing", "bucket.missing", without("buckets", BUCKET)),
    ("no lifecycle", "bucket.lifecycle", part("buckets", BUCKET, lifecycle_rules=[])),
    ("public bucket", "bucket.public", part("buckets", BUCKET, public_access_block=UNBLOCKED)),
    ("bucket without TLS", "bucket.tls", part("buckets", BUCKET, policy=None)),
    ("no schedule group", "schedules.group", lambda o: replace(o, schedule_groups=frozenset())),
]


@pytest.mark.parametrize(("check", "plant"), [pytest.param(*each[1:], id=each[0]) for each in PLANTED])
def test_planted_fault_is_found_and_explained(topology: Topology, observed: Observed, check: str, plant: Plant) -> None:
    found = findings(topology, plant(observed))
    assert check in {each.check for each in found}
    for each in found:
        assert each.difference
        assert each.consequence
        assert each.remedy


def test_service_that_sends_for_one_source_is_no_finding(topology: Topology, observed: Observed) -> None:
    source = {"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::shop-photos"}}
    plant = policy(Principal={"Service": "s3.amazonaws.com"}, Condition=source)
    assert findings(topology, plant(observed)) == []


@pytest.mark.parametrize(
    ("name", "messages", "severity", "difference"),
    [
        ("shop-mail", 3, "error", "it is deployed with 3 messages, but no longer declared"),
        ("shop-mail", 0, "warning", "it is deployed with 0 messages, but no longer declared"),
        (
            "shop-work.fifo",
            1,
            "error",
            (
                "it is deployed with 1 message, but no longer declared; shop-work is declared instead, and the kind of"
                " a queue can't be changed"
            ),
        ),
    ],
)
def test_queue_that_is_no_longer_declared_is_found_with_its_messages(
    topology: Topology, observed: Observed, name: str, messages: int, severity: str, difference: str
) -> None:
    left = ObservedQueue("", {"QueueArn": ARN + name, "ApproximateNumberOfMessagesDelayed": str(messages)})
    (found,) = findings(topology, replace(observed, undeclared={name: left}))
    assert (found.check, found.resource, found.severity) == ("queue.undeclared", f"queue {name}", severity)
    assert found.difference == difference


SEND = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}


@pytest.mark.parametrize(
    ("statement", "checks"),
    [
        # The wildcard covers the declared statements, and more.
        ({"Effect": "Allow", "Action": ["SQS:*"], "Resource": ["*"]}, {"role.permission_unused"}),
        ({**SEND, "Resource": f"{ARN}{WORK}"}, set()),
        ({**SEND, "Resource": f"{ARN}other"}, {"role.permission_unused"}),
        ({**SEND, "Effect": "Deny"}, {"role.permission_missing"}),
        ({**SEND, "Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}, set()),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, {"role.permission_unused"}),
        ({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}, {"role.permission_missing"}),
        ({"Effect": "Deny", "Action": "*", "NotResource": f"{ARN}{WORK}"}, {"role.permission_missing"}),
        ({"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": f"{ARN}[{WORK}]"}, {"role.permission_unused"}),
    ],
    ids=[
        "wildcard",
        "declared",
        "another queue",
        "denied",
        "denied on a condition",
        "all except some",
        "denied except some actions",
        "denied except some resources",
        "brackets mean nothing",
    ],
)
def test_policy_statements_are_evaluated_as_iam_does(
    topology: Topology, observed: Observed, statement: dict[str, Any], checks: set[str]
) -> None:
    name = topology.functions[0].role
    more = [*observed.roles[name].statements, statement]
    found = findings(topology, part("roles", name, statements=more)(observed))
    assert {each.check for each in found} == checks


def test_condition_that_differs_from_declaration_is_found(topology: Topology, observed: Observed) -> None:
    name = topology.functions[0].role
    for condition, check in ((None, "role.permission_unused"), ({"Bool": {"x": "true"}}, "role.permission_missing")):
        statements = [
            {**each, "Condition": condition} if each["Sid"] == "PassRole" else each
            for each in observed.roles[name].statements
        ]
        found = findings(topology, part("roles", name, statements=statements)(observed))
        assert check in {each.check for each in found}


def written_by_terraform(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Write a statement as Terraform does: a list of one value as that value, in another order."""

    def scalar(values: Any) -> Any:
        return values[0] if isinstance(values, list) and len(values) == 1 else values

    conditions = {
        operator: {key.upper(): scalar(values) for key, values in keys.items()}
        for operator, keys in statement.get("Condition", {}).items()
    }
    written = {name: scalar(value) for name, value in reversed(list(statement.items())) if name != "Condition"}
    return written | ({"Condition": conditions} if conditions else {})


def test_documents_as_terraform_writes_them_have_no_findings(topology: Topology, observed: Observed) -> None:
    roles = {
        name: replace(role, statements=[written_by_terraform(each) for each in role.statements])
        for name, role in observed.roles.items()
    }
    assert any(isinstance(each["Resource"], str) for role in roles.values() for each in role.statements)
    denial = {
        "Effect": "Deny",
        "Principal": {"AWS": ["*"]},
        "Action": ["sqs:*"],
        "Resource": f"{ARN}{WORK}",
        "Condition": {"Bool": {"aws:securetransport": [False]}},
    }
    there = replace(observed, roles=roles)
    assert findings(topology, queue(WORK, Policy=json.dumps({"Statement": denial}))(there)) == []


def of_function(live: Observed, **fields: Any) -> Observed:
    """Return a deployment whose function has other fields, and whose role allows what Lambda needs for them."""
    statements = [
        {"Effect": "Allow", "Action": sorted(_OF_A_VPC), "Resource": "*"},
        {"Effect": "Allow", "Action": sorted(_OF_TRACES), "Resource": "*"},
        {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": f"{ARN}failed"},
        {"Effect": "Allow", "Action": "events:PutEvents", "Resource": BUS},
    ]
    role = live.functions[FUNCTION].role
    more = part("roles", role, statements=[*live.roles[role].statements, *statements])(live)
    return part("functions", FUNCTION, **fields)(more)


def test_permissions_of_lambda_itself_are_expected_where_it_needs_them(topology: Topology, observed: Observed) -> None:
    used = of_function(observed, in_vpc=True, traced=True, destinations=[f"{ARN}failed", BUS])
    assert findings(topology, used) == []
    (unused,) = findings(topology, of_function(observed))
    assert "ec2:CreateNetworkInterface" in unused.difference
    assert f"sqs:SendMessage of {ARN}failed" in unused.difference
    assert f"events:PutEvents of {BUS}" in unused.difference
    assert "xray:PutTraceSegments" in unused.difference


SCALING: list[tuple[dict[str, Any] | None, str | None]] = [
    ({"MinCapacity": 0, "MaxCapacity": 4}, None),
    ({"MinCapacity": 1, "MaxCapacity": 4}, "1 to 4 containers run; 0 to 4 are declared"),
    ({"MinCapacity": 0, "MaxCapacity": 4, "backlog": 50}, "it is scaled to 50 messages for each container"),
    (None, "nothing scales it"),
]


@pytest.mark.parametrize(("target", "difference"), SCALING)
def test_scaling_is_compared_with_declaration(target: dict[str, Any] | None, difference: str | None) -> None:
    topology = on_aws()
    (service,) = topology.services
    backlog = (target or {}).pop("backlog", service.backlog_per_task)
    steps = [
        {"MetricIntervalLowerBound": backlog, "ScalingAdjustment": 2},
        {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": backlog, "ScalingAdjustment": 1},
    ]
    policy = {"StepScalingPolicyConfiguration": {"AdjustmentType": "ExactCapacity", "StepAdjustments": steps}}
    resource_id = f"service/shop/{service.name}"
    answers = {
        "describe_scalable_targets": {"ScalableTargets": [{**target, "ResourceId": resource_id}] if target else []},
        "describe_scaling_policies": {"ScalingPolicies": [policy]},
    }
    asked = []

    def perform(call: Any) -> Any:
        asked.append(call.parameters)
        return answers[call.operation]

    scaling = run(
        observe_services.scaling([service.name], f"arn:aws:ecs:eu-west-1:123456789012:cluster/{topology.name}"), perform
    )
    assert asked[0] == {"ServiceNamespace": "ecs", "ResourceIds": [resource_id]}
    found = findings(topology, replace(deployed(topology), scaling=scaling))
    assert [each.check for each in found] == (["service.scaling"] if difference else [])
    assert all(difference in each.difference for each in found if difference)


def test_every_check_is_documented() -> None:
    assert {row[0].strip("`") for row in rows("doctor.md", "## Checks")} == {check.name for check in CHECKS}


def test_provisioned_deployment_has_no_findings(make_app: Callable[..., TaskQ]) -> None:
    app = make_app(deployment={"runtime": "container"})
    drive(app, Provisioner(app.topology()).run())
    looked = drive(app, observe.everything(app.topology(), skip=["services", "roles"]))
    assert findings(app.topology(), looked) == []


def test_command_exits_with_1_on_errors(
    make_app: Callable[..., TaskQ], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = make_app()
    settings = {"broker": app.conf.broker, "results": app.conf.results, "task_default_queue": "work"}
    (tmp_path / "sick_shop.py").write_text(f"from taskq_cloud import TaskQ\napp = TaskQ('shop', **{settings})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sick = CliRunner().invoke(main, ["doctor", "-A", "sick_shop", "--format", "json"])
    assert (sick.exit_code, json.loads(sick.stdout)[0]["severity"]) == (1, "error")
    assert "QueueNotFound" in CliRunner().invoke(main, ["doctor", "-A", "sick_shop"]).stdout
    CliRunner().invoke(main, ["provision", "-A", "sick_shop"])
    skipped = ["--skip", "services", "--skip", "roles"]
    healthy = CliRunner().invoke(main, ["doctor", "-A", "sick_shop", *skipped])
    assert (healthy.exit_code, healthy.stdout) == (0, "")
    cluster = CliRunner().invoke(main, ["doctor", "-A", "sick_shop", "--cluster", "other"])
    assert (cluster.exit_code, "[service.missing]" in cluster.stdout) == (1, True)


def test_command_compares_with_named_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[str | None] = []

    def topology(_self: TaskQ, app_path: str | None = None) -> Topology:
        given.append(app_path)
        return Topology(**NOTHING)

    monkeypatch.setattr(TaskQ, "topology", topology)
    (tmp_path / "named_shop.py").write_text("from taskq_cloud import TaskQ\napp = TaskQ('shop')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert CliRunner().invoke(main, ["doctor", "-A", "named_shop:app"]).exit_code == 0
    assert given == ["named_shop:app"]
