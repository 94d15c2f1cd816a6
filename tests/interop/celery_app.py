"""The same application on Celery: real tasks, kombu's SQS transport, Celery's DynamoDB backend."""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit

from celery import Celery

endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
queue = os.environ["INTEROP_QUEUE"]
table = os.environ["INTEROP_TABLE"]
region = os.environ["AWS_REGION"]

backend = os.environ.get("INTEROP_BACKEND") or f"dynamodb://test:test@{region}/{table}"
app = Celery("interop", broker=f"sqs://test:test@{endpoint.netloc}//", backend=backend)
app.conf.update(
    dynamodb_endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    task_default_queue=queue,
    broker_transport_options={"region": region, "is_secure": False, "wait_time_seconds": 1, "polling_interval": 0.1},
    broker_connection_retry_on_startup=True,
    result_extended=True,
)
assert quote(table) == table


@app.task(shared=False, name="interop.add")
def add(a, b):
    return a + b


@app.task(shared=False, name="interop.echo")
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(shared=False, name="interop.fail")
def fail(text) -> None:
    raise ValueError(text, 7)


@app.task(shared=False, name="interop.flaky", bind=True, max_retries=2)
def flaky(self):
    if self.request.retries < 2:
        raise self.retry(countdown=1, exc=OSError("not yet"))
    return self.request.retries


@app.task(shared=False, name="interop.note")
def note(value):
    return ["noted", value]


@app.task(shared=False, name="interop.total")
def total(values):
    return sum(values)


@app.task(shared=False, name="interop.same")
def same(value):
    return value


@app.task(shared=False, name="interop.where", bind=True)
def where(self, *came_before):
    return "celery"


@app.task(shared=False, name="interop.place", bind=True)
def place(self, *came_before):
    return [self.request.root_id, self.request.parent_id, self.request.group, self.request.group_index]
