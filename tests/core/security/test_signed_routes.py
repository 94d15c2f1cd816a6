"""Signatures on every route: readers refuse unsigned messages, writers sign, and no output shows a key."""

from __future__ import annotations

import json
import secrets
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskq_cloud import TaskQ, settings
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import DeadLetter, Delivery, Embed, Message
from taskq_cloud.core.security.signing import SIGNATURE_HEADER, key_from_text
from taskq_cloud.errors import ImproperlyConfigured, SecurityError
from taskq_cloud.runtime import plain_settings
from tests.core.security.signed import ED25519, HMAC, SENT, signing_codec


def test_keys_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_MESSAGE_SIGNING_KEYS", f"{ED25519}, {HMAC}")
    app = TaskQ(broker="memory://")
    assert app.codec.read(signing_codec(HMAC).write(SENT, "q"), "m1").id == SENT.id
    for shown in (repr(app.conf), str(app.conf), repr(app.codec), repr(app), repr(vars(app.conf))):
        assert HMAC[10:20] not in shown
        assert ED25519[10:20] not in shown


@pytest.mark.parametrize("load_settings", [settings.load_settings, plain_settings.load_settings])
def test_key_of_a_wrong_type_is_not_quoted_in_the_error(load_settings: Callable[[dict[str, Any]], Any]) -> None:
    key = secrets.token_hex()
    with pytest.raises(ImproperlyConfigured, match="message_signing_keys") as caught:
        load_settings({"message_signing_keys": [[key]]})
    assert key not in "".join(traceback.format_exception(caught.value))


def test_unsigned_message_is_dead_lettered_by_the_pipeline(caplog: pytest.LogCaptureFixture) -> None:
    app = TaskQ(broker="memory://", results="memory://", message_signing_keys=[HMAC])
    ran: list[int] = []
    app.task(name="shop.pay")(ran.append)
    body = Codec().write(SENT, "q")
    delivery = Delivery(queue="work", message_id="m1", receipt="r1", body=body)
    flow: Any = app.runtime().pipeline.process(delivery)
    settlement = app.run(flow)
    assert isinstance(settlement, DeadLetter)
    assert settlement.reason == "SecurityError: the message is not signed, and message_signing_keys is set"
    assert ran == []
    assert app.run(app.store.load([SENT.id])) == {}  # anyone may have written the id
    actions = [record.action for record in caplog.records if hasattr(record, "action")]
    assert actions == ["message.refused_signature", "message.dead_lettered"]


class Context:
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def test_unsigned_direct_invocation_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    app = TaskQ(broker="memory://", results="memory://", message_signing_keys=[HMAC])
    app.task(name="double")(lambda number: number * 2)
    handler = app.lambda_handler()
    with pytest.raises(SecurityError, match="not signed"):
        handler({"task": "double", "args": [2]}, Context())
    assert "message.refused_signature" in [getattr(record, "action", None) for record in caplog.records]
    signed = app.codec.write(Message(task="double", id="1", args=[2]), "q")
    assert handler(json.loads(signed), Context())["result"] == 4


def test_calls_retries_and_callbacks_are_signed_and_serialised_by_the_settings() -> None:
    app = TaskQ(
        broker="memory://",
        results="memory://",
        message_signing_keys=[HMAC],
        task_serializer="msgpack",
        task_compression="zstd",
        accept_content=["msgpack"],
    )

    @app.task(name="flaky", bind=True)
    def flaky(self: Any, value: int) -> int:
        if self.request.retries == 0:
            self.retry(countdown=0)
        return value

    app.send_task("flaky", [2])
    handler, seen = app.lambda_handler(), []
    for _ in range(3):
        (delivery,) = app.run(app.broker.receive("celery", 1, 0, 60))
        document = json.loads(delivery.body)
        assert document["content-type"] == "application/x-msgpack"
        assert document["headers"]["compression"] == "application/zstd"
        assert document["headers"][SIGNATURE_HEADER]["key"] == key_from_text(HMAC).id
        message = app.codec.read(delivery.body, "m1")
        seen.append((message.task, message.retries, list(message.args)))
        if message.retries == 0 and message.task == "flaky":
            with_callback = replace(message, embed=Embed(callbacks=[{"task": "next", "args": [], "options": {}}]))
            document = json.loads(app.codec.write(with_callback, "celery"))
        if message.task == "flaky":
            handler(document, Context())
    assert seen == [("flaky", 0, [2]), ("flaky", 1, [2]), ("next", 0, [2])]
