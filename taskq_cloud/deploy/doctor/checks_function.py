"""The doctor's checks of Lambda functions; ``checks_mapping`` checks their event source mappings."""

from __future__ import annotations

from typing import Final

from taskq_cloud.deploy.doctor.check import (
    NOT_YOUR_KEY,
    Check,
    at_least,
    equal,
    missing,
    no_other_settings,
    own_key,
    require,
    same_variables,
    unless,
)
from taskq_cloud.deploy.doctor.matching import FUNCTIONS, PROVISION, Pair, versions
from taskq_cloud.deploy.doctor.observed import ObservedFunction
from taskq_cloud.deploy.topology.model import Function
from taskq_cloud.deploy.topology.runtimes import MARGIN_SECONDS


def _fits_longest_task(function: Pair[Function, ObservedFunction]) -> str | None:
    tasks = function.topology.queue_named(function.declared.queue).tasks
    limit, task = max(((each.time_limit_seconds or 0, each.name) for each in tasks), default=(0, ""))
    timeout = function.live.timeout_seconds
    return require(
        timeout >= limit + MARGIN_SECONDS,
        f"its timeout is {timeout} s; {task} may take {limit:g} s, and the answer needs {MARGIN_SECONDS} s more",
    )


def _within_visibility(function: Pair[Function, ObservedFunction]) -> str | None:
    queue = function.observed.queues.get(function.topology.queue_named(function.declared.queue).name)
    if queue is None:
        return None
    timeout, visibility = function.live.timeout_seconds, queue.seconds("VisibilityTimeout")
    return require(
        timeout <= visibility, f"its timeout is {timeout} s, and the queue's visibility timeout {visibility} s"
    )


def _enough_concurrency(function: Pair[Function, ObservedFunction]) -> str | None:
    reserved, most = function.live.reserved_concurrency, function.declared.maximum_concurrency
    return require(
        reserved is None or (reserved > 0 if most is None else reserved >= most),
        f"its reserved concurrency is {reserved}, but its queue may start {most or 'more'} instances",
    )


def _declared_timeout(function: Pair[Function, ObservedFunction]) -> str | None:
    live, declared = function.live.timeout_seconds, function.declared.timeout_seconds
    return equal(live, declared, "its timeout is {} s; {} s are declared")


def _enough_memory(function: Pair[Function, ObservedFunction]) -> str | None:
    return at_least(
        function.live.memory_mb, function.declared.memory_mb, "it has {} MiB of memory; {} MiB are declared"
    )


def _declared_memory(function: Pair[Function, ObservedFunction]) -> str | None:
    return equal(function.live.memory_mb, function.declared.memory_mb, "it has {} MiB of memory; {} MiB are declared")


def _declared_concurrency(function: Pair[Function, ObservedFunction]) -> str | None:
    live, declared = function.live.reserved_concurrency, function.declared.reserved_concurrency
    return equal(live, declared, "its reserved concurrency is {}; {} is declared")


def _from_snapshot(function: Pair[Function, ObservedFunction]) -> str | None:
    unqualified = any(mapping.qualifier is None for mapping in function.live.mappings)
    return require(
        not function.live.snapshots or not function.live.mappings or function.live.snapshot,
        "its messages reach $LATEST, and only published versions have a snapshot"
        if unqualified
        else "SnapStart is on for new versions, but the version that its messages reach has no snapshot",
    )


CHECKS: Final = (
    missing(
        "function.missing",
        FUNCTIONS,
        lambda function: f"messages of queue {function.declared.queue!r} wait until their retention ends",
    ),
    Check(
        "function.timeout",
        versions,
        _fits_longest_task,
        "the longest task is never started, and is dead-lettered in the end",
        lambda function: f"set it to {function.declared.timeout_seconds} s: apply Terraform",
    ),
    Check(
        "function.timeout",
        versions,
        unless(_fits_longest_task, _declared_timeout),
        "a full batch doesn't fit any more, or a task that hangs is paid for longer than declared",
        severity="warning",
    ),
    Check(
        "function.timeout_over_visibility",
        versions,
        _within_visibility,
        "Lambda refuses the event source mapping, or runs a message a second time while it is still running",
        PROVISION,
    ),
    Check(
        "function.memory",
        versions,
        _enough_memory,
        "a task that needs more kills its process, and the whole batch is received again",
    ),
    Check(
        "function.memory",
        versions,
        unless(_enough_memory, _declared_memory),
        "every invocation costs more than declared, and the next apply takes the memory away again",
        severity="warning",
    ),
    Check(
        "function.environment",
        versions,
        lambda function: same_variables(function.live.environment, function.declared.environment),
        "it uses another broker, store or application than its callers",
    ),
    Check(
        "function.environment",
        versions,
        lambda function: no_other_settings(function.live.environment, function.declared.environment),
        "it runs with settings that the code and its callers don't know of",
        "apply Terraform; a setting that is meant to stay belongs into deployment's environment",
        severity="warning",
    ),
    Check("function.encryption", versions, own_key, NOT_YOUR_KEY),
    Check(
        "function.snapshot",
        versions,
        _from_snapshot,
        "each new instance initialises the application, and snapshots are paid for that nothing starts from",
        "apply Terraform, or publish a version and move the alias to it",
        severity="warning",
    ),
    Check(
        "function.role",
        versions,
        lambda function: equal(function.live.role, function.declared.role, "its role is {}; {} is declared"),
        "calls are denied, or more is allowed than the code needs",
    ),
    Check(
        "function.recursion",
        FUNCTIONS.deployed,
        lambda function: equal(
            function.live.recursive_loop,
            function.declared.recursive_loop,
            "its recursion configuration is {}; {} is declared",
        ),
        lambda function: (
            "Lambda stops a traced chain of tasks, a task with many retries or a long delay in hops after about 16"
            " messages, and the rest is dead-lettered or lost"
            if function.live.recursive_loop == "Terminate"
            else "a task that calls itself without end isn't stopped"
        ),
        PROVISION,
    ),
    Check(
        "function.concurrency",
        FUNCTIONS.deployed,
        _enough_concurrency,
        lambda function: (
            "Lambda receives messages for instances that it can't start: each throttled message uses up a receive, and"
            " is dead-lettered in the end without having run"
            if function.live.reserved_concurrency
            else "the function never runs: every message is throttled, and dead-lettered in the end"
        ),
        "raise the reserved concurrency, or remove it: aws lambda delete-function-concurrency",
    ),
    Check(
        "function.concurrency",
        FUNCTIONS.deployed,
        unless(_enough_concurrency, _declared_concurrency),
        "other functions take its instances, or lack the ones that it has reserved",
        severity="warning",
    ),
)
