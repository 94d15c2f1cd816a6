"""Tasks that a worker with other settings runs: extended results, tracked starts, pickle, routes and priorities."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.celery.scenarios.library import Library, get, run
from tests.celery.scenarios.workers import CustomError, Running, running


@contextmanager
def prepared(lib: Library) -> Iterator[Running]:
    settings = {
        "accept_content": ["pickle", "json"],
        "result_extended": True,
        "result_serializer": "pickle",
        "task_default_priority": 5,
        "task_default_queue": "own",
        "task_ignore_result": False,
        "task_serializer": "pickle",
        "task_track_started": True,
        "task_routes": {"work.routed": {"queue": "routed"}, "work.prior*": {"priority": 2}},
        "timezone": "Europe/Berlin",
    }
    with running(lib, _declare, pool="threads", settings=settings, queues="own,routed", concurrency=4) as given:
        yield given


def _declare(work: Running) -> None:
    @work.task(bind=True)
    def routed(self):
        return self.request.delivery_info["routing_key"]

    @work.task(bind=True)
    def prioritised(self):
        return self.request.delivery_info["priority"]

    @work.task(bind=True)
    def prior(self):
        return self.request.delivery_info["priority"]

    @work.task(bind=True)
    def started(self):
        return self.AsyncResult(self.request.id).state

    @work.task()
    def value_of_any_kind():
        return {"set": {1}, "complex": 1j, "moment": datetime(2030, 1, 1, tzinfo=UTC)}

    @work.task()
    def own_exception():
        raise CustomError(5, "text")

    @work.task(bind=True)
    def slow(self, seconds):
        time.sleep(seconds)
        return self.request.id

    @work.task()
    def softly_limited():
        try:
            for _ in range(150):
                time.sleep(0.01)
        except work.lib.module("exceptions").SoftTimeLimitExceeded:
            return "limited"
        return "slept"

    @work.task(bind=True)
    def request_in_thread(self, wait):
        first = self.request.id
        time.sleep(wait)
        return first == self.request.id == work.lib.current_task.request.id


def extended_metadata(work: Running) -> Any:
    result = work.add.apply_async((1,), {"y": 2})
    get(result)
    result = work.app.AsyncResult(result.id)
    return result.name, list(result.args), result.kwargs, result.retries, result.queue, bool(result.worker)


def metadata_of_failure(work: Running) -> Any:
    result = work.fail.delay(1)
    work.lib.raised(lambda: get(result))
    return result.name, list(result.args), result.kwargs, type(result.date_done).__name__


def started_state(work: Running) -> Any:
    return run(work.started.s())


def values_by_pickle(work: Running) -> Any:
    return run(work.value_of_any_kind.s()), run(work.same.s({1, (2, 3)})), run(work.same.s((1, 2)))


def exceptions_by_pickle(work: Running) -> Any:
    try:
        get(work.own_exception.delay())
    except Exception as error:
        return type(error).__name__, error.args, getattr(error, "text", None)


def routes(work: Running) -> Any:
    return run(work.routed.s()), run(work.request.s())["args"], run(work.routed.s(), queue="own")


def priorities(work: Running) -> Any:
    return run(work.prioritised.s()), run(work.prior.s()), run(work.prior.s(), priority=9)


def tasks_side_by_side(work: Running) -> Any:
    begin = time.monotonic()
    results = [work.slow.delay(0.4) for _ in range(4)]
    values = [get(each) == each.id for each in results]
    return values, time.monotonic() - begin < 1.5


def soft_time_limit_in_threads(work: Running) -> Any:
    return run(work.softly_limited.s(), soft_time_limit=0.5)


def requests_of_threads(work: Running) -> Any:
    return get(work.group(work.request_in_thread.s(0.05) for _ in range(8))())


def workflows_by_pickle(work: Running) -> Any:
    return (
        run(work.add.s(1, 1) | work.group(work.add.s(1), work.add.s(2)) | work.total.s()),
        get(work.chord([work.total.s({1}), work.total.s({2, 3})])(work.same.s())),
    )


def zone_of_results(work: Running) -> Any:
    result = work.add.delay(1, 1)
    get(result)
    return abs((datetime.now(UTC) - result.date_done.astimezone(UTC)).total_seconds()) < 60
