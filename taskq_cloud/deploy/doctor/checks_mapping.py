"""The doctor's checks of event source mappings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.matching import functions_of
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.build import USUAL_BATCH
from taskq_cloud.deploy.topology.model import Topology

MAPPING: Final = "apply Terraform, or aws lambda update-event-source-mapping"


def mapping_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """An event source mapping from the queue that a function serves."""
    for function, queue, live in functions_of(topology, observed):
        if not live.mappings and queue.name in observed.queues:
            yield Finding(
                "mapping.missing",
                f"function {function.name}",
                "error",
                f"no event source mapping leads from queue {queue.name} to it",
                "its messages wait until their retention ends",
                "apply Terraform",
            )


def mapping_disabled(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A mapping that is turned off."""
    for function, queue, live in functions_of(topology, observed):
        for each in live.mappings:
            if each.state in ("Disabled", "Disabling"):
                yield Finding(
                    "mapping.disabled",
                    f"function {function.name}",
                    "error",
                    f"the event source mapping {each.uuid} is {each.state.lower()}",
                    f"messages of queue {queue.name} wait until their retention ends",
                    f"{MAPPING} --uuid {each.uuid} --enabled",
                )


def mapping_responses(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Partial batch responses."""
    for function, _, live in functions_of(topology, observed):
        for each in live.mappings:
            if "ReportBatchItemFailures" not in each.response_types:
                yield Finding(
                    "mapping.partial_responses",
                    f"function {function.name}",
                    "error",
                    "FunctionResponseTypes lacks ReportBatchItemFailures",
                    "Lambda takes any answer for 'all done' and deletes what was given back: work is lost",
                    f"{MAPPING} --uuid {each.uuid} --function-response-types ReportBatchItemFailures",
                )


def mapping_window(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Batches over ten need a window, and a window delays."""
    for function, _, live in functions_of(topology, observed):
        for each in live.mappings:
            if each.batch_size > USUAL_BATCH and each.window_seconds == 0:
                yield Finding(
                    "mapping.window",
                    f"function {function.name}",
                    "error",
                    f"a batch size of {each.batch_size} and no batching window",
                    "Lambda refuses the mapping, or ignores the size",
                    f"{MAPPING} --uuid {each.uuid} --maximum-batching-window-in-seconds 1",
                )
            elif each.window_seconds > function.batching_window_seconds:
                yield Finding(
                    "mapping.window",
                    f"function {function.name}",
                    "warning",
                    f"batches are collected for {each.window_seconds} s; {function.batching_window_seconds} s are"
                    " declared",
                    "every task waits so long before it begins, unless its batch is full sooner",
                    f"{MAPPING} --uuid {each.uuid} --maximum-batching-window-in-seconds"
                    f" {function.batching_window_seconds}",
                )


def mapping_batch(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Batches of another size than declared."""
    for function, _, live in functions_of(topology, observed):
        for each in live.mappings:
            if each.batch_size != function.batch_size:
                larger = each.batch_size > function.batch_size
                yield Finding(
                    "mapping.batch_size",
                    f"function {function.name}",
                    "warning",
                    f"the batch size is {each.batch_size}; {function.batch_size} is declared",
                    "what doesn't fit into the function's time comes back unstarted, with a receive used up"
                    if larger
                    else "the same work takes more invocations and more calls of SQS, and each is paid",
                    f"{MAPPING} --uuid {each.uuid} --batch-size {function.batch_size}",
                )


def mapping_concurrency(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The declared limit of concurrency."""
    for function, _, live in functions_of(topology, observed):
        for each in live.mappings:
            most = each.maximum_concurrency
            if most != function.maximum_concurrency:
                fewer = most is not None and most < function.maximum_concurrency
                yield Finding(
                    "mapping.concurrency",
                    f"function {function.name}",
                    "warning",
                    f"MaximumConcurrency is {most}; {function.maximum_concurrency} is declared",
                    "a deep queue is worked off more slowly than it was sized for"
                    if fewer
                    else "a deep queue takes the account's concurrency, and what tasks call gets more than it bears",
                    f"{MAPPING} --uuid {each.uuid} --scaling-config MaximumConcurrency={function.maximum_concurrency}",
                )


def mapping_several(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """One mapping, of one function."""
    for function, queue, live in functions_of(topology, observed):
        if len(live.mappings) + len(live.others) > 1:
            takers = ", ".join([*(each.uuid for each in live.mappings), *(f"one of {name}" for name in live.others)])
            yield Finding(
                "mapping.several",
                f"function {function.name}",
                "error",
                f"queue {queue.name} has {len(live.mappings) + len(live.others)} event source mappings: {takers}",
                "each takes some of the messages: limits count twice, and another function runs what it may not know",
                "aws lambda delete-event-source-mapping for all but the declared one",
            )


def mapping_filter(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A filter, which takes away what it doesn't let through."""
    for function, _, live in functions_of(topology, observed):
        for each in live.mappings:
            if each.filters:
                yield Finding(
                    "mapping.filter",
                    f"function {function.name}",
                    "error",
                    f"the mapping {each.uuid} filters: {'; '.join(each.filters)}",
                    "Lambda deletes the messages that no pattern fits: their tasks are lost without a trace",
                    f"{MAPPING} --uuid {each.uuid} --filter-criteria Filters=[]",
                )
