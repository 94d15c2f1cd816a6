"""The Celery application of the tests: real tasks, kombu's SQS transport, and Celery's DynamoDB backend.

``conftest`` has an application of ours with equal tasks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
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


def task(name: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Declare a task with types, which Celery's own decorator doesn't have."""
    decorator: Callable[[Callable[..., Any]], Any] = app.task(shared=False, name=name, **options)
    return decorator


@task("interop.add")
def add(a: int, b: int) -> int:
    return a + b


@task("interop.echo")
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


@task("interop.fail")
def fail(text: str) -> None:
    raise ValueError(text, 7)


@task("interop.flaky", bind=True, max_retries=2)
def flaky(self: Any) -> int:
    if self.request.retries < 2:
        raise self.retry(countdown=1, exc=OSError("not yet"))
    retries: int = self.request.retries
    return retries


@task("interop.note")
def note(value: Any) -> list[Any]:
    return ["noted", value]


@task("interop.total")
def total(values: list[int]) -> int:
    return sum(values)


@task("interop.same")
def same(value: Any) -> Any:
    return value


@task("interop.where", bind=True)
def where(self: Any, *came_before: Any) -> str:
    return "celery"


@task("interop.place", bind=True)
def place(self: Any, *came_before: Any) -> list[Any]:
    return [self.request.root_id, self.request.parent_id, self.request.group, self.request.group_index]
