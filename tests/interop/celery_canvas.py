"""Runs workflows on a Celery worker of its own, with Celery's in-memory transport: JSON in on stdin, out on stdout.

Run as a script, with the URL of a result backend. In: a list of signatures; out: a list of their values, or of the
``repr`` of what they raised.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import celery

app = celery.Celery("flow", broker="memory://", backend=sys.argv[1])
app.conf.update(
    broker_transport_options={"polling_interval": 0.01},
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="task")
def task(*args: Any, tag: str) -> list[Any]:
    return [tag, *args]


def value(written: dict[str, Any]) -> Any:
    try:
        return (
            celery.signature(written, app=app).apply_async().get(timeout=20, interval=0.02, disable_sync_subtasks=False)
        )
    except Exception as error:
        return repr(error)


if __name__ == "__main__":
    worker = app.Worker(
        pool="solo", loglevel="CRITICAL", without_heartbeat=True, without_mingle=True, without_gossip=True
    )
    threading.Thread(target=worker.start, daemon=True).start()
    sys.stdout.write(json.dumps([value(each) for each in json.load(sys.stdin)]) + "\n")
    sys.stdout.flush()
    # The worker's thread would not end by itself.
    os._exit(0)
