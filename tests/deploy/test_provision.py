"""Tests of ``taskq provision`` on the AWS stack: it creates every resource once, and removes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from taskq_cloud import TaskQ
from taskq_cloud.cli import main
from taskq_cloud.deploy.provision import Provisioner
from taskq_cloud.errors import ImproperlyConfigured
from tests.conftest import StackAddress
from tests.deploy.conftest import drive
from tests.permissions import CallRecorder

pytestmark = pytest.mark.second_stack

WRITES = ("Create", "Set", "Put", "Update", "Delete", "Tag")


def provision(app: TaskQ, **options: Any) -> list[str]:
    provisioner = Provisioner(app.topology(), **options)
    made: list[str] = drive(app, provisioner.run())
    return made


def writes(recorder: CallRecorder) -> list[str]:
    counts = recorder.counts()
    return [name for name in counts if name.startswith(WRITES) or name.partition(" ")[0] in ("PUT", "POST", "DELETE")]


def test_provisioned_resources_are_usable_at_once(make_app: Callable[..., TaskQ]) -> None:
    app = make_app()
    provision(app)
    result = app.send_task("shop.length", ["x" * 2_000_000])
    assert app.run(app.store.load([result.id])) == {}
    depth = app.run(app.broker.depth("work"))
    assert depth
    assert depth.total == 1


def test_second_run_makes_no_writes(make_app: Callable[..., TaskQ], recorder: CallRecorder) -> None:
    app = make_app()
    assert provision(app)
    recorder.forget()
    assert provision(app) == []
    assert recorder.total() > 0
    assert writes(recorder) == []


def test_dry_run_lists_changes_and_writes_nothing(make_app: Callable[..., TaskQ], recorder: CallRecorder) -> None:
    app = make_app()
    said = provision(app, dry_run=True)
    assert writes(recorder) == []
    assert {each.split(" ")[0] for each in said} >= {"create", "set", "let", "deny", "block"}
    done = provision(app)
    assert [each for each in done if each.startswith("create")] == [each for each in said if each.startswith("create")]


def test_queues_have_declared_attributes(
    make_app: Callable[..., TaskQ], make_aws_client: Callable[[str, str], Any], local_stack: StackAddress
) -> None:
    app = make_app()
    provision(app)
    sqs = make_aws_client("sqs", local_stack.endpoint_url)
    for queue in app.topology().queues:
        url = sqs.get_queue_url(QueueName=queue.name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        redrive = json.loads(attributes["RedrivePolicy"])
        assert int(attributes["VisibilityTimeout"]) == queue.visibility_timeout_seconds
        assert redrive["deadLetterTargetArn"].endswith(f":{queue.dead_letter_queue.name}")
        assert int(redrive["maxReceiveCount"]) == 5
        assert (attributes.get("FifoQueue") == "true") is queue.fifo
        assert "aws:SecureTransport" in attributes["Policy"]
        assert attributes.get("ContentBasedDeduplication") == ("true" if queue.fifo else None)


def test_dead_letter_queue_of_schedules_is_encrypted_and_requires_tls(
    make_app: Callable[..., TaskQ], make_aws_client: Callable[[str, str], Any], local_stack: StackAddress
) -> None:
    name = f"late-{uuid4().hex[:8]}"
    role = "arn:aws:iam::000000000000:role/sender"
    dead = f"arn:aws:sqs:eu-west-1:000000000000:{name}"
    app = make_app()
    scheduler = f"eventbridge://{app.main}?role={role}&dead_letter={dead}"
    with closing(TaskQ(app.main, **{**app._given, "scheduler": scheduler})) as late:
        provision(late)
    sqs = make_aws_client("sqs", local_stack.endpoint_url)
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    sqs.delete_queue(QueueUrl=url)
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert "aws:SecureTransport" in attributes["Policy"]
    assert attributes["MessageRetentionPeriod"] == "1209600"


def test_changed_time_limit_changes_one_attribute_and_keeps_messages(make_app: Callable[..., TaskQ]) -> None:
    app = make_app()
    provision(app)
    app.send_task("shop.length", ["abc"])
    app.task(name="shop.longer", time_limit=20)(len)
    name = app.topology().queue_named("work").name
    assert provision(app) == [f"set VisibilityTimeout=738 on queue {name}"]
    depth = app.run(app.broker.depth("work"))
    assert depth
    assert depth.total == 1


def test_function_that_exists_may_be_passed_by_long_chains(
    make_app: Callable[..., TaskQ], make_aws_client: Callable[[str, str], Any], local_stack: StackAddress
) -> None:
    app = make_app()
    provision(app)
    functions = make_aws_client("lambda", local_stack.endpoint_url)
    (declared,) = app.topology().functions
    functions.create_function(
        FunctionName=declared.name,
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="shop.handler",
        Code={"ZipFile": b"PK\x05\x06" + b"\0" * 18},
    )
    change = f"set the recursion configuration of function {declared.name} to Allow"
    assert provision(app, dry_run=True) == [change]
    assert provision(app) == [change]
    assert functions.get_function_recursion_config(FunctionName=declared.name)["RecursiveLoop"] == "Allow"
    assert provision(app) == []
    functions.delete_function(FunctionName=declared.name)


def test_foreign_rules_and_statements_are_kept(
    make_app: Callable[..., TaskQ], make_aws_client: Callable[[str, str], Any], local_stack: StackAddress
) -> None:
    app = make_app()
    provision(app)
    s3 = make_aws_client("s3", local_stack.endpoint_url)
    (bucket,) = app.topology().buckets
    rule = {"ID": "theirs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]})
    statement = {"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "s3:GetObject"}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": f"arn:aws:s3:::{bucket.name}/*"}]}
    s3.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps(policy))
    assert len(provision(app)) == 2
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    assert {each["ID"] for each in rules} == {"theirs", "taskq-arguments", "taskq-large-results"}
    statements = json.loads(s3.get_bucket_policy(Bucket=bucket.name)["Policy"])["Statement"]
    assert {each["Sid"] for each in statements} == {"Theirs", "DenyWithoutTLS"}


def test_table_with_another_key_is_refused(
    make_app: Callable[..., TaskQ], make_aws_client: Callable[[str, str], Any], local_stack: StackAddress
) -> None:
    app = make_app()
    (declared,) = app.topology().tables
    table = declared.name
    dynamodb = make_aws_client("dynamodb", local_stack.endpoint_url)
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
    )
    with pytest.raises(ImproperlyConfigured, match=r"exists with the key {'pk': 'HASH'}, which can't be changed"):
        provision(app)


def test_command_lists_its_changes(
    make_app: Callable[..., TaskQ], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = make_app()
    settings = {"broker": app.conf.broker, "results": app.conf.results, "task_default_queue": "work"}
    (tmp_path / "provisioned_shop.py").write_text(f"from taskq_cloud import TaskQ\napp = TaskQ('shop', **{settings})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    command = ["provision", "-A", "provisioned_shop"]
    runs = [CliRunner().invoke(main, [*command, *more]) for more in (["--dry-run"], [], [])]
    assert [run.exit_code for run in runs] == [0, 0, 0], runs[0].output
    assert runs[0].stdout.startswith("would create queue")
    assert runs[1].stdout.startswith("create queue")
    assert (runs[2].stdout, "Everything is there" in runs[2].stderr) == ("", True)
