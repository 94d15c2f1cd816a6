"""The doctor's checks of functions; their event source mappings are those of ``mapping_checks``."""

from __future__ import annotations

from collections.abc import Iterator

from taskq_cloud.deploy.doctor.finding import Finding
from taskq_cloud.deploy.doctor.matching import PROVISION, functions_of
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.model import Topology
from taskq_cloud.deploy.topology.runtimes import MARGIN_SECONDS


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


def function_role(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """The role that a function has."""
    for function, _, live in functions_of(topology, observed):
        if live.role != function.role:
            yield Finding(
                "function.role",
                f"function {function.name}",
                "error",
                f"its role is {live.role}; declared is {function.role}",
                "calls are denied, or may be more than the code makes",
                "apply Terraform",
            )


def function_concurrency(topology: Topology, observed: Observed) -> Iterator[Finding]:
    """Instances set aside: too few of them throttle the function."""
    for function, _, live in functions_of(topology, observed):
        reserved = live.reserved_concurrency
        if reserved is not None and reserved < function.maximum_concurrency:
            yield Finding(
                "function.concurrency",
                f"function {function.name}",
                "error",
                f"its reserved concurrency is {reserved}; its queue may have {function.maximum_concurrency} instances",
                "messages are received for instances that there are not: each throttled one has used a receive up, and"
                " in the end it is dead-lettered without ever having run"
                if reserved
                else "it never runs: every message is throttled, and dead-lettered in the end",
                "raise it, or remove it: aws lambda delete-function-concurrency",
            )
        elif reserved != function.reserved_concurrency:
            yield Finding(
                "function.concurrency",
                f"function {function.name}",
                "warning",
                f"its reserved concurrency is {reserved}; {function.reserved_concurrency} is declared",
                "other functions may take its instances, or miss those that it has set aside",
                "apply Terraform",
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
