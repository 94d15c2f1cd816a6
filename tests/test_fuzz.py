"""Random changes to everything that comes from outside: messages, options, events, records and tokens.

Whatever comes in, nothing escapes the pipeline, no message is dropped in silence, and no input causes more than a
second's work or 64 MB.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq_cloud import TaskQ, chain, chord, group
from taskq_cloud.beat.tick_messages import tick_message
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Message, Outgoing, Release, Settlement
from taskq_cloud.core.model.outcome import Invocation, Outcome
from taskq_cloud.core.model.task_names import FAN_OUT
from taskq_cloud.core.records.record import FAILURE, REVOKED, SUCCESS, Record, version_of
from taskq_cloud.core.schedules import ticks
from taskq_cloud.errors import Reject, TaskQError
from taskq_cloud.serverless.oidc import TokenError, TokenVerifier
from taskq_cloud.testing.bench import Bench
from tests.fuzzing import TooMuchWorkError, changed, fuzzed, hostile, limited_work, spoiled, written
from tests.serverless.events import Context

pytestmark = pytest.mark.slow


def check_has_text(error: Exception) -> None:
    assert str(error), f"{error!r} says nothing"


def make_app(**settings: Any) -> TaskQ:
    app = TaskQ("fuzzed", broker="memory://", results="memory://", **settings)

    @app.task(name="add")
    def add(*numbers: Any, **more: Any) -> Any:
        return 1

    @app.task(name="again", bind=True, max_retries=2, rate_limit="100/s", once=True, time_limit=30)
    def again(self: Any, *args: Any) -> Any:
        return 2

    @app.task(name="total")
    def total(values: Any) -> int:
        return len(values)

    @app.task(name="tick", cron="*/5 * * * *")
    def tick() -> None: ...

    return app


def sent_by(app: TaskQ) -> list[dict[str, Any]]:
    """The messages in the queue, which is empty then."""
    found = [json.loads(each.body) for each in app.run(app.broker.receive("celery", 10, 0, 60))]
    app.run(app.broker.purge("celery"))
    return found


def corpus() -> list[dict[str, Any]]:
    """Messages of every kind, as the library sends them."""
    app = make_app()
    add, total, again = (app.tasks[name] for name in ("add", "total", "again"))
    found: list[dict[str, Any]] = []
    calls: tuple[Callable[[], Any], ...] = (
        lambda: add.apply_async((1, 2), {"x": [1]}, countdown=1, expires=600, priority=3, headers={"h": "v"}),
        lambda: again.delay(1),
        lambda: chain(add.s(1), add.s(2), total.s()).delay(),
        lambda: chord([add.s(1), add.s(2)], total.s()).delay(),
        lambda: chord([chain(add.s(1), group(add.s(2), add.s(3)))], chain(total.s(), add.s(1))).delay(),
        lambda: add.s(1).link(add.s(2)).link_error(add.s()).apply_async(),
    )
    for call in calls:
        call()
        found += sent_by(app)
    (entry,) = app.schedule_entries()
    for span in (0, 900):
        tick = ticks.tick_of_entry(entry, "fuzzed", span, 10)
        found.append(json.loads(app.outbox.codec.write(tick_message(app, entry, tick, ticks.SENT_TIME), "celery")))
    pages: dict[str, Any] = {
        "group": "g",
        "pages": [[0, 2, "digest"]],
        "chord": None,
        "args": [],
        "kwargs": {},
        "now": 1.0,
    }
    found.append(json.loads(app.outbox.codec.write(Message(task=FAN_OUT, id="f", kwargs=pages), "celery")))
    app.close()
    return found


CORPUS = corpus()
APP = make_app()


def opened(document: dict[str, Any]) -> dict[str, Any]:
    """A message whose body is part of the document, so that changes reach it."""
    body = document.get("body")
    if isinstance(body, str) and document.get("properties", {}).get("body_encoding") == "base64":
        return {**document, "body": json.loads(base64.b64decode(body))}
    return {**document, "body": json.loads(body)} if isinstance(body, str) else document


def closed(document: Any) -> Any:
    """The reverse of ``opened``."""
    if isinstance(document, dict) and isinstance(document.get("body"), list | dict):
        text = written(document["body"])
        properties = document.get("properties")
        if isinstance(properties, dict) and properties.get("body_encoding") == "base64":
            text = base64.b64encode(text.encode(errors="replace")).decode()
        return {**document, "body": text}
    return document


OPENED = [opened(each) for each in CORPUS]
messages = changed(st.sampled_from(OPENED)).map(closed).map(written) | spoiled(st.sampled_from([*map(written, CORPUS)]))


class Logged(logging.Handler):
    """Notes that something was logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[Logged]:
    handler, logger = Logged(), logging.getLogger("taskq_cloud")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


def settled(bench: Bench, body: str, attributes: dict[str, str] | None = None) -> Settlement:
    """Send a body as it is, and take its delivery to its settlement."""
    bench.run(bench.broker.send("work", [Outgoing(body=body, attributes=attributes or {})]))
    (delivery,) = bench.receive(queue="work")
    with limited_work():
        return bench.deliver(delivery)


def runs_of(bench: Bench) -> list[Invocation]:
    """The runs that a bench begins from now on."""
    ran: list[Invocation] = []

    def run_task(invocation: Invocation) -> Outcome:
        ran.append(invocation)
        return bench.runner.run(invocation)

    bench.run_task = run_task
    return ran


@fuzzed
@given(body=messages)
def test_no_message_escapes_the_pipeline_or_is_dropped_in_silence(body: str, logged: Logged) -> None:
    bench = Bench.in_memory(APP.definitions)
    ran = runs_of(bench)
    logged.lines.clear()
    settlement = settled(bench, body)
    assert isinstance(settlement, Acknowledge | DeadLetter | Release)
    if isinstance(settlement, Acknowledge):
        followed = bench.left("work")
        assert ran or logged.lines or followed, "acknowledged without a run, a message or a line in the log"
    elif isinstance(settlement, DeadLetter):
        assert settlement.reason
        assert logged.lines


def test_work_and_memory_beyond_the_limits_are_noticed() -> None:
    with pytest.raises(TooMuchWorkError, match="more than 1000 calls"), limited_work(most_calls=1_000):
        [str(number).strip() for number in range(5_000)]
    with pytest.raises(TooMuchWorkError, match="bytes"), limited_work(most_bytes=1_000_000):
        bytes(2_000_000)


OPTIONS = [
    "task_id",
    "countdown",
    "eta",
    "expires",
    "priority",
    "queue",
    "serializer",
    "compression",
    "headers",
    "time_limit",
    "soft_time_limit",
    "ignore_result",
    "link",
    "link_error",
    "add_to_parent",
    "shadow",
    "retry",
    "MessageGroupId",
    "MessageDeduplicationId",
    "message_attributes",
]


@fuzzed
@given(options=st.dictionaries(st.sampled_from(OPTIONS), hostile, min_size=1, max_size=3))
def test_option_is_refused_at_the_call_or_understood_by_the_worker(options: dict[str, Any], logged: Logged) -> None:
    app = make_app()
    bench = Bench.of(app)
    try:
        with limited_work():
            app.tasks["add"].apply_async((1,), **options)
    except (TypeError, ValueError, TaskQError) as error:
        check_has_text(error)
        return
    finally:
        app.close()
    queue = options.get("queue") if isinstance(options.get("queue"), str) else None
    for delivery in bench.receive(queue=queue or "celery"):
        with limited_work():
            settlement = bench.deliver(delivery)
        assert not isinstance(settlement, DeadLetter), settlement.reason


EVENTS: list[dict[str, Any]] = [
    {
        "Records": [
            {
                "messageId": str(number),
                "receiptHandle": "1.1",
                "body": written(message),
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000123", "MessageGroupId": "g"},
                "messageAttributes": {"colour": {"stringValue": "red", "dataType": "String"}},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:celery",
            }
            for number, message in enumerate(CORPUS[:3])
        ]
    },
    {"task": "add", "args": [1], "kwargs": {}},
    {"version": "0", "id": "e", "detail-type": "x", "source": "s", "detail": {"a": 1}, "time": "2026-01-01T00:00:00Z"},
    CORPUS[0],
]


@settings(fuzzed, max_examples=300)
@given(event=changed(st.sampled_from(EVENTS)) | hostile)
def test_lambda_event_is_answered_or_refused_with_an_error_of_ours(event: Any, logged: Logged) -> None:
    app = make_app()
    Bench.of(app)
    try:
        with limited_work():
            answer = app.lambda_handler()(event, Context())
    except (TaskQError, Reject) as error:
        check_has_text(error)
    else:
        json.dumps(answer)
    finally:
        app.close()


def documents() -> list[dict[str, Any]]:
    """Result documents as the library writes them."""
    app = make_app(result_extended=True)
    bench = Bench.of(app)
    add, total = app.tasks["add"], app.tasks["total"]
    first = chord([add.s(1), add.s(2)], total.s()).delay()
    failed = app.send_task("total", (1,))
    bench.work("celery")
    ids = [first.id, failed.id]
    found = app.run(app.store.load(ids))
    app.close()
    return [json.loads(each.payload) for each in found.values()]


@settings(fuzzed, max_examples=300)
@given(
    payload=changed(st.sampled_from(documents())).map(written) | spoiled(st.sampled_from([*map(written, documents())])),
    state=st.sampled_from([SUCCESS, FAILURE, REVOKED, "RETRY", "STARTED"]),
)
def test_record_is_read_or_refused_with_an_error_of_ours(payload: str, state: str, logged: Logged) -> None:
    app = make_app()
    Bench.of(app)
    app.run(app.store.save([Record("t-1", state, version_of(state, 0), payload)]))
    for read in (
        lambda: app.AsyncResult("t-1").state,
        lambda: app.AsyncResult("t-1").result,
        lambda: app.AsyncResult("t-1").get(timeout=0, propagate=False),
        lambda: app.AsyncResult("t-1").children,
        lambda: app.AsyncResult("t-1").date_done,
        lambda: app.AsyncResult("t-1").progress(),
        lambda: app.AsyncResult("t-1").tree(),
        lambda: app.AsyncResult("t-1").revoke_workflow(),
    ):
        try:
            with limited_work():
                read()
        except TaskQError as error:
            check_has_text(error)
    app.close()


SECRET = "a secret that is long enough for its algorithm"
CLAIMS = {
    "iss": "https://accounts.google.com",
    "aud": "a",
    "email": "e",
    "email_verified": True,
    "exp": 2**33,
    "iat": 1,
}
TOKEN = jwt.encode(CLAIMS, SECRET, "HS256", headers={"kid": "k"})


class NoKeys:
    """A key set of which every key is the secret's."""

    def find(self, key_id: str) -> Any:
        return SECRET


def _token(parts: Any) -> str:
    coded = [base64.urlsafe_b64encode(written(each).encode(errors="replace")).rstrip(b"=").decode() for each in parts]
    return "Bearer " + ".".join([*coded, "c2ln"])


@settings(fuzzed, max_examples=300)
@given(
    header=spoiled(st.just(f"Bearer {TOKEN}"))
    | changed(st.just([{"alg": "RS256", "typ": "JWT", "kid": "k"}, CLAIMS])).map(_token)
    | st.text(max_size=50)
    | st.none()
)
def test_token_is_refused_with_its_error(header: str | None) -> None:
    verifier = TokenVerifier(NoKeys(), ["a"], ["e"], 10)  # type: ignore[arg-type]
    with limited_work(), pytest.raises(TokenError):
        verifier.verify(header)
