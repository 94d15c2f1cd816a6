"""Constructs of the guide "Routing Tasks": automatic and manual routing, routers, priorities and queues."""

from __future__ import annotations

import re
from typing import Any

import pytest
from kombu.entity import Exchange, Queue

from tests.celery.documentation.sides import Side, get


@pytest.fixture
def app(side: Side) -> Any:
    app = side.app("site")

    @app.task(name="feed.tasks.import_feed")
    def import_feed(url: str = "") -> str:
        return url

    @app.task(name="web.render", bind=True)
    def render(self: Any) -> Any:
        return self.request.delivery_info["routing_key"]

    app.import_feed, app.render = import_feed, render
    return app


def queue_of(app: Any, name: str, options: Any = None) -> str:
    """The queue to which a call of a task goes."""
    return str(app.amqp.router.route(options or {}, name)["queue"].name)


@pytest.mark.parametrize(
    ("routes", "feeds", "web"),
    [
        ({"feed.tasks.import_feed": {"queue": "feeds"}}, "feeds", None),
        ({"feed.tasks.*": {"queue": "feeds"}, "web.*": {"queue": "web"}}, "feeds", "web"),
        (([("feed.tasks.*", {"queue": "feeds"}), ("web.*", {"queue": "web"})],), "feeds", "web"),
        ({"feed.tasks.import_feed": "feeds"}, "feeds", None),
    ],
    ids=["name", "pattern", "list", "text"],
)
def test_route_names_the_queue(app: Any, routes: Any, feeds: str, web: str | None) -> None:
    app.conf.task_routes = routes
    assert queue_of(app, "feed.tasks.import_feed") == feeds
    assert queue_of(app, "web.render") == (web or app.conf.task_default_queue)


def test_regular_expression_is_a_pattern(app: Any) -> None:
    app.conf.task_routes = ([(re.compile(r"(feed|image)\..*"), {"queue": "media"})],)
    assert queue_of(app, "image.resize") == "media"
    assert queue_of(app, "web.render") == app.conf.task_default_queue


def test_router_is_a_function(app: Any) -> None:
    def route_task(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
        if name == "feed.tasks.import_feed":
            return {"queue": "feeds", "routing_key": "feed.import"}
        return None

    app.conf.task_routes = (route_task, {"web.render": {"queue": "web"}})
    assert queue_of(app, "feed.tasks.import_feed") == "feeds"
    assert queue_of(app, "web.render") == "web"


def test_worker_serves_the_queues_that_it_is_told(side: Side, app: Any) -> None:
    app.conf.task_routes = {"web.render": {"queue": "web-of-routing"}}
    with side.worker(app, queues=["web-of-routing"]):
        assert get(app.render.delay()) == "web-of-routing"


def test_queues_are_declared_with_exchanges_and_keys(side: Side, app: Any) -> None:
    media = Exchange("media", type="direct")
    app.conf.task_queues = (
        Queue("default", Exchange("default"), routing_key="default"),
        Queue("videos", media, routing_key="media.video"),
        Queue("images", media, routing_key="media.image"),
    )
    app.conf.task_default_queue = "default"
    assert set(app.amqp.queues) == {"default", "videos", "images"}
    assert app.amqp.queues["videos"].routing_key == "media.video"
    assert queue_of(app, "anything") == "default"


def test_missing_queues_can_be_forbidden(side: Side, app: Any) -> None:
    app.conf.task_queues = [Queue("default")]
    app.conf.update(task_default_queue="default", task_create_missing_queues=False)
    with pytest.raises(side.module("exceptions").QueueNotFound):
        queue_of(app, "anything", {"queue": "unknown"})


def test_queue_of_a_call_comes_before_routes(side: Side, app: Any) -> None:
    app.conf.task_routes = {"web.render": {"queue": "web"}}
    with side.worker(app, queues=["of-call"]):
        assert get(app.render.apply_async(queue="of-call")) == "of-call"


def test_queue_of_a_task_is_an_option(side: Side, app: Any) -> None:
    @app.task(name="web.slow", queue="slow-of-routing", bind=True)
    def slow(self: Any) -> Any:
        return self.request.delivery_info["routing_key"]

    with side.worker(app, queues=["slow-of-routing"]):
        assert get(slow.delay()) == "slow-of-routing"


def test_priority_reaches_the_task(side: Side, app: Any) -> None:
    @app.task(name="web.priority", bind=True)
    def priority(self: Any) -> Any:
        return self.request.delivery_info["priority"]

    with side.worker(app):
        assert get(priority.apply_async(priority=5)) == 5


def test_queues_are_selected_and_added_by_name(app: Any) -> None:
    app.conf.task_queues = [Queue("a"), Queue("b")]
    app.amqp.queues.select(["a"])
    assert set(app.amqp.queues.consume_from) == {"a"}
    app.amqp.queues.select_add("c")
    assert set(app.amqp.queues.consume_from) == {"a", "c"}
    app.amqp.queues.deselect(["a"])
    assert set(app.amqp.queues.consume_from) == {"c"}
