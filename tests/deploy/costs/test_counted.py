"""The calls that the model reckons with are those that the code makes, counted before a local stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq_cloud import TaskQ, chord
from taskq_cloud.deploy.costs.load import Containers, Load, QueueLoad, Served
from taskq_cloud.deploy.costs.model import DOCUMENT_BYTES, ENVELOPE_BYTES, usage
from taskq_cloud.stores.results import _dynamodb_items
from taskq_cloud.testing.call_counter import CallCounter
from tests.worker.serving import serving, until

NAMES = {
    "SQS sends": ("SendMessage", "SendMessageBatch"),
    "SQS receives": ("ReceiveMessage",),
    "SQS deletes": ("DeleteMessageBatch",),
    "DynamoDB records written": ("PutItem",),
    "DynamoDB arrivals": ("UpdateItem",),
}


class Shop:
    """An application on the stack, behind a counter, and a function that is handed its messages."""

    def __init__(self, app: TaskQ, counter: CallCounter, url: str, sqs: Any) -> None:
        self.app = app
        self.counter = counter
        self._url = url
        self._sqs = sqs
        self._handler = app.lambda_handler()

    def invoke(self) -> int:
        """Do what an event source mapping does, uncounted: receive a batch, have it run, delete it."""
        answer = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
        )
        messages = answer.get("Messages", [])
        arn = f"arn:aws:sqs:eu-west-1:000000000000:{self._url.rpartition('/')[2]}"
        records = [
            {
                "messageId": each["MessageId"],
                "receiptHandle": each["ReceiptHandle"],
                "body": each["Body"],
                "attributes": each["Attributes"],
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
            }
            for each in messages
        ]
        if records:
            assert self._handler({"Records": records}, None) == {"batchItemFailures": []}
        for each in messages:
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"])
        return len(messages)

    def invoke_until(self, tasks: int) -> None:
        """Until so many messages have been handled."""
        handled = 0
        for _ in range(50):
            handled += self.invoke()
            if handled >= tasks:
                return
        raise AssertionError(f"{handled} of {tasks} messages came")


@pytest.fixture
def shop(
    local_stack, aws_environment, make_queue: Callable[..., str], make_table, sqs_client, monkeypatch
) -> Iterator[Shop]:
    with CallCounter(local_stack.endpoint_url) as counter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counter.endpoint_url)
        queue = make_queue("costs")
        app = TaskQ("shop", broker="sqs:///", results=f"dynamodb://{make_table()}", task_default_queue=queue)
        app.task(name="length", default_retry_delay=0)(len)
        app.run(app.broker.depth(queue))  # GetQueueUrl, once a process, is no task's
        counter.reset()
        yield Shop(app, counter, sqs_client.get_queue_url(QueueName=queue)["QueueUrl"], sqs_client)
        app.close()


def reckoned(load: Load, tasks: float, *, memory_mb: int | None = 512) -> dict[str, float]:
    """What the model says, by the name of its lines."""
    served = Served(
        broker="sqs", store="dynamodb", queues=(QueueLoad(name="celery", tasks=tasks, memory_mb=memory_mb),)
    )
    return {line.what: line.calls for line in usage(served, load)}


def counted(counter: CallCounter, what: str) -> int:
    return sum(counter.counts().get(name, 0) for name in NAMES[what])


def test_tasks_in_a_function_take_the_calls_that_the_model_says(shop: Shop) -> None:
    results = shop.app.tasks["length"].map_async([("abc",)] * 40)
    shop.invoke_until(40)
    assert [result.get(timeout=5) for result in results] == [3] * 40
    model = reckoned(Load(send_batch=10, messages_per_request=10), 40)
    assert counted(shop.counter, "SQS sends") == model["SQS sends"] == 4
    assert counted(shop.counter, "DynamoDB records written") == model["DynamoDB records written"] == 40
    assert shop.counter.counts()["GetItem"] == model["DynamoDB records read"] == 40
    assert shop.counter.total() == 84


def test_a_retry_takes_a_send_a_write_and_a_read_more(shop: Shop) -> None:
    runs = []

    @shop.app.task(name="flaky", bind=True, default_retry_delay=0, max_retries=2)
    def flaky(self) -> int:
        runs.append(1)
        if self.request.retries < 2:
            raise self.retry()
        return len(runs)

    flaky.delay()
    shop.invoke_until(3)
    assert len(runs) == 3
    model = reckoned(Load(retries=2, reads=0), 1)
    assert counted(shop.counter, "SQS sends") == model["SQS sends"] == 3
    assert counted(shop.counter, "DynamoDB records written") == model["DynamoDB records written"] == 3
    assert shop.counter.counts()["GetItem"] == model["DynamoDB records read"] == 2


@pytest.mark.parametrize("members", [4, 250])
def test_a_chord_takes_the_calls_that_the_model_says(shop: Shop, members: int) -> None:
    shop.app.task(name="total")(sum)
    length, total = shop.app.tasks["length"].s("abc"), shop.app.tasks["total"].s()
    result = chord([length] * members, total).delay()
    shop.invoke_until(members + 1)
    assert result.get(timeout=5) == 3 * members
    model = reckoned(Load(chord_size=members, reads=0, send_batch=10), members + 1)
    counts = shop.counter.counts()
    names = ("records written", "workflows written", "bodies noted")
    written = sum(model[f"DynamoDB {name}"] for name in names)
    assert counted(shop.counter, "DynamoDB records written") == round(written)
    assert counts["UpdateItem"] == round(model["DynamoDB arrivals"] + model["DynamoDB claims of chords"])
    # The body's look, and the caller's at the end.
    read = counts["GetItem"] + counts.get("BatchGetItem", 0) - 1
    names = ("members read", "records read", "bodies looked up")
    assert read == round(sum(model[f"DynamoDB {name}"] for name in names))


async def test_a_worker_with_a_full_queue_takes_a_third_of_a_request_a_task(shop: Shop) -> None:
    tasks = 300
    results = shop.app.tasks["length"].map_async([("abc",)] * tasks)
    async with serving(shop.app, concurrency=10, prefetch_multiplier=6, wait_time_seconds=1) as worker:
        await until(lambda: counted(shop.counter, "DynamoDB records written") == tasks, "all to be recorded")
        await until(lambda: not len(worker._held), "all to be settled")
    assert results[-1].get(timeout=5) == 3
    model = reckoned(Load(send_batch=10, messages_per_request=10), tasks, memory_mb=None)
    for what in ("SQS sends", "SQS receives", "SQS deletes"):
        assert model[what] == tasks / 10
        # More where a batch was not full, and for the receives that found nothing any more.
        assert model[what] <= counted(shop.counter, what) <= 1.4 * model[what] + 5, shop.counter.counts()


def test_sizes_of_messages_and_records_are_what_the_model_reckons_with(shop: Shop, sqs_client) -> None:
    result = shop.app.tasks["length"].delay("abc")
    answer = sqs_client.receive_message(QueueUrl=shop._url, VisibilityTimeout=0)
    shop.invoke_until(1)
    record = shop.app.run(shop.app.store.load([result.id]))[result.id]
    item = _dynamodb_items.from_record(record, f"celery-task-meta-{result.id}", 1e9)
    size = sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())
    assert 0.75 * DOCUMENT_BYTES <= size <= DOCUMENT_BYTES
    assert 0.75 * ENVELOPE_BYTES <= len(answer["Messages"][0]["Body"]) <= ENVELOPE_BYTES + 10


def test_what_runs_in_containers_and_functions_is_capacity() -> None:
    queues = (QueueLoad(name="a", tasks=3600, memory_mb=2048), QueueLoad(name="b", tasks=7200))
    worker = Containers(name="worker", queues=("b",), cpu_units=512, memory_mb=2048, minimum=1, concurrency=1)
    served = Served(broker="sqs", store="disabled", queues=queues, services=(worker,), wait_seconds=20)
    units = {line.what: line.units for line in usage(served, Load(run_seconds=10))}
    assert units["Lambda GB-seconds"] == 3600 * 10 * 2
    assert units["Lambda invocations"] == 3600
    assert (units["Fargate vCPU-hours"], units["Fargate GB-hours"]) == (12, 48)  # busy for 20 hours of its 24
    assert units["SQS receives of nothing"] == 24 * 3600 / 20 * 5 + 4 * 3600 / 20
    assert "DynamoDB records written" not in units


@pytest.mark.parametrize(
    ("scheduler", "eta_days", "requests", "fires"),
    [(True, 1, 6, 1), (True, 30, 6, 1), (False, 1, 288, 0), (False, 30, 8640, 0), (False, 1 / 96, 3, 0)],
)
def test_late_tasks_cost_what_the_page_on_delays_says(
    scheduler: bool, eta_days: float, requests: int, fires: int
) -> None:
    queues = (QueueLoad(name="a", tasks=1, memory_mb=512),)
    served = Served(broker="sqs", store="disabled", queues=queues, scheduler=scheduler)
    lines = usage(served, Load(eta_share=1, eta_seconds=86_400 * eta_days, idle_hours=0))
    assert sum(line.units for line in lines if line.price == "sqs_standard") == requests
    assert sum(line.units for line in lines if line.price == "scheduler_fire") == fires


@pytest.mark.parametrize(("payload", "batch", "units"), [(1000, 10, 0.1), (100_000, 1, 2), (20_000, 10, 0.4)])
def test_a_request_is_billed_for_each_64_kib(payload: int, batch: int, units: float) -> None:
    served = Served(broker="sqs", store="disabled", queues=(QueueLoad(name="a", tasks=1),))
    lines = usage(served, Load(payload_bytes=payload, send_batch=batch, messages_per_request=batch))
    assert {line.what: line.units for line in lines}["SQS sends"] == pytest.approx(units)


def test_what_is_too_large_for_a_message_goes_through_the_bucket() -> None:
    served = Served(broker="sqs", store="dynamodb", queues=(QueueLoad(name="a", tasks=1),))
    prices = {line.what: line.price for line in usage(served, Load(payload_bytes=2_000_000, result_bytes=500_000))}
    assert prices["payloads checked in"] == prices["results checked in"] == "s3_put"
    assert prices["payloads claimed"] == prices["results claimed"] == "s3_get"
