"""``send_task`` and ``apply_async`` with all options: what reaches the message, and what an override is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

from tests.celery.scenarios.library import Library


def _published(lib: Library, call: Any, **settings: Any) -> Any:
    """What the messages that a function sends have in them, as the signal ``before_task_publish`` tells."""
    app = lib.app("calls", **settings)
    app.set_current()
    signal, seen = lib.module("signals").before_task_publish, []

    def publish(sender=None, headers=None, body=None, routing_key=None, **_):
        shown = {name: of for name, of in sorted(headers.items()) if of not in (None, {}, []) and name not in _LEFT_OUT}
        seen.append((sender, shown, body, routing_key))

    @app.task(shared=False, name="task")
    def task(*args, **kwargs):
        pass

    app.finalize()
    signal.connect(publish)
    try:
        call(app, task)
    finally:
        signal.disconnect(publish)
    return seen


_LEFT_OUT = ("origin", "lang", "replaced_task_nesting", "ignore_result")


def arguments(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.delay()
        task.delay(1, a=2)
        task.apply_async((1,), {"a": 2})
        app.send_task("task", (1,), {"a": 2})
        app.send_task("unknown", None, None)
        task.s(1).apply_async((0,))
        task.si(1).apply_async((0,))
        task.s(1, a=1).apply_async((0,), {"b": 2})

    return _published(lib, call)


def ids(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.apply_async(task_id="one")
        task.apply_async(task_id="two", root_id="root", parent_id="parent")
        app.send_task("task", task_id="three", root_id="root", parent_id="parent", group_id="g", group_index=2)
        task.s().set(task_id="four").apply_async()
        task.apply_async(task_id="five", retries=3, shadow="shadow")

    return _published(lib, call)


def times(lib: Library) -> Any:
    moment = datetime(2035, 1, 2, 3, 4, 5, tzinfo=UTC)

    def call(app: Any, task: Any) -> None:
        task.apply_async(eta=moment)
        task.apply_async(eta=moment.isoformat())
        task.apply_async(expires=moment)
        task.apply_async(expires=moment.isoformat())
        task.apply_async(eta=moment, expires=moment + timedelta(days=1))
        app.send_task("task", eta=moment)

    return _published(lib, call)


def naive_times(lib: Library) -> Any:
    moment = datetime(2035, 1, 2, 3, 4, 5)

    def call(app: Any, task: Any) -> None:
        task.apply_async(eta=moment)
        task.apply_async(expires=moment)
        task.apply_async(eta=moment.replace(tzinfo=UTC))

    return _published(lib, call, timezone="Europe/Berlin")


def times_from_now(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.apply_async(countdown=10)
        task.apply_async(expires=60)
        task.apply_async(countdown=10, expires=60)

    def seconds(text: str) -> int:
        return round((datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds())

    return [
        {name: seconds(headers[name]) for name in ("eta", "expires") if name in headers}
        for _, headers, _, _ in _published(lib, call)
    ]


def limits_and_headers(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.apply_async(time_limit=30, soft_time_limit=20)
        task.apply_async(time_limit=30)
        task.apply_async(soft_time_limit=20)
        task.apply_async(headers={"mine": 1})
        task.apply_async(headers={"mine": {"a": [1]}}, shadow="sh")
        task.apply_async(argsrepr="<args>", kwargsrepr="<kwargs>")
        app.send_task("task", time_limit=5, headers={"x": "y"})

    return _published(lib, call)


def links(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.apply_async(link=task.s(1))
        task.apply_async(link=[task.s(1), task.si(2)], link_error=task.s(3))
        task.s().on_error(task.s(4)).apply_async()
        sig = task.s()
        sig.link(task.s(5))
        sig.apply_async()

    return [body[2] and _trimmed(body[2]) for _, _, body, _ in _published(lib, call)]


def _trimmed(embedded: Any) -> Any:
    def links(given: Any) -> Any:
        return [(each["task"], list(each["args"]), each["immutable"]) for each in given or ()]

    return links(embedded["callbacks"]), links(embedded["errbacks"]), embedded["chain"], embedded["chord"]


def queues(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.apply_async()
        task.apply_async(queue="other")
        task.apply_async(routing_key="celery")
        task.s().set(queue="set").apply_async()
        app.send_task("unknown", queue="named")
        app.send_task("unknown")
        app.send_task("routed.task")

    seen = _published(lib, call, task_routes={"routed.*": "by-route", "task": {"queue": "own"}})
    return [routing_key for _, _, _, routing_key in seen]


def queue_of_attribute(lib: Library) -> Any:
    app = lib.app("calls")
    seen = []

    def publish(routing_key=None, **_):
        seen.append(routing_key)

    @app.task(shared=False, queue="attribute")
    def task():
        pass

    lib.module("signals").before_task_publish.connect(publish)
    try:
        task.delay()
        task.apply_async(queue="call")
        app.send_task(task.name)
    finally:
        lib.module("signals").before_task_publish.disconnect(publish)
    return seen


def router_functions(lib: Library) -> Any:
    def route(name, args, kwargs, options, task=None, **_):
        return {"queue": f"to-{name}"} if args else None

    def call(app: Any, task: Any) -> None:
        task.delay(1)
        task.delay()
        app.send_task("unknown", (2,))

    seen = _published(lib, call, task_routes=(route, {"task": {"queue": "table"}}))
    return [routing_key for _, _, _, routing_key in seen]


def ignored_results(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.apply_async(ignore_result=True)
        task.apply_async()
        app.send_task("task", ignore_result=True)
        app.send_task("task")

    app = lib.app("calls")
    seen = []

    def publish(headers=None, **_):
        seen.append(headers["ignore_result"])

    @app.task(shared=False, name="task")
    def task():
        pass

    lib.module("signals").before_task_publish.connect(publish)
    try:
        call(app, task)
    finally:
        lib.module("signals").before_task_publish.disconnect(publish)
    return seen


def send_task_of_subclass(lib: Library) -> Any:
    seen = []

    class Application(lib.Celery):
        def send_task(self, name, *args, **kwargs):
            seen.append(
                (name, args, sorted(key for key, of in kwargs.items() if of is not None), kwargs.get("countdown"))
            )
            return "sent"

    app = Application("x", broker="memory://", set_as_current=False)

    @app.task(shared=False, name="task")
    def task(*args):
        pass

    found = task.apply_async((1,), countdown=3), task.delay(2), task.s(3).apply_async()
    return found, seen


def apply_async_of_subclass(lib: Library) -> Any:
    app = lib.app("calls")
    seen = []

    class Base(app.Task):
        def apply_async(self, args=None, kwargs=None, **options):
            seen.append((args, kwargs, sorted(options)))
            return super().apply_async(args, kwargs, **options)

    @app.task(shared=False, base=Base, name="task")
    def task(*args):
        return args

    task.delay(1)
    task.s(2).apply_async()
    task.s(3).delay()
    lib.group(task.s(4), app=app).apply_async()
    (task.s(5) | task.s(6)).apply_async()
    return [(args, kwargs) for args, kwargs, _ in seen]


def result_class(lib: Library) -> Any:
    app = lib.app("calls")
    made = Mock(name="result class")
    result = app.send_task("task", task_id="an-id", result_cls=made)
    return result is made.return_value, made.call_args


def options_that_are_only_for_brokers(lib: Library) -> Any:
    app = lib.app("calls")
    return app.send_task(
        "task",
        retry=True,
        retry_policy={"max_retries": 1},
        delivery_mode=2,
        mandatory=True,
        immediate=False,
        add_to_parent=False,
        compression="zlib",
        serializer="json",
        priority=3,
    ).state


def results_know_their_parents(lib: Library) -> Any:
    app = lib.app("calls")

    @app.task(shared=False, bind=True)
    def outer(self):
        pass

    inner = _tracked(app)
    outer.push_request(id="outer-id", called_directly=False, root_id="root-id")
    lib.module("_state")._task_stack.push(outer)
    try:
        result = inner.delay()
        alone = inner.apply_async(add_to_parent=False)
        return [each == result for each in outer.request.children], alone.parent
    finally:
        lib.module("_state")._task_stack.pop()
        outer.pop_request()


def _tracked(app: Any) -> Any:
    @app.task(shared=False, name="inner")
    def inner():
        pass

    return inner


def called_within_a_task(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        task.push_request(id="outer-id", called_directly=False, root_id="root-id", delivery_info={"priority": 7})
        lib.module("_state")._task_stack.push(task)
        try:
            task.delay()
            task.apply_async(root_id="own-root", parent_id="own-parent")
            app.send_task("unknown")
        finally:
            lib.module("_state")._task_stack.pop()
            task.pop_request()

    return _published(lib, call)


def stamped(lib: Library) -> Any:
    def call(app: Any, task: Any) -> None:
        sig = task.s()
        sig.stamp(one="1")
        sig.apply_async()
        task.apply_async(stamped_headers=["two"], two="2")
        app.send_task("task", stamped_headers=["three"], three="3")

    return _published(lib, call)
