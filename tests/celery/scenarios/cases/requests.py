"""``Context``, and what a task finds in ``self.request``."""

from __future__ import annotations

import threading
from typing import Any

from tests.celery.scenarios.library import Library

_NAMES = [
    "args",
    "kwargs",
    "id",
    "is_eager",
    "called_directly",
    "retries",
    "delivery_info",
    "callbacks",
    "errbacks",
    "chain",
    "chord",
    "group",
    "group_index",
    "root_id",
    "parent_id",
    "headers",
    "correlation_id",
    "utc",
    "timelimit",
    "eta",
    "expires",
    "logfile",
    "loglevel",
    "properties",
    "reply_to",
    "ignore_result",
    "shadow",
    "taskset",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
    "children",
]


def _shown(request: Any) -> Any:
    return {name: getattr(request, name) for name in _NAMES}


def defaults(lib: Library) -> Any:
    context = lib.module("app.task").Context()
    return _shown(context), context.hostname, context.origin, repr(context), context._protected


def given_by_mapping_and_by_name(lib: Library) -> Any:
    context = lib.module("app.task").Context
    return (
        repr(context({"id": 1})),
        repr(context({"id": 1}, args=[2])),
        repr(context(id=1, custom=3)),
        lib.raised(lambda: context(1), text=False),
        lib.raised(lambda: context({}, {}), text=False),
    )


def update_get_and_clear(lib: Library) -> Any:
    context = lib.module("app.task").Context({"foo": "bar"})
    before = context.foo, context.get("foo"), context.get("nope"), context.get("nope", 3), context.get("retries")
    context.update({"foo": 1}, other=2)
    middle = context.foo, context.other
    context.clear()
    return before, middle, hasattr(context, "foo"), context.get("foo", 9), context.retries


def custom_headers(lib: Library) -> Any:
    context = lib.module("app.task").Context
    return (
        context({"custom": 1, "id": 2}).headers,
        context({"headers": {"a": 1}, "custom": 2}).headers,
        context({"id": 1}).headers,
        context({"task": "t", "lang": "py", "argsrepr": "", "meth": 1, "my": 3}).headers,
        context(origin="x", compression=None, foo=1).headers,
    )


def execution_options(lib: Library) -> Any:
    context = lib.module("app.task").Context
    return (
        context().as_execution_options(),
        context(
            {
                "id": "1",
                "timelimit": (4, 3),
                "headers": {"a": 1, "x-death": 3},
                "stamps": {"x": 1, "y": 2},
                "stamped_headers": ["x"],
                "callbacks": [1],
                "errbacks": [2],
                "group": "g",
                "retries": 4,
            }
        ).as_execution_options(),
        context({"stamps": {"x": 1}, "stamped_headers": ["z"]}).as_execution_options(),
    )


def children(lib: Library) -> Any:
    context = lib.module("app.task").Context
    first, second = context(), context()
    first.children.append(1)
    return first.children, second.children, first._children


def equality_and_state(lib: Library) -> Any:
    context = lib.module("app.task").Context
    first = context(id=1)
    return first == context(id=1), sorted(vars(first)), first.id


def in_place(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def show(self, *args, **kwargs):
        return _shown(self.request)

    return show.apply((1,), {"a": 2}, task_id="T").get()


def in_place_with_all_options(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def show(self, *args, **kwargs):
        return _shown(self.request)

    return show.apply(
        (1,),
        {},
        task_id="T",
        logfile="log",
        loglevel=10,
        headers={"a": 1},
        retries=1,
        group_index=3,
        priority=2,
        shadow="sh",
        expires=30,
        countdown=5,
        queue="q",
        routing_key="rk",
        exchange="ex",
        reply_to="r",
        custom_option=1,
    ).get()


def in_place_with_task_headers(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def show(self):
        return self.request.headers, self.request.get("a"), self.request.get("stamps"), self.request.stamped_headers

    return (
        show.apply(headers={"a": 1}).get(),
        show.apply().get(),
        show.apply(headers={"stamps": {"s": 1}, "stamped_headers": ["s"]}).get(),
        show.s().set(headers={"b": 2}).apply().get(),
    )


def attribute_set_while_running(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self):
        self.request.mine = 3
        self.request.update(other=4)
        return self.request.mine, self.request.other, self.request.get("mine")

    return task.apply().get(), hasattr(task.request, "mine")


def pushed_and_popped(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self):
        return self.request.id, self.request.custom

    task.push_request(id="one", custom=1)
    first = task.run()
    task.push_request(id="two")
    second = task.run(), task.request.custom
    popped = task.pop_request()
    third = task.run()
    task.pop_request()
    return first, second, popped, third, task.request.id, len(task.request_stack)


def request_is_of_its_thread(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self):
        return self.request.id

    found = []
    task.push_request(id="main")
    thread = threading.Thread(target=lambda: found.append(task.request.id))
    thread.start()
    thread.join()
    task.pop_request()
    return found


def requests_of_nested_runs(lib: Library) -> Any:
    app = lib.app()

    @app.task(bind=True, shared=False)
    def task(self, depth):
        inner = task.apply((depth - 1,)).get(disable_sync_subtasks=False) if depth else []
        return [self.request.args, *inner, self.request.args]

    return task.apply((2,)).get()


def default_request_is_one_object(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def task():
        pass

    task.request.custom = 3
    return task.request is task.request, task.request.custom, task.request.called_directly


def trail_of_children(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False)
    def task():
        pass

    @app.task(shared=False, trail=False)
    def silent():
        pass

    task.push_request()
    silent.push_request()
    added = task.add_trail("result"), silent.add_trail("result")
    found = task.request.children, silent.request.children
    task.pop_request()
    silent.pop_request()
    return added, found


def signature_from_request(lib: Library) -> Any:
    app = lib.app()

    @app.task(shared=False, bind=True, name="proj.t")
    def task(self, *args, **kwargs):
        pass

    def shown(sig: Any) -> Any:
        return sig.task, sig.args, sig.kwargs, {k: v for k, v in sorted(sig.options.items()) if v is not None}

    task.push_request(id="i", args=(1,), kwargs={"a": 2}, delivery_info={"exchange": "", "routing_key": "q"})
    made = (
        shown(task.signature_from_request()),
        shown(task.signature_from_request(args=(3,), kwargs={})),
        shown(task.signature_from_request(queue="other", countdown=3)),
        shown(task.subtask_from_request(priority=3)),
    )
    task.pop_request()
    context = lib.module("app.task").Context({"id": "x", "args": (), "kwargs": {}, "delivery_info": {"priority": 1}})
    return (
        made,
        shown(task.signature_from_request(context)),
        shown(task.signature_from_request(context, ignore_result=True)),
    )
