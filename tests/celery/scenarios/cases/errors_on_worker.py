"""What happens to errors in a worker: of tasks of every kind, of errbacks, and of handlers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.celery.scenarios.library import WAIT, Library, get, run
from tests.celery.scenarios.workers import CustomError, Running, running


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    with running(lib, _declare, pool="threads", concurrency=2) as given:
        yield given


def _declare(work: Running) -> None:
    @work.task()
    def failing_errback(request, exc, traceback):
        work.seen.append("errback called")
        raise RuntimeError("errback")

    @work.task(bind=True)
    def bound_errback(self, *args):
        work.seen.append([type(each).__name__ for each in args])

    @work.task()
    def errback_with_arguments(request, exc, traceback, extra, key=None):
        work.seen.append([type(exc).__name__, extra, key])

    @work.task()
    def errback_of_two(first, second):
        work.seen.append([first, second])

    @work.task()
    def errback_of_any(*args, **kwargs):
        work.seen.append([len(args), kwargs])

    @work.task()
    def errback_without_arguments():
        work.seen.append("called without")

    class FailingHandler(work.app.Task):
        abstract = True

        def on_success(self, retval, task_id, args, kwargs):
            raise RuntimeError("handler")

    @work.task(base=FailingHandler)
    def handler_fails():
        return "value"

    class FailingBefore(work.app.Task):
        abstract = True

        def before_start(self, task_id, args, kwargs):
            raise RuntimeError("before")

    @work.task(base=FailingBefore)
    def before_fails():
        return "value"

    @work.task()
    def raises_class():
        raise KeyError

    @work.task()
    def raises_with_many_arguments():
        raise ValueError(1, "two", [3], {"four": 5})

    @work.task()
    def raises_unpicklable():
        class LocalError(Exception):
            pass

        raise LocalError("local")

    @work.task()
    def raises_group():
        raise ExceptionGroup("several", [ValueError(1), KeyError("k")])

    @work.task()
    def raises_retry_exhausted():
        raise work.app.Task.MaxRetriesExceededError("enough")

    @work.task(max_retries=2, bind=True)
    def retries_own_exception(self):
        raise self.retry(exc=CustomError(1, "own"), countdown=0)

    @work.task(bind=True, max_retries=0)
    def never_retried(self):
        raise self.retry(countdown=0)

    @work.task()
    def returns_exception():
        return str(ValueError("value"))

    @work.task()
    def unicode_error():
        raise ValueError("ünï ☃")


def _ended(result: Any) -> Any:
    try:
        return "returned", get(result)
    except Exception as error:
        return type(error).__name__, str(error), result.state


def errback_that_fails(work: Running) -> Any:
    result = work.fail.apply_async(link_error=work.failing_errback.s())
    return work.noted(1), _ended(result), run(work.add.s(1, 1))


def bound_errbacks(work: Running) -> Any:
    work.fail.apply_async(link_error=work.bound_errback.s())
    return work.noted(1)


def errbacks_with_arguments(work: Running) -> Any:
    work.fail.apply_async(link_error=work.errback_with_arguments.s("extra", key=3))
    first = work.noted(1)
    work.fail.apply_async(link_error=work.errback_of_any.s(key=1))
    second = work.noted(1)
    work.fail.apply_async(link_error=work.errback_of_any.si(1, 2))
    return first, second, work.noted(1)


def errbacks_by_name(work: Running) -> Any:
    work.fail.apply_async(task_id="failed-id", link_error=work.lib.signature("work.note_id", app=work.app))
    first = work.noted(1)
    work.fail.apply_async(link_error={**work.errback_of_any.s()})
    return first, work.noted(1)


def errbacks_that_are_workflows(work: Running) -> Any:
    work.fail.apply_async(link_error=work.note.si("a") | work.note.si("b"))
    chain = sorted(work.noted(2))
    work.fail.apply_async(link_error=work.group(work.note.si("c"), work.note.si("d")))
    return chain, sorted(work.noted(2))


def errbacks_of_retried_task(work: Running) -> Any:
    result = work.retries_own_exception.apply_async(link_error=work.errback_of_any.s())
    return work.noted(1), _ended(result)


def errbacks_of_members_of_chord(work: Running) -> Any:
    failing = work.fail.s().on_error(work.note.si("member"))
    chord = work.chord([failing, work.add.s(1, 1)], work.total.s().on_error(work.note.si("body")))
    chord.apply_async()
    return sorted(work.noted(2))


def errbacks_of_body_get_error_of_chord(work: Running) -> Any:
    work.chord(
        [work.fail.s(), work.add.s(1, 1)], work.total.s().on_error(work.errback_with_arguments.s("x"))
    ).apply_async()
    return work.noted(1)


def errbacks_of_task_after_failed_one(work: Running) -> Any:
    chain = (
        work.fail.s() | work.add.s(1).on_error(work.note.si("second")) | work.add.s(2).on_error(work.note.si("third"))
    )
    result = chain.apply_async()
    first = _ended(result.parent.parent)
    get(work.add.delay(1, 1))
    time.sleep(0.2)
    return first, sorted(work.noted(0))


def handler_that_fails(work: Running) -> Any:
    result = work.handler_fails.delay()
    deadline = time.monotonic() + WAIT
    while not result.ready() and time.monotonic() < deadline:
        time.sleep(0.01)
    return run(work.add.s(1, 1)), result.ready()


def failing_before_start(work: Running) -> Any:
    return _ended(work.before_fails.delay())


def exceptions_of_many_kinds(work: Running) -> Any:
    return [
        _ended(task.delay())
        for task in (
            work.raises_class,
            work.raises_with_many_arguments,
            work.raises_retry_exhausted,
            work.unicode_error,
        )
    ]


def exceptions_of_local_classes(work: Running) -> Any:
    result = work.raises_unpicklable.delay()
    ended = _ended(result)
    return ended[0].partition("[")[0] if ended[0] == "LocalError" else "LocalError" in repr(result.result), ended[1:]


def exception_groups(work: Running) -> Any:
    return _ended(work.raises_group.delay())[::2]


def limits_of_retries(work: Running) -> Any:
    ended = _ended(work.retries_own_exception.delay())
    result = work.never_retried.apply_async(task_id="never-id")
    return ended, _ended(result)


def value_that_describes_an_exception(work: Running) -> Any:
    return run(work.returns_exception.s())


def propagation(work: Running) -> Any:
    result = work.fail.delay()
    work.lib.raised(lambda: get(result))
    return (
        repr(result.get(propagate=False)),
        work.lib.raised(result.get),
        work.lib.raised(result.maybe_throw),
        repr(result.maybe_throw(propagate=False)),
        repr(result.info),
        result.successful(),
    )


def failing_parent_of_waiting_caller(work: Running) -> Any:
    result = (work.fail_with_own_exception.s() | work.same.s() | work.same.s()).apply_async()
    return _ended(result)[:2]


def time_out(work: Running) -> Any:
    result = work.app.AsyncResult("no-such-task")
    return work.lib.raised(lambda: result.get(timeout=0.05, interval=0.01), text=False), result.state, result.ready()
