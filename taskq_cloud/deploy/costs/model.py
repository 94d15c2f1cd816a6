"""Counts the calls of a day of tasks, and the billed units of these calls.

The model counts the calls that the code makes; tests compare it with counted runs. A request is billed in whole
units, so its size is rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from taskq_cloud.core.execution.steps.chords import PAGE_RECORDS
from taskq_cloud.core.model.options import FAN_OUT_MEMBERS
from taskq_cloud.core.workflows.chord_members import SHARD_MEMBERS
from taskq_cloud.deploy.costs.load import Containers, Load, QueueLoad, Served

CHUNK_BYTES: Final = 64 * 1024
"""The size of a request that is billed as one; a larger one is billed once for each such chunk (Amazon SQS pricing)."""
ENVELOPE_BYTES: Final = 800
"""The size of a message without arguments."""
DOCUMENT_BYTES: Final = 300
"""The size of a record without a result, with the names of its attributes."""
LARGEST_MESSAGE_BYTES: Final = 1_048_576
LARGEST_ITEM_BYTES: Final = 350 * 1024
SHAPE_BYTES: Final = 450
"""The size of a workflow's stored shape; equal members are stored once."""
HOP_SECONDS: Final = 900
"""The longest delay of SQS."""
RENEWALS_PER_LEASE: Final = 3
FUNCTION_POLLERS: Final = 5
FUNCTION_WAIT_SECONDS: Final = 20
"""Lambda starts with five long polls of 20 s on each queue (Lambda Developer Guide, "services-sqs-scaling")."""
READ_BATCH: Final = 100
"""The most keys of one BatchGetItem."""
LEAST_BILLED_BYTES: Final = 1000
"""The least size that a request of Pub/Sub is billed for (Pub/Sub pricing)."""
PAGE_MESSAGES: Final = 3
"""The messages that each page of a group's members takes, besides the members' own messages."""


@dataclass(frozen=True, slots=True)
class CostItem:
    """One item that a day is billed for.

    Args:
        name: the billed item in words: ``"SQS sends"``.
        calls: API calls a day; 0 where the units are not calls.
        units: billed units a day.
        price: the name of the unit's price in the price list.
    """

    name: str
    calls: float
    units: float
    price: str


def usage(served: Served, load: Load) -> list[CostItem]:
    """Return the items that a day of tasks is billed for, without items that have no units."""
    items = [item for queue in served.queues for item in _of_queue(served, load, queue)]
    items += _of_store(served, load)
    items += [item for service in served.services for item in _of_containers(served, load, service)]
    return _sum_by_name(item for item in items if item.units > 0)


def _sum_by_name(items: Iterator[CostItem]) -> list[CostItem]:
    found: dict[str, CostItem] = {}
    for item in items:
        before = found.get(item.name, CostItem(item.name, 0, 0, item.price))
        found[item.name] = CostItem(item.name, before.calls + item.calls, before.units + item.units, item.price)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of a queue, a day."""

    called: float
    """Messages that callers send."""
    followed: float
    """Messages that workers send: retries, hops of delayed tasks, bodies of chords."""
    scheduled: float
    """Messages that EventBridge Scheduler sends."""

    @property
    def all(self) -> float:
        """All messages."""
        return self.called + self.followed + self.scheduled


def messages_of(served: Served, load: Load, tasks: float) -> Messages:
    """Return the messages of a queue with this many tasks."""
    late = tasks * load.eta_share if load.eta_seconds > HOP_SECONDS and served.broker == "sqs" else 0.0
    pages = math.ceil(load.chord_size / FAN_OUT_MEMBERS) if load.chord_size > FAN_OUT_MEMBERS else 0
    bodies = _chords(load, tasks)
    followed = tasks * load.retries + bodies + bodies * pages * PAGE_MESSAGES
    if pages:  # workers send the members of such a large group
        followed, called = followed + tasks - bodies, 0.0
    else:
        called = tasks - bodies
    if served.scheduler:
        # The scheduler sends the message early, and a worker sends it on with the remaining time as its delay.
        return Messages(called - late, followed + late, late)
    return Messages(called, followed + late * (math.ceil(load.eta_seconds / HOP_SECONDS) - 1), 0.0)


def _chords(load: Load, tasks: float) -> float:
    """Return the number of chords that this many tasks form, bodies included."""
    return tasks / (load.chord_size + 1) if load.chord_size else 0.0


def message_bytes(load: Load) -> float:
    """Return the size of a task's message; large arguments are stored elsewhere."""
    whole = ENVELOPE_BYTES + load.payload_bytes
    return ENVELOPE_BYTES if whole > LARGEST_MESSAGE_BYTES else whole


def _of_queue(served: Served, load: Load, queue: QueueLoad) -> Iterator[CostItem]:
    messages = messages_of(served, load, queue.tasks)
    runs = queue.tasks * (1 + load.retries)
    if served.broker == "pubsub":
        yield from _on_pubsub(load, messages.all)
    elif served.broker == "sqs":
        yield from _on_sqs(served, load, queue, messages)
    if messages.scheduled:
        yield CostItem("schedules that fire", messages.scheduled, messages.scheduled, "scheduler_fire")
    if queue.memory_mb is not None:
        batch = min(load.messages_per_request, queue.batch_size)
        yield CostItem("Lambda invocations", 0, messages.all / batch, "lambda_request")
        yield CostItem("Lambda GB-seconds", 0, runs * load.run_seconds * queue.memory_mb / 1024, "lambda_gb_second")


def _on_sqs(served: Served, load: Load, queue: QueueLoad, messages: Messages) -> Iterator[CostItem]:
    size, batch = message_bytes(load), load.messages_per_request

    def item(name: str, calls: float, chunks: int = 1) -> CostItem:
        return CostItem(f"{_sqs(queue)} {name}", calls, calls * chunks, _sqs_price(queue))

    yield item("sends", messages.called / load.send_batch, _chunks(size * load.send_batch))
    yield item("sends", messages.followed + messages.scheduled, _chunks(size))
    receives = messages.all / (min(batch, queue.batch_size) if queue.memory_mb else batch)
    yield item("receives", receives, _chunks(size * batch))
    yield item("deletes", messages.all / batch)
    if queue.memory_mb is not None:
        idle_hours = 24.0 if load.idle_hours is None else load.idle_hours
        yield item("empty receives", idle_hours * 3600 / FUNCTION_WAIT_SECONDS * FUNCTION_POLLERS)
        return
    renewals = math.floor(load.run_seconds / (served.lease_seconds / RENEWALS_PER_LEASE))
    yield item("renewals", queue.tasks * (1 + load.retries) * renewals / batch)


def _sqs(queue: QueueLoad) -> str:
    return "SQS FIFO" if queue.fifo else "SQS"


def _sqs_price(queue: QueueLoad) -> str:
    return "sqs_fifo" if queue.fifo else "sqs_standard"


def _chunks(size: float) -> int:
    return max(1, math.ceil(size / CHUNK_BYTES))


def _on_pubsub(load: Load, messages: float) -> Iterator[CostItem]:
    size = message_bytes(load)
    for name, batch in (("published", load.send_batch), ("delivered", load.messages_per_request)):
        billed = max(LEAST_BILLED_BYTES, size * batch)
        yield CostItem(f"Pub/Sub GiB {name}", messages / batch, messages / batch * billed / 2**30, "pubsub_gib")


def _of_store(served: Served, load: Load) -> Iterator[CostItem]:
    tasks = served.tasks
    if ENVELOPE_BYTES + load.payload_bytes > LARGEST_MESSAGE_BYTES:
        put, get = _object_prices(served)
        yield CostItem("payloads written", tasks, tasks, put)
        yield CostItem("payloads read", tasks * (1 + load.retries), tasks * (1 + load.retries), get)
    if served.store in ("disabled", "server") or not (served.stores_results or load.chord_size):
        return
    states, reads = records_of(served, load)
    if served.store == "dynamodb":
        yield from _on_dynamodb(served, load, states, reads)
    else:
        yield from _on_objects(served, load, states, reads)


def records_of(served: Served, load: Load) -> tuple[float, float]:
    """Return how many records of tasks are written and read."""
    tasks = served.tasks
    states = tasks * (1 + load.retries * (2 if served.track_started else 1) + served.track_started)
    # Callers read results; before a run, workers look up retries, tasks with an eta and bodies of chords.
    return states, tasks * (load.reads + load.retries + load.eta_share) + _chords(load, tasks)


def _on_dynamodb(served: Served, load: Load, states: float, reads: float) -> Iterator[CostItem]:
    size, chords = DOCUMENT_BYTES + load.result_bytes, _chords(load, served.tasks)
    if size > LARGEST_ITEM_BYTES:
        put, get = _object_prices(served)
        yield CostItem("large results written", served.tasks, served.tasks, put)
        yield CostItem("large results read", reads, reads, get)
        size = DOCUMENT_BYTES
    write, read = math.ceil(size / 1024), math.ceil(size / 4096)
    yield CostItem("DynamoDB records written", states, states * write, "dynamodb_write")
    yield CostItem("DynamoDB records read", reads, reads * read, "dynamodb_read")
    if chords:
        members, joined = load.chord_size, min(load.chord_size, SHARD_MEMBERS)
        arrivals = chords * (members + _shards(members))
        # The set of arrived members grows, and an update is billed by the size of the whole item.
        yield CostItem("DynamoDB arrivals", arrivals, arrivals * _units(100 + 6 * joined), "dynamodb_write")
        claims = chords * _claims(members)
        yield CostItem("DynamoDB chord claims", claims, claims, "dynamodb_write")
        # A worker looks up whether a body has been sent before it sends the body, and records it afterwards.
        yield CostItem("DynamoDB bodies looked up", chords, chords, "dynamodb_read")
        yield CostItem("DynamoDB bodies recorded", chords, chords, "dynamodb_write")
        calls = chords * math.ceil(members / READ_BATCH)
        yield CostItem("DynamoDB members read", calls, chords * members * read, "dynamodb_read")
        shapes = chords * served.track_workflows
        yield CostItem("DynamoDB workflows written", shapes, shapes * _units(SHAPE_BYTES), "dynamodb_write")


def _units(size: float) -> int:
    return math.ceil(size / 1024)


def _shards(members: int) -> int:
    """Return how many joins of joins a chord's header needs."""
    return math.ceil(members / SHARD_MEMBERS) if members > SHARD_MEMBERS else 0


def _looks(members: int) -> float:
    """Return how often a member of a chord looks for the others, if they end in no order (``_object_joins``).

    Each look takes a read, and three writes and listings: a write that finds the marker, a listing, and a new marker.
    """
    shards = _shards(members)
    sizes = [SHARD_MEMBERS] * (members // SHARD_MEMBERS) + [members % SHARD_MEMBERS, shards]
    return sum(math.log(size) for size in sizes if size > 0)


def _claims(members: int) -> int:
    """Return how often a body is claimed: once with each page of results that is read for it."""
    return math.ceil(members / PAGE_RECORDS)


def _on_objects(served: Served, load: Load, states: float, reads: float) -> Iterator[CostItem]:
    put, get = _object_prices(served)
    chords = _chords(load, served.tasks)
    # To replace a state takes a write that fails, a read, and a second write.
    replaced = states - served.tasks
    yield CostItem("result objects written", states + replaced, states + replaced, put)
    yield CostItem("result objects read", reads + replaced, reads + replaced, get)
    if chords:
        looks = chords * _looks(load.chord_size)
        arrivals = chords * (load.chord_size + _shards(load.chord_size)) + 3 * looks
        yield CostItem("arrival objects written and listed", arrivals, arrivals, put)
        yield CostItem("arrival objects read", looks, looks, get)
        written = chords * (_claims(load.chord_size) + 1 + served.track_workflows)
        yield CostItem("chord objects written", written, written, put)
        yield CostItem("chord objects read", chords, chords, get)
        yield CostItem("member objects read", chords * load.chord_size, chords * load.chord_size, get)


def _object_prices(served: Served) -> tuple[str, str]:
    return ("gcs_put", "gcs_get") if served.broker == "pubsub" or served.store == "gs" else ("s3_put", "s3_get")


def _of_containers(served: Served, load: Load, service: Containers) -> Iterator[CostItem]:
    tasks = sum(queue.tasks for queue in served.queues if queue.name in service.queues)
    busy_hours = tasks * (1 + load.retries) * load.run_seconds / service.concurrency / 3600
    hours = max(24.0 * service.minimum, busy_hours)
    if served.broker == "pubsub":
        return  # Cloud Run's instances are not in the price list.
    yield CostItem("Fargate vCPU-hours", 0, hours * service.cpu_units / 1024, "fargate_cpu_hour")
    yield CostItem("Fargate GB-hours", 0, hours * service.memory_mb / 1024, "fargate_gb_hour")
    idle_hours = hours - busy_hours if load.idle_hours is None else service.minimum * load.idle_hours
    if served.wait_seconds > 0 and served.broker == "sqs":
        for queue in served.queues:
            if queue.name in service.queues:
                polls = idle_hours * 3600 / served.wait_seconds
                yield CostItem(f"{_sqs(queue)} empty receives", polls, polls, _sqs_price(queue))
