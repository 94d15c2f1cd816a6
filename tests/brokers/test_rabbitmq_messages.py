"""Tests of how messages look in AMQP, and of the broker's options, without a server."""

from __future__ import annotations

import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import pytest

from taskq_cloud.brokers._rabbitmq_layout import delayed, queue_need
from taskq_cloud.brokers._rabbitmq_messages import Received, again, delivery_of, to_amqp
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.clients.rabbitmq_settings import settings_of
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Message, Outgoing
from taskq_cloud.core.servers.rabbitmq import read_options
from taskq_cloud.errors import ImproperlyConfigured

native = pytest.importorskip("kombu.transport.native_delayed_delivery")


def received(properties: dict[str, Any], body: bytes, *, redelivered: bool = False) -> Received:
    return Received("c:1:1", redelivered, "", "orders", properties, body)


def round_trip(text: str, **attributes: str) -> Any:
    properties, body = to_amqp(Outgoing(body=text, attributes=attributes), "m1", 1000)
    return delivery_of("orders", received(properties, body), 1001, 60)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"serializer": "pickle"}])
def test_envelope_comes_back_as_it_was(options: dict[str, Any]) -> None:
    message = Message(task="shop.add", id="t1", args=(1, "ü"), priority=3, reply_to="r", timelimit=(2.5, None))
    text = Codec().pack(message, "orders", 10_000, 0, **options).body
    assert json.loads(round_trip(text).body) == json.loads(text)


def test_message_looks_as_celery_sends_it() -> None:
    message = Message(task="shop.add", id="t1", args=(1, 2), priority=3)
    text = Codec().pack(message, "orders", 10_000, 0).body
    properties, body = to_amqp(Outgoing(body=text), "m1", 1000)
    assert json.loads(body) == [[1, 2], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    headers = properties.pop("headers")
    assert (headers["task"], headers["id"], headers["lang"], headers["retries"]) == ("shop.add", "t1", "py", 0)
    assert properties == {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "correlation_id": "t1",
        "reply_to": None,
        "priority": 3,
        "delivery_mode": 2,
        "message_id": "m1",
        "timestamp": 1000,
    }


@pytest.mark.parametrize(
    "text", ["", "plain", '{"detail-type": "x", "source": "y"}', '{"task": "shop.add", "args": [1]}']
)
def test_other_bodies_travel_as_they_are(text: str) -> None:
    delivery = round_trip(text, tenant="a")
    assert (delivery.body, delivery.attributes, delivery.message_id) == (text, {"tenant": "a"}, "m1")
    assert delivery.sent_at == 1000


def test_protocol_1_of_celery_is_read() -> None:
    body = json.dumps({"task": "shop.add", "id": "t1", "args": [1], "kwargs": {}}).encode()
    delivery = delivery_of("orders", received({"content_type": "application/json"}, body), 0, 60)
    assert json.loads(delivery.body)["task"] == "shop.add"


def test_binary_body_of_celery_becomes_base64() -> None:
    properties = {
        "content_type": "application/x-python-serialize",
        "content_encoding": "binary",
        "headers": {"task": "t", "id": "t1"},
    }
    delivery = delivery_of("orders", received(properties, b"\x80\xff"), 0, 60)
    envelope = json.loads(delivery.body)
    assert (envelope["body"], envelope["properties"]["body_encoding"]) == ("gP8=", "base64")
    assert delivery.message_id == "t1"


@pytest.mark.parametrize(
    ("headers", "redelivered", "receives"),
    [
        ({}, False, 1),
        ({}, True, None),
        ({"x-delivery-count": 2}, True, 3),
        ({"x-taskq-receives": 4}, False, 5),
        ({"x-taskq-receives": 4, "x-delivery-count": 1}, True, 6),
        ({"x-taskq-receives": "many"}, False, 1),
    ],
)
def test_receives_are_counted(headers: dict[str, Any], redelivered: bool, receives: int | None) -> None:
    assert received({"headers": headers}, b"", redelivered=redelivered).receives == receives


def test_message_that_its_queue_does_not_count_is_sent_again_with_its_count() -> None:
    headers = {"x-taskq-receives": 1, "x-death": [{"count": 1}], "task": "t", "id": "t1"}
    properties, body = again(received({"headers": headers, "priority": 5}, b"x", redelivered=True))
    assert properties == {
        "headers": {"task": "t", "id": "t1", "x-taskq-receives": 2},
        "priority": 5,
        "message_id": "t1",
    }
    assert body == b"x"


def test_reason_of_a_message_that_the_server_has_dead_lettered() -> None:
    deaths = [{"reason": "delivery_limit", "queue": "orders", "count": 1}]
    dead = delivery_of("orders-dead", received({"headers": {"x-death": deaths}}, b"x"), 0, 60)
    assert "x-delivery-limit" in dead.attributes[DEAD_LETTER_REASON]
    assert (
        delivery_of("orders", received({"headers": {"x-death": [{"reason": "expired"}]}}, b"x"), 0, 60).attributes == {}
    )


@pytest.mark.parametrize("seconds", [1, 2, 3_600, 2**28 - 1])
def test_delay_has_celerys_routing_key(seconds: int) -> None:
    options = read_options([urlsplit("amqp://h")], {})
    assert delayed(options, "orders", seconds - 0.5) == (
        "celery_delayed_27",
        native.calculate_routing_key(seconds, "orders"),
    )


@pytest.mark.parametrize(
    ("url", "options", "part"),
    [
        ("amqp://h?colour=red", {}, "colour"),
        ("amqp://h", {"colour": "red"}, "colour"),
        ("amqp://h?queue_type=stream", {}, "classic or quorum"),
        ("amqp://h?max_priority=300", {}, "255"),
        ("amqp://h?heartbeat=-1", {}, "heartbeat"),
        ("amqp://h?create_missing_queues=perhaps", {}, "true or false"),
        ("amqp://h:99999", {}, "port"),
        ("amqp://h/a/b", {}, "%2F"),
        ("amqp://h", {"ssl": {"colour": 1}}, "colour"),
        ("amqp://h", {"queue_arguments": {"a": 1}}, "queue_arguments"),
        ("amqp://h;sqs://eu-west-1", {}, "several URLs"),
    ],
)
def test_wrong_option_is_named(url: str, options: dict[str, Any], part: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=part):
        broker_from_url(url, options)


@pytest.mark.parametrize("queue", ["#", "orders.*", "orders.#.eu", "a\nb", "a\rb", "q" * 200])
def test_name_of_a_queue_that_means_something_else_is_refused(queue: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"queue '{queue[0]}"):
        queue_need(read_options([urlsplit("amqp://h")], {}), queue)


@pytest.mark.parametrize(
    ("given", "verify"),
    [(ssl.CERT_NONE, 0), (0, 0), ("CERT_NONE", 0), ("none", 0), (ssl.CERT_REQUIRED, 1), ("2", 1)],
)
def test_certificates_are_checked_unless_celerys_option_says_no(given: object, verify: int) -> None:
    [service] = broker_from_url("amqp://h", {"ssl": {"cert_reqs": given}}).services.values()
    assert dict(service.options)["ssl"] == (("verify", verify),)


def test_missing_file_of_certificates_is_named() -> None:
    [service] = broker_from_url("amqp://user:secret@h", {"ssl": {"ca_certs": "/nowhere/ca.pem"}}).services.values()
    with pytest.raises(ImproperlyConfigured, match=r"/nowhere/ca\.pem") as caught:
        settings_of(dict(service.options))
    assert "secret" not in str(caught.value)


def test_password_is_not_shown() -> None:
    assert "secret" not in repr(read_options([urlsplit("amqp://user:secret@h")], {}))


def test_options_of_the_client_are_not_in_the_url_it_shows() -> None:
    broker = broker_from_url("amqp://user:secret@h/shop?queue_type=quorum;amqp://other/shop", {"ssl": {"cert_reqs": 0}})
    [(name, service)] = broker.services.items()
    assert "secret" not in name
    options = dict(service.options)
    assert options["urls"] == ("amqp://user:secret@h/shop", "amqp://other/shop")
    assert options["ssl"] == (("verify", False),)
