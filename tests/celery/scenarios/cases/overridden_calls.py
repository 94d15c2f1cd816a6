"""Tasks whose class overrides ``__call__``, and states that are recorded without a running call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.celery.scenarios.library import Library, get
from tests.celery.scenarios.workers import Running, running


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    with running(lib, _declare) as given:
        yield given


def _declare(work: Running) -> None:
    class Called(work.app.Task):
        abstract = True

        def __call__(self, *args, **kwargs):
            work.seen.append(("called", self.request.retries, self.request.called_directly))
            return super().__call__(*args, **kwargs)

    @work.task(base=Called, bind=True)
    def retried_at_the_end(self):
        if not self.request.retries:
            return self.retry(throw=False, countdown=0) and "first"
        return "second"

    @work.task(base=Called, bind=True)
    def request_of_body(self, *args):
        request = self.request
        return [list(request.args), request.called_directly, request.id == self.request.id, bool(request.hostname)]

    @work.task(base=Called, bind=True)
    def calls_itself(self, depth):
        inner = self(depth - 1) if depth else None
        return [depth, list(self.request.args), self.request.called_directly, inner]

    @work.task(bind=True)
    def state_without_id(self):
        return _in_thread(lambda: self.update_state(state="PROGRESS", meta={}))

    @work.task(bind=True)
    def state_with_id(self):
        own = self.request.id
        return _in_thread(lambda: self.update_state(task_id=own, state="PROGRESS", meta={}))


def _in_thread(function: Any) -> list[str]:
    """Call a function in another thread, in which no task runs, and show its error."""
    found = []

    def call() -> None:
        try:
            found.append(repr(function()))
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return found


def retry_at_the_end_is_sent(work: Running) -> Any:
    work.retried_at_the_end.delay()
    return work.noted(2)


def body_has_the_request_of_the_run(work: Running) -> Any:
    return get(work.request_of_body.delay(1, 2)), work.noted(1)


def call_within_the_body_has_a_request_of_its_own(work: Running) -> Any:
    return get(work.calls_itself.delay(2)), work.noted(3)


def direct_call_has_a_request_of_its_own(work: Running) -> Any:
    return work.calls_itself(1), work.noted(2)


def state_without_a_running_call(work: Running) -> Any:
    return get(work.state_without_id.delay()), get(work.state_with_id.delay())
