"""Single tasks that a worker runs: their requests, states, retries, handlers and signals, and what messages carry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.celery.scenarios.library import WAIT, Library, get, run
from tests.celery.scenarios.workers import CustomError, Running, running


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    settings = {"accept_content": ["json", "pickle", "yaml"], "result_accept_content": ["json", "pickle"]}
    with running(lib, _declare, settings=settings) as given:
        yield given


def _declare(work: Running) -> None:
    exceptions = work.lib.module("exceptions")

    class Handling(work.app.Task):
        abstract = True
        count = 0

        def before_start(self, task_id, args, kwargs):
            work.seen.append(["before_start", task_id, list(args), kwargs])

        def on_success(self, retval, task_id, args, kwargs):
            work.seen.append(["on_success", retval, task_id, list(args), kwargs])

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            work.seen.append(["on_failure", repr(exc), task_id, list(args), kwargs, "Error" in str(einfo)])

        def on_retry(self, exc, task_id, args, kwargs, einfo):
            work.seen.append(["on_retry", repr(exc), task_id, list(args), kwargs])

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            work.seen.append(["after_return", status, task_id, list(args), kwargs])

    @work.task(base=Handling)
    def handled(x, y=1):
        return x / y

    @work.task(base=Handling, bind=True, max_retries=1)
    def handled_retry(self):
        try:
            raise KeyError("x")
        except KeyError as error:
            raise self.retry(exc=error, countdown=0)

    class Counting(work.app.Task):
        abstract = True

        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, *args, **kwargs):
            self.calls += 1
            return self.run(*args, **kwargs)

    @work.task(base=Counting, bind=True)
    def counted(self):
        return self.calls

    @work.task(bind=True)
    def progress(self):
        self.update_state(state="PROGRESS", meta={"done": 50})
        found = self.AsyncResult(self.request.id)
        return [found.state, found.info]

    @work.task(bind=True)
    def retry_with_other_arguments(self, *args, **kwargs):
        if self.request.retries < 2:
            raise self.retry(args=[*args, self.request.retries], kwargs={**kwargs, "k": 1}, countdown=0)
        return [list(args), kwargs, self.request.retries]

    @work.task(bind=True, max_retries=5, default_retry_delay=0)
    def retry_without_throwing(self):
        if not self.request.retries:
            self.retry(throw=False, countdown=0)
            return "first"
        return "second"

    @work.task(bind=True)
    def retry_headers(self):
        if not self.request.retries:
            raise self.retry(countdown=0)
        return [self.request.headers, self.request.id, self.request.retries]

    @work.task(autoretry_for=(KeyError,), retry_kwargs={"max_retries": 2, "countdown": 0}, bind=True)
    def automatic(self, succeeds_at):
        if self.request.retries < succeeds_at:
            raise KeyError(self.request.retries)
        return self.request.retries

    @work.task(bind=True)
    def delivery(self):
        info = self.request.delivery_info
        return [info["exchange"], info["routing_key"], info["priority"], info["redelivered"]]

    @work.task(bind=True)
    def inherited_priority(self):
        return work.delivery.apply_async().id

    @work.task()
    def unserialisable():
        return object()

    @work.task(ignore_result=True)
    def ignored():
        work.seen.append("ran")
        return 3

    @work.task(ignore_result=True, store_errors_even_if_ignored=True)
    def ignored_failure():
        raise ValueError("stored")

    @work.task(bind=True)
    def times(self):
        return [self.request.eta is not None, self.request.expires is not None, self.request.utc]

    @work.task(throws=(KeyError,))
    def throwing():
        raise KeyError("expected")

    @work.task()
    def current():
        return [work.lib.current_task.name, work.app.current_task.name, work.app.current_worker_task.name]

    @work.task()
    def calling_as_function():
        return [work.add(1, 2), work.current()]

    @work.task()
    def waiting():
        return work.add.delay(1, 2).get(timeout=1)

    @work.task(bind=True)
    def stateful(self):
        self.counter = getattr(self, "counter", 0) + 1
        return self.counter

    @work.task(typing=False)
    def untyped(x):
        return x

    @work.task(bind=True, name_in_logs="x")
    def custom_attribute(self):
        return self.name_in_logs

    @work.task()
    def soft_limited():
        raise exceptions.SoftTimeLimitExceeded

    @work.task(serializer="pickle")
    def pickled(value):
        return type(value).__name__

    @work.task()
    def nested_exception():
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    @work.task()
    def many_arguments(a, b=2, *rest, key=3, **others):
        return [a, b, list(rest), key, others]

    class ByClass(work.app.Task):
        name = "work.by_class"

        def run(self, x):
            return [self.name, x, self.request.args]

    work.app.register_task(ByClass())


def _ended(result: Any) -> Any:
    try:
        return "returned", get(result)
    except Exception as error:
        return type(error).__name__, str(error), result.state


def _wait_for(result: Any, *states: str) -> str:
    deadline = time.monotonic() + WAIT
    while result.state not in states and time.monotonic() < deadline:
        time.sleep(0.005)
    return str(result.state)


def value(work: Running) -> Any:
    result = work.add.delay(1, 2)
    found = get(result)
    return (
        found,
        result.state,
        result.successful(),
        result.failed(),
        result.ready(),
        result.result,
        result.traceback,
        result.children,
    )


def failure(work: Running) -> Any:
    result = work.fail.delay()
    ended = _ended(result)
    return (
        ended,
        result.failed(),
        repr(result.result),
        "ValueError: no" in result.traceback,
        repr(result.get(propagate=False)),
        work.lib.raised(result.maybe_throw),
    )


def custom_exceptions_come_back(work: Running) -> Any:
    result = work.fail_with_own_exception.delay()
    try:
        get(result)
    except Exception as error:
        return type(error).__name__, isinstance(error, CustomError), error.args


def attributes_of_custom_exceptions(work: Running) -> Any:
    try:
        get(work.fail_with_own_exception.delay())
    except Exception as error:
        return getattr(error, "code", None)


def address_for_replies(work: Running) -> Any:
    return run(work.request.s())["reply_to"] is None


def exceptions_with_causes(work: Running) -> Any:
    result = work.nested_exception.delay()
    ended = _ended(result)
    return ended, "KeyError" in result.traceback, "direct cause" in result.traceback


def metadata_of_result(work: Running) -> Any:
    result = work.add.delay(1, 2)
    get(result)
    return (
        result.name,
        result.args,
        result.kwargs,
        result.worker,
        result.retries,
        result.queue,
        type(result.date_done).__name__,
    )


def request_of_call(work: Running) -> Any:
    found = run(work.request.s(1, a=2))
    return (
        {
            name: of
            for name, of in found.items()
            if name not in ("id", "root_id", "properties", "headers", "timelimit", "reply_to")
        },
        found["id"] == found["root_id"],
        found["timelimit"],
    )


def request_of_call_with_options(work: Running) -> Any:
    found = run(
        work.request.s(1),
        headers={"mine": "h"},
        shadow="shadow",
        time_limit=30,
        soft_time_limit=20,
        task_id="an-id-1",
        ignore_result=False,
        link=work.add.s(1),
        link_error=work.note.si(),
    )
    callbacks = [(each["task"], each["args"], each["immutable"]) for each in (*found["callbacks"], *found["errbacks"])]
    return found["shadow"], found["timelimit"], found["id"], callbacks, found["args"], found["ignore_result"]


def headers_of_call(work: Running) -> Any:
    return (
        run(work.retry_headers.s(), headers={"mine": 1})[0].get("mine"),
        run(work.request.s(), headers={"mine": {"nested": [1]}})["headers"].get("mine"),
    )


def root_and_parent_of_call(work: Running) -> Any:
    own, root, parent, _, _ = run(work.ids.s(), root_id="given-root", parent_id="given-parent")
    return root, parent, own is not None


def group_of_call(work: Running) -> Any:
    return run(work.ids.s(), group_id="given-group", group_index=3)[3:]


def retries_of_call(work: Running) -> Any:
    return run(work.request.s(), retries=2)["retries"]


def called_by_name(work: Running) -> Any:
    return (
        get(work.app.send_task("work.add", (1, 2))),
        get(work.app.send_task("work.add", args=[1], kwargs={"y": 2}, countdown=0)),
        get(work.lib.signature("work.add", (1, 2)).delay()),
        get(work.app.signature("work.add", (1, 2)).apply_async()),
    )


def unknown_task(work: Running) -> Any:
    result = work.app.send_task("work.unknown")
    return get(work.add.delay(1, 1)), type(result).__name__


def state_of_unknown_task(work: Running) -> Any:
    result = work.app.send_task("work.unknown")
    get(work.add.delay(1, 1))
    return result.state


def arguments_of_every_kind(work: Running) -> Any:
    moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    return (
        run(work.same.s([1, "a", None, True, 1.5, {"x": [1]}])),
        run(work.same.s(moment)),
        run(work.same.s((1, 2))),
        run(work.same.s("ünï ☃")),
        run(work.many_arguments.s(1, 5, 6, 7, key=8, z=9)),
        run(work.same.s(value={"1": 2})),
    )


def arguments_by_pickle(work: Running) -> Any:
    return (
        run(work.pickled.s({1, 2})),
        run(work.pickled.s(CustomError(1, "x"))),
        run(work.pickled.s(1 + 2j)),
        get(work.pickled.apply_async((object(),), serializer="pickle")),
    )


def arguments_by_yaml_and_compressed(work: Running) -> Any:
    return (
        run(work.same.s([1, {"a": 2}]), serializer="yaml"),
        run(work.same.s("x" * 1000), compression="gzip") == "x" * 1000,
        run(work.same.s("y" * 1000), compression="bzip2") == "y" * 1000,
    )


def arguments_that_do_not_fit(work: Running) -> Any:
    result = work.untyped.delay(1, 2, 3)
    try:
        get(result)
    except Exception as error:
        return type(error).__name__, result.state


def values_that_cannot_be_written(work: Running) -> Any:
    result = work.unserialisable.delay()
    return _wait_for(result, "FAILURE", "SUCCESS"), type(result.result).__name__


def countdown_and_eta(work: Running) -> Any:
    begin = time.monotonic()
    values = run(work.add.s(1, 1), countdown=0.3), run(work.add.s(1, 1), eta=datetime.now(UTC) + timedelta(seconds=0.3))
    return values, time.monotonic() - begin >= 0.55, run(work.times.s(), countdown=0.1, expires=60)


def naive_eta(work: Running) -> Any:
    return run(work.add.s(1, 1), eta=datetime.now(UTC).replace(tzinfo=None))


def expired_calls(work: Running) -> Any:
    past = datetime.now(UTC) - timedelta(seconds=10)
    result, other = work.add.apply_async((1, 1), expires=past), work.add.apply_async((1, 1), expires=60)
    return (
        _wait_for(result, "REVOKED", "SUCCESS"),
        type(result.result).__name__,
        get(other),
        work.lib.raised(lambda: get(result), text=False),
    )


def retried_task(work: Running) -> Any:
    result = work.flaky.delay("value", 2)
    return get(result), result.state, run(work.retry_with_other_arguments.s("a")), run(work.retry_headers.s())[2]


def retried_task_keeps_its_options(work: Running) -> Any:
    headers, task_id, retries = run(work.retry_headers.s(), headers={"mine": 1}, task_id="kept-id")
    return headers.get("mine"), task_id, retries


def retries_that_run_out(work: Running) -> Any:
    result = work.never.delay()
    return _ended(result), _ended(work.automatic.delay(5))


def retry_without_throwing(work: Running) -> Any:
    return type(work.retry_without_throwing.delay().id).__name__


def automatic_retries(work: Running) -> Any:
    return run(work.automatic.s(1)), run(work.automatic.s(2)), _ended(work.automatic.delay(3))


def updated_state(work: Running) -> Any:
    return run(work.progress.s())


def handlers_of_success(work: Running) -> Any:
    work.handled.apply_async((4, 2), task_id="success-id")
    return sorted(work.noted(3), key=repr)


def handlers_of_failure(work: Running) -> Any:
    work.handled.apply_async((1,), {"y": 0}, task_id="failure-id")
    return sorted(work.noted(3), key=repr)


def handlers_of_retry(work: Running) -> Any:
    work.handled_retry.apply_async(task_id="retry-id")
    return sorted(work.noted(5), key=repr)


def call_method_of_class(work: Running) -> Any:
    return run(work.counted.s()), run(work.counted.s())


def attributes_of_task_last(work: Running) -> Any:
    return run(work.stateful.s()), run(work.stateful.s()), run(work.custom_attribute.s())


def task_of_class(work: Running) -> Any:
    return run(work.by_class.s(4)), get(work.app.tasks["work.by_class"].delay(5))


def current_task(work: Running) -> Any:
    return run(work.current.s()), run(work.calling_as_function.s())


def waiting_within_task(work: Running) -> Any:
    return _ended(work.waiting.delay())[0]


def delivery_information(work: Running) -> Any:
    return run(work.delivery.s()), run(work.delivery.s(), priority=5)[2]


def inherited_priority(work: Running) -> Any:
    work.app.conf.task_inherit_parent_priority = True
    try:
        return get(work.app.AsyncResult(run(work.inherited_priority.s(), priority=7)))[2]
    finally:
        work.app.conf.task_inherit_parent_priority = False


def priority_of_following_tasks(work: Running) -> Any:
    return [each[2] for each in get(work.group(work.delivery.si(), work.delivery.si()).apply_async(priority=4))]


def ignored_results(work: Running) -> Any:
    result = work.ignored.delay()
    ran = work.noted(1)
    failed = work.ignored_failure.delay()
    stored = _wait_for(failed, "FAILURE")
    return (
        ran,
        result.state,
        result.get(),
        result.ignored,
        stored,
        work.ignored.apply_async(ignore_result=False).ignored,
    )


def ignored_result_precedence(work: Running) -> Any:
    first = work.add.apply_async((1, 2), ignore_result=True)
    second = work.ignored.apply_async(ignore_result=False)
    value = get(second)
    work.noted(1)
    return first.get(), first.ignored, first.state, value, second.ignored


def ignore_and_reject(work: Running) -> Any:
    ignored, rejected = work.ignore.delay(), work.reject.delay()
    get(work.add.delay(1, 1))
    return ignored.state, rejected.state


def expected_exceptions(work: Running) -> Any:
    return _ended(work.throwing.delay())


def soft_time_limit_exception(work: Running) -> Any:
    return _ended(work.soft_limited.delay())[::2]


def result_callbacks(work: Running) -> Any:
    got: list[Any] = []
    result = work.add.delay(1, 2)
    get(result)
    result.get(callback=lambda task_id, value: got.append((task_id == result.id, value)))
    return got


def forgotten_result(work: Running) -> Any:
    result = work.add.delay(1, 2)
    get(result)
    result.forget()
    return result.state, work.app.AsyncResult(result.id).state


def result_sets(work: Running) -> Any:
    results = work.app.ResultSet([work.add.delay(1, 1), work.add.delay(2, 2)])
    results.add(work.add.delay(3, 3))
    values = sorted(results.join(timeout=WAIT, interval=0.01))
    return values, results.successful(), len(results), results.completed_count()


def signals_of_publishing(work: Running) -> Any:
    module = work.lib.module("signals")
    seen: list[Any] = []

    def before(sender=None, headers=None, body=None, properties=None, routing_key=None, exchange=None, **_):
        names = sorted(set(headers) & _HEADERS)
        seen.append(
            (
                "before",
                sender,
                {name: headers[name] for name in names},
                body,
                routing_key,
                sorted(set(properties) & {"correlation_id", "priority", "reply_to", "delivery_mode"}),
            )
        )

    def after(sender=None, headers=None, body=None, exchange=None, routing_key=None, **_):
        seen.append(("after", sender, headers["id"], body[0], exchange, routing_key))

    module.before_task_publish.connect(before)
    module.after_task_publish.connect(after)
    try:
        get(work.add.apply_async((1,), {"y": 2}, task_id="published", shadow="sh", time_limit=9, headers={"mine": 1}))
    finally:
        module.before_task_publish.disconnect(before)
        module.after_task_publish.disconnect(after)
    return seen


_HEADERS = frozenset(
    {
        "argsrepr",
        "eta",
        "expires",
        "group",
        "group_index",
        "id",
        "ignore_result",
        "kwargsrepr",
        "lang",
        "mine",
        "parent_id",
        "replaced_task_nesting",
        "retries",
        "root_id",
        "shadow",
        "stamped_headers",
        "stamps",
        "task",
        "timelimit",
    }
)


def headers_that_signals_add(work: Running) -> Any:
    module = work.lib.module("signals")

    def before(sender=None, headers=None, **_):
        headers["added"] = "by signal"

    module.before_task_publish.connect(before)
    try:
        return run(work.request.s())["headers"].get("added")
    finally:
        module.before_task_publish.disconnect(before)


def signals_of_running(work: Running) -> Any:
    module = work.lib.module("signals")
    seen: list[Any] = []
    connected = []
    names = ["task_received", "task_prerun", "task_postrun", "task_success", "task_failure", "task_retry"]

    def connect(name: str) -> None:
        def handler(sender=None, **given):
            task_id = given.get("task_id") or getattr(given.get("request"), "id", None)
            seen.append((name, str(task_id), given.get("state"), repr(given.get("result"))))

        getattr(module, name).connect(handler)
        connected.append((name, handler))

    for name in names:
        connect(name)
    try:
        get(work.add.apply_async((1, 2), task_id="good"))
        _ended(work.fail.apply_async(task_id="bad"))
        get(work.flaky.apply_async(("v",), task_id="again"))
        deadline = time.monotonic() + WAIT
        while sum(each[0] == "task_postrun" for each in seen) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        for name, handler in connected:
            getattr(module, name).disconnect(handler)
    return [each for each in seen if each[0] != "task_received"], sorted(
        {each for each in seen if each[0] == "task_received"}
    )


def revoked_call(work: Running) -> Any:
    result = work.add.apply_async((1, 1), countdown=1)
    result.revoke()
    return _wait_for(result, "REVOKED", "SUCCESS"), type(result.result).__name__


def stamped_call(work: Running) -> Any:
    sig = work.request.s()
    sig.stamp(one="1", two=["2", "3"])
    found = run(sig)
    return sorted(found["stamps"].items()), sorted(found["stamped_headers"])


def argument_representations(work: Running) -> Any:
    seen = []
    signal = work.lib.module("signals").before_task_publish

    def before(headers=None, **_):
        seen.append((headers["argsrepr"], headers["kwargsrepr"]))

    signal.connect(before)
    try:
        get(work.same.apply_async(("secret",), argsrepr="<hidden>", kwargsrepr="<none>"))
        get(work.same.apply_async(("x" * 3000,)))
    finally:
        signal.disconnect(before)
    return seen[0], len(seen[1][0]) < 3000


def many_messages(work: Running) -> Any:
    for index in range(20):
        work.note.delay(index)
    return sorted(each[1][0] for each in work.noted(20))
