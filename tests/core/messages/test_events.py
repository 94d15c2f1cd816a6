"""Messages that no task queue sent: what they are taken for, and which task gets them."""

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
def test_an_event_goes_to_the_task_of_its_first_pattern(document: Any, task: str) -> None:
    assert read(document).task == task


def test_the_task_gets_the_whole_event_once() -> None:
    message = read(EVENT)
    assert (message.args, message.kwargs) == ([EVENT], {})
    assert read(EVENT, "another delivery").id == message.id
    assert read(EVENT | {"id": "e2"}).id != message.id


def test_sns_is_known_by_its_own_message_id() -> None:
    assert read(notification("x"), "m1").id == read(notification("x"), "m2").id
    assert read(notification("x")).args == [notification("x")]


def test_s3_has_no_id_of_its_own_so_the_broker_gives_it() -> None:
    assert read(S3, "m1").id == read(S3, "m1").id != read(S3, "m2").id


def test_a_task_message_inside_a_notification_is_a_task_message() -> None:
    sent = Message(task="t", id="1", args=[1])
    got = read(notification(protocol.encode(sent, "q")))
    assert (got.task, got.id, got.args) == ("t", "1", [1])


def test_a_hand_written_message_inside_a_notification_has_the_notifications_id() -> None:
    got = read(notification('{"task": "t"}'))
    assert (got.task, got.id) == ("t", "n1")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (EVENT | {"source": "shop", "detail-type": "Paid"}, "no pattern of task_event_routes matches.*'shop:Paid'"),
        ({"hello": "world", "a": 1}, "neither a task's message nor a known event; its keys: 'a', 'hello'"),
        ({"Records": []}, "neither a task's message"),
        ({"Records": [{"eventName": 1}]}, "neither a task's message"),
        ({"\ud800": 1}, r"\\ud800"),
        (EVENT | {"id": "\ud800"}, "can't be written as UTF-8"),
        ({}, "its keys: $"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_task_wants_is_refused_with_its_key(document: Any, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        read(document)


def test_a_pattern_matches_the_case() -> None:
    with pytest.raises(DecodeError, match=r"no pattern.*'AWS\.S3:Object Created'"):
        read(EVENT | {"source": "AWS.S3"})


def test_a_task_may_be_told_what_to_do_with_events_of_a_body() -> None:
    event = EVENT | {"source": "shop", "body": "not a message: it has neither headers nor properties"}
    with pytest.raises(DecodeError, match="'shop:Object Created'"):
        read(event)
