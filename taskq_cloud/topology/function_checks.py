"""The doctor's checks of functions and their event source mappings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from taskq_cloud.topology.build import USUAL_BATCH
from taskq_cloud.topology.finding import Finding
from taskq_cloud.topology.model import Topology
from taskq_cloud.topology.observed import Observed
from taskq_cloud.topology.pairs import PROVISION, functions_of
from taskq_cloud.topology.runtimes import MARGIN_SECONDS

LEAST_CONCURRENCY: Final = 2
"""Lambda Developer Guide, "services-sqs-scaling"."""

MAPPING: Final = "apply Terraform, or aws lambda update-event-source-mapping"


def function_missing(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A function that serves a queue."""
    for function in topology.functions:
        if function.name not in observed.functions:
            yield Finding(
                "function.missing",
                f"function {function.name}",
                "error",
                "declared, and not there",
                f"messages of queue {function.queue!r} wait until their retention ends",
                "apply Terraform",
            )


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
    """Batches over ten."""
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


def mapping_batch(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Batches larger than declared."""
    for function, _, live in functions_of(topology, observed):
        for each in live.mappings:
            if each.batch_size > function.batch_size:
                yield Finding(
                    "mapping.batch_size",
                    f"function {function.name}",
                    "warning",
                    f"the batch size is {each.batch_size}; {function.batch_size} is declared",
                    "what doesn't fit into the function's time comes back unstarted, with a receive used up",
                    f"{MAPPING} --uuid {each.uuid} --batch-size {function.batch_size}",
                )


def mapping_concurrency(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A limit of concurrency, of at least two."""
    for function, _, live in functions_of(topology, observed):
        for each in live.mappings:
            most = each.maximum_concurrency
            if most is None or most < LEAST_CONCURRENCY:
                yield Finding(
                    "mapping.concurrency",
                    f"function {function.name}",
                    "warning",
                    f"MaximumConcurrency is {most}; {function.maximum_concurrency} is declared",
                    "a deep queue takes the account's whole concurrency, and other functions are throttled",
                    f"{MAPPING} --uuid {each.uuid} --scaling-config MaximumConcurrency={function.maximum_concurrency}",
                )


def function_over_visibility(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A timeout that the queue's visibility doesn't cover."""
    for function, queue, live in functions_of(topology, observed):
        there = observed.queues.get(queue.name)
        if there is not None and live.timeout_seconds > there.seconds("VisibilityTimeout"):
            yield Finding(
                "function.timeout_over_visibility",
                f"function {function.name}",
                "error",
                f"its timeout is {live.timeout_seconds} s, the queue's visibility timeout"
                f" {there.seconds('VisibilityTimeout')} s",
                "Lambda refuses the mapping, or runs a message again while it is being run",
                PROVISION,
            )


def function_timeout(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """A timeout that holds the longest task."""
    for function, queue, live in functions_of(topology, observed):
        limits = [(each.time_limit_seconds or 0, each.name) for each in queue.tasks]
        limit, task = max(limits, default=(0, ""))
        if live.timeout_seconds < limit + MARGIN_SECONDS:
            yield Finding(
                "function.timeout",
                f"function {function.name}",
                "error",
                f"its timeout is {live.timeout_seconds} s; {task} may take {limit:g} s, and {MARGIN_SECONDS} s go to"
                " the answer",
                f"{task} is never begun, and dead-lettered in the end",
                f"set it to {function.timeout_seconds} s: apply Terraform",
            )


def function_memory(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Memory for the largest task."""
    for function, _, live in functions_of(topology, observed):
        if live.memory_mb < function.memory_mb:
            yield Finding(
                "function.memory",
                f"function {function.name}",
                "error",
                f"it has {live.memory_mb} MiB; {function.memory_mb} are declared",
                "a task that needs them kills its process, and the whole batch comes back",
                "apply Terraform",
            )


def function_environment(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Variables that lead a function elsewhere."""
    for function, _, live in functions_of(topology, observed):
        other = sorted(name for name, value in function.environment.items() if live.environment.get(name) != value)
        if other:
            yield Finding(
                "function.environment",
                f"function {function.name}",
                "error",
                f"other than declared: {', '.join(other)}",
                "it works with another broker, store or application than its callers",
                "apply Terraform",
            )
