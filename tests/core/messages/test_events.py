"""Messages of other services: how they are recognised, and which task gets them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taskq_cloud.core.messages import events, protocol
from taskq_cloud.core.model.message import Message
from taskq_cloud.errors import DecodeError

ROUTES = {"aws.s3:Object *": "on_object", "aws:s3:*": "on_s3", "aws.sns:uploads": "on_upload", "aws.*": "on_aws"}
EVENT = {"source": "aws.s3", "detail-type": "Object Created", "id": "e1", "detail": {"bucket": {"name": "b"}}}
S3 = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {}}, {"eventSource": "x"}]}


def read(document: Any, message_id: str = "m1") -> Message:
    return events.read(json.dumps(document), message_id, ("json",), ROUTES)


def notification(message: str, topic: str = "uploads", **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:sns:eu-west-1:123456789012:{topic}"
    return {"Type": "Notification", "MessageId": "n1", "TopicArn": arn, "Message": message, **more}


@pytest.mark.parametrize(
    ("document", "task"),
    [
        (EVENT, "on_object"),
        (EVENT | {"detail-type": "Scheduled Event"}, "on_aws"),
        (S3, "on_s3"),
        (notification("a text"), "on_upload"),
        (notification("[1, 2]"), "on_upload"),
        (notification(json.dumps({"some": "json"})), "on_upload"),
        (notification(json.dumps(EVENT), "other"), "on_object"),
        (notification(json.dumps(S3), "other"), "on_s3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_event_goes_to_the_task_of_its_first_pattern(document: Any, task: str) -> None:
    assert read(document).task == task


def test_event_delivered_twice_is_one_task_with_the_whole_event() -> None:
    message = read(EVENT)
    assert (message.args, message.kwargs) == ([EVENT], {})
    assert read(EVENT, "another delivery").id == message.id
    assert read(EVENT | {"id": "e2"}).id != message.id


def test_notification_gives_the_task_its_id() -> None:
    assert read(notification("x"), "m1").id == read(notification("x"), "m2").id
    assert read(notification("x")).args == [notification("x")]


def test_s3_event_without_an_id_gets_the_id_of_the_broker() -> None:
    assert read(S3, "m1").id == read(S3, "m1").id != read(S3, "m2").id


def test_task_message_in_a_notification_is_read_as_a_task_message() -> None:
    sent = Message(task="t", id="1", args=[1])
    got = read(notification(protocol.encode(sent, "q")))
    assert (got.task, got.id, got.args) == ("t", "1", [1])


def test_hand_written_message_in_a_notification_has_its_id() -> None:
    got = read(notification('{"task": "t"}'))
    assert (got.task, got.id) == ("t", "n1")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (EVENT | {"source": "shop", "detail-type": "Paid"}, "no pattern of task_event_routes matches.*'shop:Paid'"),
        ({"hello": "world", "a": 1}, "neither a task's message nor a known event; its keys: 'a', 'hello'"),
        ({"Records": [{"eventName": 1}]}, "neither a task's message"),
        ({"\ud800": 1}, r"\\ud800"),
        (EVENT | {"id": "\ud800"}, "can't be written as UTF-8"),
        ({}, "its keys: $"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_event_without_a_route_is_refused_with_its_key(document: Any, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        read(document)


def test_pattern_is_case_sensitive() -> None:
    with pytest.raises(DecodeError, match=r"no pattern.*'AWS\.S3:Object Created'"):
        read(EVENT | {"source": "AWS.S3"})


def test_event_with_a_body_is_not_taken_for_a_task_message() -> None:
    event = EVENT | {"source": "shop", "body": "not a message: it has neither headers nor properties"}
    with pytest.raises(DecodeError, match="'shop:Object Created'"):
        read(event)
