"""Tests of the cost model: its numbers of calls equal those that a proxy counts in front of a local stack."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulators.call_counter import CallCounter
from taskq_cloud import BoundTask, ResultSet, TaskQ, chord
from taskq_cloud.core.execution import look_cost
from taskq_cloud.core.flows import run
from taskq_cloud.core.workflows.chord_members import join_places
from taskq_cloud.deploy.costs.load import Containers, Load, QueueLoad, Served
from taskq_cloud.deploy.costs.model import DOCUMENT_BYTES, ENVELOPE_BYTES, usage
from taskq_cloud.stores.results import _dynamodb_items
from taskq_cloud.stores.results._objects import ObjectResults
from taskq_cloud.testing.waiting import auntil
from tests.conftest import StackAddress
from tests.stores.bucket_in_memory import BucketInMemory
from tests.worker.serving import serving

NAMES = {
    "SQS sends": ("SendMessage", "SendMessageBatch"),
    "SQS receives": ("ReceiveMessage",),
    "SQS deletes": ("DeleteMessageBatch",),
    "DynamoDB records written": ("PutItem",),
    "DynamoDB arrivals": ("UpdateItem",),
}


class Shop:
    """An application whose calls are counted, and a function handler that receives its messages."""

    def __init__(self, app: TaskQ, counter: CallCounter, url: str, sqs: Any) -> None:
        self.app = app
        self.counter = counter
        self._url = url
        self._sqs = sqs
        self._handler = app.lambda_handler()

    def invoke(self) -> int:
        """Receive a batch, run it and delete it, as an event source mapping does; these calls are not counted."""
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
        """Invoke the handler until it has handled that many messages."""
        handled = 0
        for _ in range(50):
            handled += self.invoke()
            if handled >= tasks:
                return
        raise AssertionError(f"{handled} of {tasks} messages arrived")


@pytest.fixture
def shop(
    local_stack: StackAddress,
    aws_environment: dict[str, str],
    make_queue: Callable[..., str],
    make_table: Callable[..., str],
    sqs_client: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    # A message that has waited behind others is looked up once more, which isn't part of what a task costs.
    monkeypatch.setattr(look_cost, "SHORTEST_WAIT_SECONDS", 60)
    with CallCounter(local_stack.endpoint_url) as counter:
        monkeypatch.setenv("AWS_ENDPOINT_URL", counter.endpoint_url)
        queue = make_queue("costs")
        app = TaskQ("shop", broker="sqs:///", results=f"dynamodb://{make_table()}", task_default_queue=queue)
        app.task(name="length", default_retry_delay=0)(len)
        app.run(app.broker.depth(queue))  # GetQueueUrl is called once a process, not once a task
        counter.reset()
        yield Shop(app, counter, sqs_client.get_queue_url(QueueName=queue)["QueueUrl"], sqs_client)
        app.close()


def modelled(load: Load, tasks: float, *, memory_mb: int | None = 512) -> dict[str, float]:
    """Return the calls that the model counts, by the name of the item."""
    served = Served(
        broker="sqs", store="dynamodb", queues=(QueueLoad(name="celery", tasks=tasks, memory_mb=memory_mb),)
    )
    return {item.name: item.calls for item in usage(served, load)}


def counted(counter: CallCounter, item: str) -> int:
    return sum(counter.counts().get(name, 0) for name in NAMES[item])


def test_tasks_in_function_make_modelled_calls(shop: Shop) -> None:
    results = shop.app.tasks["length"].map_async([("abc",)] * 40)
    shop.invoke_until(40)
    assert [result.get(timeout=5) for result in results] == [3] * 40
    model = modelled(Load(send_batch=10, messages_per_request=10), 40)
    assert counted(shop.counter, "SQS sends") == model["SQS sends"] == 4
    counts = shop.counter.counts()
    assert counts["GetItem"] == model["DynamoDB records read"] == 40
    # What is paid for is a write unit for each record; the requests are fewer.
    assert model["DynamoDB records written"] == 40
    assert counts.get("PutItem", 0) + counts["BatchExecuteStatement"] <= 40 / 2
    assert shop.counter.total() <= 44 + 40 / 2


def test_retry_adds_one_send_one_write_and_one_read(shop: Shop) -> None:
    runs = []

    @shop.app.task(name="flaky", bind=True, default_retry_delay=0, max_retries=2)
    def flaky(self: BoundTask) -> int:
        runs.append(1)
        if self.request.retries < 2:
            raise self.retry()
        return len(runs)

    flaky.delay()
    shop.invoke_until(3)
    assert len(runs) == 3
    model = modelled(Load(retries=2, reads=0), 1)
    assert counted(shop.counter, "SQS sends") == model["SQS sends"] == 3
    assert counted(shop.counter, "DynamoDB records written") == model["DynamoDB records written"] == 3
    assert shop.counter.counts()["GetItem"] == model["DynamoDB records read"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("members", [4, 250])
def test_chord_makes_modelled_calls(shop: Shop, members: int) -> None:
    shop.app.task(name="total")(sum)
    length, total = shop.app.tasks["length"].s("abc"), shop.app.tasks["total"].s()
    result = chord([length] * members, total).delay()
    shop.invoke_until(members + 1)
    assert result.get(timeout=5) == 3 * members
    model = modelled(Load(chord_size=members, reads=0, send_batch=10), members + 1)
    counts = shop.counter.counts()
    names = ("records written", "workflows written", "bodies recorded")
    written = sum(model[f"DynamoDB {name}"] for name in names)
    assert counted(shop.counter, "DynamoDB records written") == round(written)
    assert counts["UpdateItem"] == round(model["DynamoDB arrivals"] + model["DynamoDB chord claims"])
    # Without the read by the caller at the end.
    read = counts["GetItem"] + counts.get("BatchGetItem", 0) - 1
    names = ("members read", "records read", "bodies looked up")
    assert read == round(sum(model[f"DynamoDB {name}"] for name in names))


async def test_worker_on_full_queue_makes_a_third_of_a_request_per_task(shop: Shop) -> None:
    tasks = 300
    results = shop.app.tasks["length"].map_async([("abc",)] * tasks)
    async with serving(shop.app, concurrency=10, prefetch_multiplier=6, wait_time_seconds=1) as worker:
        assert await ResultSet(results).aget(timeout=40) == [3] * tasks
        await auntil(lambda: not len(worker._leased), "all messages to be settled")
    model = modelled(Load(send_batch=10, messages_per_request=10), tasks, memory_mb=None)
    for item in ("SQS sends", "SQS receives", "SQS deletes"):
        assert model[item] == tasks / 10
        # Batches that were not full, and empty receives at the end, add some.
        assert model[item] <= counted(shop.counter, item) <= 1.4 * model[item] + 5, shop.counter.counts()
    counts = shop.counter.counts()
    assert counts.get("PutItem", 0) + counts["BatchExecuteStatement"] <= tasks / 5, counts


def test_message_and_record_sizes_match_model(shop: Shop, sqs_client: Any) -> None:
    result = shop.app.tasks["length"].delay("abc")
    answer = sqs_client.receive_message(QueueUrl=shop._url, VisibilityTimeout=0)
    shop.invoke_until(1)
    record = shop.app.run(shop.app.store.load([result.id]))[result.id]
    item = _dynamodb_items.from_record(record, f"celery-task-meta-{result.id}", 1e9)
    size = sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())
    assert 0.75 * DOCUMENT_BYTES <= size <= DOCUMENT_BYTES
    assert 0.75 * ENVELOPE_BYTES <= len(answer["Messages"][0]["Body"]) <= ENVELOPE_BYTES + 10


def test_containers_and_functions_are_billed_for_capacity() -> None:
    queues = (QueueLoad(name="a", tasks=3600, memory_mb=2048), QueueLoad(name="b", tasks=7200))
    worker = Containers(name="worker", queues=("b",), cpu_units=512, memory_mb=2048, minimum=1, concurrency=1)
    served = Served(broker="sqs", store="disabled", queues=queues, services=(worker,), wait_seconds=20)
    units = {item.name: item.units for item in usage(served, Load(run_seconds=10))}
    assert units["Lambda GB-seconds"] == 3600 * 10 * 2
    assert units["Lambda invocations"] == 3600
    assert (units["Fargate vCPU-hours"], units["Fargate GB-hours"]) == (12, 48)  # busy for 20 hours of its 24
    assert units["SQS empty receives"] == 24 * 3600 / 20 * 5 + 4 * 3600 / 20
    assert "DynamoDB records written" not in units


@pytest.mark.parametrize(
    ("scheduler", "eta_days", "requests", "fires"),
    [(True, 1, 6, 1), (True, 30, 6, 1), (False, 1, 288, 0), (False, 30, 8640, 0), (False, 1 / 96, 3, 0)],
)
def test_late_tasks_make_documented_requests(scheduler: bool, eta_days: float, requests: int, fires: int) -> None:
    queues = (QueueLoad(name="a", tasks=1, memory_mb=512),)
    served = Served(broker="sqs", store="disabled", queues=queues, scheduler=scheduler)
    items = usage(served, Load(eta_share=1, eta_seconds=86_400 * eta_days, idle_hours=0))
    assert sum(item.units for item in items if item.price == "sqs_standard") == requests
    assert sum(item.units for item in items if item.price == "scheduler_fire") == fires


@pytest.mark.parametrize(("payload", "batch", "units"), [(1000, 10, 0.1), (100_000, 1, 2), (20_000, 10, 0.4)])
def test_request_is_billed_once_per_64_kib(payload: int, batch: int, units: float) -> None:
    served = Served(broker="sqs", store="disabled", queues=(QueueLoad(name="a", tasks=1),))
    items = usage(served, Load(payload_bytes=payload, send_batch=batch, messages_per_request=batch))
    assert {item.name: item.units for item in items}["SQS sends"] == pytest.approx(units)


def test_chord_on_object_store_makes_modelled_calls_on_average() -> None:
    members, chords, counts = 250, 10, Counter[str]()
    for seed in range(chords):
        bucket = BucketInMemory()
        store = ObjectResults(bucket, "", clock=lambda: 0.0)
        indexes = list(range(members))
        random.Random(seed).shuffle(indexes)
        for index in indexes:
            for place in join_places(f"g{seed}", index, members):
                if not run(store.join(place.join, place.member, place.size, None), bucket.perform):
                    break
        counts.update(bucket.operations)
    served = Served(broker="sqs", store="s3", queues=(QueueLoad(name="a", tasks=chords * (members + 1)),))
    model = {item.name: item.calls for item in usage(served, Load(chord_size=members))}
    assert counts["put"] + counts["list"] == pytest.approx(model["arrival objects written and listed"], rel=0.02)
    assert counts["get"] == pytest.approx(model["arrival objects read"], rel=0.2)


def test_oversized_payloads_and_results_are_billed_as_objects() -> None:
    served = Served(broker="sqs", store="dynamodb", queues=(QueueLoad(name="a", tasks=1),))
    prices = {item.name: item.price for item in usage(served, Load(payload_bytes=2_000_000, result_bytes=500_000))}
    assert prices["payloads written"] == prices["large results written"] == "s3_put"
    assert prices["payloads read"] == prices["large results read"] == "s3_get"
