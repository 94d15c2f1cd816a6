"""Tests of AMQP's bytes, with py-amqp's own codec as the other side, and of sessions without a server."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest

from taskq_cloud.clients import rabbitmq_frames as frames
from taskq_cloud.clients.rabbitmq_consuming import Consumption
from taskq_cloud.clients.rabbitmq_frames import Content, FrameError, FrameReader, Method
from taskq_cloud.clients.rabbitmq_publishing import ACCEPTED, IMPOSSIBLE, REJECTED, Publishing, publish
from taskq_cloud.clients.rabbitmq_session import LostError, RefusedError, Session
from taskq_cloud.clients.rabbitmq_settings import Settings
from taskq_cloud.clients.rabbitmq_values import (
    ValueTooLargeError,
    properties,
    read_properties,
    read_table,
    short_string,
    table,
)

amqp_serialization = pytest.importorskip("amqp.serialization")

SETTINGS = Settings(host="h", port=1, virtual_host="/", user="u", password="p")
HEADERS = {
    "lang": "py",
    "shadow": None,
    "retries": 3,
    "large": 2**40,
    "negative": -5,
    "timelimit": [None, 2.5],
    "yes": True,
    "no": False,
    "stamps": {"a": {"b": ["grüße", 1]}},
    "taskq_signature": {"created": 1_796_043_430, "value": "eA=="},
}


def test_table_is_read_by_kombus_client_as_it_was_written() -> None:
    written = table(HEADERS)
    [read], _ = amqp_serialization.loads("F", written, 0)
    assert read == HEADERS
    assert read_table(written, 0) == (HEADERS, len(written))


def test_table_of_kombus_client_is_read() -> None:
    values = {**HEADERS, "price": Decimal("1.25"), "at": datetime(2026, 1, 1, tzinfo=UTC), "raw": b"bytes"}
    written = amqp_serialization.dumps("F", [values])
    expected = {**HEADERS, "price": 1.25, "at": 1_767_225_600, "raw": "bytes"}
    assert read_table(written, 0) == (expected, len(written))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, object()])
def test_value_that_amqp_cannot_carry_is_refused(value: object) -> None:
    with pytest.raises(ValueTooLargeError, match="can't hold"):
        table({"x": value})


def test_short_string_over_its_limit_is_refused() -> None:
    assert short_string("ü" * 127)[0] == 254
    with pytest.raises(ValueTooLargeError, match="256 bytes"):
        short_string("ü" * 128)


@pytest.mark.parametrize("priority", [256, -1, "high"])
def test_priority_that_amqp_cannot_carry_is_refused(priority: object) -> None:
    with pytest.raises(ValueTooLargeError, match="priority"):
        properties({"priority": priority})


def test_properties_are_read_as_they_were_written() -> None:
    values = {
        "content_type": "application/json",
        "headers": HEADERS,
        "delivery_mode": 2,
        "priority": 0,
        "correlation_id": "id",
        "timestamp": 1_796_043_430,
        "message_id": "m",
    }
    assert read_properties(properties({**values, "reply_to": None}), 0) == values


def deliver(tag: int, consumer: str, body: bytes, *, frame_max: int = 131_072) -> bytes:
    head = frames.method(1, "basic.deliver", consumer, tag, False, "", "q")
    return head + b"".join(frames.content(1, {"message_id": str(tag)}, body, frame_max))


def test_frames_are_read_in_any_pieces() -> None:
    rng = random.Random(5)
    bodies = [b"", b"x", b"y" * 9_000, bytes(range(256)) * 4]
    data = b"".join(deliver(tag, "c", body, frame_max=4_096) + frames.HEARTBEAT for tag, body in enumerate(bodies))
    data += frames.method(0, "connection.blocked", "low on disk")
    for _ in range(20):
        reader, found, source = FrameReader(), list[Method | Content](), BytesIO(data)
        while piece := source.read(rng.randrange(1, 3_000)):
            found += reader.feed(piece)
        *contents, blocked = found
        assert [each.body for each in contents if isinstance(each, Content)] == bodies
        assert blocked == Method(0, "connection.blocked", ["low on disk"])


@pytest.mark.parametrize("data", [b"AMQP\x00\x01\x00\x00", b"HTTP/1.1 400 Bad Request\r\n", b"\x01" + b"\x00" * 20])
def test_bytes_of_another_protocol_are_an_error(data: bytes) -> None:
    session = Session(SETTINGS, lingers=True)
    waiting = session.ask(0, "connection.close", 200, "", 0, 0)
    session.feed(data)
    assert isinstance(waiting.error, LostError)


def test_method_that_ends_too_early_loses_the_connection() -> None:
    session = Session(SETTINGS, lingers=True)
    session.feed(b"\x01\x00\x00\x00\x00\x00\x06\x00\x0a\x00\x0a\x00\x00\xce")  # connection.start without the rest
    assert isinstance(session.lost, LostError)
    assert "can't be understood" in str(session.lost)


def test_frame_without_an_end_is_an_error() -> None:
    with pytest.raises(FrameError, match="no end"):
        list(FrameReader().feed(frames.method(1, "basic.ack", 1, False)[:-1] + b"\x00"))


def opened(session: Session) -> Consumption:
    """A consumption of the queue ``q`` on channel 1, with a consumer that wants five messages."""
    consumption = session.consumptions["q"] = Consumption(session, "q")
    receiving = consumption.receive(5, 10, 0, 60)
    next(receiving)
    session.out.clear()
    return consumption


def consumer_of(session: Session) -> str:
    return f"taskq-{session.id}-1"


def sent(session: Session) -> list[Method | Content]:
    data = b"".join(session.out)
    session.out.clear()
    return list(FrameReader().feed(data))


def test_acknowledgements_are_joined_where_no_earlier_delivery_is_held() -> None:
    session = Session(SETTINGS, lingers=True)
    consumption = opened(session)
    session.feed(b"".join(deliver(tag, consumer_of(session), b"") for tag in range(1, 8)))

    assert consumption.acknowledge([2, 1, 3, 5, 7]) == [True] * 5
    assert sent(session) == [
        Method(1, "basic.ack", [3, True]),
        Method(1, "basic.ack", [5, False]),
        Method(1, "basic.ack", [7, False]),
    ]
    assert consumption.acknowledge([4, 6]) == [True, True]
    assert sent(session) == [Method(1, "basic.ack", [6, True])]
    assert consumption.acknowledge([6, 99]) == [False, False]
    assert sent(session) == []


def test_random_acknowledgements_settle_each_delivery_once_and_no_other() -> None:
    rng = random.Random(7)
    for _ in range(50):
        session = Session(SETTINGS, lingers=True)
        consumption, held, settled, tag = opened(session), set[int](), set[int](), 0
        for _ in range(30):
            for _ in range(rng.randrange(4)):
                tag += 1
                held.add(tag)
                session.feed(deliver(tag, consumer_of(session), b""))
            chosen = rng.sample(sorted(held), rng.randrange(len(held) + 1))
            consumption.acknowledge(chosen)
            for each in sent(session):
                assert isinstance(each, Method)
                last, multiple = each.arguments
                settled |= {one for one in range(1, last + 1) if one not in settled} if multiple else {last}
            held -= set(chosen)
            assert settled == set(range(1, tag + 1)) - held


def test_deliveries_of_a_closed_channel_are_not_settled() -> None:
    session = Session(SETTINGS, lingers=True)
    consumption = opened(session)
    session.feed(deliver(1, consumer_of(session), b""))
    session.feed(frames.method(1, "channel.close", 406, "PRECONDITION_FAILED - timed out", 0, 0))
    sent(session)
    assert consumption.acknowledge([1]) == [False]
    assert consumption.extend([1], 0, 60) == [False]
    assert session.consumptions == {}
    assert sent(session) == []


def test_channel_that_the_server_closes_twice_is_closed_once() -> None:
    """RabbitMQ tells at each of its looks that a delivery is over its time, until it has an answer."""
    session = Session(SETTINGS, lingers=True)
    opened(session)
    for _ in range(2):
        session.feed(frames.method(1, "channel.close", 406, "PRECONDITION_FAILED - timed out", 0, 0))
    assert sent(session) == [Method(1, "channel.close-ok", [])]


def test_messages_that_nobody_takes_are_given_back() -> None:
    session = Session(SETTINGS, lingers=True)
    consumption = session.consumptions["q"] = Consumption(session, "q")
    receiving = consumption.receive(5, 10, 0, 60)
    next(receiving)
    receiving.close()
    sent(session)
    session.feed(deliver(1, consumer_of(session), b"") + deliver(2, consumer_of(session), b""))
    session.tick(1e12)
    assert [each.name for each in sent(session) if isinstance(each, Method)] == ["basic.get"]
    for answer in ("channel.open-ok", "basic.qos-ok", "basic.get-empty", "basic.cancel-ok"):
        if answer == "basic.cancel-ok":
            assert [each.name for each in sent(session) if isinstance(each, Method)] == ["basic.cancel"]
        arguments: tuple[Any, ...] = {
            "channel.open-ok": (b"",), "basic.get-empty": ("",), "basic.cancel-ok": ("c",)
        }.get(answer, ())  # fmt: skip
        session.feed(frames.method(1, answer, *arguments))
    assert sent(session) == [Method(1, "basic.nack", [tag, False, True]) for tag in (1, 2)]


def test_confirms_answer_for_the_messages_they_name() -> None:
    session = Session(SETTINGS, lingers=True)
    publishing = session.publishing = Publishing(session)
    message = ("", "q", {"message_id": "m"}, b"")
    first, second = publishing.send([message] * 3), publishing.send([message, ("", "q" * 300, {}, b"")])
    session.feed(frames.method(1, "basic.nack", 2, False, False))
    session.feed(frames.method(1, "basic.ack", 3, True))
    assert first.waiting.answer == [ACCEPTED, REJECTED, ACCEPTED]
    assert not second.waiting.done
    session.feed(frames.method(1, "basic.ack", 4, False))
    assert second.waiting.answer[0] == ACCEPTED
    assert second.waiting.answer[1].startswith(IMPOSSIBLE)


def test_channel_without_confirms_asks_for_no_answers_and_declares_a_lost_queue_anew() -> None:
    session = Session(SETTINGS, lingers=True)
    steps = publish(session, [("", "q", {"message_id": "m"}, b"body")], 1, confirm=False)
    next(steps)
    assert session.out == [frames.method(1, "channel.open", "")]
    session.feed(frames.method(1, "channel.open-ok", b""))
    with pytest.raises(StopIteration) as ended:
        steps.send(True)
    assert ended.value.value == [ACCEPTED]
    assert frames.method(1, "confirm.select", frames.OFF) not in session.out
    session.declared.add("q")
    returned = frames.method(1, "basic.return", 312, "NO_ROUTE", "", "q")
    session.feed(returned + b"".join(frames.content(1, {}, b"", 4096)))
    assert session.declared == set()
    session.declared.add("q")
    session.feed(frames.method(1, "channel.close", 404, "NOT_FOUND", 60, 40))
    assert session.declared == set()
    assert session.unconfirmed is None


def test_messages_of_a_closed_connection_are_unanswered() -> None:
    session = Session(SETTINGS, lingers=True)
    publishing = session.publishing = Publishing(session)
    batch = publishing.send([("", "q", {}, b"")])
    session.feed(frames.method(0, "connection.close", 320, "CONNECTION_FORCED - broker shutdown", 0, 0))
    assert isinstance(batch.waiting.error, RefusedError)
    assert batch.waiting.error.code == "CONNECTION_FORCED"
    assert isinstance(session.lost, RefusedError)
