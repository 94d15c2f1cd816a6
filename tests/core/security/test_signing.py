"""Signatures of whole messages: the parts they cover, their keys and age, and unsigned messages."""

from __future__ import annotations

import base64
import copy
import hmac
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request
from hypothesis import given
from hypothesis import strategies as st

from taskq_cloud import TaskQ
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.security.signing import SIGNATURE_HEADER, MessageSigning, key_from_text, public_key
from taskq_cloud.errors import DecodeError, ImproperlyConfigured, MissingExtra, SecurityError
from tests.core.security.signed import ED25519, HMAC, NOW, OTHER_HMAC, SENT, signing_codec
from tests.core.untyped_kombu import Connection


@pytest.mark.parametrize("key", [HMAC, ED25519], ids=["hmac", "ed25519"])
@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
def test_signed_message_is_read_as_it_was_written(key: str, serializer: str) -> None:
    codec = signing_codec(key, accept_content=("json", serializer), serializer=serializer, compression="gzip")
    got = codec.read(codec.write(SENT, "q"), "m1")
    assert got == Message(**{name: getattr(SENT, name) for name in SENT.__slots__} | {"args": got.args})
    assert list(got.args) == SENT.args
    assert SIGNATURE_HEADER not in got.headers


@given(
    headers=st.dictionaries(
        st.text("xyz", min_size=1), st.integers() | st.floats() | st.text() | st.booleans() | st.lists(st.text())
    ),
    stamps=st.dictionaries(st.integers() | st.text("ab") | st.none() | st.booleans(), st.floats()),
)
def test_message_with_random_headers_is_verified(headers: dict[str, Any], stamps: dict[Any, Any]) -> None:
    codec = signing_codec(HMAC)
    message = Message(task="t", id="1", headers=headers, stamps=stamps)
    assert codec.read(codec.write(message, "q"), "m1").task == "t"


def test_message_serialised_anew_is_verified() -> None:
    codec = signing_codec(HMAC)
    document = json.loads(codec.write(SENT, "q"))
    anew = json.dumps(dict(reversed(document.items())), indent=3, ensure_ascii=False)
    assert codec.read(anew, "m1").id == SENT.id
    assert codec.read(base64.b64encode(anew.encode()).decode(), "m1").id == SENT.id
    notification = {"Type": "Notification", "MessageId": "n1", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": anew}
    assert codec.read(json.dumps(notification), "m1").id == SENT.id


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in inner:
        yield (*path, name)
        yield from places(value, (*path, name))


SIGNED = {key: json.loads(signing_codec(key).write(SENT, "q")) for key in (HMAC, ED25519)}


@pytest.mark.parametrize("key", [HMAC, ED25519], ids=["hmac", "ed25519"])
@pytest.mark.parametrize("path", list(places(SIGNED[HMAC])), ids=lambda path: ".".join(map(str, path)))
def test_message_with_any_altered_value_is_refused(key: str, path: tuple[Any, ...]) -> None:
    codec = signing_codec(key)
    changes: list[Callable[[Any], Any] | None] = [lambda _: "other", lambda _: None, lambda value: [value], None]
    for change in changes:
        document = copy.deepcopy(SIGNED[key])
        where = document
        for name in path[:-1]:
            where = where[name]
        if change is None:
            del where[path[-1]]
        elif change(where[path[-1]]) == where[path[-1]]:
            continue
        else:
            where[path[-1]] = change(where[path[-1]])
        # A document without a body isn't even taken for a message.
        with pytest.raises(DecodeError if "body" not in document else SecurityError) as caught:
            codec.read(json.dumps(document), "m1")
        assert caught.value.task_id is None


@pytest.mark.parametrize("key", [HMAC, ED25519], ids=["hmac", "ed25519"])
def test_message_with_any_altered_byte_is_refused(key: str) -> None:
    codec, document = signing_codec(key), SIGNED[key]
    signature = document["headers"][SIGNATURE_HEADER]
    for where, name in ((document, "body"), (signature, "value"), (signature, "key"), (signature, "algorithm")):
        text = where[name]
        for at in range(len(text)):
            where[name] = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
            with pytest.raises(SecurityError):
                codec.read(json.dumps(document), "m1")
        where[name] = text
    for extra in ({"new": 1}, {"headers": document["headers"] | {"new": 1}}):
        with pytest.raises(SecurityError, match="altered"):
            codec.read(json.dumps(document | extra), "m1")
    assert codec.read(json.dumps(document), "m1").id == SENT.id


def test_signature_of_another_message_is_refused() -> None:
    codec = signing_codec(HMAC)
    pay = json.loads(codec.write(SENT, "q"))
    refund = json.loads(codec.write(Message(task="shop.refund", id="2", args=[9]), "q"))
    for replayed in (refund | {"headers": pay["headers"]}, pay | {"body": refund["body"]}):
        with pytest.raises(SecurityError, match="altered"):
            codec.read(json.dumps(replayed), "m1")
    refund["headers"][SIGNATURE_HEADER] = pay["headers"][SIGNATURE_HEADER]
    with pytest.raises(SecurityError, match="altered"):
        codec.read(json.dumps(refund), "m1")


@pytest.mark.parametrize(
    "text",
    [
        '{"task": "shop.pay", "args": [1]}',
        '{"task": "shop.pay", "args": [1], "headers": {}}',
        '{"task": "shop.pay", "headers": [], "body": "[[], {}, {}]"}',
        Codec().write(SENT, "q"),
        json.dumps({"Type": "Notification", "Message": Codec().write(SENT, "q")}),
        '{"source": "aws.s3", "detail-type": "Object Created", "id": "e1"}',
        '{"body": "[[], {}, {}]", "content-type": "application/data", "headers": {"task": "t"}}',
        '{"body": "[[], {}, {}]", "headers": {"task": "t", "taskq_signature": "x"}}',
        '{"body": "[[], {}, {}]", "headers": {"task": "t", "taskq_signature": {}}}',
    ],
)
def test_unsigned_message_is_refused_and_logged(text: str, caplog: pytest.LogCaptureFixture) -> None:
    codec = signing_codec(HMAC, event_routes={"*": "on_event"})
    with pytest.raises(SecurityError, match=r"not signed|malformed") as caught:
        codec.read(text, "m1", "work")
    assert caught.value.task_id is None
    (record,) = caplog.records
    logged = vars(record)
    assert (logged["action"], logged["message_id"], logged["queue"]) == ("message.refused_signature", "m1", "work")
    assert record.levelno == logging.ERROR


def test_messages_are_verified_while_keys_are_exchanged() -> None:
    before, between, after = signing_codec(HMAC), signing_codec(ED25519, HMAC), signing_codec(ED25519)
    assert between.read(before.write(SENT, "q"), "m1").id == SENT.id
    assert after.read(between.write(SENT, "q"), "m1").id == SENT.id
    for reader, text in ((after, before.write(SENT, "q")), (before, between.write(SENT, "q"))):
        with pytest.raises(SecurityError, match="unknown here"):
            reader.read(text, "m1")


def test_public_key_verifies_and_does_not_sign() -> None:
    reader = signing_codec(OTHER_HMAC, public_key(ED25519))
    assert reader.read(signing_codec(ED25519).write(SENT, "q"), "m1").id == SENT.id
    with pytest.raises(ImproperlyConfigured, match="the first key must be one that can sign"):
        signing_codec(public_key(ED25519), HMAC)
    with pytest.raises(ImproperlyConfigured, match="only an ed25519: key"):
        public_key(HMAC)


def test_key_with_another_algorithm_is_refused() -> None:
    document = copy.deepcopy(SIGNED[ED25519])
    signature = document["headers"][SIGNATURE_HEADER]
    # A public key isn't secret: if it were used as an HMAC secret, anyone could sign.
    signature["algorithm"] = "hmac-sha256"
    with pytest.raises(SecurityError, match="unknown here"):
        signing_codec(ED25519).read(json.dumps(document), "m1")


def test_signature_older_than_allowed_counted_from_the_eta_is_refused() -> None:
    soon = Message(task="t", id="1")
    later = Message(task="t", id="2", eta=NOW + timedelta(days=1))
    texts = [signing_codec(HMAC).write(each, "q") for each in (soon, later)]
    hours = NOW.timestamp() + 2 * 3600
    with pytest.raises(SecurityError, match="7200 s old; 3600 s are allowed"):
        signing_codec(HMAC, now=int(NOW.timestamp()) + 7200, max_age=3600).read(texts[0], "m1")
    assert signing_codec(HMAC, now=hours, max_age=3600).read(texts[1], "m1").id == "2"
    with pytest.raises(SecurityError, match="old"):
        signing_codec(HMAC, now=hours + 86400, max_age=3600).read(texts[1], "m1")


def test_unsigned_message_is_accepted_only_as_accept_unsigned_says() -> None:
    event = json.dumps({"source": "aws.s3", "detail-type": "Object Created", "id": "e1"})
    unsigned = Codec().write(SENT, "q")
    routed: dict[str, Any] = {"event_routes": {"aws.*": "on_s3"}}
    events = signing_codec(HMAC, accept_unsigned=("events",), **routed)
    assert events.read(event, "m1").task == "on_s3"
    with pytest.raises(SecurityError, match="not signed"):
        events.read(unsigned, "m1")
    everything = signing_codec(HMAC, accept_unsigned=("all",), **routed)
    assert everything.read(event, "m1").task == "on_s3"
    assert everything.read(unsigned, "m1").id == SENT.id
    document = copy.deepcopy(SIGNED[HMAC])
    document["headers"]["task"] = "other"
    with pytest.raises(SecurityError, match="altered"):
        everything.read(json.dumps(document), "m1")


def test_task_id_of_an_unreadable_unsigned_message_is_not_used() -> None:
    lenient, strict = signing_codec(HMAC, accept_unsigned=("all",)), signing_codec(HMAC)
    broken = {"body": "no json", "headers": {"task": "t", "id": SENT.id}}
    with pytest.raises(DecodeError) as caught:
        lenient.read(json.dumps(broken), "m1")
    assert caught.value.task_id is None
    signing = MessageSigning([key_from_text(HMAC)])
    with pytest.raises(DecodeError) as caught:
        strict.read(json.dumps(signing.sign(broken, 0)), "m1")
    assert caught.value.task_id == SENT.id


def test_signed_bytes_are_as_documented() -> None:
    secret = bytes(range(32))
    document = {"body": "[[2], {}, {}]", "headers": {"task": "ł", "id": "1"}, "properties": {}}
    key = key_from_text("hmac:" + base64.b64encode(secret).decode())
    signature = MessageSigning([key]).sign(document, 1_800_000_000.9)["headers"][SIGNATURE_HEADER]
    value = base64.b64decode(signature.pop("value"))
    assert signature == {"algorithm": "hmac-sha256", "key": "c77fb0aea895bb17", "created": 1_800_000_000}
    signed = (
        b"taskq-signature-v1\n"
        b'{"body":"[[2], {}, {}]","headers":{"id":"1","task":"\\u0142","taskq_signature":'
        b'{"algorithm":"hmac-sha256","created":1800000000,"key":"c77fb0aea895bb17"}},"properties":{}}'
    )
    assert value == hmac.digest(secret, signed, "sha256")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must begin with hmac:"),
        ("secret-words", "must begin with hmac:"),
        ("hmac:?secret?", "isn't base64"),
        ("hmac:" + base64.b64encode(b"short secret").decode(), "12 bytes; it needs at least 32"),
        ("ed25519:" + base64.b64encode(b"short secret").decode(), "12 bytes; it must have 32"),
        ("ed25519-public:secret", "ed25519-public key"),
    ],
)
def test_malformed_key_is_refused_without_being_quoted(text: str, words: str) -> None:
    app = TaskQ(broker="memory://", message_signing_keys=[HMAC, text])
    with pytest.raises(ImproperlyConfigured, match=f"message_signing_keys, key 2: .*{words}") as caught:
        app.codec
    shown = "".join(traceback.format_exception(caught.value))
    assert "c2hvcnQ" not in shown
    assert "secret" not in shown.replace("secret_value", "")


def test_ed25519_key_without_cryptography_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(MissingExtra, match=r"pip install 'taskq-cloud\[auth\]'"):
        key_from_text(ED25519)
    assert key_from_text(HMAC).signs


def test_signature_is_ignored_by_a_celery_worker() -> None:
    celery = Celery("proj", set_as_current=False, broker="memory://")

    def pay(*args: Any, **kwargs: Any) -> None: ...

    celery.task(name=SENT.task, shared=False)(pay)
    queues = {"celery": {"url": "https://sqs.eu-west-1.amazonaws.com/1/celery"}}
    options = {"predefined_queues": queues, "region": "eu-west-1"}
    with Connection("sqs://key:secret@", transport_options=options) as connection:
        channel = connection.channel()
        raw = {"Body": json.dumps(SIGNED[ED25519]), "ReceiptHandle": "r", "MessageId": "m1", "Attributes": {}}
        payload = channel._message_to_python(raw, "celery", queues["celery"]["url"])
        request = Request(channel.message_to_python(payload), app=celery)
    assert (request.id, request.name, request.args, request.kwargs) == (SENT.id, SENT.task, SENT.args, SENT.kwargs)
    assert request._context.taskq_signature == SIGNED[ED25519]["headers"][SIGNATURE_HEADER]
