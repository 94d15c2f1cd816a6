"""Members that never run: what their chord hears of it, and when it hears nothing, what helps."""

from __future__ import annotations

import json
import logging

import pytest

from taskq_cloud import TaskQ, chain, chord
from taskq_cloud.core.model.message import Acknowledge, Outgoing
from taskq_cloud.errors import ChordError, EncodeError, Reject
from taskq_cloud.testing.bench import Bench
from tests.chaos import serve


@pytest.fixture
def app(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL, "taskq_cloud.execution")
    app = TaskQ("chords", broker="memory://", results="memory://")

    @app.task(name="double")
    def double(number):
        return number * 2

    @app.task(name="reject")
    def reject() -> None:
        raise Reject("not mine")

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    yield app
    app.close()


@pytest.fixture
def bench(app):
    return Bench.of(app)


def redrive(app):
    dead = app.run(app.broker.receive("celery-dead", 10, 0, 30))
    for each in dead:
        app.run(app.broker.send("celery", [Outgoing(body=each.body, attributes=each.attributes)]))
    app.run(app.broker.settle([Acknowledge(each) for each in dead]))
    return dead


def alter(app, change) -> None:
    """Change the messages that are in the queue."""
    waiting = app.run(app.broker.receive("celery", 10, 0, 30))
    app.run(app.broker.settle([Acknowledge(each) for each in waiting]))
    for each in waiting:
        document = json.loads(each.body)
        change(document)
        app.run(app.broker.send("celery", [Outgoing(body=json.dumps(document))]))


@pytest.mark.parametrize(
    ("task", "said"), [("unknown", r"raised NotRegistered\('unknown'\)"), ("reject", r"raised Reject\('not mine'\)")]
)
def test_a_member_that_is_dead_lettered_fails_its_chord(app, bench, task, said) -> None:
    member = chain(app.signature("double", (1,), immutable=True), app.signature(task, immutable=True))
    result = chord([app.tasks["double"].s(1), member], app.tasks["total"].s()).delay()
    serve(bench)
    with pytest.raises(ChordError, match=said):
        result.get(timeout=1)


def test_a_member_whose_callbacks_make_no_message_fails_its_chord(app, bench) -> None:
    double = app.tasks["double"]
    result = chord([double.s(1), double.s(2)], app.tasks["total"].s()).delay()

    def wrong_callback(document) -> None:
        args, kwargs, embed = json.loads(document["body"])
        if document["headers"]["group_index"] == 0:
            embed["callbacks"] = [{"task": "double", "args": [], "kwargs": {}, "options": {"countdown": "soon"}}]
        document["body"] = json.dumps([args, kwargs, embed])

    alter(app, wrong_callback)
    serve(bench)
    with pytest.raises(ChordError, match=r"raised InvalidTaskError.*a task that follows it can't be read"):
        result.get(timeout=1)


def test_a_member_that_cannot_be_read_has_failed_and_its_chord_goes_on_once_it_is_redriven(app, bench) -> None:
    double = app.tasks["double"]
    result = chord([double.s(1), double.s(2)], app.tasks["total"].s()).delay()

    def unreadable(document) -> None:
        if document["headers"]["group_index"] == 1:
            document["content-type"] = "application/x-other"

    alter(app, unreadable)
    serve(bench)
    # The body, which only the message's body tells of, is not known: it waits.
    assert result.state == "PENDING"
    assert result.parent[1].state == "FAILURE"
    (dead,) = redrive(app)
    assert "ContentDisallowed" in dead.attributes["dead_letter_reason"]

    alter_type = json.loads(dead.body) | {"content-type": "application/json"}
    waiting = app.run(app.broker.receive("celery", 10, 0, 30))
    app.run(app.broker.settle([Acknowledge(each) for each in waiting]))
    app.run(app.broker.send("celery", [Outgoing(body=json.dumps(alter_type), attributes=dead.attributes)]))
    serve(bench)
    assert result.get(timeout=1) == 6


def test_what_json_cannot_say_is_refused_with_the_tasks_name(app) -> None:
    total = app.tasks["total"]
    with pytest.raises(EncodeError, match="task double: its arguments are not serialisable as JSON"):
        chord([app.tasks["double"].s(object())], total.s()).delay()
    with pytest.raises(EncodeError, match="task total: its arguments are"):
        chord([app.tasks["double"].s(1)], total.si(object())).delay()
    assert app.run(app.broker.depth("celery")).total == 0


def test_a_body_that_does_not_take_the_values_is_refused_before_anything_is_sent(app) -> None:
    with pytest.raises(TypeError, match=r"task total\(numbers\): too many positional arguments"):
        chord([app.tasks["double"].s(1)], app.tasks["total"].s(1)).delay()
    with pytest.raises(TypeError, match=r"task double\(number\): missing a required argument"):
        chord([app.tasks["double"].s()], app.tasks["total"].s()).delay()
    assert app.run(app.broker.depth("celery")).total == 0
