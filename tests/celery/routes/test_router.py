"""Routing: each scenario runs on Celery's router and on ours, and both must come to the same outcome."""

import importlib
import re
from types import ModuleType
from typing import Any

import celery
import celery.app.routes
import pytest

import taskq_cloud.celery
import taskq_cloud.celery.app.routes
from taskq_cloud.celery import messaging
from taskq_cloud.celery.app.amqp import native_queue
from taskq_cloud.celery.app.routes import RouterError
from taskq_cloud.celery.exceptions import ImproperlyConfigured, QueueNotFound

kombu: Any = importlib.import_module("kombu")  # its types don't name its classes
importlib.import_module("kombu.common")
BOTH = pytest.mark.parametrize("package", [celery, taskq_cloud.celery], ids=["celery", "ours"])


def _app(package: ModuleType, **settings: Any) -> Any:
    return package.Celery("routed", set_as_current=False, changes=settings)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options with the queue by its name, as the two packages have different classes for it."""
    return {**options, "queue": options["queue"].name} if "queue" in options else options


class ByMethod:
    def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
        return {"queue": "by-method", "priority": len(args)} if task == "proj.method" else None


def by_function(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **kw: Any) -> Any:
    if name == "proj.function":
        return {
            "queue": "by-function",
            "args": args,
            "kwargs": kwargs,
            "options": dict(options),
            "task": task,
            "kw": kw,
        }
    return "by-name" if name == "proj.text" else None


ROUTES: dict[str, Any] = {
    "mapping": {"proj.add": "adding", "proj.*": {"queue": "all", "priority": 3}},
    "pairs": ([("proj.add", "adding"), ("proj.sub*", {"routing_key": "sub"})],),
    "list of mappings": [{"proj.add": {"queue": "first"}}, {"proj.*": "second"}],
    "list of pairs": [[("proj.add", "first")], (("proj.*", "second"),)],
    "expressions": {re.compile(r".*\.(add|sub)$"): {"queue": "matched"}, re.compile("proj"): "begins"},
    "function": by_function,
    "object": ByMethod(),
    "path of function": f"{__name__}:by_function",
    "path of class": (f"{__name__}:ByMethod", {"proj.*": "rest"}),
    "mixed": [by_function, ByMethod(), {"proj.add": "mapped"}],
    "full": {
        "proj.add": {
            "queue": "full",
            "exchange": "ex",
            "routing_key": "key",
            "priority": 4,
            "serializer": "json",
            "expires": 60,
            "headers": {"a": 1},
            "made_up": True,
        }
    },
    "empty": {},
    "none": None,
}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("proj.add", {}),
    ("proj.add", {"queue": "mine"}),
    ("proj.add", {"priority": 9, "queue": None}),
    ("proj.add", {"exchange": "own", "routing_key": "own.key"}),
    ("proj.sub.tract", {"priority": None}),
    ("proj.method", {"priority": None}),
    ("proj.function", {"shadow": "s"}),
    ("proj.text", {}),
    ("other.task", {}),
    ("other.task", {"routing_key": "k"}),
]


@pytest.mark.parametrize("routes", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize(("name", "options"), CALLS, ids=str)
def test_router_gives_celerys_options(routes: Any, name: str, options: dict[str, Any]) -> None:
    outcomes = []
    for package in (celery, taskq_cloud.celery):
        app = _app(package, task_routes=routes)
        outcomes.append(_plain(app.amqp.router.route(dict(options), name, (1, 2), {"k": 3}, "the task")))
    assert outcomes[0] == outcomes[1]


@BOTH
def test_map_route_prefers_names_to_patterns(package: ModuleType) -> None:
    route = package.app.routes.MapRoute([("a.*", "pattern"), ("a.b", "name"), ("a.b?", "no pattern"), ("x", {"q": 1})])
    assert [route(name) for name in ("a.b", "a.bc", "b", "a.b?", "x")] == [
        {"queue": "name"},
        {"queue": "pattern"},
        None,
        {"queue": "no pattern"},
        {"q": 1},
    ]


@BOTH
def test_prepare_accepts_all_forms(package: ModuleType) -> None:
    routes = package.app.routes
    assert routes.prepare(None) == ()
    assert routes.prepare(by_function) == [by_function]
    mapped, made, given = routes.prepare([{"a": "b"}, f"{__name__}:ByMethod", by_function])
    assert isinstance(mapped, routes.MapRoute)
    assert type(made()) is ByMethod
    assert made() is made()
    assert given is by_function
    assert routes.expand_router_string(f"{__name__}.by_function") is by_function


@BOTH
@pytest.mark.parametrize("routes", [{"t": "absent"}, {"t": {"queue": "absent"}}], ids=["name", "options"])
def test_route_to_undeclared_queue_is_an_error(package: ModuleType, routes: Any) -> None:
    app = _app(package, task_routes=routes, task_create_missing_queues=False, task_queues={"celery": {}})
    with pytest.raises(package.exceptions.QueueNotFound, match="Queue 'absent' missing from task_queues"):
        app.amqp.router.route({}, "t")
    with pytest.raises(package.exceptions.QueueNotFound):
        app.amqp.router.route({"queue": "absent"}, "u")
    assert _plain(app.amqp.router.route({}, "u")) == {"queue": "celery"}


@BOTH
def test_options_are_expanded_in_place(package: ModuleType) -> None:
    app = _app(package, task_queues={"a": {"exchange": "ex", "routing_key": "key"}})
    router = app.amqp.Router()
    given = {"queue": "a", "priority": 1}
    assert router.expand_destination(given) is given
    assert given["queue"] is app.amqp.queues["a"]
    assert router.expand_destination("a") == {"queue": app.amqp.queues["a"]}
    assert router.expand_destination({"routing_key": "x"}) == {"routing_key": "x"}


@BOTH
@pytest.mark.parametrize("how", ["update", "flush"])
def test_routes_can_change(package: ModuleType, how: str) -> None:
    app = _app(package, task_routes={"t": "before"})
    assert _plain(app.amqp.router.route({}, "t")) == {"queue": "before"}
    if how == "update":
        app.conf.update(task_routes={"t": "after"})
        assert _plain(app.amqp.router.route({}, "t")) == {"queue": "after"}
    else:
        app.conf.task_routes = {"t": "after"}
        app.amqp.flush_routes()
        assert _plain(app.amqp.Router().route({}, "t")) == {"queue": "after"}


def broken_router(name: str, *args: Any, **kwargs: Any) -> Any:
    raise LookupError("no tenant")


@pytest.mark.parametrize(
    ("routes", "named"),
    [
        (broken_router, "broken_router"),
        (f"{__name__}:broken_router", "broken_router"),
        ("no_such_module:router", "no_such_module:router"),
    ],
)
def test_router_that_raises_is_named_with_its_task(routes: Any, named: str) -> None:
    app = _app(taskq_cloud.celery, task_routes=routes)
    with pytest.raises(RouterError, match=r"task 'proj.add' was not sent") as raised:
        app.amqp.router.route({}, "proj.add")
    assert named in str(raised.value)
    assert isinstance(raised.value.__cause__, LookupError | ImportError)
    assert isinstance(raised.value, ImproperlyConfigured)


@pytest.mark.parametrize("library", [kombu, messaging], ids=["kombu", "ours"])
def test_queue_of_call_is_chosen_by_name_or_binding(library: Any) -> None:
    media, feeds = library.Exchange("media", type="direct"), library.Exchange("feeds", type="topic")
    app = _app(
        taskq_cloud.celery,
        task_queues=(
            library.Queue("celery"),
            library.Queue("videos", media, routing_key="media.video", alias="v"),
            library.Queue("images", media, routing_key="media.image"),
            library.Queue("news", feeds, routing_key="feed.news.#"),
            library.Queue("sport", feeds, routing_key="feed.*.sport"),
            library.Queue("bound", [kombu.binding(kombu.Exchange("extra"), "extra.key")])
            if library is kombu
            else library.Queue("bound", [library.binding(library.Exchange("extra"), "extra.key")]),
        ),
    )
    chosen: dict[str, list[dict[str, Any]]] = {
        "celery": [{}, {"queue": None}, {"routing_key": "ignored"}, {"exchange": "media"}],
        "videos": [
            {"queue": "videos"},
            {"queue": "v"},
            {"queue": library.Queue("videos")},
            {"queue": "videos", "routing_key": "ignored"},
            {"exchange": "media", "routing_key": "media.video"},
            {"exchange": media, "routing_key": "media.video"},
        ],
        "news": [
            {"exchange": "feeds", "routing_key": "feed.news"},
            {"queue": "sport", "routing_key": "feed.news.today"},
            {"queue": "news"},
        ],
        "sport": [{"exchange": "feeds", "routing_key": "feed.local.sport"}, {"queue": "sport"}],
        "bound": [{"exchange": "extra", "routing_key": "extra.key"}],
        "made": [{"queue": "made"}],
    }
    for name, calls in chosen.items():
        for options in calls:
            assert native_queue(app, options) == name, options


def test_queue_without_binding_is_an_error() -> None:
    app = _app(taskq_cloud.celery, task_queues={"a": {"exchange": "ex", "routing_key": "key"}})
    with pytest.raises(
        QueueNotFound, match="no queue of task_queues is bound to exchange 'ex' with routing key 'other'"
    ):
        native_queue(app, {"exchange": "ex", "routing_key": "other"})


def test_message_for_several_queues_is_an_error() -> None:
    app = _app(
        taskq_cloud.celery,
        task_queues=[messaging.Queue(name, messaging.Exchange("fan", "fanout"), "k") for name in ("a", "b")],
        task_default_queue="a",
    )
    with pytest.raises(ImproperlyConfigured, match=r"several queues \(a, b\)"):
        native_queue(app, {"exchange": "fan", "routing_key": "k"})


def test_broadcast_queue_is_an_error() -> None:
    app = _app(taskq_cloud.celery, task_queues=(kombu.common.Broadcast("everybody"),))
    with pytest.raises(ImproperlyConfigured, match="'everybody' is a broadcast"):
        native_queue(app, {"queue": "everybody"})


def test_undeclared_queue_is_an_error_if_none_may_be_created() -> None:
    app = _app(taskq_cloud.celery, task_create_missing_queues=False)
    with pytest.raises(QueueNotFound, match="'absent'"):
        native_queue(app, {"queue": "absent"})
