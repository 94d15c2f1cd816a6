"""``celery._state`` and ``celery.local``."""

from __future__ import annotations

import threading
from typing import Any

from tests.celery.scenarios.library import Library


class _Holder:
    """An object to look at through a proxy."""

    attribute = 1

    def __init__(self) -> None:
        self.items: dict[Any, Any] = {"a": 1}
        self.calls: list[Any] = []

    def __getitem__(self, key: Any) -> Any:
        return self.items[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.items[key]

    def __contains__(self, key: Any) -> bool:
        return key in self.items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Any:
        return iter(self.items)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def __enter__(self) -> Any:
        self.calls.append("enter")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.calls.append("exit")

    def __repr__(self) -> str:
        return "<holder>"


def proxy_of_numbers(lib: Library) -> Any:
    proxy = lib.module("local").Proxy
    five, two, fraction = proxy(lambda: 5), proxy(lambda: 2), proxy(lambda: 1.5)
    return (
        five + 1,
        five - 1,
        five * 2,
        five // 2,
        five / 2,
        five % 3,
        five**2,
        five << 1,
        five >> 1,
        five & 4,
        five | 8,
        five ^ 1,
        -five,
        +five,
        abs(proxy(lambda: -3)),
        ~five,
        int(fraction),
        float(five),
        complex(five),
        hex(five),
        oct(five),
        divmod(5, 2) == (2, 1),
        five == 5,
        five != 5,
        five < 6,
        five <= 5,
        five > 4,
        five >= 6,
        bool(five),
        hash(five) == hash(5),
        [1, 2, 3][two],
        round(1.5),
        pow(five, 2),
    )


def proxy_changes_in_place(lib: Library) -> Any:
    proxy = lib.module("local").Proxy
    number = proxy(lambda: 5)
    found: list[Any] = []
    for operation in (
        "+= 1",
        "-= 1",
        "*= 2",
        "//= 2",
        "%= 3",
        "**= 2",
        "<<= 1",
        ">>= 1",
        "&= 4",
        "|= 8",
        "^= 1",
        "/= 2",
    ):
        scope = {"x": number}
        found.append(lib.raised(lambda operation=operation, scope=scope: exec(f"x {operation}", scope)))
        found.append(repr(scope["x"]))
    return found


def proxy_of_container(lib: Library) -> Any:
    holder = _Holder()
    proxy = lib.module("local").Proxy(lambda: holder)
    proxy["b"] = 2
    del proxy["a"]
    proxy.attribute = 7
    with proxy as entered:
        same = entered is holder
    shown = proxy["b"], "b" in proxy, len(proxy), list(proxy), proxy(1, x=2), repr(proxy), same, holder.calls
    proxy.own = 1
    del proxy.own
    return shown, holder.attribute, hasattr(holder, "own"), dir(proxy) == dir(holder), isinstance(proxy, _Holder)


def proxy_of_text_and_list(lib: Library) -> Any:
    proxy = lib.module("local").Proxy
    text, listed = proxy(lambda: "text"), proxy(lambda: [1, 2, 3])
    return (
        str(text),
        text.upper(),
        text[1:3],
        text + "s",
        listed[1:],
        listed[-1],
        list(reversed(listed)),
        len(listed),
        [*listed, 4],
        sorted(listed),
        text == "text",
        f"{text}",
    )


def proxy_with_arguments_and_name(lib: Library) -> Any:
    proxy = lib.module("local").Proxy
    made = proxy(lambda *args, **kwargs: (args, kwargs), (1,), {"a": 2}, name="called", __doc__="Documented.")
    return made._get_current_object(), made.__name__, made.__doc__, type(made).__name__, made.__class__.__name__


def proxy_without_object(lib: Library) -> Any:
    def missing() -> Any:
        raise RuntimeError("nothing here")

    proxy = lib.module("local").Proxy(missing)
    return (
        bool(proxy),
        lib.raised(lambda: proxy.x),
        lib.raised(lambda: dir(proxy)),
        lib.raised(proxy._get_current_object),
    )


def proxy_metadata(lib: Library) -> Any:
    proxy = lib.module("local").Proxy(lambda: _Holder)
    return proxy.__name__, proxy.__module__ == __name__, proxy.__dict__ is not None, proxy.attribute


def proxy_of_object_with_local(lib: Library) -> Any:
    class Local:
        def __release_local__(self) -> None:
            pass

        named = 3

    return lib.raised(lambda: lib.module("local").Proxy(Local(), name="named")._get_current_object())


def promise_is_kept(lib: Library) -> Any:
    made = []

    def make(*args: Any) -> Any:
        made.append(args)
        return _Holder()

    promise = lib.module("local").PromiseProxy(make, (1,))
    seen: list[Any] = []
    before = promise.__evaluated__()
    promise.__then__(lambda *args: seen.append(args), "first")
    promise.attribute
    promise["a"]
    promise.__then__(lambda *args: seen.append(args), "second")
    return (
        before,
        promise.__evaluated__(),
        made,
        [args[0] for args in seen if args],
        promise.__maybe_evaluate__() is promise._get_current_object(),
    )


def promise_that_fails(lib: Library) -> Any:
    calls = []

    def fail() -> Any:
        calls.append(1)
        raise KeyError("no")

    promise = lib.module("local").PromiseProxy(fail)
    return lib.raised(lambda: promise.x), promise.__evaluated__(), lib.raised(lambda: promise.x), len(calls)


def maybe_evaluate(lib: Library) -> Any:
    local = lib.module("local")
    return (
        local.maybe_evaluate(local.PromiseProxy(lambda: 5)),
        local.maybe_evaluate(3),
        local.maybe_evaluate(None),
        type(local.maybe_evaluate(local.Proxy(lambda: 4))).__name__,
    )


def try_import(lib: Library) -> Any:
    local = lib.module("local")
    return local.try_import("json").__name__, local.try_import("no.such.module"), local.try_import("no.such", 3)


def task_stack(lib: Library) -> Any:
    state = lib.module("_state")
    app = lib.app()

    @app.task(shared=False, bind=True)
    def task(self):
        pass

    outside = state.get_current_task(), state.get_current_worker_task()
    state._task_stack.push(task)
    directly = state.get_current_task() is task or state.get_current_task() == task, state.get_current_worker_task()
    task.push_request(called_directly=False)
    worker = state.get_current_worker_task().name == task.name
    task.pop_request()
    state._task_stack.pop()
    return outside, directly, worker, state.get_current_task()


def task_stack_of_threads(lib: Library) -> Any:
    state = lib.module("_state")
    seen = []
    state._task_stack.push("main")
    thread = threading.Thread(target=lambda: seen.append(state.get_current_task()))
    thread.start()
    thread.join()
    state._task_stack.pop()
    return seen


def push_and_pop_current_task(lib: Library) -> Any:
    app = lib.module("app")
    app.push_current_task("x")
    found = lib.module("_state").get_current_task()
    app.pop_current_task()
    return found, lib.module("_state").get_current_task()


def callbacks_of_finalized_applications(lib: Library) -> Any:
    state = lib.module("_state")
    seen = []

    @state.connect_on_app_finalize
    def finalized(app):
        seen.append(app.main)

    lib.bare_app("one").finalize()
    lib.bare_app("two").finalize()
    state._on_app_finalizers.discard(finalized)
    lib.bare_app("three").finalize()
    return seen


def active_applications(lib: Library) -> Any:
    state = lib.module("_state")
    app = lib.bare_app("x")
    first = app in state._get_active_apps()
    state._deregister_app(app)
    second = app in state._get_active_apps()
    state._register_app(app)
    return first, second, app in state._get_active_apps()


def blocking_joins(lib: Library) -> Any:
    state = lib.module("_state")
    before = state.task_join_will_block()
    state._set_task_join_will_block(True)
    found = state.task_join_will_block()
    state._set_task_join_will_block(False)
    return before, found, state.task_join_will_block()


def default_application_is_made(lib: Library) -> Any:
    state = lib.module("_state")
    before = state.default_app, getattr(state._tls, "current_app", None)
    state.set_default_app(None)
    state._set_current_app(None)
    made = state.get_current_app()
    found = made.main, made is state.get_current_app(), type(made.loader).__name__, lib.current_app.main
    state.set_default_app(before[0])
    state._set_current_app(before[1])
    return found


def tasks_without_application_use_the_current_one(lib: Library) -> Any:
    app = lib.bare_app("current")
    app.set_current()

    class Task(lib.Task):
        name = "loose"

        def run(self):
            return self.app.main

    return Task()(), Task.app is app


def task_class_bound_to_another_application(lib: Library) -> Any:
    first, second = lib.bare_app("first"), lib.bare_app("second")

    class Task(lib.Task):
        name = "moved"

    Task.bind(first)
    before = Task.app.main
    Task.bind(second)
    return before, Task.app.main, Task().app.main


def representation_of_proxy_without_object(lib: Library) -> Any:
    def missing() -> Any:
        raise RuntimeError("nothing here")

    return lib.raised(lambda: repr(lib.module("local").Proxy(missing)), text=False)
