from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from taskq_cloud import BoundTask, TaskQ
from tests.stores.payloads.noise import noise


@pytest.fixture
def make_shop(
    aws_environment: dict[str, str],
    make_queue: Callable[..., str],
    make_table: Callable[..., str],
    make_bucket: Callable[..., str],
) -> Iterator[Callable[..., SimpleNamespace]]:
    """A function that makes an application on SQS, DynamoDB and S3, and returns it with its queue, bucket and tasks.

    ``seen`` lists the sizes of the arguments that the tasks received.
    """
    apps: list[TaskQ] = []

    def make(**settings: Any) -> SimpleNamespace:
        queue, bucket = make_queue(VisibilityTimeout="30"), make_bucket("payloads")
        make_queue(f"{queue}-dead", exactly=True)
        chosen = {
            "broker": "sqs://",
            "results": f"dynamodb://{make_table()}",
            "payloads": f"s3://{bucket}/shop",
            "task_default_queue": queue,
            "wait_time_seconds": 1,
            **settings,
        }
        app = TaskQ("shop", **chosen)
        apps.append(app)
        seen: list[int] = []

        @app.task(name="length")
        def length(text: str) -> int:
            seen.append(len(text))
            return len(text)

        @app.task(name="enlarge")
        def enlarge(size: int) -> str:
            seen.append(size)
            return noise(size)

        @app.task(name="twice", bind=True, max_retries=1)
        def twice(self: BoundTask, text: str) -> int:
            seen.append(len(text))
            if self.request.retries == 0:
                raise self.retry(countdown=0)
            return len(text)

        return SimpleNamespace(
            app=app, queue=queue, bucket=bucket, seen=seen, length=length, enlarge=enlarge, twice=twice
        )

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def shop(make_shop: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    return make_shop()
