"""What is declared beside what was observed of it: what the doctor's checks go through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from taskq_cloud.deploy.doctor.observed import Observed, ObservedBucket, ObservedFunction, ObservedQueue, ObservedTable
from taskq_cloud.deploy.topology.model import Bucket, Function, Queue, Table, Topology

PROVISION: Final = "apply Terraform, or run taskq provision"
"""The usual way out."""


def queues_of(topology: Topology, observed: Observed) -> Iterator[tuple[Queue, ObservedQueue]]:
    """Queues that are there."""
    for queue in topology.queues:
        if queue.name in observed.queues:
            yield queue, observed.queues[queue.name]


def both_of(topology: Topology, observed: Observed) -> Iterator[tuple[str, Queue, ObservedQueue]]:
    """Queues and their dead-letter queues, by their names."""
    for queue in topology.queues:
        for name in (queue.name, queue.dead_letter_queue.name):
            if name in observed.queues:
                yield name, queue, observed.queues[name]


def all_of(topology: Topology, observed: Observed) -> Iterator[tuple[str, ObservedQueue]]:
    """Queues, their dead-letter queues and the schedules' own, by their names."""
    for name, _, there in both_of(topology, observed):
        yield name, there
    group = topology.schedule_group
    dead = group.dead_letter_queue if group is not None else None
    if dead is not None and dead.name in observed.queues:
        yield dead.name, observed.queues[dead.name]


def functions_of(topology: Topology, observed: Observed) -> Iterator[tuple[Function, Queue, ObservedFunction]]:
    """Functions that are there, with the queue that each is to serve."""
    for function in topology.functions:
        if function.name in observed.functions:
            yield function, topology.queue_named(function.queue), observed.functions[function.name]


def tables_of(topology: Topology, observed: Observed) -> Iterator[tuple[Table, ObservedTable]]:
    """Tables that are there."""
    for table in topology.tables:
        if table.name in observed.tables:
            yield table, observed.tables[table.name]


def buckets_of(topology: Topology, observed: Observed) -> Iterator[tuple[Bucket, ObservedBucket]]:
    """Buckets of S3 that are there."""
    for bucket in topology.buckets:
        if bucket.provider == "aws" and bucket.name in observed.buckets:
            yield bucket, observed.buckets[bucket.name]
