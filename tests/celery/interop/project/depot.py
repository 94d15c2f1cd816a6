"""A project with Celery on Redis or RabbitMQ. For ``taskq_cloud.celery``, only its imports are changed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, chain, chord, group

JOURNAL = Path(os.environ["INTEROP_JOURNAL"])

app = Celery("depot", set_as_current=False)
app.conf.update(
    broker_url=os.environ["INTEROP_BROKER"],
    broker_connection_retry_on_startup=True,
    result_backend=os.environ["INTEROP_RESULTS"],
    result_extended=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    **json.loads(os.environ["INTEROP_SETTINGS"]),
)


def write(*entry: Any) -> None:
    """Add a line to the journal, which the tests read."""
    with JOURNAL.open("a") as journal:
        journal.write(json.dumps([os.environ.get("INTEROP_WORKER"), *entry]) + "\n")


@app.task(name="depot.add", shared=False)
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="depot.total", shared=False)
def total(values: list[int]) -> int:
    return sum(values)


@app.task(name="depot.once", bind=True, shared=False)
def once(self: Any, number: int) -> int:
    write("once", self.request.id, number)
    time.sleep(0.005)  # so that no worker takes them all
    return number


@app.task(name="depot.flaky", bind=True, shared=False, max_retries=3)
def flaky(self: Any, succeeds_at: int) -> int:
    if self.request.retries < succeeds_at:
        raise self.retry(exc=OSError("not yet"), countdown=1)
    retries: int = self.request.retries
    return retries


@app.task(name="depot.fail", shared=False)
def fail() -> None:
    raise ValueError("no", 7)


@app.task(name="depot.about", bind=True, shared=False)
def about(self: Any) -> list[Any]:
    """What the task knows of its call, and when it ran."""
    info = self.request.delivery_info
    return [os.environ["INTEROP_WORKER"], info["routing_key"], info["priority"], time.time()]


@app.task(name="depot.held", bind=True, shared=False, acks_late=True)
def held(self: Any, stops: str) -> str:
    """Run until the file exists."""
    write("begun", self.request.id)
    while not Path(stops).exists():
        time.sleep(0.02)
    write("ended", self.request.id)
    return str(os.environ["INTEROP_WORKER"])


def workflows(queues: tuple[str, str]) -> list[tuple[Any, Any]]:
    """Workflows whose tasks go to two queues in turn, and their values."""
    one, two = ({"queue": queue} for queue in queues)
    return [
        (chain(add.s(1, 2).set(**one), add.s(10).set(**two), add.s(100).set(**one)), 113),
        (chord([add.s(1, 1).set(**one), add.s(2, 2).set(**two), flaky.s(1).set(**two)], total.s().set(**one)), 7),
        (
            chain(
                add.s(1, 1).set(**two),
                group(add.s(10).set(**one), add.s(20).set(**two)),
                total.s().set(**two),
                add.s(1).set(**one),
            ),
            35,
        ),
    ]
