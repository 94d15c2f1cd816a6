"""Tasks and workflows that run in place: ``apply``, and ``task_always_eager``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from tests.celery.scenarios.library import Library


def _declared(lib: Library, **settings: Any) -> Any:
    app = lib.app("eager", **settings)
    app.set_current()
    seen: list[Any] = []
    made = SimpleNamespace(lib=lib, app=app, seen=seen)

    @app.task(shared=False, name="add")
    def add(x, y):
        return x + y

    @app.task(shared=False, name="same")
    def same(value=None):
        seen.append(value)
        return value

    @app.task(shared=False, name="total")
    def total(values):
        return sum(values)

    @app.task(shared=False, name="fail")
    def fail(*args, **kwargs):
        raise ValueError("no", 3)

    @app.task(shared=False, name="note_failure")
    def note_failure(request, exc, traceback):
        seen.append(("failed", request.task if hasattr(request, "task") else None, repr(exc), type(traceback).__name__))

    @app.task(shared=False, name="note_id")
    def note_id(task_id):
        seen.append(("id", task_id))

    @app.task(shared=False, name="note", bind=True)
    def note(self, *args, **kwargs):
        seen.append(("noted", args, kwargs))
        return "noted"

    @app.task(shared=False, name="ids", bind=True)
    def ids(self, *args):
        return self.request.id, self.request.root_id, self.request.parent_id, self.request.group

    for task in (add, same, total, fail, note_failure, note_id, note, ids):
        setattr(made, task.name, task)
    app.finalize()
    return made


@contextmanager
def prepared(lib: Library) -> Iterator[Any]:
    yield lambda **settings: _declared(lib, **settings)


def _shown(result: Any) -> Any:
    return type(result).__name__, result.state, repr(result.result)


def success(make: Any) -> Any:
    result = make().add.apply((1, 2), task_id="tid")
    return (
        _shown(result),
        result.get(),
        result.successful(),
        result.failed(),
        result.ready(),
        result.id,
        result.traceback,
        result.name,
        repr(result),
        str(result),
        result.info,
        result.children,
        result.parent,
    )


def failure(make: Any) -> Any:
    made = make()
    result = made.fail.apply(task_id="tid")
    return (
        _shown(result),
        result.failed(),
        "ValueError" in result.traceback,
        made.lib.raised(result.get),
        result.get(propagate=False),
        made.lib.raised(result.maybe_throw),
        repr(result),
    )


def failure_that_is_thrown(make: Any) -> Any:
    made = make()
    return (
        made.lib.raised(lambda: made.fail.apply(throw=True)),
        made.add.apply((1, 2), throw=True).get(),
        made.fail.apply(throw=False).state,
    )


def failure_that_propagates_by_setting(make: Any) -> Any:
    made = make(task_always_eager=True, task_eager_propagates=True)
    return (
        made.lib.raised(made.fail.delay),
        made.lib.raised(made.fail.apply),
        made.lib.raised(lambda: made.fail.apply(throw=False).state),
        made.lib.raised(made.add.s(1, 2) | made.fail.s()),
        made.lib.raised(made.lib.group(made.fail.s(), made.add.s(1, 2))),
    )


def arguments_are_passed_as_they_are(make: Any) -> Any:
    made = make()
    thing = object()
    return made.same.apply((thing,)).get() is thing, made.same.apply(None, {"value": thing}).get() is thing


def arguments_of_always_eager(make: Any) -> Any:
    made = make(task_always_eager=True)
    return (
        made.same.delay((1, 2)).get(),
        made.same.apply_async(({1: 2},)).get(),
        made.lib.raised(lambda: made.same.delay({3}), text=False),
        made.same.apply_async(kwargs={"value": (1,)}).get(),
        made.same.apply_async((object,), serializer="pickle").get(),
    )


def arguments_that_cannot_be_written(make: Any) -> Any:
    made = make(task_always_eager=True)
    return made.lib.raised(lambda: made.same.delay(object()), text=False)


def wrong_arguments(make: Any) -> Any:
    made = make(task_always_eager=True)
    result = made.add.apply((1,))
    return made.lib.raised(lambda: made.add.delay(1)), type(result.result).__name__, str(result.result)


def always_eager(make: Any) -> Any:
    made = make(task_always_eager=True)
    result = made.add.delay(1, 2)
    return (
        _shown(result),
        made.add.apply_async((1, 2), task_id="mine").id,
        made.fail.delay().state,
        made.add.apply_async((1, 2), countdown=100, queue="q", expires=1).get(),
        made.app.AsyncResult(result.id).state,
    )


def always_eager_signatures(make: Any) -> Any:
    made = make(task_always_eager=True)
    add = made.add
    return (
        add.s(1, 2).delay().get(),
        add.s(1)(2),
        add.s(1).apply((2,)).get(),
        add.s(1, 2).apply_async().get(),
        add.map([]).delay().state,
        add.starmap([(1, 2), (3, 4)]).delay().get(),
        add.chunks([(1, 2), (3, 4)], 1)().get(),
        made.same.map([1, 2]).delay().get(),
    )


def chains(make: Any) -> Any:
    made = make(task_always_eager=True)
    result = (made.add.s(1, 2) | made.add.s(3) | made.add.s(4)).apply_async()
    return (
        result.get(),
        result.parent.get(),
        result.parent.parent.get(),
        result.parent.parent.parent,
        (made.add.s(1, 2) | made.add.s(3)).apply().get(),
        made.lib.chain(made.add.s(2, 2), made.add.s(4))().get(),
        (made.same.s(1) | made.add.si(5, 5) | made.same.s()).delay().get(),
    )


def chains_that_fail(make: Any) -> Any:
    made = make(task_always_eager=True)
    result = (made.add.s(1, 2) | made.fail.s() | made.same.s()).apply_async()
    return _shown(result), made.seen, made.lib.raised(result.get)


def groups(make: Any) -> Any:
    made = make(task_always_eager=True)
    result = made.lib.group(made.add.s(i, i) for i in range(4))()
    return (
        result.get(),
        type(result).__name__,
        len(result),
        result.successful(),
        result.completed_count(),
        result.join(),
        made.lib.group([made.add.s(1, 2)])().get(),
        made.lib.group([])().get(),
        made.lib.group(made.add.s(1, 1)).apply().get(),
        [type(each).__name__ for each in result.results],
    )


def groups_with_failures(make: Any) -> Any:
    made = make(task_always_eager=True)
    result = made.lib.group(made.add.s(1, 2), made.fail.s(), made.same.s(3))()
    return (
        result.failed(),
        result.successful(),
        [each.state for each in result],
        made.lib.raised(result.get),
        [repr(each) for each in result.get(propagate=False)],
    )


def groups_in_chains(make: Any) -> Any:
    made = make(task_always_eager=True)
    group, add, total = made.lib.group, made.add, made.total
    return (
        (group(add.s(1, 1), add.s(2, 2)) | total.s()).delay().get(),
        (group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(10)).delay().get(),
        (add.s(1, 1) | group(add.s(1), add.s(2))).delay().get(),
        (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()).delay().get(),
        (group(add.s(1, 1), add.s(2, 2)) | total.s() | group(add.s(1), add.s(2))).delay().get(),
        (group(made.same.s(1), made.same.s(2)) | group(total.s(), made.same.s())).delay().get(),
    )


def chords(make: Any) -> Any:
    made = make(task_always_eager=True)
    chord, add, total = made.lib.chord, made.add, made.total
    return (
        chord([add.s(i, i) for i in range(4)])(total.s()).get(),
        chord([add.s(i, i) for i in range(4)], total.s())().get(),
        chord(made.lib.group(add.s(1, 1)), total.s()).apply_async().get(),
        chord([add.s(1, 1), add.s(2, 2)], total.s() | add.s(5)).delay().get(),
        chord([add.s(1, 1) | add.s(1), add.s(2, 2)], total.s()).delay().get(),
        chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s()).delay().get(),
        chord([], total.s())().get(),
        chord([add.s(1, 1)], total.s()).apply().get(),
    )


def chords_with_failures(make: Any) -> Any:
    made = make(task_always_eager=True)
    result = made.lib.chord([made.add.s(1, 1), made.fail.s()], made.total.s()).apply_async()
    return _shown(result)[:2], made.lib.raised(result.get, text=False)


def callbacks_of_apply(make: Any) -> Any:
    made = make()
    made.add.apply((1, 2), link=made.same.s())
    made.add.apply((1, 2), link=[made.same.s(), made.note.s(4), made.note.si(5)])
    made.add.s(3, 4).apply(link=made.same.s())
    sig = made.add.s(5, 6)
    sig.link(made.same.s())
    sig.apply()
    made.fail.apply(link=made.same.s())
    return made.seen


def callbacks_under_always_eager(make: Any) -> Any:
    made = make(task_always_eager=True)
    made.add.apply_async((1, 2), link=made.same.s())
    result = made.add.apply_async((1, 2), link=made.same.s() | made.add.s(10) | made.same.s())
    return made.seen, [each.get() for each in result.children or ()]


def errbacks_that_take_the_request(make: Any) -> Any:
    made = make()
    made.fail.apply(link_error=made.note_failure.s())
    made.fail.s().on_error(made.note_failure.s()).apply()
    made.add.apply((1, 2), link_error=made.note_failure.s())
    return made.seen


def errbacks_that_take_the_id(make: Any) -> Any:
    made = make()
    made.fail.apply(task_id="tid", link_error=made.note_id.s())
    made.fail.apply(task_id="tid", link_error=[made.note_id.s(), made.note.s(1)])
    made.fail.apply(task_id="tid", link_error=made.note.si(2))
    return made.seen


def errbacks_of_chains(make: Any) -> Any:
    made = make(task_always_eager=True)
    chain = made.add.s(1, 2) | made.fail.s() | made.same.s()
    chain.link_error(made.note.si("chain"))
    chain.apply_async()
    return made.seen


def errbacks_of_groups(make: Any) -> Any:
    made = make(task_always_eager=True)
    group = made.lib.group(made.add.s(1, 2), made.fail.s(), made.fail.s())
    group.link_error(made.note.si("group"))
    group.apply_async()
    return made.seen


def errbacks_of_chords(make: Any) -> Any:
    made = make(task_always_eager=True)
    chord = made.lib.chord([made.fail.s(), made.add.s(1, 1)], made.total.s())
    chord.link_error(made.note.si("chord"))
    made.lib.raised(lambda: chord.apply_async().get())
    return made.seen


def nested_calls(make: Any) -> Any:
    made = make(task_always_eager=True)

    @made.app.task(shared=False, bind=True)
    def outer(self, x):
        inner = made.add.delay(x, 1)
        return inner.get(disable_sync_subtasks=False), self.request.id == outer.request.id, len(self.request.children)

    return outer.delay(3).get()


def results_inside_tasks(make: Any) -> Any:
    made = make(task_always_eager=True)

    @made.app.task(shared=False)
    def outer(x):
        return made.add.delay(x, 1).get()

    @made.app.task(shared=False)
    def applying(x):
        return made.add.apply((x, 1)).get()

    failed = outer.delay(3)
    return failed.state, type(failed.result).__name__, _shown(outer.apply((3,))), _shown(applying.apply((3,)))


def stored_results(make: Any) -> Any:
    made = make(task_always_eager=True, task_store_eager_result=True)
    result, failed = made.add.delay(1, 2), made.fail.delay()
    stored, error = made.app.AsyncResult(result.id), made.app.AsyncResult(failed.id)
    return stored.state, stored.result, error.state, repr(error.result), bool(error.traceback)


def stored_results_by_attribute(make: Any) -> Any:
    made = make(task_always_eager=True)

    @made.app.task(shared=False, store_eager_result=True)
    def stored():
        return 3

    @made.app.task(shared=False, store_eager_result=True, ignore_result=True)
    def ignored():
        return 3

    def state(result: Any) -> Any:
        return made.app.AsyncResult(result.id).state

    return state(stored.delay()), state(ignored.delay()), state(stored.apply()), state(made.add.delay(1, 2))


def ignored_results(make: Any) -> Any:
    made = make(task_always_eager=True)

    @made.app.task(shared=False, ignore_result=True, bind=True)
    def task(self):
        return self.request.ignore_result

    return (
        task.delay().get(),
        task.apply().get(),
        task.apply(ignore_result=True).get(),
        task.apply_async(ignore_result=False).get(),
    )


def ignore_and_reject(make: Any) -> Any:
    made = make()
    exceptions = made.lib.module("exceptions")

    @made.app.task(shared=False)
    def ignored():
        raise exceptions.Ignore

    @made.app.task(shared=False)
    def rejected():
        raise exceptions.Reject("why", requeue=False)

    return _shown(ignored.apply()), _shown(rejected.apply()), ignored.apply().ready(), rejected.apply().successful()


def exceptions_that_end_the_process(make: Any) -> Any:
    made = make()

    @made.app.task(shared=False)
    def leave(kind):
        raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt}[kind]

    def caught(kind: str) -> str:
        try:
            return str(leave.apply((kind,)).state)
        except BaseException as error:
            return type(error).__name__

    return caught("exit"), caught("interrupt")


def replaced_task(make: Any) -> Any:
    made = make()

    @made.app.task(shared=False, bind=True)
    def replaced(self, x):
        return self.replace(made.add.s(x, 10))

    @made.app.task(shared=False, bind=True)
    def by_group(self, x):
        return self.replace(made.lib.group(made.add.s(x, 1), made.add.s(x, 2)))

    @made.app.task(shared=False, bind=True)
    def by_chain(self, x):
        return self.replace(made.add.s(x, 1) | made.add.s(2))

    @made.app.task(shared=False, bind=True)
    def by_chord(self, x):
        return self.replace(made.lib.chord([made.add.s(x, 1), made.add.s(x, 2)], made.total.s()))

    return [_shown(task.apply((1,))) for task in (replaced, by_group, by_chain, by_chord)]


def replaced_task_in_chain(make: Any) -> Any:
    made = make(task_always_eager=True)

    @made.app.task(shared=False, bind=True)
    def replaced(self, x):
        return self.replace(made.add.s(x, 10))

    return (
        (made.add.s(1, 1) | replaced.s() | made.add.s(5)).delay().get(),
        made.lib.group(replaced.s(1), made.add.s(1, 1))().get(),
        made.lib.chord([replaced.s(1), made.add.s(1, 1)], made.total.s())().get(),
    )


def ids_in_place(make: Any) -> Any:
    made = make()
    task_id, root, parent, group = made.ids.apply(task_id="tid").get()
    return task_id, root, parent, group


def signals(make: Any) -> Any:
    made = make()
    module = made.lib.module("signals")
    seen: list[Any] = []
    handlers = []

    def connect(name: str) -> None:
        def handler(sender=None, **given):
            shown = {
                key: str(value)
                for key, value in sorted(given.items())
                if key not in ("signal", "traceback", "einfo", "request", "runtime", "task")
            }
            seen.append((name, getattr(sender, "name", sender), shown))

        getattr(module, name).connect(handler)
        handlers.append((name, handler))

    for name in ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry"):
        connect(name)

    @made.app.task(shared=False, bind=True, name="retried")
    def retried(self):
        if not self.request.retries:
            raise self.retry(exc=KeyError("x"))

    made.add.apply((1, 2), task_id="one")
    made.fail.apply((1,), {"a": 2}, task_id="two")
    retried.apply(task_id="three")
    for name, handler in handlers:
        getattr(module, name).disconnect(handler)
    return seen


def signals_of_sender(make: Any) -> Any:
    made = make()
    seen: list[Any] = []

    @made.lib.module("signals").task_success.connect(sender=made.add)
    def succeeded(result=None, **_):
        seen.append(result)

    made.add.apply((1, 2))
    made.same.apply((1,))
    return seen


def handlers(make: Any) -> Any:
    made = make()
    seen: list[Any] = []

    class Base(made.app.Task):
        def before_start(self, task_id, args, kwargs):
            seen.append(("before_start", task_id, args, kwargs))

        def on_success(self, retval, task_id, args, kwargs):
            seen.append(("on_success", retval, task_id, args, kwargs))

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            seen.append(
                ("on_failure", repr(exc), task_id, args, kwargs, "ZeroDivision" in str(einfo), einfo.type.__name__)
            )

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            seen.append(("after_return", status, repr(retval), task_id, args, kwargs))

    @made.app.task(shared=False, base=Base)
    def divide(x, y=1):
        return x / y

    divide.apply((1,), task_id="one")
    divide.apply((1,), {"y": 0}, task_id="two")
    return seen


def exceptions_of_handlers(make: Any) -> Any:
    made = make()

    class Base(made.app.Task):
        def before_start(self, *args):
            raise KeyError("before")

    @made.app.task(shared=False, base=Base)
    def task():
        return 1

    return _shown(task.apply())


def eager_results(make: Any) -> Any:
    made = make()
    result = made.lib.module("result").EagerResult("id", "value", "SUCCESS", name="n")
    failed = made.lib.module("result").EagerResult("id", KeyError("x"), "FAILURE", traceback="tb")
    return (
        repr(result),
        result.get(),
        result.state,
        result.ready(),
        failed.traceback,
        made.lib.raised(failed.get),
        failed.get(propagate=False),
        result.revoke(),
        result.status,
        result.forget(),
        result.name,
    )


def coroutine_tasks(make: Any) -> Any:
    made = make()

    @made.app.task(shared=False)
    async def waiting(x):
        return x + 1

    value = waiting.apply((1,)).get()
    return value if isinstance(value, int) else type(value).__name__


def tasks_that_call_tasks_as_functions(make: Any) -> Any:
    made = make()

    @made.app.task(shared=False, bind=True)
    def outer(self, x):
        return made.add(x, 1), made.ids()[0], self.request.id

    return outer.apply((1,), task_id="tid").get()


def groups_with_arguments_of_call(make: Any) -> Any:
    made = make(task_always_eager=True)
    group = made.lib.group(made.add.s(1), made.add.s(2))
    return group(5).get(), group.apply((7,)).get(), group.apply_async((3,)).get(), group.delay(1).get()


def stamps(make: Any) -> Any:
    made = make(task_always_eager=True)

    @made.app.task(shared=False, bind=True)
    def show(self):
        return self.request.stamps, self.request.stamped_headers

    sig = show.s()
    sig.stamp(mine="s")
    return sig.apply().get(), sig.apply_async().get()
