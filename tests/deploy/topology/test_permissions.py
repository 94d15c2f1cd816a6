"""Tests that each role is allowed exactly the calls that its code makes, which a proxy records.

One test makes all the calls of a role, so an allowed action that none of its lines leads to counts as unused.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import pytest
from click.testing import CliRunner

from taskq_cloud import AsyncResult, BoundTask, Reject, TaskQ, group
from taskq_cloud.cli import main
from taskq_cloud.core.flows import run
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.core.model.message import Acknowledge, Delivery, Outgoing
from taskq_cloud.core.model.platform_schedule import PlatformSchedule
from taskq_cloud.deploy.provision import Provisioner
from taskq_cloud.deploy.topology.formats import iam
from taskq_cloud.errors import ClaimError
from taskq_cloud.stores.schedules.registry import scheduler_from_url
from taskq_cloud.testing.contracts.result_store import a_record
from taskq_cloud.testing.waiting import auntil
from tests.conftest import StackAddress
from tests.deploy.conftest import drive
from tests.permissions import CallRecorder, Used, compare
from tests.serverless.events import Context, record_of
from tests.stores.payloads.noise import noise
from tests.stores.recorder import Recorder
from tests.worker.serving import serving

pytestmark = pytest.mark.slow

LARGE = 1_500_000
"""The length of a random text that exceeds the limits of SQS and DynamoDB even when it is compressed."""


class MakeShop(Protocol):
    """Makes an application on one deployment; the application does not know its queue URLs yet."""

    def __call__(self, runtime: str, *, scheduler: bool = True, results_in: str = "dynamodb") -> TaskQ: ...


class Lose(Protocol):
    """Deletes the payloads stored since an earlier call, and returns the keys of all stored ones."""

    def __call__(self, app: TaskQ, before: set[str] | None = None) -> set[str]: ...


@pytest.fixture
def shop(make_app: Callable[..., TaskQ], recorder: CallRecorder) -> Iterator[MakeShop]:
    """Return a function that makes applications on one deployment, none of which knows its queue URLs yet."""
    made: list[TaskQ] = []

    def make(runtime: str, *, scheduler: bool = True, results_in: str = "dynamodb") -> TaskQ:
        if not made:
            app = make_app(deployment={"runtime": runtime}, scheduler=scheduler, results_in=results_in)
            drive(app, Provisioner(app.topology()).run())
            made.append(app)
        again = TaskQ(made[0].main, **made[0]._given)
        declare(again)
        made.append(again)
        recorder.forget()
        return again

    yield make
    for app in made[1:]:
        app.close()


def declare(app: TaskQ) -> None:
    app.task(name="shop.length", time_limit=5)(len)
    app.task(name="shop.noise", time_limit=5)(noise)
    app.task(name="shop.report", time_limit=3600, queue="reports.fifo")(len)

    @app.task(name="shop.again", bind=True, time_limit=5, default_retry_delay=0)
    def again(self: BoundTask) -> None:
        if self.request.retries == 0:
            raise self.retry(countdown=0)

    @app.task(name="shop.tomorrow", bind=True, time_limit=5)
    def tomorrow(self: BoundTask) -> None:
        raise self.retry(countdown=86_400)

    @app.task(name="shop.reject", time_limit=5)
    def reject() -> None:
        if app.main is not None and not getattr(app, "mended", False):
            raise Reject(noise(LARGE))

    @app.task(name="shop.once", once=True, time_limit=5)
    def once() -> None:
        return None

    @app.task(name="shop.slow", time_limit=30)
    def slow() -> None:
        time.sleep(1.5)  # longer than the lease, so that the worker renews it


def policy_of(app: TaskQ, role: str) -> list[dict[str, Any]]:
    name = f"{app.main}-{role}"
    place = iam.ArnPlaceholders("000000000000", "eu-west-1")
    statements: list[dict[str, Any]] = iam.policies(app.topology(), place)[name]["Statement"]
    return statements


def assert_exact(app: TaskQ, role: str, used: set[Used]) -> None:
    """Assert that all calls are allowed, and that all permissions of the application's own code are used."""
    statements = policy_of(app, role)
    by_platform = {s.sid for s in app.topology().role_named(f"{app.main}-{role}").statements if s.by == "platform"}
    comparison = compare(used, statements)
    own = [each for each in statements if each["Sid"] not in by_platform]
    assert (comparison.missing, compare(used, own).unused) == ([], [])


@pytest.fixture
def lose(make_aws_client: Callable[[str, str], Any], local_stack: StackAddress) -> Lose:
    """Return a function that deletes the payloads stored since an earlier call, and returns the stored keys."""
    s3 = make_aws_client("s3", local_stack.endpoint_url)

    def lose(app: TaskQ, before: set[str] | None = None) -> set[str]:
        found = s3.list_objects_v2(Bucket=f"{app.main}-payloads").get("Contents", [])
        keys: set[str] = {each["Key"] for each in found}
        if before is not None:
            assert keys - before
            for key in keys - before:
                s3.delete_object(Bucket=f"{app.main}-payloads", Key=key)
        return keys

    return lose


@pytest.mark.parametrize("results_in", ["dynamodb", "s3"])
@pytest.mark.parametrize("scheduler", [True, False], ids=["scheduler", "hops"])
async def test_producer_uses_exactly_its_permissions(
    shop: MakeShop, recorder: CallRecorder, lose: Lose, scheduler: bool, results_in: str
) -> None:
    caller = shop("container", scheduler=scheduler, results_in=results_in)
    async with serving(caller, visibility_timeout=30):
        large = caller.send_task("shop.noise", [LARGE])
        await auntil(lambda: large.state == "SUCCESS", "the large result to be stored")
        before = lose(caller)
        lost = caller.send_task("shop.noise", [LARGE + 1])
        await auntil(lambda: lost.state == "SUCCESS", "the other large result to be stored")
    producer = shop("container")
    producer.send_task("shop.length", ["abc"])
    producer.send_task("shop.length", ["abc"], queue="reports.fifo")
    producer.tasks["shop.length"].map_async([("abc",)] * 12)
    producer.send_task("shop.length", [noise(LARGE)])
    producer.send_task("shop.length", ["abc"], countdown=3 * 86_400)
    several = group(producer.tasks["shop.length"].s("abc") for _ in range(3)).apply_async()
    several.save()
    several.ready()
    several.revoke()
    producer.send_task("shop.length", ["abc"], countdown=2 * 86_400).revoke()
    result = producer.AsyncResult(large.id)
    assert len(result.get(timeout=10)) == LARGE
    result.forget()
    if results_in == "dynamodb":
        lose(caller, before)
        with pytest.raises(ClaimError):
            producer.AsyncResult(lost.id).get(timeout=10)
    assert_exact(producer, "producer", recorder.used())


async def send_everything(caller: TaskQ, lose: Lose) -> list[AsyncResult[Any]]:
    """Call one task of each kind, and return the results."""
    before = lose(caller)
    gone = caller.send_task("shop.length", [noise(LARGE + 1)])
    lose(caller, before)
    sent = [
        caller.send_task("shop.length", ["abc"]),
        caller.send_task("shop.length", [noise(LARGE)]),
        caller.send_task("shop.noise", [LARGE]),
        caller.send_task("shop.again"),
        caller.send_task("shop.once"),
        caller.send_task("shop.reject"),
        caller.send_task("shop.tomorrow"),
        gone,
    ]
    chord = group(caller.tasks["shop.length"].s("abc") for _ in range(3)) | caller.tasks["shop.length"].s()
    result = chord.apply_async()
    assert isinstance(result, AsyncResult)
    return [*sent, result]


def end_two_tasks(app: TaskQ) -> None:
    """Save two results together, as a runtime does if two tasks end at the same time."""
    app.run(app.store.save([a_record(), a_record()]))


async def redrive(app: TaskQ, expected: int) -> None:
    """Move the dead letters back to their queue, as docs/operations.md describes."""
    deliveries: list[Delivery] = []
    while len(deliveries) < expected:
        deliveries += app.run(app.broker.receive(dead_letter_queue("work"), 10, 1, 30))
    again = [Outgoing(body=each.body, group=each.group, attributes=each.attributes) for each in deliveries]
    app.run(app.broker.send("work", again))
    app.run(app.broker.settle([Acknowledge(each) for each in deliveries]))


@pytest.mark.parametrize("results_in", ["dynamodb", "s3"])
async def test_container_uses_exactly_its_permissions(
    shop: MakeShop, recorder: CallRecorder, lose: Lose, results_in: str
) -> None:
    caller = shop("container", results_in=results_in)
    results = await send_everything(caller, lose)
    slow = caller.send_task("shop.slow")
    worker = shop("container")
    async with serving(worker, visibility_timeout=1):
        await auntil(
            lambda: all(each.ready() or each.state == "RETRY" for each in [*results, slow]), "all tasks to end"
        )
    worker.send_task("shop.length", ["abc"], queue="reports.fifo")
    end_two_tasks(worker)
    seen = recorder.used()
    vars(worker)["mended"] = True
    await redrive(caller, 2)
    recorder.forget()
    mender = shop("container")
    vars(mender)["mended"] = True
    async with serving(mender, visibility_timeout=30):
        await auntil(lambda: caller.AsyncResult(results[5].id).state == "SUCCESS", "the dead letter to run")
    assert_exact(mender, "worker-service", seen | recorder.used())


@pytest.mark.parametrize("results_in", ["dynamodb", "s3"])
async def test_function_uses_exactly_its_permissions(
    shop: MakeShop,
    recorder: CallRecorder,
    lose: Lose,
    make_aws_client: Callable[[str, str], Any],
    local_stack: StackAddress,
    results_in: str,
) -> None:
    caller = shop("auto", results_in=results_in)
    await send_everything(caller, lose)
    queue = caller.topology().queue_named("work").name
    sqs = make_aws_client("sqs", local_stack.endpoint_url)
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    function = shop("auto")
    handler = function.lambda_handler()
    end_two_tasks(function)
    unknown = json.dumps({"task": "shop.nobody", "id": str(uuid4())})
    sqs.send_message(QueueUrl=url, MessageBody=unknown)

    def poll() -> bool:
        """Receive a batch and run it, as Lambda's pollers do; return whether there were messages."""
        found = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=0,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        failed = handler({"Records": [record_of(each, queue) for each in found]}, Context()) if found else {}
        left = {each["itemIdentifier"] for each in failed.get("batchItemFailures", [])}
        for each in found:
            if each["MessageId"] not in left:
                # A dead-lettered message is deleted already, which is an error in the emulator but not on AWS.
                with contextlib.suppress(sqs.exceptions.ReceiptHandleIsInvalid):
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return bool(found)

    while poll():
        pass
    seen = recorder.used()
    await redrive(caller, 2)
    recorder.forget()
    vars(function)["mended"] = True
    poll()
    assert_exact(function, f"{queue.removeprefix(f'{function.main}-')}-function", seen | recorder.used())


APPLIED = """
import os
from taskq_cloud import TaskQ

app = TaskQ(
    os.environ["APPLIED"],
    broker=f"sqs:///{os.environ['APPLIED']}-",
    results=f"dynamodb://{os.environ['APPLIED']}-results",
    scheduler=f"eventbridge://{os.environ['APPLIED']}?role=arn:aws:iam::000000000000:role/{os.environ['APPLIED']}-scheduler",
    task_default_queue="work",
    beat_schedule={name: {"task": "shop.length", "args": ["abc"], "schedule": when} for name, when in ENTRIES},
)
app.task(name="shop.length", time_limit=5)(len)
app.task(name="shop.report", time_limit=3600, queue="reports.fifo")(len)
"""


def test_applier_uses_exactly_its_permissions(
    make_app: Callable[..., TaskQ], recorder: CallRecorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app = make_app(scheduler=True)
    drive(app, Provisioner(app.topology()).run())
    recorder.forget()
    assert app.main is not None
    monkeypatch.setenv("APPLIED", app.main)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = ([("a", "0 3 * * *"), ("b", "0 4 * * *")], [("a", "0 5 * * *")])
    for number, each in enumerate(entries):
        (tmp_path / f"applied_{number}.py").write_text(f"ENTRIES = {each}\n{APPLIED}")
        done = CliRunner().invoke(main, ["beat", "apply", "-A", f"applied_{number}", "--yes", "--prune"])
        assert done.exit_code == 0, done.output
    assert_exact(app, "applier", recorder.used())


BY_THE_PLATFORM = {
    # Lambda Developer Guide, "services-sqs-configure": the execution role of a function that reads a queue.
    "PollQueue": {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"},
    # Lambda Developer Guide, "lambda-intro-execution-role"; Terraform creates the log group.
    "WriteLogs": {"logs:CreateLogStream", "logs:PutLogEvents"},
    # SQS Developer Guide, "sqs-key-management": producers and consumers; DynamoDB and S3 need no others.
    "UseKey": {"kms:Decrypt", "kms:GenerateDataKey"},
    # EventBridge Scheduler User Guide, "encryption-rest": who names a key for a schedule.
    "EncryptSchedules": {"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"},
    # EventBridge Scheduler User Guide, "setting-up": the execution role of a schedule whose target is a queue.
    "SendTasks": {"sqs:SendMessage"},
}
"""The permissions for calls that the platform itself makes, as AWS's pages list them."""


def test_platform_permissions_match_the_providers_pages() -> None:
    role = "arn:aws:iam::000000000000:role/sender"
    dead = "arn:aws:sqs:eu-west-1:000000000000:late"
    app = TaskQ(
        "shop",
        broker="sqs:///shop-",
        scheduler=f"eventbridge://shop?role={role}&dead_letter={dead}",
        task_default_queue="work",
        deployment={"kms_key_arn": "arn:aws:kms:eu-west-1:000000000000:key/k"},
    )
    app.task(name="shop.length", time_limit=5)(len)
    app.task(name="shop.report", queue="reports")(len)
    found: dict[str, dict[str | None, set[str]]] = {}
    for each in app.topology().roles:
        for statement in each.statements:
            if statement.by == "platform":
                assert set(statement.actions) == BY_THE_PLATFORM[statement.sid]
                names = {arn.split(":", 5)[5] for arn in statement.resources}
                found.setdefault(statement.sid, {}).setdefault(each.assumed_by, set()).update(names)
    assert set(found.pop("EncryptSchedules")) == {None, "ecs-tasks.amazonaws.com", "lambda.amazonaws.com"}
    key = found.pop("UseKey")
    assert set(key) == {None, "ecs-tasks.amazonaws.com", "lambda.amazonaws.com", "scheduler.amazonaws.com"}
    assert found == {
        "PollQueue": {"lambda.amazonaws.com": {"shop-work"}},
        "WriteLogs": {"lambda.amazonaws.com": {"log-group:/aws/lambda/shop-work:*"}},
        "SendTasks": {"scheduler.amazonaws.com": {"shop-work", "shop-reports", "late"}},
    }


def test_role_can_be_passed_to_the_scheduler_only() -> None:
    app = TaskQ("shop", broker="sqs:///", scheduler="eventbridge://shop?role=arn:aws:iam::000000000000:role/sender")
    app.task(name="shop.length", time_limit=5)(len)
    roles = [app.topology().role_named(f"shop-{each}") for each in ("applier", "celery-function", "producer")]
    for role in roles:
        (passed,) = [each for each in role.statements if "iam:PassRole" in each.actions]
        assert passed.resources == ("arn:aws:iam::000000000000:role/sender",)
        (condition,) = passed.conditions
        assert (condition.key, condition.values) == ("iam:PassedToService", ("scheduler.amazonaws.com",))


def test_roles_may_use_only_the_declared_key() -> None:
    key = "arn:aws:kms:eu-west-1:000000000000:key/k"
    app = TaskQ("shop", broker="sqs:///", scheduler="eventbridge://shop?role=arn:aws:iam::000000000000:role/sender")
    app.task(name="shop.length", time_limit=5)(len)
    app.task(name="shop.report", queue="reports")(len)
    without = app.topology()
    app.conf.deployment["kms_key_arn"] = key
    keyed = app.topology()
    assert not [s for role in without.roles for s in role.statements if s.sid == "UseKey"]
    for role in keyed.roles:
        found = {s.sid: (s.actions, s.resources) for s in role.statements if any("kms:" in each for each in s.actions)}
        expected: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        if role.name != "shop-applier":  # it reads no message, and the attributes of a queue need no key
            expected["UseKey"] = (("kms:Decrypt", "kms:GenerateDataKey"), (key,))
        if role.assumed_by != "scheduler.amazonaws.com":
            expected["EncryptSchedules"] = (("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"), (key,))
        assert found == expected, role.name


def test_scheduler_may_use_the_key_that_its_setting_names() -> None:
    own = "arn:aws:kms:eu-west-1:000000000000:key/own"
    role = "arn:aws:iam::000000000000:role/sender"
    for deployment in ({}, {"kms_key_arn": "arn:aws:kms:eu-west-1:000000000000:key/k"}):
        scheduler = f"eventbridge://shop?role={role}&kms_key={own}"
        app = TaskQ("shop", broker="sqs:///", scheduler=scheduler, deployment=deployment)
        app.task(name="shop.length", time_limit=5)(len)
        topology = app.topology()
        used = {each.name: {s.sid for s in each.statements if own in s.resources} for each in topology.roles}
        assert used.pop("sender") == {"ReadSchedules"}
        assert set(map(tuple, used.values())) == {("EncryptSchedules",)}
        assert topology.environment["TASKQ_SCHEDULER"] == scheduler


WORK = "arn:aws:sqs:eu-west-1:000000000000:work"


def test_key_of_a_deployment_reaches_the_schedules_of_late_tasks() -> None:
    key = "arn:aws:kms:eu-west-1:000000000000:key/k"
    app = TaskQ(
        "shop",
        broker="sqs:///",
        scheduler="eventbridge://shop?role=arn:aws:iam::000000000000:role/sender",
        deployment={"kms_key_arn": key},
    )
    app.task(name="shop.length", time_limit=5)(len)
    topology = app.topology()
    (function,) = topology.functions
    for environment in (topology.environment, function.environment):
        late = scheduler_from_url(environment["TASKQ_SCHEDULER"], {})
        schedule = PlatformSchedule(name="once.t", when=datetime(2030, 1, 1, tzinfo=UTC), target=WORK, body="{}")
        recorded = Recorder(lambda call: {})
        run(late.put([schedule]), recorded)
        assert recorded.calls[0].parameters["KmsKeyArn"] == key
