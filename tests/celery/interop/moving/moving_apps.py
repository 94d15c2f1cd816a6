"""Two applications of one project, while its tasks move from Celery to ``taskq_cloud.celery`` one after the other."""

from __future__ import annotations

import os
from typing import Any

import celery

import taskq_cloud.celery

SETTINGS: dict[str, Any] = {
    "broker_url": "sqs://",
    "broker_transport_options": {"region": os.environ["AWS_REGION"], "wait_time_seconds": 1, "polling_interval": 0.1},
    "broker_connection_retry_on_startup": True,
    "result_backend": f"taskq+dynamodb://{os.environ['INTEROP_TABLE']}?key_format=celery",
    "task_default_queue": os.environ["INTEROP_QUEUE"],
    "task_routes": {"moved.*": {"queue": os.environ["INTEROP_SECOND_QUEUE"]}},
    "imports": ["kept", "moved"],
}

old = celery.Celery("shop")
old.conf.update(SETTINGS)
new = taskq_cloud.celery.Celery("shop")
new.conf.update(SETTINGS)
for app in (old, new):
    app.set_default()  # the application that is made is the current one of this thread only, and tasks run in others
