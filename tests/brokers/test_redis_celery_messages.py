"""The pure parts of Celery's layout on Redis: options, the names of lists, and messages as text."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from taskq_cloud.brokers import _redis_celery_messages as kombus
from taskq_cloud.brokers._redis_celery_fanout import fanout_message, fanout_topic
from taskq_cloud.brokers._redis_celery_options import LayoutOptions, read_options
from taskq_cloud.brokers.registry import broker_from_url
from taskq_cloud.core.model.message import DEAD_LETTER_REASON, Delivery, Outgoing
from taskq_cloud.errors import ImproperlyConfigured

ENVELOPE: dict[str, Any] = {
    "body": "[[], {}, {}]",
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"task": "shop.add", "id": "1"},
    "properties": {"delivery_info": {"exchange": "", "routing_key": "work"}, "priority": 5},
}


def test_kombus_options_are_read_by_their_names() -> None:
    given = {
        "layout": "celery",
        "visibility_timeout": 600,
        "global_keyprefix": "shop:",
        "sep": ":",
        "priority_steps": [0, 5],
        "unacked_key": "u",
        "unacked_index_key": "i",
        "fanout_prefix": False,
        "fanout_patterns": False,
        "queue_order_strategy": "priority",
        "socket_timeout": 3,
        "ack_emulation": True,
        "master_name": "main",
    }
    assert read_options(given) == LayoutOptions(
        visibility_timeout=600.0,
        prefix="shop:",
        separator=":",
        steps=(0, 5),
        unacked="u",
        unacked_index="i",
        fanout_prefix="",
        fanout_patterns=False,
    )
    assert read_options({"fanout_prefix": "/x.{db}."}).fanout_prefix == "/x.{db}."


@pytest.mark.parametrize(
    ("option", "value", "remedy"),
    [
        ("visibility_timeout", "3600", "seconds"),
        ("visibility_timeout", 0, "at least 1"),
        ("visibility_timeout", float("inf"), "seconds"),
        ("visibility_timeout", True, "seconds"),
        ("global_keyprefix", None, "a text"),
        ("sep", "", "not empty"),
        ("priority_steps", [3, 0], "growing"),
        ("priority_steps", [], "growing"),
        ("priority_steps", "036", "growing"),
        ("priority_steps", [-1, 0], "growing"),
        ("fanout_prefix", 1, "True, False or a text"),
        ("fanout_patterns", "yes", "True or False"),
        ("ack_emulation", False, "lost"),
        ("queue_order_strategy", "random", "round_robin"),
        ("visibilty_timeout", 60, "unknown; known: ack_emulation"),
    ],
)
def test_wrong_option_is_refused_with_the_way_out(option: str, value: Any, remedy: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=remedy) as caught:
        broker_from_url("redis://localhost/0?layout=celery", {option: value})
    assert option in str(caught.value)


@pytest.mark.parametrize(
    ("priority", "steps", "name"),
    [
        (0, (0, 3, 6, 9), "work"),
        (2, (0, 3, 6, 9), "work"),
        (3, (0, 3, 6, 9), "work:3"),
        (9, (0, 3, 6, 9), "work:9"),
        (9, (0, 5), "work:5"),
        (9, (0,), "work"),
        (0, (3, 6), "work:6"),  # as kombu does, though it makes no sense
    ],
)
def test_list_of_a_priority_has_kombus_name(priority: int, steps: tuple[int, ...], name: str) -> None:
    assert kombus.list_of("work", priority, steps, ":") == name


@pytest.mark.parametrize(
    ("priority", "read"), [(0, 0), (5, 5), ("7", 7), (12, 9), (-3, 0), (None, 0), ("high", 0), ([], 0)]
)
def test_priority_is_read_as_kombu_reads_it(priority: Any, read: int) -> None:
    assert kombus.priority_of({"properties": {"priority": priority}}) == read


def test_message_without_a_place_gets_one() -> None:
    document = {**ENVELOPE, "properties": {"delivery_info": {"exchange": None}}}
    written = json.loads(kombus.written("work", Outgoing(body=json.dumps(document)), "tag", 5.0).text)
    assert written["properties"]["delivery_info"] == {"exchange": "", "routing_key": "work"}


def test_body_in_base64_stays_as_it_is() -> None:
    body = base64.b64encode(b"\x80pickled").decode()
    document = {**ENVELOPE, "body": body, "properties": {**ENVELOPE["properties"], "body_encoding": "base64"}}
    written = kombus.written("work", Outgoing(body=json.dumps(document)), "tag", 5.0)
    assert json.loads(written.text)["body"] == body
    assert (written.priority, written.due) == (5, None)


@pytest.mark.parametrize("encoding", [None, "base64"])
def test_signed_message_is_read_as_it_was_signed(encoding: str | None) -> None:
    document = json.loads(json.dumps(ENVELOPE))
    document["headers"]["taskq_signature"] = {"value": "x"}
    if encoding:
        document["body"] = base64.b64encode(document["body"].encode()).decode()
        document["properties"]["body_encoding"] = encoding
    text = kombus.written("work", Outgoing(body=json.dumps(document)), "tag", 5.0).text
    put_back = kombus.put_back(json.loads(text), redelivered=True)
    assert kombus.is_redelivered(put_back)
    found = kombus.read(put_back.encode())
    assert (json.loads(found.body), found.attributes, found.sent_at) == (document, {}, 5.0)


@pytest.mark.parametrize(
    "text", ["", "x", "{", "[1]", "null", '{"body": 5}', json.dumps({**ENVELOPE, "headers": None}), "\ud800 half"]
)
def test_any_text_is_read_as_it_was_written(text: str) -> None:
    written = kombus.written("work", Outgoing(body=text, attributes={"tenant": "Łódź"}), "tag", 5.0)
    assert kombus.read(written.text.encode()) == kombus.Found(text, {"tenant": "Łódź"}, 5.0)
    assert json.loads(written.text)["properties"]["delivery_tag"] == "tag"


@pytest.mark.parametrize(
    ("headers", "due"),
    [
        ({"eta": None}, None),
        ({}, None),
        ({"eta": "2026-01-01T00:00:10+00:00"}, 1767225610.0),
        ({"eta": "2026-01-01T00:00:10"}, 1767225610.0),
        ({"eta": "2026-01-01T00:00:10+00:00", "expires": "2026-01-01T00:00:05+00:00"}, 1767225605.0),
        ({"eta": None, "expires": "2026-01-01T00:00:05+00:00"}, None),
        ({"eta": "soon"}, None),
        ({"eta": 5}, None),
    ],
)
def test_time_at_which_a_message_is_due_is_read_from_its_headers(headers: dict[str, Any], due: float | None) -> None:
    assert kombus.due_at(json.dumps({**ENVELOPE, "headers": headers})) == due


def test_words_in_arguments_are_no_headers() -> None:
    quoted = {**ENVELOPE, "body": json.dumps([['"eta": "2026-01-01T00:00:10+00:00"', '"redelivered": true']])}
    text = json.dumps(quoted)
    assert kombus.due_at(text) is None
    assert not kombus.is_redelivered(text)


def test_bindings_route_as_kombus_exchanges_do() -> None:
    bindings = [
        b"shop.add\x06\x16\x06\x16direct",
        b"shop.#\x06\x16^shop\\..*?$\x06\x16topic",
        b"other.*\x06\x16^other\\.[^\\.]+$\x06\x16no",
        b"broken",
        b"\x06\x16\x06\x16empty",
    ]
    assert kombus.bound_queues(bindings, "shop.add", "\x06\x16") == ["direct", "topic"]


@pytest.mark.parametrize("value", [b"", b"[", b"{}", b'["x", "", "work"]', b'[{}, ""]', b"\xff"])
def test_unreadable_holding_is_none(value: bytes) -> None:
    assert kombus.holding(value) is None


def test_reason_of_a_dead_letter_is_cut_to_what_a_person_reads() -> None:
    delivery = Delivery(queue="work", message_id="1", receipt="r", body="x")
    reason = kombus.dead_letter(delivery, "\ud800" + "y" * 5000).attributes[DEAD_LETTER_REASON]
    assert reason == "\ufffd" + "y" * (kombus.LONGEST_REASON_CHARACTERS - 1)


def test_channels_of_fanout_exchanges_name_the_database() -> None:
    options = LayoutOptions()
    assert fanout_topic(options, 5, "celeryev", "worker.heartbeat") == "/5.celeryev/worker.heartbeat"
    assert fanout_topic(options, 5, "celery.pidbox") == "/5.celery.pidbox"
    assert fanout_topic(LayoutOptions(fanout_patterns=False), 0, "celeryev", "task.sent") == "/0.celeryev"
    assert fanout_topic(LayoutOptions(fanout_prefix=""), 3, "celeryev", "task.sent") == "celeryev/task.sent"


def test_control_command_has_the_bytes_of_kombus() -> None:
    """The bytes of ``app.control.broadcast`` of Celery 5.7."""
    body = {"method": "revoke", "arguments": {"task_id": "abc"}, "destination": None, "pattern": None, "matcher": None}
    assert fanout_message("celery.pidbox", "", body, {"clock": 1, "expires": 1796042436.9463358}, "t") == (
        '{"body": "eyJtZXRob2QiOiAicmV2b2tlIiwgImFyZ3VtZW50cyI6IHsidGFza19pZCI6ICJhYmMifSwgImRlc3RpbmF0aW9uIjogbnVsbCwg'
        'InBhdHRlcm4iOiBudWxsLCAibWF0Y2hlciI6IG51bGx9", "content-encoding": "utf-8", '
        '"content-type": "application/json", "headers": {"clock": 1, "expires": 1796042436.9463358}, '
        '"properties": {"delivery_mode": 2, "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""}, '
        '"priority": 0, "body_encoding": "base64", "delivery_tag": "t"}}'
    )


def test_mark_of_a_message_that_was_put_back_is_not_handed_on() -> None:
    text = kombus.put_back(json.loads(json.dumps(ENVELOPE)), redelivered=True)
    assert kombus.is_redelivered(text)
    assert json.loads(kombus.read(text.encode()).body) == ENVELOPE
