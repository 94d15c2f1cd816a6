"""A project for Celery on a server for messages and Redis for results; its imports differ between the packages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, group

JOURNAL = Path(os.environ["INTEROP_JOURNAL"])

app = Celery("market", set_as_current=False)
app.conf.update(
    broker_url=os.environ["INTEROP_BROKER"],
    broker_connection_retry_on_startup=True,
    result_backend=os.environ["INTEROP_RESULTS"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    **json.loads(os.environ["INTEROP_SETTINGS"]),
)


def write(*entry: Any) -> None:
    """Add a line to the journal, which the tests read."""
    with JOURNAL.open("a") as journal:
        journal.write(json.dumps([os.environ.get("INTEROP_WORKER"), *entry]) + "\n")


@app.task(name="market.add", bind=True, shared=False)
def add(self: Any, x: int, y: int) -> int:
    write("ran", self.request.id)
    return x + y


@app.task(name="market.total", bind=True, shared=False)
def total(self: Any, values: list[int]) -> int:
    write("ran", self.request.id)
    return sum(values)


@app.task(name="market.flaky", bind=True, shared=False, max_retries=3)
def flaky(self: Any, succeeds_at: int) -> int:
    retries: int = self.request.retries
    write("ran", self.request.id, retries)
    if retries < succeeds_at:
        raise self.retry(exc=OSError("not yet"), countdown=0)
    return retries


@app.task(name="market.fail", bind=True, shared=False)
def fail(self: Any) -> None:
    write("ran", self.request.id)
    raise ValueError("no", 7)


@app.task(name="market.quiet", bind=True, shared=False, ignore_result=True)
def quiet(self: Any) -> int:
    write("ran", self.request.id)
    return 1


@app.task(name="market.linked", shared=False)
def linked(value: int, mark: str) -> int:
    write("linked", mark, value)
    return value


@app.task(name="market.failed", shared=False)
def failed(task_id: str) -> None:
    """An errback that is sent as a task."""
    write("failed", task_id)


@app.task(name="market.explained", shared=False)
def explained(request: Any, exc: Exception, traceback: Any) -> None:
    """An errback that the worker of the failed task calls by itself."""
    write("explained", request.id, repr(exc))


def calls(queue: str) -> list[tuple[Any, Any, int]]:
    """Calls to one queue, without chords: signature, value, number of runs."""
    place = {"queue": queue}
    return [
        (add.s(1, 2).set(**place), 3, 1),
        (flaky.s(2).set(**place), 2, 3),
        (add.s(2, 2).set(countdown=1, **place), 4, 1),
        (add.s(3, 3).set(priority=9, **place), 6, 1),
        (chain(add.s(1, 2).set(**place), add.s(10).set(**place), add.s(100).set(**place)), 113, 3),
        (group(add.s(number, 1).set(**place) for number in range(3)), [1, 2, 3], 3),
        (
            chain(add.s(1, 1).set(**place), group(add.s(10).set(**place), add.s(20).set(**place))),
            [12, 22],
            3,
        ),
    ]


def chords(queue: str) -> list[tuple[Any, Any, int]]:
    """Chords on one queue: signature, value, number of runs."""
    place = {"queue": queue}
    return [
        (chord([add.s(number, 1).set(**place) for number in range(3)], total.s().set(**place)), 6, 4),
        (
            chain(
                add.s(1, 1).set(**place),
                group(add.s(10).set(**place), flaky.si(1).set(**place)),
                total.s().set(**place),
                add.s(1).set(**place),
            ),
            14,
            6,
        ),
    ]
