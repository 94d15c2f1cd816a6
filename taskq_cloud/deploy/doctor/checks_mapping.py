"""The doctor's checks of event source mappings: from a queue to the Lambda function that serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from taskq_cloud.deploy.doctor.check import Check, equal, require, unless
from taskq_cloud.deploy.doctor.matching import FUNCTIONS, Pair
from taskq_cloud.deploy.doctor.observed import Observed, ObservedFunction, ObservedMapping
from taskq_cloud.deploy.topology.build import USUAL_BATCH
from taskq_cloud.deploy.topology.model import Function, Topology

MappingPair: TypeAlias = Pair[Function, ObservedMapping]


def _mappings(topology: Topology, observed: Observed) -> Iterator[MappingPair]:
    """Yield the declared function with each of its deployed mappings."""
    for function in FUNCTIONS.deployed(topology, observed):
        for mapping in function.live.mappings:
            yield Pair(function.resource, function.declared, mapping, function.remedy, topology, observed)


def _queue_name(function: Pair[Function, object]) -> str:
    return function.topology.queue_named(function.declared.queue).name


def _update(options: str | Callable[[Function], str]) -> Callable[[MappingPair], str]:
    """Return a remedy that updates the mapping; ``{declared.<field>}`` in the options is a field of the declaration."""

    def remedy(mapping: MappingPair) -> str:
        command = f"aws lambda update-event-source-mapping --uuid {mapping.live.uuid}"
        declared = mapping.declared
        chosen = options.format(declared=declared) if isinstance(options, str) else options(declared)
        return f"apply Terraform, or {command} {chosen}"

    return remedy


def _only_mapping(function: Pair[Function, ObservedFunction]) -> str | None:
    own = [mapping.uuid for mapping in function.live.mappings]
    all_mappings = [*own, *(f"one of {name}" for name in function.live.competing_functions)]
    return require(
        len(all_mappings) <= 1,
        f"queue {_queue_name(function)} has {len(all_mappings)} event source mappings: {', '.join(all_mappings)}",
    )


def _window_of_large_batches(mapping: MappingPair) -> str | None:
    return require(
        mapping.live.batch_size <= USUAL_BATCH or mapping.live.window_seconds > 0,
        f"the batch size is {mapping.live.batch_size}, without a batching window",
    )


def _fewer_instances(mapping: MappingPair) -> bool:
    live, declared = mapping.live.maximum_concurrency, mapping.declared.maximum_concurrency
    return live is not None and (declared is None or live < declared)


def _scaling(function: Function) -> str:
    """The option that gives a mapping its declared concurrency; an empty one removes the limit."""
    most = function.maximum_concurrency
    return "--scaling-config {}" if most is None else f"--scaling-config MaximumConcurrency={most}"


def _declared_pollers(function: Function) -> tuple[int, int] | None:
    pollers = function.provisioned_pollers
    return None if pollers is None else (pollers.minimum, pollers.maximum)


def _poller_config(function: Function) -> str:
    pollers = _declared_pollers(function)
    values = "{}" if pollers is None else f"MinimumPollers={pollers[0]},MaximumPollers={pollers[1]}"
    return f"--provisioned-poller-config {values}"


def _existing_alias(mapping: MappingPair) -> str | None:
    qualifier = mapping.live.qualifier
    if qualifier is None or qualifier.isdecimal():
        return None
    aliases = mapping.observed.functions[mapping.declared.name].aliases
    return require(qualifier in aliases, f"it invokes the alias {qualifier}, which does not exist")


def _through_alias(mapping: MappingPair) -> str | None:
    aliases = sorted(mapping.observed.functions[mapping.declared.name].aliases)
    return require(
        mapping.live.qualifier is not None or not aliases,
        f"it invokes $LATEST, and not the alias {' or '.join(aliases)}",
    )


CHECKS: Final = (
    Check(
        "mapping.missing",
        FUNCTIONS.deployed,
        lambda function: require(
            bool(function.live.mappings) or _queue_name(function) not in function.observed.queues,
            f"there is no event source mapping from queue {_queue_name(function)} to it",
        ),
        "the queue's messages wait until their retention ends",
    ),
    Check(
        "mapping.disabled",
        _mappings,
        lambda mapping: require(
            mapping.live.state not in ("Disabled", "Disabling"),
            f"the event source mapping {mapping.live.uuid} is {mapping.live.state.lower()}",
        ),
        lambda mapping: f"messages of queue {_queue_name(mapping)} wait until their retention ends",
        _update("--enabled"),
    ),
    Check(
        "mapping.alias",
        _mappings,
        _existing_alias,
        "Lambda can't invoke the function: its messages are throttled, and dead-lettered in the end",
    ),
    Check(
        "mapping.alias",
        _mappings,
        _through_alias,
        "messages reach code and settings that have not been published, past weights, snapshots and provisioned"
        " concurrency",
        lambda mapping: (
            f"apply Terraform, or aws lambda update-event-source-mapping --uuid {mapping.live.uuid}"
            f" --function-name {mapping.declared.name}:<alias>"
        ),
        severity="warning",
    ),
    Check(
        "mapping.partial_responses",
        _mappings,
        lambda mapping: require(
            "ReportBatchItemFailures" in mapping.live.response_types,
            "FunctionResponseTypes lacks ReportBatchItemFailures",
        ),
        "Lambda takes every answer for success and deletes messages that the function gave back: tasks are lost",
        _update("--function-response-types ReportBatchItemFailures"),
    ),
    Check(
        "mapping.window",
        _mappings,
        _window_of_large_batches,
        "Lambda refuses the mapping, or ignores the batch size",
        _update("--maximum-batching-window-in-seconds 1"),
    ),
    Check(
        "mapping.window",
        _mappings,
        unless(
            _window_of_large_batches,
            lambda mapping: equal(
                mapping.live.window_seconds,
                mapping.declared.batching_window_seconds,
                "the batching window is {} s; {} s are declared",
            ),
        ),
        lambda mapping: (
            "every task waits that long before it starts, unless its batch is full sooner"
            if mapping.live.window_seconds > mapping.declared.batching_window_seconds
            else "batches are smaller than declared, and the queue's tasks take more invocations"
        ),
        _update("--maximum-batching-window-in-seconds {declared.batching_window_seconds}"),
        severity="warning",
    ),
    Check(
        "mapping.batch_size",
        _mappings,
        lambda mapping: equal(
            mapping.live.batch_size, mapping.declared.batch_size, "the batch size is {}; {} is declared"
        ),
        lambda mapping: (
            "messages that don't fit into the function's timeout come back without having run, with a receive used up"
            if mapping.live.batch_size > mapping.declared.batch_size
            else "the queue's tasks take more invocations and more requests to SQS, and each one is paid for"
        ),
        _update("--batch-size {declared.batch_size}"),
        severity="warning",
    ),
    Check(
        "mapping.concurrency",
        _mappings,
        lambda mapping: equal(
            mapping.live.maximum_concurrency,
            mapping.declared.maximum_concurrency,
            "MaximumConcurrency is {}; {} is declared",
        ),
        lambda mapping: (
            "a long queue is worked off more slowly than declared"
            if _fewer_instances(mapping)
            else "a long queue uses up the account's concurrency, and overloads the services that the tasks call"
        ),
        _update(_scaling),
        severity="warning",
    ),
    Check(
        "mapping.pollers",
        _mappings,
        lambda mapping: equal(
            mapping.live.pollers,
            _declared_pollers(mapping.declared),
            "its provisioned pollers (least, most) are {}; {} are declared",
        ),
        "a queue that fills within seconds is worked off more slowly than declared, or idle pollers are paid for",
        _update(_poller_config),
        severity="warning",
    ),
    Check(
        "mapping.several",
        FUNCTIONS.deployed,
        _only_mapping,
        "each of them takes some of the messages: limits count twice, and another function may not know the tasks",
        "aws lambda delete-event-source-mapping for all of them except the declared one",
    ),
    Check(
        "mapping.filter",
        _mappings,
        lambda mapping: require(
            not mapping.live.filters, f"the mapping {mapping.live.uuid} has filters: {'; '.join(mapping.live.filters)}"
        ),
        "Lambda deletes the messages that match no pattern: their tasks are lost without a trace",
        _update("--filter-criteria Filters=[]"),
    ),
)
