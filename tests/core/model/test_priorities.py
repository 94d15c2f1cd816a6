"""The levels of priority of a queue, and the names of their queues."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from celery import Celery

from taskq_cloud import BoundTask, TaskQ, chain
from taskq_cloud.core.messages.sending import Outbox
from taskq_cloud.core.model.message import Outgoing
from taskq_cloud.core.model.priorities import NO_PRIORITIES, PriorityLevels
from taskq_cloud.errors import ImproperlyConfigured, OptionError
from taskq_cloud.testing import run_tasks

LEVELS = PriorityLevels(9, {"mail": 0, "video": 255, "two": 1}, 3)


@pytest.mark.parametrize(
    ("queue", "queues"),
    [
        ("orders", {"orders": range(4), "orders-p1": range(4, 7), "orders-p2": range(7, 12)}),
        ("orders.fifo", {"orders.fifo": range(4), "orders-p1.fifo": range(4, 7), "orders-p2.fifo": [7, 9, 300]}),
        ("video", {"video": [0, 85], "video-p1": [86, 170], "video-p2": [171, 255, 1000]}),
        ("two", {"two": [0], "two-p1": [1, 2, 9]}),
        ("mail", {"mail": range(10)}),
    ],
)
def test_priority_leads_to_a_level(queue: str, queues: dict[str, list[int]]) -> None:
    assert LEVELS.queues(queue) == list(queues)
    for number, (named, priorities) in enumerate(queues.items()):
        assert (LEVELS.base(named), LEVELS.level(named)) == (queue, number)
        for priority in priorities:
            assert LEVELS.queue_for(queue, priority) == named
            # A retry is sent from the queue of a level.
            assert [LEVELS.queue_for(each, priority) for each in queues] == [named] * len(queues)


def test_few_priorities_have_a_level_each() -> None:
    levels = PriorityLevels(2, {}, 10)
    assert [levels.queue_for("a", priority) for priority in range(4)] == ["a", "a-p1", "a-p2", "a-p2"]


def test_without_the_setting_a_queue_is_itself() -> None:
    for queue in ("orders", "orders-p1", "orders-p0"):
        assert NO_PRIORITIES.queue_for(queue, 9) == queue
        assert NO_PRIORITIES.base(queue) == queue
        assert NO_PRIORITIES.expanded([queue]) == [queue]


def test_name_of_a_queue_stands_for_all_its_levels() -> None:
    assert LEVELS.expanded(["mail", "orders", "orders-p1"]) == ["mail", "orders", "orders-p1", "orders-p2"]
    assert LEVELS.expanded(["orders-p0", "two-p1"]) == ["orders", "two-p1"]
    assert [LEVELS.exact(each) for each in ("orders", "orders-p2", "orders.fifo", "mail")] == [
        "orders-p0",
        "orders-p2",
        "orders-p0.fifo",
        "mail",
    ]
    assert LEVELS.expanded(["orders-p3", "mail-p1", "orders-p1-dead"]) == [
        *LEVELS.queues("orders-p3"),
        *LEVELS.queues("mail-p1"),
        *LEVELS.queues("orders-p1-dead"),
    ]


def test_queue_with_the_name_of_a_level_is_refused() -> None:
    app = TaskQ("shop", broker="memory://", task_queue_max_priority=9, task_routes={"a": "orders", "b": "orders-p1"})
    for name in ("a", "b"):
        app.task(name=name)(lambda name=name: name)
    with pytest.raises(ImproperlyConfigured, match=r"queue 'orders-p1' has the name of level 1 of queue 'orders'"):
        app.queues()


@pytest.mark.parametrize("name", ["orders-p2", "orders-p7", "celery-p2"])
def test_level_that_a_queue_does_not_have_is_refused(name: str) -> None:
    app = TaskQ("shop", broker="memory://", results="memory://", task_queue_max_priority=9, queue_priority_levels=2)
    app.task(name="a", queue="orders")(print)
    base = name.partition("-")[0]
    with pytest.raises(ImproperlyConfigured, match=f"queue '{base}' has no level .: .* named {base}-p0, {base}-p1"):
        run_tasks(app, [name])
    run_tasks(app, ["orders", "orders-p0", "orders-p1", "elsewhere-p7"])


@pytest.mark.parametrize("priority", [256, -1, 2.5, "high", True])
def test_number_that_is_no_priority_is_refused(priority: Any) -> None:
    app = TaskQ("shop", broker="memory://")
    task = app.task(name="a")(lambda: None)
    with pytest.raises(ImproperlyConfigured, match="priority"):
        app.task(name="b", priority=priority)(print)
    for call in (lambda: task.apply_async(priority=priority), lambda: task.s().set(priority=priority)):
        with pytest.raises(OptionError, match="priority must be a whole number from 0 to 255"):
            call()


@pytest.mark.parametrize(("sent", "kept"), [(1000, 255), (9, 9)])
def test_priority_of_celerys_messages_is_brought_into_the_range(sent: int, kept: int) -> None:
    app = TaskQ("shop", broker="memory://", results="memory://")
    seen: list[int] = []

    @app.task(name="a", bind=True)
    def a(self: BoundTask) -> None:
        seen.append(self.request.invocation.message.priority)

    theirs = Celery("shop", broker="memory://", set_as_current=False)
    message = theirs.amqp.as_task_v2("id-1", "a", chain=[theirs.signature("a", priority=sent, immutable=True)])
    body = base64.b64encode(json.dumps(message.body).encode()).decode()
    envelope = {
        "body": body,
        "headers": message.headers,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {**message.properties, "priority": sent, "body_encoding": "base64", "delivery_info": {}},
    }
    app.run(app.broker.send("celery", [Outgoing(body=json.dumps(envelope))]))
    run_tasks(app)
    theirs.close()
    assert seen == [kept, kept]


def test_application_has_the_queues_of_all_levels() -> None:
    app = TaskQ("shop", broker="memory://", queue_max_priorities={"orders": 9}, queue_priority_levels=2)
    app.task(name="a", queue="orders")(print)
    assert app.queues() == ["celery", "orders", "orders-p1"]


@pytest.mark.parametrize(
    "settings",
    [
        {"task_queue_max_priority": 256},
        {"task_queue_max_priority": -1},
        {"queue_max_priorities": {"a": 300}},
        {"queue_priority_levels": 1},
        {"queue_priority_levels": 11},
        {"worker_priority_weights": [1, 0]},
    ],
)
def test_impossible_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ImproperlyConfigured, match=next(iter(settings))):
        assert TaskQ("shop", **settings).conf


@pytest.mark.parametrize("send", ["call", "chain", "link"])
@pytest.mark.parametrize(
    ("default", "declared", "called", "queue"),
    [
        (None, None, None, "work"),
        (None, 9, None, "work-p2"),
        (None, 9, 0, "work"),
        (5, None, None, "work-p1"),
        (5, 0, None, "work"),
        (5, 9, None, "work-p2"),
        (5, 9, 0, "work"),
    ],
)
def test_call_goes_to_the_queue_of_its_priority(
    default: int | None, declared: int | None, called: int | None, queue: str, send: str
) -> None:
    settings = {"task_queue_max_priority": 9, "task_default_priority": default}
    app = TaskQ("shop", broker="memory://", results="memory://", **settings)
    task = app.task(name="a", queue="work", priority=declared)(lambda: None)
    first = app.task(name="first", queue="first", priority=0)(lambda: None)
    sig = task.si().set(priority=called) if called is not None else task.si()
    if send == "call":
        task.apply_async(priority=called)
    elif send == "chain":
        chain(first.si(), sig).apply_async()
    else:
        first.apply_async(link=sig)
    run_tasks(app, ["first"])
    depths = {each: app.run(app.broker.depth(each)) for each in app.priorities.queues("work")}
    assert [each for each, depth in depths.items() if depth is not None and depth.total] == [queue]
    assert isinstance(app.outbox, Outbox)
