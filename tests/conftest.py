"""The local AWS stack for the tests that ask for it: all processes of a run share one stack.

``TASKQ_TEST_STACK`` names the kind of stack (ministack, localstack); ``AWS_ENDPOINT_URL`` names a running one. A test
that needs a capability which some stacks lack is marked ``@pytest.mark.needs("fires_schedules")``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from emulators import aws as stacks

pytest_plugins = [
    "tests.celery_state",
    "tests.object_stores",
    "tests.randomised",
    "tests.recorded_calls",
    "tests.servers",
]

_ENDPOINT_VARIABLE = "TASKQ_TEST_AWS_ENDPOINT"
_STACK = pytest.StashKey[stacks.Stack]()
_USES = frozenset({"local_stack", "own_stack"})
SLOW_TIMEOUT_SECONDS = 300
_STACK_CLASS = stacks.STACKS[os.environ.get("TASKQ_TEST_STACK", "ministack")]


@pytest.fixture
def library_loggers() -> Iterator[None]:
    """Undo the changes that a test makes to the library's loggers, and to the loggers below them."""
    logging.getLogger("taskq_cloud")
    before = {
        name: (logger, logger.handlers[:], logger.level, logger.propagate)
        for name, logger in logging.root.manager.loggerDict.items()
        if name.partition(".")[0] == "taskq_cloud" and isinstance(logger, logging.Logger)
    }
    yield
    for logger, handlers, level, propagate in before.values():
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@dataclass(frozen=True)
class StackAddress:
    """The address of the run's AWS stack, which tests can't stop because it lasts as long as the run."""

    endpoint_url: str

    def environment(self) -> dict[str, str]:
        return stacks.environment(self.endpoint_url)


def pytest_configure(config: pytest.Config) -> None:
    # With pytest-xdist the controller starts the one stack that its workers share; without, the fixture does if needed.
    distributes = not hasattr(config, "workerinput") and config.getoption("numprocesses", None)
    if not distributes or config.getoption("collectonly") or _given_endpoint() or _STACK_CLASS.missing():
        return
    stack = _STACK_CLASS()
    stack.start()
    config.stash[_STACK] = stack
    os.environ[_ENDPOINT_VARIABLE] = stack.endpoint_url


@pytest.hookimpl(tryfirst=True)  # before -m decides
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that are slow with one driver, and let the longest tests begin first.

    A run on another stack than the usual one has its tests only.
    """
    for item in items:
        if item.get_closest_marker("slow_async") and "async" in _parameters(item):
            item.add_marker("slow")
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_SECONDS))
    items.sort(key=_is_longest, reverse=True)
    if _STACK_CLASS is stacks.Ministack:
        return
    touching = [item for item in items if _USES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(touching)])
    items[:] = touching


def _is_longest(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("timeout")
    return marker is not None and marker.args[0] > SLOW_TIMEOUT_SECONDS


def _parameters(item: pytest.Item) -> Collection[object]:
    call = getattr(item, "callspec", None)
    return () if call is None else call.params.values()


def pytest_unconfigure(config: pytest.Config) -> None:
    stack = config.stash.get(_STACK, None)
    if stack is not None:
        stack.close()


def _given_endpoint() -> str | None:
    return os.environ.get(_ENDPOINT_VARIABLE) or os.environ.get("AWS_ENDPOINT_URL")


def _require_stack() -> None:
    reason = _STACK_CLASS.missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def local_stack() -> Iterator[StackAddress]:
    """Return the run's AWS stack, or the one that AWS_ENDPOINT_URL names."""
    given = _given_endpoint()
    if given:
        yield StackAddress(given)
        return
    _require_stack()
    with _STACK_CLASS() as stack:
        yield StackAddress(stack.endpoint_url)


@pytest.fixture(scope="session")
def stack_name(local_stack: StackAddress) -> str | None:
    """Return the name of the run's stack, or None if it is another endpoint."""
    return stacks.stack_at(local_stack.endpoint_url)


@pytest.fixture(autouse=True)
def _capable(request: pytest.FixtureRequest) -> None:
    """Skip a test that needs a capability which the run's stack lacks, with the stack's reason."""
    for marker in request.node.iter_markers("needs"):
        reason = stacks.lacking(request.getfixturevalue("stack_name"), *marker.args)
        if reason:
            pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _aws_driver() -> Iterator[None]:
    """Let the SDK make every call on AWS, in this process and in its children, if the run is one of make test-sdk."""
    if os.environ.get("TASKQ_TEST_AWS_DRIVER") != "sdk":
        yield
        return
    from taskq_cloud.clients.lean import environment, sdk_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKQ_AWS_LEAN_CLIENT", "false")
        for module in (environment, sdk_settings):
            patch.setattr(module, "target_of", lambda *_: None)
        yield


@pytest.fixture
def own_stack() -> Iterator[stacks.Stack]:
    """Return a new stack, which the test may stop and start."""
    _require_stack()
    with _STACK_CLASS() as stack:
        yield stack


@pytest.fixture
def aws_environment(local_stack: StackAddress, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Point AWS SDKs in this process at the stack, and return the environment variables for child processes."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    variables = local_stack.environment()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def _aws_client(service: str, endpoint_url: str) -> Any:
    from botocore.session import Session  # an optional requirement: without it, the tests without AWS still run

    from taskq_cloud.clients.aws_sdk import with_shared_models

    return with_shared_models(Session()).create_client(
        service,
        region_name=stacks.REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def make_aws_client() -> Iterator[Callable[[str, str], Any]]:
    """Return a function that opens a client, ``make_aws_client("sqs", endpoint_url)``, to create resources with."""
    clients: list[Any] = []

    def make(service: str, endpoint_url: str) -> Any:
        clients.append(_aws_client(service, endpoint_url))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def sqs_client(local_stack: StackAddress) -> Iterator[Any]:
    client = _aws_client("sqs", local_stack.endpoint_url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def dynamodb_client(local_stack: StackAddress) -> Iterator[Any]:
    client = _aws_client("dynamodb", local_stack.endpoint_url)
    yield client
    client.close()


@pytest.fixture
def make_queue(sqs_client: Any) -> Iterator[Callable[..., str]]:
    """Return a function that creates a queue, which is deleted at the end of the test.

    ``make_queue("work.fifo", VisibilityTimeout="30")`` returns the queue's unique name, ``"work-1a2b3c4d.fifo"``.

    ``make_queue(..., exactly=True)`` keeps the name, for a dead-letter queue whose name follows from its queue's. Keep
    a queue under 1,000 messages: the stack looks at all of them at every receive.
    """
    urls: list[str] = []

    def make(name: str = "queue", *, exactly: bool = False, **attributes: str) -> str:
        stem, dot, suffix = name.partition(".fifo")
        unique = name if exactly else f"{stem}-{uuid4().hex[:8]}{dot}{suffix}"
        if dot:
            attributes["FifoQueue"] = "true"
        urls.append(sqs_client.create_queue(QueueName=unique, Attributes=attributes)["QueueUrl"])
        return unique

    yield make
    for url in urls:
        sqs_client.delete_queue(QueueUrl=url)


@pytest.fixture
def make_schedule_group(local_stack: StackAddress) -> Iterator[Callable[..., str]]:
    """Return a function that creates a schedule group with a unique name; the group is deleted at the end."""
    client = _aws_client("scheduler", local_stack.endpoint_url)
    names: list[str] = []

    def make(name: str = "schedules") -> str:
        names.append(f"{name}-{uuid4().hex[:8]}")
        client.create_schedule_group(Name=names[-1])
        return names[-1]

    yield make
    for name in names:
        client.delete_schedule_group(Name=name)
    client.close()


@pytest.fixture
def make_table(dynamodb_client: Any) -> Iterator[Callable[..., str]]:
    """Return a function that creates a results table with a unique name; the table is deleted at the end."""
    names: list[str] = []

    def make(name: str = "results") -> str:
        unique = f"{name}-{uuid4().hex[:8]}"
        dynamodb_client.create_table(
            TableName=unique,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        names.append(unique)
        dynamodb_client.update_time_to_live(
            TableName=unique, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
        )
        return unique

    yield make
    for name in names:
        dynamodb_client.delete_table(TableName=name)
