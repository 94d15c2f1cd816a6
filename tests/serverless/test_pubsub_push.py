"""The push endpoint over HTTP, as WSGI and as ASGI: who may push, what runs, and what Pub/Sub is told."""

import asyncio
import hmac
import http.client
import io
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from taskq_cloud import TaskQ, chord
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Acknowledge, Message
from taskq_cloud.core.model.outcome import Abandoned, Invocation
from taskq_cloud.errors import ImproperlyConfigured, Retry
from taskq_cloud.serverless.oidc import Forbidden, KeySet, KeysUnavailable, TokenVerifier, Unauthenticated
from taskq_cloud.serverless.pubsub_push import Push
from taskq_cloud.testing.clock import FakeClock
from tests.brokers.pubsub_server import PubSubServer
from tests.serverless.pushing import ACCOUNT, AUDIENCE, Issuer, envelope, post, served_by_asgi, served_by_wsgi

PROJECT = "test-project"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/shop-celery"
TASKS_QUEUE = f"projects/{PROJECT}/locations/europe-west1/queues/later"
DEADLINE_SECONDS = 3.0


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubServer]:
    with PubSubServer(PROJECT) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.host)
        monkeypatch.setenv("CLOUD_TASKS_EMULATOR_HOST", server.host)
        for name in ("shop-celery", "shop-celery-dead"):
            server.make_queue(name)
        yield server


@pytest.fixture
def options() -> dict[str, Any]:
    return {}


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def app(server: PubSubServer, ran: list[Any], options: dict[str, Any]) -> Iterator[TaskQ]:
    app = TaskQ("shop", broker=f"pubsub://{PROJECT}/shop-", results="memory://", broker_transport_options=options)

    @app.task(name="add")
    def add(number: int) -> int:
        ran.append(number)
        return number

    @app.task(name="aadd")
    async def aadd(number: int) -> int:
        ran.append(number)
        return number

    @app.task(name="again")
    def again(number: int) -> int:
        raise Retry(when=30)

    @app.task(name="busy", time_limit=0.3)
    def busy() -> None:
        while True:
            time.sleep(0.01)

    @app.task(name="unlimited")
    def unlimited() -> None:
        while True:
            time.sleep(0.01)

    @app.task(name="long", time_limit=60)
    def long() -> None:
        ran.append("long")

    yield app
    app.close()


@pytest.fixture(params=["wsgi", "asgi"])
def url(request: pytest.FixtureRequest, app: TaskQ, issuer: Issuer) -> Iterator[str]:
    endpoint = app.pubsub_push_handler(
        audience=AUDIENCE, service_account=ACCOUNT, deadline_seconds=DEADLINE_SECONDS, keys_url=issuer.url
    )
    with (served_by_wsgi if request.param == "wsgi" else served_by_asgi)(endpoint) as url:
        yield url
    endpoint.close()


@pytest.fixture
def push(url: str, issuer: Issuer) -> Callable[..., int]:
    """Push a task; the status it is answered with."""

    def push(task: str, *args: Any, attempt: int | None = 1, task_id: str = "t-1", **message: Any) -> int:
        body = json.dumps({"task": task, "id": task_id, "args": args, **message})
        return post(url, envelope(body, SUBSCRIPTION, attempt), issuer.token())[0]

    return push


def dead_letters(server: PubSubServer) -> list[dict[str, str]]:
    held = server.state.subscriptions[f"projects/{PROJECT}/subscriptions/shop-celery-dead"].messages
    return [each.attributes for each in held.values()]


# -- who may push


def test_a_push_with_its_token_runs(push, app, ran):
    assert push("add", 1) == 204
    assert push("aadd", 2, task_id="t-2") == 204
    assert ran == [1, 2]
    assert (app.AsyncResult("t-1").get(timeout=5), app.AsyncResult("t-2").get(timeout=5)) == (1, 2)


def _signed_with_a_public_key(issuer: Issuer) -> str:
    """As if the issuer's public key were a secret shared with it, which a careless verifier believes."""
    public = issuer.keys[issuer.key_id].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer.key_id}
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, issuer.claims())]
    signed = b".".join(parts)
    return b".".join((signed, jwt.utils.base64url_encode(hmac.digest(pem, signed, "sha256")))).decode()


def _altered(issuer: Issuer) -> str:
    head, _, tail = issuer.token().split(".")
    body = jwt.utils.base64url_encode(json.dumps(issuer.claims(exp=9_999_999_999)).encode()).decode()
    return f"{head}.{body}.{tail}"


FORGED = {
    "missing": lambda _: None,
    "no token": lambda _: "x.y.z",
    "unsigned": lambda issuer: jwt.encode(issuer.claims(), None, "none", headers={"kid": issuer.key_id}),
    "a public key as a secret": _signed_with_a_public_key,
    "altered": _altered,
    "expired": lambda issuer: issuer.token(exp=int(time.time()) - 30),
    "from the future": lambda issuer: issuer.token(iat=int(time.time()) + 60),
    "without an end": lambda issuer: issuer.token(exp=None),
    "without an audience": lambda issuer: issuer.token(aud=None),
    "another issuer": lambda issuer: issuer.token(iss="https://accounts.example.com"),
    "a stranger's key": lambda issuer: jwt.encode(
        issuer.claims(), _strangers_key(), "RS256", headers={"kid": issuer.key_id}
    ),
    "a key nobody knows": lambda issuer: jwt.encode(
        issuer.claims(), _strangers_key(), "RS256", headers={"kid": "stranger"}
    ),
}
NOT_FOR_US = {
    "another audience": {"aud": "https://other.example.com/push"},
    "another account": {"email": "someone@my-project.iam.gserviceaccount.com"},
    "no account": {"email": None},
    "an unverified account": {"email_verified": False},
    "an account verified in words": {"email_verified": "true"},
}


def _strangers_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize("forged", FORGED)
def test_without_a_valid_token_nothing_runs(url, issuer, ran, server, forged):
    body = envelope(json.dumps({"task": "add", "args": [1]}), SUBSCRIPTION)
    status, text = post(url, body, FORGED[forged](issuer))
    assert (status, text) == (401, "no valid token")
    assert ran == []
    assert not server.calls


@pytest.mark.parametrize("claims", NOT_FOR_US)
def test_a_token_for_or_of_somebody_else_runs_nothing(url, issuer, ran, claims):
    body = envelope(json.dumps({"task": "add", "args": [1]}), SUBSCRIPTION)
    status, text = post(url, body, issuer.token(**NOT_FOR_US[claims]))
    assert (status, text) == (403, "this token may not push here")
    assert ran == []


def test_clocks_may_differ_a_little(url, issuer, ran):
    now = int(time.time())
    for number, claims in enumerate(({"exp": now - 4}, {"iat": now + 6})):
        body = envelope(json.dumps({"task": "add", "id": f"t-{number}", "args": [number]}), SUBSCRIPTION)
        assert post(url, body, issuer.token(**claims))[0] == 204
    assert ran == [0, 1]


def verifier(issuer: Issuer, clock: FakeClock) -> TokenVerifier:
    return TokenVerifier(KeySet(issuer.url, clock), [AUDIENCE], [ACCOUNT], 10)


def test_keys_are_fetched_once_and_a_new_one_when_it_is_used():
    issuer, clock = Issuer(), FakeClock()
    try:
        verify = verifier(issuer, clock).verify
        for _ in range(5):
            verify(f"Bearer {issuer.token()}")
        assert issuer.fetched == 1
        issuer.rotate("second")
        clock.advance(61)
        verify(f"bearer {issuer.token()}")
        assert issuer.fetched == 2
    finally:
        issuer.close()


def test_whoever_makes_up_keys_makes_no_fetches():
    issuer, clock = Issuer(), FakeClock()
    try:
        verify = verifier(issuer, clock).verify
        verify(f"Bearer {issuer.token()}")
        key = _strangers_key()
        for number in range(20):
            made_up = jwt.encode(issuer.claims(), key, "RS256", headers={"kid": str(number)})
            with pytest.raises(Unauthenticated):
                verify(f"Bearer {made_up}")
        assert issuer.fetched == 1
        issuer.failing = True
        clock.advance(7200)
        verify(f"Bearer {issuer.token()}")  # old keys are better than none
        with pytest.raises(Forbidden):
            verify(f"Bearer {issuer.token(aud='other')}")
    finally:
        issuer.close()


def test_an_answer_that_breaks_off_leaves_the_old_keys():
    issuer, clock = Issuer(), FakeClock()
    try:
        verify = verifier(issuer, clock).verify
        verify(f"Bearer {issuer.token()}")
        issuer.breaks_off = True
        clock.advance(7200)
        verify(f"Bearer {issuer.token()}")
        assert issuer.fetched == 2
    finally:
        issuer.close()


def test_keys_that_are_slow_to_fail_are_not_waited_for_again_at_once():
    issuer, clock = Issuer(), FakeClock()
    issuer.failing, issuer.on_fetch = True, lambda: clock.advance(5)
    try:
        verify = verifier(issuer, clock).verify
        for _ in range(3):
            with pytest.raises(KeysUnavailable):
                verify(f"Bearer {issuer.token()}")
        assert issuer.fetched == 1
    finally:
        issuer.close()


def test_without_keys_the_push_is_to_come_again(app, ran):
    issuer = Issuer()
    issuer.failing = True
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    body = envelope(json.dumps({"task": "add", "args": [1]}), SUBSCRIPTION)
    with served_by_wsgi(endpoint) as url:
        assert post(url, body, issuer.token())[0] == 503
    endpoint.close()
    issuer.close()
    assert ran == []


@pytest.mark.parametrize(
    "wrong", [{"audience": ""}, {"service_account": []}, {"deadline_seconds": 601}, {"deadline_seconds": 1}]
)
def test_what_an_endpoint_is_told_wrongly_is_an_error_at_once(app, wrong):
    with pytest.raises(ImproperlyConfigured, match=f"pubsub_push_handler: {next(iter(wrong))}"):
        app.pubsub_push_handler(**{"audience": AUDIENCE, "service_account": ACCOUNT, **wrong})


# -- what is pushed


def test_an_unwrapped_push_brings_its_metadata_in_headers(url, issuer, app, ran):
    headers = {
        "x-goog-pubsub-subscription-name": SUBSCRIPTION,
        "x-goog-pubsub-message-id": "m-7",
        "x-goog-pubsub-publish-time": "2026-01-02T03:04:05.678Z",
        "Content-Type": "application/json",
    }
    body = json.dumps({"task": "add", "id": "t-7", "args": [7]}).encode()
    assert post(url, body, issuer.token(), headers)[0] == 204
    assert ran == [7]
    assert post(url, body, issuer.token(), {"x-goog-pubsub-message-id": "m-7"})[0] == 400


UNWRAPPED = {"x-goog-pubsub-subscription-name": SUBSCRIPTION, "x-goog-pubsub-message-id": "m-7"}


@pytest.fixture
def broken_off(app, issuer) -> Iterator[Callable[[str], int]]:
    """A push whose sender goes away within its body, by what a server then calls; the status of the answer."""
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    headers = {**UNWRAPPED, "authorization": f"Bearer {issuer.token()}", "content-length": "100"}
    half, statuses = b'{"task": "add", "id": ', []

    def by_wsgi() -> None:
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        environ |= {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "100", "wsgi.input": io.BytesIO(half)}
        list(endpoint(environ, lambda status, _: statuses.append(int(status.split()[0]))))

    def by_asgi() -> None:
        events = [{"type": "http.request", "body": half, "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> dict[str, Any]:
            return events.pop(0)

        async def send(event: dict[str, Any]) -> None:
            statuses.extend([event["status"]] if "status" in event else [])

        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        asyncio.run(endpoint({"type": "http", "method": "POST", "headers": raw}, receive, send))

    def push(server: str) -> int:
        (by_wsgi if server == "wsgi" else by_asgi)()
        return statuses[0]

    yield push
    endpoint.close()


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_push_that_breaks_off_is_not_taken_for_a_whole_one(broken_off, server, kind):
    assert broken_off(kind) == 400
    assert dead_letters(server) == []


def test_a_push_of_an_unknown_length_is_not_taken_for_an_empty_one(app, issuer, server):
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    with served_by_wsgi(endpoint) as url:
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
        headers = {**UNWRAPPED, "Authorization": f"Bearer {issuer.token()}"}
        connection.request("POST", "/", iter([b'{"task": "add"}']), headers, encode_chunked=True)
        assert connection.getresponse().status == 411
        connection.close()
    endpoint.close()
    assert dead_letters(server) == []


def test_a_task_is_not_begun_when_the_push_has_no_time_left(app, ran):
    push = Push(app.runtime(), TokenVerifier(KeySet("http://127.0.0.1:1"), [AUDIENCE], [ACCOUNT], 0), DEADLINE_SECONDS)
    step = Invocation(message=Message(task="add", id="t-1", args=[1]), queue="celery", message_id="m-1", hostname="h")
    assert isinstance(push._perform(step, time.monotonic()), Abandoned)
    push.close()
    assert ran == []


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000])
def test_a_length_that_is_no_number_is_no_fault_of_ours(app, issuer, length):
    endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}
    list(endpoint(environ, lambda status, _: statuses.append(status)))
    assert statuses == ["401 Unauthorized"]
    endpoint.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"task": "add", "args": [1]}',
        b'{"message": {"messageId": "1", "data": "%%%"}, "subscription": "s"}',
        b'{"message": {"messageId": "1", "data": "e30="}}',
        b'{"message": {"data": "e30="}, "subscription": "s"}',
        b'{"message": {"messageId": 1}, "subscription": "s"}',
        b'{"message": {"messageId": "1", "publishTime": "yesterday"}, "subscription": "s"}',
        b'{"message": {"messageId": "1", "attributes": {"a": 1}}, "subscription": "s"}',
    ],
)
def test_what_is_no_push_is_a_bad_request(url, issuer, ran, body):
    assert post(url, body, issuer.token()) == (400, "no push of Pub/Sub's")
    assert ran == []


def test_only_posts_of_a_pushs_size_are_read(url, issuer):
    assert post(url, b"", issuer.token(), method="GET")[0] == 405
    headers = {"Content-Length": "16000001"}
    # The answer comes before the body, whose sending then fails.
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
    connection.request("POST", "/", headers={**headers, "Authorization": f"Bearer {issuer.token()}"})
    assert connection.getresponse().status == 413
    connection.close()


def test_a_message_that_is_no_task_is_dead_lettered(url, issuer, server):
    assert post(url, envelope(b"\xff\x00 no task", SUBSCRIPTION), issuer.token())[0] == 204
    [attributes] = dead_letters(server)
    assert attributes[DEAD_LETTER_REASON].startswith("DecodeError")


def test_a_dead_letter_that_is_not_taken_comes_again(url, issuer, server):
    server.state.topics.clear()
    assert post(url, envelope(b"no task", SUBSCRIPTION), issuer.token())[0] == 503


# -- what becomes of it


def test_an_unknown_task_comes_again_until_its_attempts_run_out(push, server):
    assert push("nobody.knows.it", attempt=1) == 503
    assert push("nobody.knows.it", attempt=5) == 204
    assert len(dead_letters(server)) == 1


def test_a_message_that_is_pushed_twice_runs_once(push, ran):
    assert [push("add", 1, attempt=attempt) for attempt in (None, None, 2)] == [204] * 3
    assert ran == [1]


def test_a_workflow_comes_to_its_end_by_pushes_alone_though_each_comes_twice(url, issuer, app, ran):
    @app.task(name="total")
    def total(numbers: list[int], more: int = 0) -> int:
        return sum(numbers) + more

    add = app.signature("add")
    header = [app.signature("add", [number], immutable=True) for number in range(3)]
    result = (add.clone([10]) | chord(header, total.s(4)) | add).delay()
    deadline = time.monotonic() + 30
    while not result.ready():
        assert time.monotonic() < deadline, result.state
        for delivery in app.run(app.broker.receive("celery", 10, 0.1, 60)):
            for attempt in (1, 2):
                pushed = envelope(delivery.body, SUBSCRIPTION, attempt, messageId=delivery.message_id)
                assert post(url, pushed, issuer.token())[0] == 204
            app.run(app.broker.settle([Acknowledge(delivery)]))
    assert result.get(timeout=1) == 7
    # What a message that comes twice sends twice may run twice; what it comes to is one.
    assert set(ran) == {0, 1, 2, 7, 10}


def test_an_errback_that_takes_the_error_is_called_by_the_endpoint(url, issuer, app, server, ran):
    @app.task(name="called")
    def called(request: Any, exc: Exception, traceback: str) -> None:
        ran.append((request.id, exc.args, "in fail" in traceback))

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("no")

    fail.s().link_error(called.s()).apply_async(task_id="f")
    (delivery,) = app.run(app.broker.receive("celery", 10, 0.1, 60))
    for attempt in (1, 2):
        assert post(url, envelope(delivery.body, SUBSCRIPTION, attempt), issuer.token())[0] == 204
    assert ran == [("f", ("no",), True)]


def test_a_retry_is_a_message_of_its_own(push, app, server):
    assert push("again", 1) == 204
    assert app.AsyncResult("t-1").state == "RETRY"
    assert server.left("shop-celery") == 1


def test_a_time_limit_ends_a_task_in_a_servers_thread(push, app):
    assert push("busy") == 204
    assert app.AsyncResult("t-1").state == "FAILURE"
    assert "TimeLimitExceeded" in repr(app.AsyncResult("t-1").result)


def test_a_task_that_the_deadline_ends_comes_again(push, app):
    assert push("unlimited", attempt=1) == 503
    assert app.AsyncResult("t-1").state == "PENDING"


def test_a_task_that_never_fits_is_not_begun_and_the_log_says_why(push, ran, server, caplog):
    assert push("long", attempt=1) == 503
    assert "raise the endpoint's deadline_seconds" in caplog.text
    assert push("long", attempt=5) == 204
    assert len(dead_letters(server)) == 1
    assert ran == []


def later(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_what_is_not_due_comes_again_where_nobody_holds_it(push, server, ran):
    assert push("add", 1, eta=later(60)) == 503
    assert server.left("shop-celery") == 0
    assert ran == []


class TestWithCloudTasks:
    @pytest.fixture
    def options(self, server: PubSubServer) -> dict[str, Any]:
        server.task_queues.add(TASKS_QUEUE)
        return {"cloud_tasks_queue": TASKS_QUEUE, "cloud_tasks_service_account": "later@example.com"}

    def test_what_is_not_due_is_given_to_cloud_tasks(self, push, server, ran):
        assert push("add", 1, eta=later(60)) == 204
        assert len(server.tasks) == 1
        assert ran == []

    def test_so_is_a_retry(self, push, server):
        assert push("again", 1) == 204
        assert len(server.tasks) == 1
        assert server.left("shop-celery") == 0
