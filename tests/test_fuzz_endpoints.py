"""Random changes to requests for the push endpoint, and to messages of an application that signs messages.

As in ``test_fuzz``: nothing escapes, nothing is dropped in silence, and no input causes more than a second's work or
64 MB.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq_cloud import TaskQ, chain, chord
from taskq_cloud.core.model.message import Acknowledge, DeadLetter, Release
from taskq_cloud.core.security.signing import SIGNATURE_HEADER
from taskq_cloud.errors import SecurityError
from taskq_cloud.testing.bench import Bench
from taskq_cloud.testing.clock import FakeClock
from tests.core.security.signed import HMAC, signing_codec
from tests.fuzzing import changed, fuzzed, hostile, limited_work, spoiled, written
from tests.serverless.pushing import ACCOUNT, AUDIENCE, SUBSCRIPTION, Issuer
from tests.test_fuzz import CORPUS, Logged, closed, logged, make_app, opened, runs_of, sent_by, settled

__all__ = ["logged"]

pytestmark = pytest.mark.slow

# -- the push endpoint

WRAPPED: list[dict[str, Any]] = [
    {
        "message": {
            "data": base64.b64encode(written(message).encode()).decode(),
            "messageId": f"m-{number}",
            "publishTime": "2026-01-02T03:04:05.678Z",
            "orderingKey": "g",
            "attributes": {"colour": "red", "dead_letter_reason": "x"},
        },
        "subscription": SUBSCRIPTION,
        "deliveryAttempt": 1,
    }
    for number, message in enumerate(CORPUS[:4])
]
METADATA = {
    "x-goog-pubsub-message-id": "m-1",
    "x-goog-pubsub-subscription-name": SUBSCRIPTION,
    "x-goog-pubsub-publish-time": "2026-01-02T03:04:05.678Z",
    "x-goog-pubsub-ordering-key": "g",
    "x-goog-pubsub-delivery-attempt": "1",
    "colour": "red",
}
ANSWERS = {200, 204, 400, 401, 403, 405, 411, 413, 503}


class Pushed:
    """An endpoint that is called as a WSGI server calls it, with a valid token unless the request has another."""

    def __init__(self, issuer: Issuer, app: TaskQ) -> None:
        self.endpoint = app.pubsub_push_handler(audience=AUDIENCE, service_account=ACCOUNT, keys_url=issuer.url)
        self.token = f"Bearer {issuer.token()}"
        self.post(b"{}", {})  # the keys are fetched once

    def post(self, body: bytes, headers: dict[str, str], **environ: Any) -> int:
        answers: list[str] = []
        named = {"authorization": self.token, **headers}
        written_headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in named.items()}
        request = {
            "REQUEST_METHOD": "POST",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **written_headers,
            **environ,
        }
        with limited_work():
            self.endpoint(request, lambda status, headers: answers.append(status))
        (status,) = answers
        return int(status.split()[0])


@pytest.fixture(scope="module")
def pushed() -> Iterator[Pushed]:
    issuer, app = Issuer(), make_app()
    Bench.of(app)
    pushed = Pushed(issuer, app)
    yield pushed
    pushed.endpoint.close()
    app.close()
    issuer.close()


requests = changed(st.sampled_from(WRAPPED)).map(written) | spoiled(st.sampled_from([*map(written, WRAPPED)]))


@settings(fuzzed, max_examples=300)
@given(body=requests | hostile.map(written))
def test_push_is_answered_whatever_its_body_is(body: str, pushed: Pushed, logged: Logged) -> None:
    logged.lines.clear()
    status = pushed.post(body.encode(errors="surrogatepass"), {})
    assert status in ANSWERS
    if status in (400, 503):
        assert logged.lines, "refused or given back without a line in the log"


@settings(fuzzed, max_examples=300)
@given(
    headers=st.fixed_dictionaries(
        {},
        optional={
            name: st.just(value) | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30)
            for name, value in METADATA.items()
        },
    ),
    body=st.sampled_from([written(each) for each in CORPUS]) | spoiled(st.sampled_from([written(CORPUS[0])])),
    length=st.none() | st.sampled_from(["", "-1", "²", "1" * 5_000, "5", "0"]),
)
def test_push_without_a_wrapper_is_answered_whatever_its_headers_are(
    headers: dict[str, str], body: str, length: str | None, pushed: Pushed, logged: Logged
) -> None:
    environ = {} if length is None else {"CONTENT_LENGTH": length}
    assert pushed.post(body.encode(errors="surrogatepass"), headers, **environ) in ANSWERS


# -- signed messages


def signed_corpus() -> list[dict[str, Any]]:
    """Messages of an application that signs them."""
    app = make_app(message_signing_keys=[HMAC])
    add, total = app.tasks["add"], app.tasks["total"]
    found: list[dict[str, Any]] = []
    calls: list[Callable[[], object]] = [
        lambda: add.apply_async((1, 2), {"x": [1]}, countdown=1, expires=600, headers={"h": "v"}),
        lambda: chain(add.s(1), add.s(2), total.s()).delay(),
        lambda: chord([add.s(1), add.s(2)], total.s()).delay(),
        lambda: add.s(1).link(add.s(2)).link_error(add.s()).apply_async(),
    ]
    for call in calls:
        call()
        found += sent_by(app)
    app.close()
    return found


SIGNED = signed_corpus()
APP = make_app(message_signing_keys=[HMAC])


def content(document: Any) -> Any:
    """A message as its reader takes it, in a form that can be compared."""
    return json.dumps(document, sort_keys=True)


ORIGINALS = {content(each) for each in SIGNED}
spoiled_messages = changed(st.sampled_from([*map(opened, SIGNED)])).map(closed) | changed(st.sampled_from(SIGNED))


@settings(fuzzed, max_examples=300)
@given(document=spoiled_messages)
def test_altered_message_runs_nothing_where_messages_are_signed(document: Any, logged: Logged) -> None:
    clock = FakeClock()
    bench = Bench.in_memory(APP.definitions, clock, codec=signing_codec(HMAC, clock=clock))
    ran = runs_of(bench)
    logged.lines.clear()
    settlement = settled(bench, written(document))
    if content(document) in ORIGINALS:
        return  # a change that changed nothing
    assert ran == []
    assert bench.left("work") == 0, "nothing is sent on"
    assert isinstance(settlement, DeadLetter)
    assert logged.lines


@settings(fuzzed, max_examples=300)
@given(document=changed(st.sampled_from([*map(opened, CORPUS)])).map(closed))
def test_nothing_that_came_unsigned_leads_to_anything_signed(document: Any, logged: Logged) -> None:
    clock = FakeClock()
    bench = Bench.in_memory(APP.definitions, clock, codec=signing_codec(HMAC, clock=clock, accept_unsigned=["all"]))
    settlement = settled(bench, written(document))
    assert isinstance(settlement, Acknowledge | DeadLetter | Release)
    strict = signing_codec(HMAC, clock=clock)
    for queue in ("work", "work-dead", "celery"):
        clock.advance(900)
        for each in bench.receive(queue=queue):
            if SIGNATURE_HEADER in each.body:
                with pytest.raises(SecurityError):
                    strict.read(each.body, "m")
            assert "dead_letter_signature" not in each.attributes
