"""A pytest plugin that fails the run if the library makes a call on AWS, in any test, that no policy allows.

The calls are recorded where the library makes them (``clients.aws``), so the calls of fixtures, which create resources
that the library never creates, are not recorded. Child processes record nothing. At the end of the run, the calls are
compared with the policies that ``taskq topology`` generates: the calls of a worker with a service's policy, the calls
of a Lambda handler with a function's policy, and other calls with the policies of all roles together. The calls of
``taskq provision`` and ``taskq doctor`` are compared with their pages. ``tests/deploy/topology/test_permissions``
checks the other direction: no role is allowed more than its work needs.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import pytest

from taskq_cloud import TaskQ
from taskq_cloud.core.flows import Call
from taskq_cloud.core.model.capabilities import dead_letter_queue
from taskq_cloud.deploy.doctor.calls import action_of
from taskq_cloud.deploy.topology.formats import iam
from tests.permissions import Used, compare

ANYONE, WORKER, FUNCTION, OPERATOR = "anyone", "worker", "function", "operator"

BY_HAND: Final = {
    (
        "secretsmanager:GetSecretValue",
        "secretsmanager:any",
    ): "secrets: Terraform's lambda_worker allows them",
    ("ssm:GetParameter", "ssm:any"): "secrets of a function: Terraform's lambda_worker allows it",
    ("sqs:PurgeQueue", "sqs:shop-work"): "taskq purge",
    ("sqs:GetQueueAttributes", "sqs:shop-work"): "taskq queues, taskq purge, taskq worker --burst",
    ("sqs:GetQueueAttributes", "sqs:shop-work-dead"): "taskq queues",
    ("sqs:PurgeQueue", "sqs:shop-work-dead"): "taskq purge on a dead-letter queue",
    ("sqs:ReceiveMessage", "sqs:shop-work-dead"): "dead letters that are read, or moved back",
    ("sqs:DeleteMessage", "sqs:shop-work-dead"): "dead letters that are moved back",
    ("sqs:ChangeMessageVisibility", "sqs:shop-work-dead"): "dead letters that are read, or moved back",
}
"""Permissions that no role needs, with the commands and actions of an operator that use them."""

_OTHER_NAMES: Final = {"s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket"}
_OWN_NAME: Final = re.compile(r"Batch$")

_recorded: set[tuple[str, str, str]] = set()
"""The caller, the permission and the resource of each call; resources are named as in the application ``shop``."""

_who: ContextVar[str] = ContextVar("_who", default=ANYONE)


@dataclass(frozen=True, slots=True)
class OperatorCall(Call):
    """A call of ``taskq provision`` or ``taskq doctor``."""


def used_by(call: Call) -> Iterator[Used]:
    """The permissions that a call uses, on resources named as in the application ``shop``."""
    action, parameters = action_of(call.service, call.operation), call.parameters
    if call.service == "sqs":
        queue = str(parameters.get("QueueName") or parameters.get("QueueUrl", "any")).rpartition("/")[2]
        dead = "-dead" if queue.removesuffix(".fifo").endswith(dead_letter_queue("")) else ""
        yield Used(_OWN_NAME.sub("", action), f"sqs:shop-work{dead}")
    elif call.service == "dynamodb":
        statements = [str(each["Statement"]).partition(" ")[0] for each in parameters.get("Statements", ())]
        for name in {f"dynamodb:PartiQL{verb.title()}" for verb in statements} or {action}:
            yield Used(name, "dynamodb:table/shop-results")
    elif call.service == "s3":
        action = _OTHER_NAMES.get(action, action)
        yield Used(action, "s3:shop-data/live/key" if "Key" in parameters else "s3:shop-data")
    elif call.service == "scheduler":
        name = "*/*" if call.operation == "list_schedules" else f"shop/{call.parameters.get('Name', 'name')}"
        yield Used(action, f"scheduler:schedule/{name}")
        if "Target" in parameters:
            yield Used("iam:PassRole", "iam:role/sender")
    else:
        yield Used(action, f"{call.service}:any")


def policies() -> dict[str, list[Mapping[str, Any]]]:
    """The policy statements of each caller, for an application with every kind of resource, on either result store."""
    found: dict[str, list[Mapping[str, Any]]] = {ANYONE: [], WORKER: [], FUNCTION: []}
    for results in ("dynamodb://shop-results", "s3://shop-data/live"):
        app = TaskQ(
            "shop",
            broker="sqs://eu-west-1/shop-",
            results=results,
            payloads="s3://shop-data/live",
            scheduler="eventbridge://shop?role=arn:aws:iam::000000000000:role/sender",
            task_default_queue="work",
        )
        for runtime, who in (("container", WORKER), ("lambda", FUNCTION)):
            app.conf.deployment["runtime"] = runtime
            app.task(name="shop.length", time_limit=5)(len)
            topology = app.topology()
            for role, policy in iam.policies(topology, iam.ArnPlaceholders("000000000000")).items():
                # A statement for calls that the platform makes in a role's name allows no call of the library.
                own = {each.sid for each in topology.role_named(role).statements if each.by == "application"}
                statements = [each for each in policy["Statement"] if each["Sid"] in own]
                found[ANYONE] += statements
                if role.endswith(("-service", "-function")):
                    found[who] += statements
        app.close()
    return found


def not_allowed(calls: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return a line for each call that no policy allows.

    Args:
        calls: the caller, the permission and the resource of each call.
    """
    allowed = policies()
    documented = _documented()
    wrong = []
    for who, action, resource in sorted(calls):
        if who == OPERATOR:
            fine = action in documented
        else:
            fine = (action, resource) in BY_HAND or not compare([Used(action, resource)], allowed[who]).missing
        if not fine:
            where = "docs/provision.md or docs/doctor.md" if who == OPERATOR else "taskq topology --format iam"
            wrong.append(f"{who}: {action} of {resource} is in no policy of {where}")
    return wrong


def _documented() -> set[str]:
    """The permissions that the pages of ``taskq provision`` and ``taskq doctor`` list."""
    from tests.docs.test_tables import rows  # a test module, which pytest must be the first to import

    found = {
        action for _, actions in rows("doctor.md", "## Permissions") for action in re.findall(r"[\w]+:\w+", actions)
    }
    names = {"SQS": "sqs", "DynamoDB": "dynamodb", "S3": "s3", "EventBridge Scheduler": "scheduler", "Lambda": "lambda"}
    for row in rows("provision.md"):
        if row[0] in names:
            found.update(f"{names[row[0]]}:{each}" for cell in row[1:] for each in re.findall(r"`(\w+)`", cell))
    return found


def note(call: Call) -> None:
    """Record a call."""
    who = OPERATOR if isinstance(call, OperatorCall) else _who.get()
    _recorded.update((who, used.action, used.resource) for used in used_by(call))


@contextmanager
def _as(who: str) -> Iterator[None]:
    token = _who.set(who)
    try:
        yield
    finally:
        _who.reset(token)


def _install(patch: pytest.MonkeyPatch) -> None:
    # These need the AWS SDK, which is optional: without it, the tests without AWS still run.
    from taskq_cloud.clients import aws
    from taskq_cloud.deploy import provision
    from taskq_cloud.deploy.doctor import calls as asking
    from taskq_cloud.serverless import aws_lambda
    from taskq_cloud.worker.supervisor import Worker

    call, call_async = aws.AWSClient.call, aws.AsyncAWSClient.call
    serve, make_handler = Worker.serve, aws_lambda.make_handler

    @functools.wraps(call)
    def noted(client: aws.AWSClient, step: Call) -> Any:
        note(step)
        return call(client, step)

    @functools.wraps(call_async)
    async def noted_async(client: aws.AsyncAWSClient, step: Call) -> Any:
        note(step)
        return await call_async(client, step)

    @functools.wraps(serve)
    async def serve_as_worker(worker: Worker) -> None:
        with _as(WORKER):
            await serve(worker)

    @functools.wraps(make_handler)
    def make_noted(*arguments: Any, **more: Any) -> Callable[..., Any]:
        handler = make_handler(*arguments, **more)

        @functools.wraps(handler)
        def handle(event: Any, context: Any) -> Any:
            with _as(FUNCTION):
                return handler(event, context)

        return handle

    patch.setattr(aws.AWSClient, "call", noted)
    patch.setattr(aws.AsyncAWSClient, "call", noted_async)
    patch.setattr(Worker, "serve", serve_as_worker)
    patch.setattr(aws_lambda, "make_handler", make_noted)
    patch.setattr(asking, "Call", OperatorCall)
    patch.setattr(provision, "Call", OperatorCall)


_PATCH: Final = pytest.StashKey[pytest.MonkeyPatch]()
_WRONG: Final = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_PATCH] = pytest.MonkeyPatch()
    try:
        _install(config.stash[_PATCH])
    except ImportError:
        # Without the SDK, no test makes a call on AWS.
        return


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Add the calls that a process of pytest-xdist recorded. A process that crashed reports none."""
    del error
    _recorded.update(tuple(each) for each in getattr(node, "workeroutput", {}).get("recorded_calls", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["recorded_calls"] = sorted(_recorded)
        return
    wrong = session.config.stash[_WRONG] = not_allowed(_recorded)
    if wrong and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    wrong = config.stash.get(_WRONG, [])
    if wrong:
        terminalreporter.section("calls that no policy allows", red=True)
        for line in wrong:
            terminalreporter.line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_PATCH].undo()
