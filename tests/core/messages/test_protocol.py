"""The protocol: random messages written and read, exchanged with kombu and Celery, and random garbage."""

from __future__ import annotations

import base64
import json
import reprlib
import string
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from celery.worker import strategy
from celery.worker.request import Request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskq_cloud.core.messages import events, protocol
from taskq_cloud.core.messages.headers import RESERVED_HEADERS
from taskq_cloud.core.model.message import Embed, Message
from taskq_cloud.core.workflows import successors
from taskq_cloud.errors import DecodeError, EncodeError, ImproperlyConfigured
from tests.core.untyped_kombu import Connection
from tests.core.untyped_kombu import json as kombu_json

ID = "4cc7438e-afd4-4f8f-a2f3-f46567e7ca77"
ROUTES = {"aws.s3:*": "on_s3", "*": "on_event"}


def read(text: str, accept: tuple[str, ...] = ("json",)) -> Message:
    return events.read(text, "broker-message-id", accept, {})


# -- written and read

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.binary(max_size=8)
)
names = st.text(string.ascii_letters + "._-", min_size=1, max_size=12)
# names can't make a dict with the keys of a rich value, which a caller may not send.
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
limits = st.none() | st.integers(1, 10**6) | st.floats(0, 10**6, exclude_min=True)
signatures = st.builds(
    lambda task, args: {"task": task, "args": args, "kwargs": {}, "options": {}, "subtask_type": None},
    names,
    st.just([1]),
)
some_signatures = st.none() | st.lists(signatures, min_size=1, max_size=3)
messages = st.builds(
    Message,
    task=names,
    id=st.uuids().map(str),
    args=st.lists(values, max_size=3),
    kwargs=st.dictionaries(names, values, max_size=3),
    embed=st.builds(
        Embed, callbacks=some_signatures, errbacks=some_signatures, chain=some_signatures, chord=st.none() | signatures
    ),
    retries=st.integers(0, 1000),
    eta=moments,
    expires=moments,
    timelimit=st.tuples(limits, limits),
    root_id=st.just("root"),
    parent_id=st.none() | names,
    group=st.none() | names,
    group_index=st.none() | st.integers(0, 99),
    ignore_result=st.none() | st.booleans(),
    shadow=st.none() | names,
    origin=st.just("gen1@host"),
    argsrepr=st.just("..."),
    kwargsrepr=st.just("{...}"),
    priority=st.integers(0, 9),
    reply_to=st.none() | names,
    headers=st.dictionaries(names.map("x-{}".format), st.integers() | st.text(max_size=5), max_size=2),
)


@given(message=messages, compression=st.sampled_from([None, "zlib", "gzip", "bzip2"]))
def test_random_message_is_read_as_it_was_written(message: Message, compression: str | None) -> None:
    assert read(protocol.encode(message, "celery", compression=compression)) == message


@given(message=messages)
def test_random_message_with_pickle_is_read_if_accepted(message: Message) -> None:
    text = protocol.encode(message, "celery", serializer="pickle")
    assert read(text, ("pickle",)) == message
    with pytest.raises(DecodeError, match="not accepted"):
        read(text)


@given(message=messages)
def test_random_message_in_base64_or_a_notification_is_read(message: Message) -> None:
    text = protocol.encode(message, "celery")
    assert read(base64.b64encode(text.encode()).decode()) == message
    notification = {"Type": "Notification", "MessageId": "n1", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": text}
    assert read(json.dumps(notification)) == message


def test_every_header_that_is_written_is_reserved_for_the_protocol() -> None:
    written = json.loads(protocol.encode(Message(task="t", id="1"), "celery", compression="gzip"))["headers"]
    assert written.keys() <= RESERVED_HEADERS


def test_header_with_a_name_of_the_protocol_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="task t: header 'id' is one of the protocol's own"):
        protocol.encode(Message(task="t", id="1", headers={"id": "HIJACK"}), "celery")


def test_argument_beyond_json_is_named_in_the_error() -> None:
    with pytest.raises(EncodeError, match="object object at"):
        protocol.encode(Message(task="t", id="1", args=[object()]), "celery")


def test_dict_that_would_be_read_as_a_rich_value_is_refused_at_the_call() -> None:
    with pytest.raises(EncodeError, match="unknown __type__ 'money'"):
        protocol.encode(Message(task="t", id="1", args=[{"__type__": "money", "__value__": 1}]), "celery")


plain_values = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.integers().map(lambda number: number * 10**30)
    | st.text()
)
arguments = plain_values | st.text("ab'\\\\\n", max_size=200) | st.lists(plain_values, max_size=25)


@given(st.lists(arguments, max_size=25).map(tuple))
def test_repr_of_random_arguments_is_that_of_reprlib(args: tuple[Any, ...]) -> None:
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 128
    shown.maxtuple = shown.maxlist = shown.maxdict = 20
    headers = json.loads(protocol.encode(Message(task="t", id="1", args=args), "q"))["headers"]
    assert headers["argsrepr"] == shown.repr(args)
    assert headers["kwargsrepr"] == "{}"


def test_argument_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(EncodeError, match="JSON"):
        protocol.encode(Message(task="t", id="1", args=(endless,), argsrepr="..."), "q")


def test_repr_of_long_arguments_is_shortened() -> None:
    headers = json.loads(protocol.encode(Message(task="t", id="1", args=["x" * 10_000] * 100), "celery"))["headers"]
    assert len(headers["argsrepr"]) < 5000


# -- read by kombu and Celery


@pytest.fixture(scope="module")
def sqs_channel() -> Iterator[Any]:
    # Predefined queues are not looked up, so no call is made.
    queues = {"celery": {"url": "https://sqs.eu-west-1.amazonaws.com/1/celery"}}
    options = {"predefined_queues": queues, "region": "eu-west-1"}
    with Connection("sqs://key:secret@", transport_options=options) as connection:
        yield connection.channel()


@pytest.fixture(scope="module")
def celery_app() -> Celery:
    app = Celery("proj", set_as_current=False, broker="memory://")

    def add(*args: Any, **kwargs: Any) -> None: ...

    app.task(name="proj.tasks.add")(add)
    app.finalize()
    return app


def received_by_kombu(channel: Any, body: str) -> Any:
    """Receive a body as kombu's SQS transport does, which hands the message to a Celery worker."""
    raw = {"Body": body, "ReceiptHandle": "receipt", "MessageId": "m1", "Attributes": {}}
    payload = channel._message_to_python(raw, "celery", "https://sqs.eu-west-1.amazonaws.com/1/celery")
    message = channel.message_to_python(payload)
    message.accept = {"application/json", "application/x-python-serialize"}
    return message


@settings(max_examples=50)
@given(message=messages, compression=st.sampled_from([None, "gzip", "bzip2"]))
def test_random_message_is_readable_by_kombu(sqs_channel: Any, message: Message, compression: str | None) -> None:
    received = received_by_kombu(sqs_channel, protocol.encode(message, "celery", compression=compression))
    args, kwargs, embed = received.payload
    assert (args, kwargs) == (message.args, message.kwargs)
    assert Embed(**embed) == message.embed
    assert received.headers["id"] == message.id
    assert received.delivery_info["routing_key"] == "celery"


def test_message_is_readable_by_a_celery_worker(sqs_channel: Any, celery_app: Celery) -> None:
    due = datetime(2030, 1, 1, 12, tzinfo=UTC)
    ours = Message(
        task="proj.tasks.add", id=ID, args=[2, 2], kwargs={"c": 3}, eta=due, timelimit=(30, 20), retries=1, group="g"
    )
    request = Request(received_by_kombu(sqs_channel, protocol.encode(ours, "celery")), app=celery_app)
    assert (request.id, request.name, request.args, request.kwargs) == (ID, "proj.tasks.add", [2, 2], {"c": 3})
    assert (request.eta, request.time_limits, request.root_id) == (due, [30, 20], ID)
    assert request.request_dict["retries"] == 1
    assert request.info()["delivery_info"]["routing_key"] == "celery"
    context = request._context
    assert (context.group, context.callbacks, context.chain, context.origin) == ("g", None, None, protocol.origin())


def test_protocol_1_body_is_read_as_celery_reads_it(sqs_channel: Any) -> None:
    body = {"task": "proj.tasks.add", "id": ID, "args": [2, 2], "kwargs": {"c": 3}, "retries": 4, "taskset": "g"}
    received = received_by_kombu(sqs_channel, envelope(json.dumps(body), headers={}))
    (args, kwargs, _embed), headers, _decoded, _utc = strategy.proto1_to_proto2(received, received.decode())
    ours = read(envelope(json.dumps(body), headers={}))
    assert (ours.args, ours.kwargs) == (args, kwargs)
    assert (ours.task, ours.id, ours.retries, ours.group) == tuple(
        headers[k] for k in ("task", "id", "retries", "group")
    )


def test_hybrid_of_both_protocols_is_read_as_celery_reads_it(sqs_channel: Any) -> None:
    text = envelope(json.dumps({"args": [2, 2], "kwargs": {}, "retries": 4}), headers={"task": "t", "id": ID})
    received = received_by_kombu(sqs_channel, text)
    (args, kwargs, _embed), headers, _decoded, _utc = strategy.hybrid_to_proto2(received, received.decode())
    ours = read(text)
    assert (ours.args, ours.kwargs) == (list(args), kwargs)
    assert (ours.task, ours.id, ours.retries) == (headers["task"], headers["id"], headers["retries"])


@settings(max_examples=50)
@given(message=messages, protocol_version=st.sampled_from([1, 2]))
def test_random_message_of_celery_is_read(message: Message, protocol_version: int, celery_app: Celery) -> None:
    make = celery_app.amqp.as_task_v2 if protocol_version == 2 else celery_app.amqp.as_task_v1
    made = make(message.id, message.task, message.args, message.kwargs, retries=message.retries, eta=message.eta)
    with Connection("memory://") as connection:
        producer = connection.Producer(serializer="json")
        body, content_type, content_encoding = producer._prepare(made.body, "json", None, None, {})
        prepared = producer.channel.prepare_message(
            body, 0, content_type, content_encoding, dict(made.headers), dict(made.properties)
        )
    got = read(json.dumps(prepared))
    assert (got.task, got.id, got.args, got.kwargs) == (message.task, message.id, message.args, message.kwargs)
    assert (got.retries, got.eta) == (message.retries, message.eta)


def test_id_that_celery_was_given_as_a_uuid_is_its_text(celery_app: Celery) -> None:
    made = celery_app.amqp.as_task_v2(UUID(ID), "t", [1], {}, parent_id=UUID(ID))
    with Connection("memory://") as connection:
        producer = connection.Producer(serializer="json")
        body, content_type, content_encoding = producer._prepare(made.body, "json", None, None, {})
        prepared = producer.channel.prepare_message(body, 0, content_type, content_encoding, dict(made.headers), {})
    got = read(kombu_json.dumps(prepared))  # SQS gets an envelope of kombu's JSON
    assert (got.id, got.root_id, got.parent_id) == (ID, ID, ID)


# -- garbage

ODD: list[Any] = [None, True, -1, 2**70, 1e400, "", "x", "\ud800", [], [1], {}, {"a": 1}, [[]]]
ODD += [[{"task": 1}], [{"task": "t"}]]


def envelope(body: Any, **changes: Any) -> str:
    whole = {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"task": "t", "id": ID},
        "properties": {"delivery_info": {"exchange": "", "routing_key": "celery"}},
    }
    return json.dumps(whole | changes)


def defined(text: str, accept: tuple[str, ...] = ("json",)) -> None:
    """Read garbage as the execution does: it gives a DecodeError, or a message that can be sent on."""
    try:
        message = events.read(text, "broker-message-id", accept, ROUTES)
        successors.check(message, 0)
    except DecodeError as error:
        f"{error} {error.task_id or ''}".encode(errors="strict" if error.task_id else "backslashreplace")
        return
    f"{message.id}{message.task}".encode()
    assert read(protocol.encode(message, "celery")).id == message.id


anything = st.recursive(
    st.sampled_from(ODD) | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(text=st.text(st.characters()))
def test_random_text_gives_a_message_or_a_decode_error(text: str) -> None:
    defined(text)


@given(data=st.binary())
def test_random_base64_gives_a_message_or_a_decode_error(data: bytes) -> None:
    defined(base64.b64encode(data).decode())
    defined(envelope(base64.b64encode(data).decode(), properties={"body_encoding": "base64"}))
    compressed = {"task": "t", "id": ID, "compression": "application/x-gzip"}
    defined(envelope(base64.b64encode(data).decode(), headers=compressed, properties={"body_encoding": "base64"}))
    pickled = {"content-type": "application/x-python-serialize", "properties": {"body_encoding": "base64"}}
    defined(envelope(base64.b64encode(data).decode(), **pickled))


@given(document=anything)
def test_random_json_gives_a_message_or_a_decode_error(document: Any) -> None:
    defined(json.dumps(document))
    defined(envelope(document))
    defined(envelope(json.dumps(document)))
    defined(envelope("[[], {}, " + json.dumps(document) + "]"))


HEADERS = [*json.loads(protocol.encode(Message(task="t", id="1"), "q"))["headers"], "compression"]
PLACES = [
    *(("headers", name) for name in HEADERS),
    *(("properties", name) for name in ["correlation_id", "priority", "reply_to", "body_encoding", "delivery_info"]),
    *(("", name) for name in ["body", "content-type", "content-encoding", "headers", "properties"]),
]


@pytest.mark.slow
@settings(max_examples=300)
@given(message=messages, changes=st.lists(st.tuples(st.sampled_from(PLACES), anything), min_size=1, max_size=3))
def test_message_with_random_parts_gives_a_message_or_a_decode_error(
    message: Message, changes: list[tuple[tuple[str, str], Any]]
) -> None:
    document = json.loads(protocol.encode(message, "celery"))
    for (part, name), value in changes:
        where = document.get(part) if part else document
        if isinstance(where, dict):
            where[name] = deepcopy(value)  # the next change may write into it
    defined(json.dumps(document))


OPTIONS = ["task_id", "queue", "headers", "link", "link_error", "chain", "chord", "countdown", "eta", "expires"]
OPTIONS += ["time_limit", "soft_time_limit", "priority", "reply_to", "group_id", "group_index", "ignore_result"]


@settings(max_examples=200)
@given(
    part=st.sampled_from(["callbacks", "errbacks", "chain"]),
    changes=st.dictionaries(st.sampled_from(["args", "kwargs", "options", "immutable"]), anything, max_size=2),
    options=st.dictionaries(st.sampled_from(OPTIONS), anything, max_size=2),
)
@example(part="callbacks", changes={}, options={"countdown": 1e300})
@example(part="chain", changes={}, options={"headers": {"id": "HIJACK"}})
@example(part="errbacks", changes={}, options={"queue": {"name": "q"}})
def test_random_successors_can_be_sent_or_the_message_is_refused(
    part: str, changes: dict[str, Any], options: dict[str, Any]
) -> None:
    signature = {"task": "next", "args": [1], "kwargs": {}, "options": options, "immutable": False, **changes}
    text = envelope(json.dumps([[], {}, {part: [signature]}]))
    try:
        message = read(text)
        successors.check(message, 0)
    except DecodeError:
        return
    following = [*successors.on_success(message, {"any": "value"}, 0), *successors.on_failure(message, 0)]
    assert len(following) == 1
    for each in following:
        assert isinstance(each.queue, str | None)
        defined(protocol.encode(each.message, each.queue or "celery"))


@pytest.mark.parametrize("depth", [100, 300, 900, 1000, 5000, 100_000])
def test_deep_nesting_gives_a_message_or_a_decode_error(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    defined(nested)
    defined('{"task": "t", "args": ' + nested + "}")
    defined('{"body": ' + nested + ', "headers": {"task": "t"}}')
    defined(envelope(nested))
    defined(envelope(f"[{nested}, {{}}, {nested}]"))


def test_small_message_that_expands_too_far_is_refused() -> None:
    message = Message(task="t", id="1", args=["0" * 70_000_000])
    bomb = protocol.encode(message, "q", compression="bzip2", most_bytes=80_000_000)
    assert len(bomb) < 10_000
    with pytest.raises(DecodeError, match="more than 4194304 bytes"):
        read(bomb)


def test_unreadable_message_keeps_a_storable_id() -> None:
    with pytest.raises(DecodeError) as caught:
        read(envelope("no json"))
    assert caught.value.task_id == ID
    with pytest.raises(DecodeError) as caught:
        read(envelope("no json", headers={"task": "t", "id": "\ud800"}))
    assert caught.value.task_id is None


def test_ids_of_successors_are_equal_every_time() -> None:
    embed = Embed(callbacks=[{"task": "a"}, {"task": "b"}], chain=[{"task": "d"}, {"task": "c"}])
    parent = Message(task="t", id=ID, embed=embed)
    first, second = ([each.message.id for each in successors.on_success(parent, 1, now)] for now in (0, 99))
    assert first == second
    assert len(set(first)) == 3
    assert [each.message.task for each in successors.on_success(parent, 1, 0)] == ["a", "b", "c"]
    assert replace(parent, id="other").id not in first
