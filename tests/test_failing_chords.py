"""Tests of chords whose members never run: the chord fails, or continues once the member is redriven."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import AsyncResult, GroupResult, TaskQ, chain, chord
from taskq_cloud.core.model.message import Acknowledge, Delivery, Outgoing
from taskq_cloud.errors import ChordError, EncodeError, Reject
from taskq_cloud.testing.bench import Bench
from tests.arithmetic import make_app
from tests.chaos import serve


@pytest.fixture
def app(caplog: pytest.LogCaptureFixture) -> Iterator[TaskQ]:
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")
    app = make_app("chords")

    @app.task(name="reject")
    def reject() -> None:
        raise Reject("not mine")

    yield app
    app.close()


@pytest.fixture
def bench(app: TaskQ) -> Bench:
    return Bench.of(app)


def redrive(app: TaskQ) -> list[Delivery]:
    dead = app.run(app.broker.receive("celery-dead", 10, 0, 30))
    for each in dead:
        app.run(app.broker.send("celery", [Outgoing(body=each.body, attributes=each.attributes)]))
    app.run(app.broker.settle([Acknowledge(each) for each in dead]))
    return dead


def alter(app: TaskQ, change: Callable[[dict[str, Any]], None]) -> None:
    """Change every message in the queue."""
    waiting = app.run(app.broker.receive("celery", 10, 0, 30))
    app.run(app.broker.settle([Acknowledge(each) for each in waiting]))
    for each in waiting:
        document = json.loads(each.body)
        change(document)
        app.run(app.broker.send("celery", [Outgoing(body=json.dumps(document))]))


@pytest.mark.parametrize(
    ("task", "said"),
    [("unknown", r"raised Task of kind 'unknown' never registered"), ("reject", r"raised Reject\('not mine'\)")],
)
def test_dead_lettered_member_fails_its_chord(app: TaskQ, bench: Bench, task: str, said: str) -> None:
    member = chain(app.signature("double", (1,), immutable=True), app.signature(task, immutable=True))
    result = chord([app.tasks["double"].s(1), member], app.tasks["total"].s()).delay()
    serve(bench)
    with pytest.raises(ChordError, match=said):
        result.get(timeout=1)


def test_member_with_an_unreadable_callback_fails_its_chord(app: TaskQ, bench: Bench) -> None:
    double = app.tasks["double"]
    result = chord([double.s(1), double.s(2)], app.tasks["total"].s()).delay()

    def wrong_callback(document: dict[str, Any]) -> None:
        args, kwargs, embed = json.loads(document["body"])
        if document["headers"]["group_index"] == 0:
            embed["callbacks"] = [{"task": "double", "args": [], "kwargs": {}, "options": {"countdown": "soon"}}]
        document["body"] = json.dumps([args, kwargs, embed])

    alter(app, wrong_callback)
    serve(bench)
    with pytest.raises(ChordError, match=r"raised InvalidTaskError.*a task that follows it can't be read"):
        result.get(timeout=1)


def test_chord_of_an_unreadable_member_continues_once_the_member_is_redriven(app: TaskQ, bench: Bench) -> None:
    double = app.tasks["double"]
    result = chord([double.s(1), double.s(2)], app.tasks["total"].s()).delay()

    def unreadable(document: dict[str, Any]) -> None:
        if document["headers"]["group_index"] == 1:
            document["content-type"] = "application/x-other"

    alter(app, unreadable)
    serve(bench)
    # Only the member's own message names the chord's body. The message can't be read, so the body stays pending.
    assert isinstance(result, AsyncResult)
    assert result.state == "PENDING"
    assert isinstance(result.parent, GroupResult)
    member = result.parent[1]
    assert isinstance(member, AsyncResult)
    assert member.state == "FAILURE"
    (dead,) = redrive(app)
    assert "ContentDisallowed" in dead.attributes["dead_letter_reason"]

    alter_type = json.loads(dead.body) | {"content-type": "application/json"}
    waiting = app.run(app.broker.receive("celery", 10, 0, 30))
    app.run(app.broker.settle([Acknowledge(each) for each in waiting]))
    app.run(app.broker.send("celery", [Outgoing(body=json.dumps(alter_type), attributes=dead.attributes)]))
    serve(bench)
    assert result.get(timeout=1) == 6


def test_argument_that_json_cannot_express_is_refused_with_the_name_of_its_task(app: TaskQ) -> None:
    total = app.tasks["total"]
    with pytest.raises(EncodeError, match="task double: its arguments are not serialisable as JSON"):
        chord([app.tasks["double"].s(object())], total.s()).delay()
    with pytest.raises(EncodeError, match="task total: its arguments are"):
        chord([app.tasks["double"].s(1)], total.si(object())).delay()
    depth = app.run(app.broker.depth("celery"))
    assert depth
    assert depth.total == 0


def test_chord_with_arguments_that_do_not_fit_is_refused_before_anything_is_sent(app: TaskQ) -> None:
    with pytest.raises(
        TypeError, match=r"task total\(numbers: 'list\[int\]'\) -> 'int': too many positional arguments"
    ):
        chord([app.tasks["double"].s(1)], app.tasks["total"].s(1)).delay()
    with pytest.raises(TypeError, match=r"task double\(number: 'int'\) -> 'int': missing a required argument"):
        chord([app.tasks["double"].s()], app.tasks["total"].s()).delay()
    depth = app.run(app.broker.depth("celery"))
    assert depth
    assert depth.total == 0
