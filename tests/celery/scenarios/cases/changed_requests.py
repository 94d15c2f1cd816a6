"""Tasks that change their request while they run: what follows the task, and the arguments of its retry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.celery.scenarios.library import WAIT, Library, get
from tests.celery.scenarios.workers import Running, running


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    with running(lib, _declare) as given:
        yield given


def _declare(work: Running) -> None:
    @work.task(bind=True)
    def without(self, *names):
        for name in names:
            setattr(self.request, name, None)
        return 1

    @work.task(bind=True)
    def emptied(self):
        self.request.chain[:] = []
        return 1

    @work.task(bind=True)
    def failing_without_errbacks(self):
        self.request.errbacks = None
        raise KeyError("x")

    @work.task(bind=True)
    def failing_with_errback(self):
        self.request.errbacks = [work.note_id.s()]
        raise KeyError("x")

    @work.task(bind=True)
    def followed(self, name, *signatures):
        setattr(self.request, name, list(signatures))
        return 1

    @work.task(bind=True)
    def followed_by_signature(self):
        self.request.callbacks = [work.note.s("callback")]
        return 1

    @work.task(bind=True)
    def with_first_callback(self):
        del self.request.callbacks[1:]
        return 1

    @work.task(bind=True)
    def with_other_arguments(self, *args, **kwargs):
        if not self.request.retries:
            self.request.kwargs["n"] = 1
            self.request.args = [*args, "added"]
            raise self.retry(countdown=0)
        return [list(args), kwargs]

    @work.task(bind=True)
    def with_arguments_of_retry(self, *args, **kwargs):
        if not self.request.retries:
            self.request.kwargs["n"] = 1
            raise self.retry(args=["given"], countdown=0)
        return [list(args), kwargs]

    @work.task(bind=True)
    def many(self, *args, **kwargs):
        return [list(args), kwargs, self.request.kwargs, self.request.headers]

    @work.task(bind=True)
    def priority(self):
        return self.request.delivery_info["priority"]

    @work.task(bind=True)
    def retried_without_callbacks(self):
        if not self.request.retries:
            self.request.callbacks = None
            raise self.retry(countdown=0)
        return 1

    @work.task(bind=True)
    def replaced_without_callbacks(self):
        self.request.callbacks = None
        raise self.replace(work.add.s(1, 1))


def _until_end(work: Running, result: Any) -> Any:
    """The value of a task, or its exception's class, and what its followers have noted until later messages were run.

    The worker runs one task after the other. A task's value may be stored before its follower is sent, so a follower
    of a follower may come after the first two messages that are sent here, but not after the third.
    """
    value = result.get(timeout=WAIT, propagate=False)
    for _ in range(3):
        work.same.delay().get(timeout=WAIT)
    noted = ["id" if each[0] == "id" else each for each in work.seen]
    work.seen.clear()
    return [type(value).__name__ if isinstance(value, Exception) else value, noted]


def callbacks_removed(work: Running) -> Any:
    return _until_end(work, work.without.apply_async(("callbacks",), link=work.note.s()))


def callbacks_removed_in_part(work: Running) -> Any:
    return _until_end(work, work.with_first_callback.apply_async(link=[work.note.s("a"), work.note.s("b")]))


def chain_emptied(work: Running) -> Any:
    return _until_end(work, (work.emptied.s() | work.note.s()).apply_async().parent)


def errbacks_removed(work: Running) -> Any:
    return _until_end(work, work.failing_without_errbacks.apply_async(link_error=work.note_id.s()))


def errbacks_added(work: Running) -> Any:
    return _until_end(work, work.failing_with_errback.delay())


def callback_added(work: Running) -> Any:
    return _until_end(work, work.followed.delay("callbacks", work.note.s("callback")))


def callback_added_as_signature(work: Running) -> Any:
    return _until_end(work, work.followed_by_signature.delay())


def chain_added(work: Running) -> Any:
    return _until_end(work, work.followed.delay("chain", work.note.s("second"), work.add.s(1)))


def retry_has_arguments_of_request(work: Running) -> Any:
    return get(work.with_other_arguments.delay("a", m=0))


def retry_has_given_arguments(work: Running) -> Any:
    return get(work.with_arguments_of_retry.delay("a", m=0))


def kwargs_added_before_run(work: Running) -> Any:
    def added(kwargs, **_):
        kwargs["added"] = 1

    with _connected(work.lib.module("signals").task_prerun, added):
        return get(work.many.delay(1, x=2))


def kwargs_and_headers_added_before_publish(work: Running) -> Any:
    def added(body, headers, **_):
        body[1]["added"] = 1
        headers["trace"] = "t"

    with _connected(work.lib.module("signals").before_task_publish, added):
        result = work.many.delay(1, x=2)
    return get(result)


def priority_set_before_publish(work: Running) -> Any:
    def added(properties, **_):
        properties["priority"] = 3

    with _connected(work.lib.module("signals").before_task_publish, added):
        result = work.priority.delay()
    return get(result)


def signals_of_errback(work: Running) -> Any:
    signals, names = work.lib.module("signals"), []

    def noted(sender, **_):
        names.append(sender.name)

    with _connected(signals.task_prerun, noted), _connected(signals.task_postrun, noted):
        work.fail.apply_async(link_error=work.note_failure.s()).get(timeout=WAIT, propagate=False)
        failure = work.noted(1)
        work.same.delay().get(timeout=WAIT)
    return [failure, sorted(set(names))]


@contextmanager
def _connected(signal: Any, receiver: Any) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def retry_has_callbacks_of_request(work: Running) -> Any:
    return _until_end(work, work.retried_without_callbacks.apply_async(link=work.note.s()))


def replacement_has_callbacks_of_request(work: Running) -> Any:
    return _until_end(work, work.replaced_without_callbacks.apply_async(link=work.note.s()))
