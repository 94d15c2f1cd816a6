"""How many calls, and units of what is paid for, a day of tasks takes.

The numbers of calls are what the code makes; tests hold them against counted runs. A unit is billed whole, so sizes are
rounded up.
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
"""Of which each is billed as a request (Amazon SQS pricing)."""
ENVELOPE_BYTES: Final = 800
"""Of a message without arguments."""
DOCUMENT_BYTES: Final = 300
"""Of a record without a result, names of attributes included."""
LARGEST_MESSAGE_BYTES: Final = 1_048_576
LARGEST_ITEM_BYTES: Final = 350 * 1024
SHAPE_BYTES: Final = 450
"""Of a workflow's shape: equal members are stored once."""
HOP_SECONDS: Final = 900
"""The longest delay of SQS."""
RENEWALS_PER_LEASE: Final = 3
FUNCTION_POLLERS: Final = 5
FUNCTION_WAIT_SECONDS: Final = 20
"""Lambda begins with five long polls on each queue (Lambda Developer Guide, "services-sqs-scaling")."""
READ_BATCH: Final = 100
"""Keys of one BatchGetItem."""
LEAST_BILLED_BYTES: Final = 1000
"""Of a request of Pub/Sub (Pub/Sub pricing)."""
PAGE_WRITES: Final = 2
PAGE_MESSAGES: Final = 3
"""That a page of a group's members takes beside them."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is paid for, a day.

    Args:
        what: it is, in words.
        calls: of the API; 0 where it is none.
        units: that are billed.
        price: its name in the price list.
    """

    what: str
    calls: float
    units: float
    price: str


def usage(served: Served, load: Load) -> list[Line]:
    """What a day takes, of everything that takes anything."""
    lines = [line for queue in served.queues for line in _of_queue(served, load, queue)]
    lines += _of_store(served, load)
    lines += [line for service in served.services for line in _of_containers(served, load, service)]
    return _together(line for line in lines if line.units > 0)


def _together(lines: Iterator[Line]) -> list[Line]:
    found: dict[str, Line] = {}
    for line in lines:
        old = found.get(line.what, Line(line.what, 0, 0, line.price))
        found[line.what] = Line(line.what, old.calls + line.calls, old.units + line.units, line.price)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Messages:
    """The messages of a queue, a day."""

    called: float
    """Sent by callers."""
    followed: float
    """Sent by workers: retries, what waits on, bodies."""
    scheduled: float
    """Sent by the scheduler."""

    @property
    def all(self) -> float:
        return self.called + self.followed + self.scheduled


def _messages(served: Served, load: Load, tasks: float) -> _Messages:
    late = tasks * load.eta_share if load.eta_seconds > HOP_SECONDS and served.broker == "sqs" else 0.0
    pages = math.ceil(load.chord_size / FAN_OUT_MEMBERS) if load.chord_size > FAN_OUT_MEMBERS else 0
    bodies = _chords(load, tasks)
    followed = tasks * load.retries + bodies + bodies * pages * PAGE_MESSAGES
    if pages:  # then workers send the members, too
        followed, called = followed + tasks - bodies, 0.0
    else:
        called = tasks - bodies
    if served.scheduler:
        # The schedule sends it early, and the worker sends it on with the rest as a delay.
        return _Messages(called - late, followed + late, late)
    return _Messages(called, followed + late * (math.ceil(load.eta_seconds / HOP_SECONDS) - 1), 0.0)


def _chords(load: Load, tasks: float) -> float:
    """Chords of so many tasks, bodies among them."""
    return tasks / (load.chord_size + 1) if load.chord_size else 0.0


def _message_bytes(load: Load) -> float:
    whole = ENVELOPE_BYTES + load.payload_bytes
    return ENVELOPE_BYTES if whole > LARGEST_MESSAGE_BYTES else whole


def _of_queue(served: Served, load: Load, queue: QueueLoad) -> Iterator[Line]:
    messages = _messages(served, load, queue.tasks)
    runs = queue.tasks * (1 + load.retries)
    if served.broker == "pubsub":
        yield from _on_pubsub(load, messages.all)
    else:
        yield from _on_sqs(served, load, queue, messages)
    if messages.scheduled:
        yield Line("schedules that fire", messages.scheduled, messages.scheduled, "scheduler_fire")
    if queue.memory_mb is not None:
        batch = min(load.messages_per_request, queue.batch_size)
        yield Line("Lambda invocations", 0, messages.all / batch, "lambda_request")
        yield Line("Lambda GB-seconds", 0, runs * load.run_seconds * queue.memory_mb / 1024, "lambda_gb_second")


def _on_sqs(served: Served, load: Load, queue: QueueLoad, messages: _Messages) -> Iterator[Line]:
    size, batch = _message_bytes(load), load.messages_per_request

    def line(what: str, calls: float, chunks: int = 1) -> Line:
        return Line(f"{_sqs(queue)} {what}", calls, calls * chunks, _sqs_price(queue))

    yield line("sends", messages.called / load.send_batch, _chunks(size * load.send_batch))
    yield line("sends", messages.followed + messages.scheduled, _chunks(size))
    receives = messages.all / (min(batch, queue.batch_size) if queue.memory_mb else batch)
    yield line("receives", receives, _chunks(size * batch))
    yield line("deletes", messages.all / batch)
    if queue.memory_mb is not None:
        idle_hours = 24.0 if load.idle_hours is None else load.idle_hours
        yield line("receives of nothing", idle_hours * 3600 / FUNCTION_WAIT_SECONDS * FUNCTION_POLLERS)
        return
    renewals = math.floor(load.run_seconds / (served.lease_seconds / RENEWALS_PER_LEASE))
    yield line("renewals", queue.tasks * (1 + load.retries) * renewals / batch)


def _sqs(queue: QueueLoad) -> str:
    return "SQS FIFO" if queue.fifo else "SQS"


def _sqs_price(queue: QueueLoad) -> str:
    return "sqs_fifo" if queue.fifo else "sqs_standard"


def _chunks(size: float) -> int:
    return max(1, math.ceil(size / CHUNK_BYTES))


def _on_pubsub(load: Load, messages: float) -> Iterator[Line]:
    size = _message_bytes(load)
    for what, batch in (("published", load.send_batch), ("delivered", load.messages_per_request)):
        billed = max(LEAST_BILLED_BYTES, size * batch)
        yield Line(f"Pub/Sub GiB {what}", messages / batch, messages / batch * billed / 2**30, "pubsub_gib")


def _of_store(served: Served, load: Load) -> Iterator[Line]:
    tasks = served.tasks
    if ENVELOPE_BYTES + load.payload_bytes > LARGEST_MESSAGE_BYTES:
        put, get = _object_prices(served)
        yield Line("payloads checked in", tasks, tasks, put)
        yield Line("payloads claimed", tasks * (1 + load.retries), tasks * (1 + load.retries), get)
    if served.store == "disabled" or not (served.stores_results or load.chord_size):
        return
    states = tasks * (1 + load.retries * (2 if served.track_started else 1) + served.track_started)
    # Before a run the store is asked about retries, what had an eta, and bodies.
    looks = tasks * (load.reads + load.retries + load.eta_share) + _chords(load, tasks)
    if served.store == "dynamodb":
        yield from _on_dynamodb(served, load, states, looks)
    else:
        yield from _on_objects(served, load, states, looks)


def _on_dynamodb(served: Served, load: Load, states: float, looks: float) -> Iterator[Line]:
    size, chords = DOCUMENT_BYTES + load.result_bytes, _chords(load, served.tasks)
    if size > LARGEST_ITEM_BYTES:
        put, get = _object_prices(served)
        yield Line("results checked in", served.tasks, served.tasks, put)
        yield Line("results claimed", looks, looks, get)
        size = DOCUMENT_BYTES
    write, read = math.ceil(size / 1024), math.ceil(size / 4096)
    yield Line("DynamoDB records written", states, states * write, "dynamodb_write")
    yield Line("DynamoDB records read", looks, looks * read, "dynamodb_read")
    if chords:
        members, joined = load.chord_size, min(load.chord_size, SHARD_MEMBERS)
        arrivals = members + _shards(members)
        # The set of who has arrived grows, and an update is billed by the item's size.
        yield Line(
            "DynamoDB arrivals", chords * arrivals, chords * arrivals * _units(100 + 6 * joined), "dynamodb_write"
        )
        claims = chords * _claims(members)
        yield Line("DynamoDB claims of chords", claims, claims, "dynamodb_write")
        # Whether a body has been sent is looked up before it is, and written down afterwards.
        yield Line("DynamoDB bodies looked up", chords, chords, "dynamodb_read")
        yield Line("DynamoDB bodies noted", chords, chords, "dynamodb_write")
        calls = chords * math.ceil(members / READ_BATCH)
        yield Line("DynamoDB members read", calls, chords * members * read, "dynamodb_read")
        shapes = chords * served.track_workflows
        yield Line("DynamoDB workflows written", shapes, shapes * _units(SHAPE_BYTES), "dynamodb_write")


def _units(size: float) -> int:
    return math.ceil(size / 1024)


def _shards(members: int) -> int:
    """Joins of joins, that a header takes."""
    return math.ceil(members / SHARD_MEMBERS) if members > SHARD_MEMBERS else 0


def _claims(members: int) -> int:
    """How often a body is claimed: with each page of results that is read for it."""
    return math.ceil(members / PAGE_RECORDS)


def _on_objects(served: Served, load: Load, states: float, looks: float) -> Iterator[Line]:
    put, get = _object_prices(served)
    chords = _chords(load, served.tasks)
    # A state written over another is a write that fails, a read, and a write.
    over = states - served.tasks
    yield Line("objects of results written", states + over, states + over, put)
    yield Line("objects of results read", looks + over, looks + over, get)
    if chords:
        arrivals = chords * (load.chord_size + _shards(load.chord_size))
        yield Line("objects of arrivals written and listed", 2 * arrivals, 2 * arrivals, put)
        written = chords * (_claims(load.chord_size) + 1 + served.track_workflows)
        yield Line("objects of chords written", written, written, put)
        yield Line("objects of chords read", chords, chords, get)
        yield Line("objects of members read", chords * load.chord_size, chords * load.chord_size, get)


def _object_prices(served: Served) -> tuple[str, str]:
    return ("gcs_put", "gcs_get") if served.broker == "pubsub" or served.store == "gs" else ("s3_put", "s3_get")


def _of_containers(served: Served, load: Load, service: Containers) -> Iterator[Line]:
    tasks = sum(queue.tasks for queue in served.queues if queue.name in service.queues)
    busy_hours = tasks * (1 + load.retries) * load.run_seconds / service.concurrency / 3600
    hours = max(24.0 * service.minimum, busy_hours)
    if served.broker == "pubsub":
        return  # Cloud Run's instances are not in the price list
    yield Line("Fargate vCPU-hours", 0, hours * service.cpu_units / 1024, "fargate_cpu_hour")
    yield Line("Fargate GB-hours", 0, hours * service.memory_mb / 1024, "fargate_gb_hour")
    idle_hours = hours - busy_hours if load.idle_hours is None else service.minimum * load.idle_hours
    if served.wait_seconds > 0:
        for queue in served.queues:
            if queue.name in service.queues:
                polls = idle_hours * 3600 / served.wait_seconds
                yield Line(f"{_sqs(queue)} receives of nothing", polls, polls, _sqs_price(queue))
