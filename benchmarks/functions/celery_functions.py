"""A function that calls a task with Celery and kombu's SQS transport."""

import os
from typing import Any

from celery import Celery
from work import QUEUE, counted


def producer() -> Any:
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    app = Celery("bench", broker=f"sqs://test:test@{endpoint}//")
    options = {"region": os.environ["AWS_REGION"], "is_secure": False}
    app.conf.update(task_default_queue=QUEUE, task_ignore_result=True, broker_transport_options=options)

    def send(event: Any, context: Any) -> str:
        return str(app.send_task("bench.noop", [1]).id)

    return counted(send)
