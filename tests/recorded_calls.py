"""A plugin of the whole run: every call that the library makes on AWS, in any test, is one that a policy allows.

The calls are written down where the library makes them (``clients.aws``), so those of fixtures, which set up what the
runtime never creates, are not among them. At the end of the run they are held against the policies that
``taskq topology`` generates: what a worker calls against a service's, what a Lambda handler calls against a function's,
what else is called against all roles' together, what ``taskq provision`` and ``taskq doctor`` call against their pages.
A call that none of them allows makes the run fail. Child processes keep no record. The other direction, that nothing
is allowed that no work of a role takes, is ``tests/topology/test_permissions``'.
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
    ("sqs:PurgeQueue", "sqs:shop-work"): "taskq purge",
    ("sqs:GetQueueAttributes", "sqs:shop-work"): "taskq queues, taskq purge, taskq worker --burst",
    ("sqs:GetQueueAttributes", "sqs:shop-work-dead"): "taskq queues",
    ("sqs:PurgeQueue", "sqs:shop-work-dead"): "taskq purge, of dead letters",
    ("sqs:ReceiveMessage", "sqs:shop-work-dead"): "dead letters that are looked at, or moved back",
    ("sqs:DeleteMessage", "sqs:shop-work-dead"): "the same",
    ("sqs:ChangeMessageVisibility", "sqs:shop-work-dead"): "the same",
}
"""What no role's own work takes: the commands and the deeds of an operator, with what each is for."""

_OTHER_NAMES: Final = {"s3:HeadObject": "s3:GetObject", "s3:ListObjectsV2": "s3:ListBucket"}
_OWN_NAME: Final = re.compile(r"Batch$")

_recorded: set[tuple[str, str, str]] = set()
"""Who made the call, the permission that it took, and on what: the name in the application that stands for all."""

_who: ContextVar[str] = ContextVar("_who", default=ANYONE)


@dataclass(frozen=True, slots=True)
class OperatorCall(Call):
    """A call of ``taskq provision`` or ``taskq doctor``."""


def used_by(call: Call) -> Iterator[Used]:
    """The permissions that a call takes, on what it would be about in the application ``shop``."""
    action, parameters = action_of(call.service, call.operation), call.parameters
    if call.service == "sqs":
        queue = str(parameters.get("QueueName") or parameters["QueueUrl"]).rpartition("/")[2]
        dead = "-dead" if queue.removesuffix(".fifo").endswith(dead_letter_queue("")) else ""
        yield Used(_OWN_NAME.sub("", action), f"sqs:shop-work{dead}")
    elif call.service == "dynamodb":
        yield Used(action, "dynamodb:table/shop-results")
    elif call.service == "s3":
        action = _OTHER_NAMES.get(action, action)
        yield Used(action, "s3:shop-data/live/key" if "Key" in parameters else "s3:shop-data")
    elif call.service == "scheduler":
        name = "*/*" if call.operation == "list_schedules" else "shop/name"
        yield Used(action, f"scheduler:schedule/{name}")
        if "Target" in parameters:
            yield Used("iam:PassRole", "iam:role/sender")
    else:
        yield Used(action, f"{call.service}:any")


def policies() -> dict[str, list[Mapping[str, Any]]]:
    """The statements of whoever makes calls, of an application that has everything, with either store of results."""
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
                # What the platform calls in a role's name allows none of the library's calls.
                own = {each.sid for each in topology.role_named(role).statements if each.by == "application"}
                statements = [each for each in policy["Statement"] if each["Sid"] in own]
                found[ANYONE] += statements
                if role.endswith(("-service", "-function")):
                    found[who] += statements
        app.close()
    return found


def not_allowed(calls: Iterable[tuple[str, str, str]]) -> list[str]:
    """What was called and nobody allows, a line each.

    Args:
        calls: who, the permission, and on what.
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
    """What the pages of ``taskq provision`` and ``taskq doctor`` say that they take."""
    from tests.docs.test_tables import rows  # a test module: pytest is to be the first to import it

    found = {
        action for _, actions in rows("doctor.md", "## Permissions") for action in re.findall(r"[\w]+:\w+", actions)
    }
    names = {"SQS": "sqs", "DynamoDB": "dynamodb", "S3": "s3", "EventBridge Scheduler": "scheduler"}
    for row in rows("provision.md"):
        if row[0] in names:
            found.update(f"{names[row[0]]}:{each}" for cell in row[1:] for each in re.findall(r"`(\w+)`", cell))
    return found


def note(call: Call) -> None:
    """Write a call down."""
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
    from taskq_cloud.clients import aws  # where the SDK is missing, the tests without AWS still run
    from taskq_cloud.deploy import provision  # with it
    from taskq_cloud.deploy.doctor import calls as asking  # with it
    from taskq_cloud.serverless import aws_lambda  # the same
    from taskq_cloud.worker.supervisor import Worker  # with it

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
        # Without the SDK no test makes a call on AWS.
        return


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """What one of pytest-xdist's processes has written down; one that crashed has said nothing."""
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
