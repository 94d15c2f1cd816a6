"""A script that runs workflows on a Celery worker of its own, with Celery's in-memory transport.

Its argument is the URL of a result backend. It reads a JSON list of signatures from stdin, and writes a JSON list to
stdout with an outcome for each: the value (a list for a group), ``{"failed": the exception's repr}``, or
``{"hangs": the workflow's repr}``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, Final

import celery
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import GroupResult
from celery.signals import worker_ready

from tests.workflows import build

LONGEST_SECONDS: Final = 8.0
"""The longest wait for one workflow, which usually takes some hundredths of a second."""
ALL_SECONDS: Final = 70.0
"""The longest wait for all workflows: well below the time that the test gives this script."""

app = celery.Celery("flow", broker="memory://", backend=sys.argv[1])
app.conf.update(
    broker_transport_options={"polling_interval": 0.01},
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)
KINDS: Final = (celery.chain, celery.group, celery.chord)


def task(*args: Any, tag: str) -> list[Any]:
    return [tag, *args]


def failing(*_: Any, tag: str) -> None:
    raise ValueError(tag)


def replaced(self: Any, *_: Any, instead: Any) -> Any:
    return self.replace(build(app, instead, KINDS))


# Celery's decorators have no types.
app.task(name="task")(task)
app.task(name="failing")(failing)
app.task(name="replaced", bind=True)(replaced)


def value(result: Any, deadline: float) -> Any:
    if isinstance(result, GroupResult):
        return [value(each, deadline) for each in result.results]
    try:
        left = max(0.1, deadline - time.monotonic())
        return result.get(timeout=left, interval=0.02, disable_sync_subtasks=False)
    except CeleryTimeoutError:
        raise
    except Exception as error:
        return {"failed": repr(error)}


def outcome(written: dict[str, Any], all_until: float) -> Any:
    workflow = celery.signature(written, app=app)
    shown = repr(workflow)
    try:
        return value(workflow.apply_async(), min(time.monotonic() + LONGEST_SECONDS, all_until))
    except CeleryTimeoutError:
        return {"hangs": shown}


if __name__ == "__main__":
    ready = threading.Event()

    def begin(**_: Any) -> None:
        ready.set()

    worker_ready.connect(begin, weak=False)
    app.finalize()
    worker = app.Worker(
        pool="solo", loglevel="CRITICAL", without_heartbeat=True, without_mingle=True, without_gossip=True
    )
    threading.Thread(target=worker.start, daemon=True).start()
    # A message that is sent before the worker listens may be lost: the worker then makes the queue anew.
    if not ready.wait(30):
        sys.exit("Celery's worker was not ready after 30 s")
    until = time.monotonic() + ALL_SECONDS
    sys.stdout.write(json.dumps([outcome(each, until) for each in json.load(sys.stdin)]) + "\n")
    sys.stdout.flush()
    # The worker's thread would not end by itself.
    os._exit(0)
