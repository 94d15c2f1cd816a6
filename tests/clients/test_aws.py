"""Test the AWS clients with both drivers on the local stack, through a proxy that counts requests or fails them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ParamValidationError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from botocore.session import Session

from emulators.call_counter import CallCounter, Fault
from taskq_cloud.clients import aws, aws_sdk
from taskq_cloud.clients.async_connections import AsyncConnections
from taskq_cloud.clients.connections import Connections
from taskq_cloud.core.flows import Call, CallError, Flow, Gather, Trouble
from taskq_cloud.core.ports import Service
from taskq_cloud.errors import ImproperlyConfigured
from tests.conftest import StackAddress

Run = Callable[[Flow[Any]], Any]


@pytest.fixture
def counter(local_stack: StackAddress, aws_environment: dict[str, str]) -> Iterator[CallCounter]:
    with CallCounter(local_stack.endpoint_url) as counter:
        yield counter


def _services(endpoint_url: str | None, **options: Any) -> dict[str, Service]:
    options = {"region": "eu-west-1", "endpoint_url": endpoint_url, **options}
    return {name: Service("aws", tuple(sorted(options.items()))) for name in ("sqs", "dynamodb")}


@pytest.fixture(params=["sync", "async", "sync-sdk", "async-sdk"])
async def run(request: pytest.FixtureRequest, counter: CallCounter) -> Any:
    """Run a flow in this thread or on the loop, with the lean driver or the SDK; ``await run(flow)`` works for all."""
    services = _services(counter.endpoint_url, lean=not request.param.endswith("sdk"))
    if request.param.startswith("async"):
        connections = AsyncConnections(services)
        yield connections.run
        await connections.close()
    else:
        blocking = Connections(services)

        async def run_blocking(flow: Flow[Any]) -> Any:
            return blocking.run(flow)

        yield run_blocking
        blocking.close()


@pytest.fixture
def url(make_queue: Callable[..., str], sqs_client: Any) -> str:
    return str(sqs_client.get_queue_url(QueueName=make_queue())["QueueUrl"])


def _one(step: Any) -> Flow[Any]:
    return (yield step)


def _send(url: str, body: str = "x") -> Call:
    return Call("sqs", "send_message", {"QueueUrl": url, "MessageBody": body})


def _bodies(sqs_client: Any, url: str) -> list[str]:
    answer = sqs_client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return sorted(message["Body"] for message in answer.get("Messages", []))


async def test_call_is_made_once_and_returns_the_sdks_answer(
    run: Any, counter: CallCounter, url: str, sqs_client: Any
) -> None:
    answer = await run(_one(_send(url)))
    assert answer["MessageId"]
    assert _bodies(sqs_client, url) == ["x"]
    assert counter.counts() == {"SendMessage": 1}


@pytest.mark.parametrize("fault", ["throttle", "reset_before", "server_error"])
async def test_throttled_or_broken_call_is_repeated_until_it_succeeds(
    run: Any, counter: CallCounter, url: str, sqs_client: Any, fault: Fault
) -> None:
    counter.fail_next("SendMessage", fault, times=2)
    await run(_one(_send(url)))
    assert counter.counts() == {"SendMessage": 3}
    assert _bodies(sqs_client, url) == ["x"]


async def test_sdk_repeats_no_call_by_itself(run: Any, counter: CallCounter, url: str) -> None:
    # core.flows makes five attempts; an SDK with retries of its own would make more.
    counter.fail_next("SendMessage", "server_error", times=100)
    with pytest.raises(CallError) as caught:
        await run(_one(_send(url)))
    assert caught.value.trouble is Trouble.TRANSIENT
    assert counter.counts() == {"SendMessage": 5}


async def test_send_with_lost_answer_is_repeated(run: Any, counter: CallCounter, url: str, sqs_client: Any) -> None:
    counter.fail_next("SendMessage", "reset_after")
    await run(_one(_send(url, "twice")))
    assert _bodies(sqs_client, url) == ["twice", "twice"]


async def test_expired_token_opens_a_client_with_new_credentials(
    run: Any, counter: CallCounter, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(_one(_send(url)))
    opened = _count_openings(monkeypatch)
    counter.fail_next("SendMessage", "expired_token")
    await run(_one(_send(url)))
    assert opened == ["sqs"]
    assert counter.counts() == {"SendMessage": 3}


async def test_credentials_still_expired_after_one_renewal_are_an_error(
    run: Any, counter: CallCounter, url: str
) -> None:
    counter.fail_next("SendMessage", "expired_token", times=100)
    with pytest.raises(CallError) as caught:
        await run(_one(_send(url)))
    assert caught.value.trouble is Trouble.CREDENTIALS
    assert caught.value.code == "ExpiredTokenException"
    assert counter.counts() == {"SendMessage": 2}


async def test_gathered_calls_fail_independently(run: Any, counter: CallCounter, url: str, sqs_client: Any) -> None:
    missing = url + "-missing"
    answers = await run(_one(Gather([_send(url, "a"), _send(missing), _send(url, "b")])))
    assert answers[0]["MessageId"]
    assert answers[2]["MessageId"]
    assert isinstance(answers[1], CallError)
    assert answers[1].code == "AWS.SimpleQueueService.NonExistentQueue"
    assert answers[1].trouble is Trouble.REFUSED
    assert _bodies(sqs_client, url) == ["a", "b"]


async def test_refused_call_is_not_repeated_and_keeps_the_services_code(
    run: Any, counter: CallCounter, make_table: Callable[..., str]
) -> None:
    call = Call("dynamodb", "get_item", {"TableName": "no-such-table", "Key": {"id": {"S": "1"}}})
    with pytest.raises(CallError) as caught:
        await run(_one(call))
    assert (caught.value.code, caught.value.trouble) == ("ResourceNotFoundException", Trouble.REFUSED)
    assert caught.value.call is call
    assert counter.counts() == {"GetItem": 1}


async def test_malformed_call_is_refused_without_a_request(run: Any, counter: CallCounter) -> None:
    with pytest.raises(CallError, match="MessageBody") as caught:
        await run(_one(Call("sqs", "send_message", {"QueueUrl": "x"})))
    assert (caught.value.code, caught.value.trouble) == ("ParamValidationError", Trouble.REFUSED)
    assert counter.total() == 0


async def test_missing_credentials_error_says_where_to_put_them(
    run: Any, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(CallError, match=r"AWS_ACCESS_KEY_ID.*AWS_PROFILE.*role"):
        await run(_one(_send(url)))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    assert await run(_one(_send(url))), "the same connections work once the credentials are there"


async def test_missing_token_of_a_web_identity_is_a_missing_credential(
    run: Any, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/shop")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(CallError, match=r"/nowhere/token.*AWS_ACCESS_KEY_ID") as caught:
        await run(_one(_send(url)))
    assert caught.value.trouble is Trouble.CREDENTIALS


@pytest.mark.parametrize("command", ["/nowhere/credentials", "echo []", "echo {"])
async def test_malformed_credentials_are_named(
    run: Any, monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path, command: str
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\ncredential_process = {command}\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(ImproperlyConfigured, match=r"can't be read .*check the AWS_ variables, ~/\.aws/config"):
        await run(_one(_send(url)))


async def test_missing_region_error_says_where_to_put_it(
    run: Any, monkeypatch: pytest.MonkeyPatch, aws_environment: dict[str, str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ImproperlyConfigured, match=r"sqs://eu-west-1/\.\.\..*AWS_DEFAULT_REGION"):
        Connections(_services(None, region="")).run(_one(_send("x")))
    with pytest.raises(ImproperlyConfigured, match=r"sqs://eu-west-1/\.\.\..*AWS_DEFAULT_REGION"):
        await AsyncConnections(_services(None, region="")).run(_one(_send("x")))


@pytest.mark.parametrize("endpoint_url", ["no url", "http://"])
async def test_malformed_endpoint_is_improperly_configured(aws_environment: dict[str, str], endpoint_url: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        Connections(_services(endpoint_url)).run(_one(_send("x")))
    with pytest.raises(ImproperlyConfigured):
        await AsyncConnections(_services(endpoint_url)).run(_one(_send("x")))


async def test_unreachable_endpoint_is_transient(aws_environment: dict[str, str]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        services = _services(f"http://127.0.0.1:{held.getsockname()[1]}")
        with pytest.raises(CallError) as caught:
            Connections(services).run(_one(_send("x")))
        assert (caught.value.code, caught.value.trouble) == ("EndpointConnectionError", Trouble.TRANSIENT)
        connections = AsyncConnections(services)
        with pytest.raises(CallError) as caught:
            await connections.run(_one(_send("x")))
        assert (caught.value.code, caught.value.trouble) == ("EndpointConnectionError", Trouble.TRANSIENT)
        await connections.close()


def test_endpoint_of_the_environment_is_used_when_options_have_none(
    counter: CallCounter, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", counter.endpoint_url)
    connections = Connections({"sqs": Service("aws")})
    connections.run(_one(_send(url)))
    connections.close()
    assert counter.counts() == {"SendMessage": 1}


# Python 3.12 and later warn of a fork beside threads. The only thread is the call counter's, which the child never
# uses.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_opens_its_own_connections(counter: CallCounter, url: str, sqs_client: Any) -> None:
    connections = Connections(_services(counter.endpoint_url))
    connections.run(_one(_send(url, "before")))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            connections.run(_one(Gather([_send(url, "child 1"), _send(url, "child 2")])))
            code = 0
        finally:
            os._exit(code)
    connections.run(_one(_send(url, "parent")))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    connections.close()
    assert _bodies(sqs_client, url) == ["before", "child 1", "child 2", "parent"]


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ReadTimeoutError(endpoint_url="http://x"), Trouble.TRANSIENT),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), Trouble.TRANSIENT),
        (ResponseParserError("<html>"), Trouble.TRANSIENT),
        (ParamValidationError(report="wrong"), Trouble.REFUSED),
    ],
)
def test_sdk_exception_without_an_answer_has_its_trouble(error: Exception, trouble: Trouble) -> None:
    class Failing:
        def send_message(self, **parameters: Any) -> None:
            raise error

    with pytest.raises(CallError) as caught:
        aws_sdk.BotocoreClient(Failing()).call(_send("x"))
    assert caught.value.trouble is trouble
    assert caught.value.code == type(error).__name__


@pytest.mark.parametrize(
    ("code", "status", "trouble"),
    [
        ("ProvisionedThroughputExceededException", 400, Trouble.THROTTLED),
        ("RequestThrottled", 403, Trouble.THROTTLED),
        ("ServiceUnavailable", 503, Trouble.TRANSIENT),
        ("SomethingNew", 500, Trouble.TRANSIENT),
        ("ExpiredToken", 403, Trouble.CREDENTIALS),
        ("InvalidClientTokenId", 403, Trouble.CREDENTIALS),
        ("AccessDenied", 403, Trouble.REFUSED),
        ("ConditionalCheckFailedException", 400, Trouble.REFUSED),
    ],
)
def test_service_error_code_has_its_trouble(code: str, status: int, trouble: Trouble) -> None:
    answer: Any = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}

    class Failing:
        def send_message(self, **parameters: Any) -> None:
            raise ClientError(answer, "SendMessage")

    with pytest.raises(CallError, match=rf"sqs\.send_message: {code}: why") as caught:
        aws_sdk.BotocoreClient(Failing()).call(_send("x"))
    assert caught.value.trouble is trouble


def _packages(code: str) -> set[str]:
    """The packages that a new process imports for the client, without what the rest of this package needs."""
    program = (
        "import sys, types\n"
        "import taskq_cloud.clients\n"
        "folder = sys.modules['taskq_cloud'].__path__\n"
        "for name in [name for name in sys.modules if name not in before]: del sys.modules[name]\n"
        "sys.modules['taskq_cloud'] = types.ModuleType('taskq_cloud')\n"
        "sys.modules['taskq_cloud'].__path__ = folder\n"
        "started = set(sys.modules)\n"
        f"{code}\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - started}))"
    )
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    program = "import sys\nbefore = set(sys.modules)\n" + program
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return set(printed.stdout.split())


OPEN = (
    "from taskq_cloud.clients.aws import open_client; open_client('sqs', {{'region': 'eu-west-1', 'lean': {}}}).close()"
)


def test_synchronous_client_imports_no_sdk_and_no_event_loop() -> None:
    packages = _packages(OPEN.format(True))
    assert {"socket", "hmac"} <= packages
    assert packages.isdisjoint({"boto3", "botocore", "aiobotocore", "aiohttp", "urllib3", "pydantic"})
    assert packages.isdisjoint({"asyncio", "concurrent", "email", "ssl"})


def test_sdk_of_synchronous_client_is_botocore_alone() -> None:
    packages = _packages(OPEN.format(False))
    assert "botocore" in packages
    assert packages.isdisjoint({"boto3", "s3transfer", "aiobotocore", "aiohttp"})


def _count_openings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    open_client, open_async_client = aws.open_client, aws.open_async_client

    def counted(service: str, options: Any) -> Any:
        opened.append(service)
        return open_client(service, options)

    async def counted_async(service: str, options: Any) -> Any:
        opened.append(service)
        return await open_async_client(service, options)

    monkeypatch.setattr(aws, "open_client", counted)
    monkeypatch.setattr(aws, "open_async_client", counted_async)
    return opened


async def test_opened_client_does_not_announce_its_credentials(
    run: Any, caplog: pytest.LogCaptureFixture, counter: CallCounter, url: str
) -> None:
    caplog.set_level("INFO")
    await run(_one(_send(url)))
    assert counter.total() == 1
    assert [record.name for record in caplog.records if record.name.startswith(("botocore", "aiobotocore"))] == []
    Session().get_credentials()  # others' sessions are heard
    assert [record.name for record in caplog.records if "Found credentials" in record.getMessage()] == [
        "botocore.credentials"
    ]
