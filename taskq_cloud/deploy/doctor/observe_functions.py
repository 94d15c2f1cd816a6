"""Observes the functions of a deployment in the versions that messages reach, with their event source mappings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.deploy.doctor.calls import call
from taskq_cloud.deploy.doctor.observed import ObservedFunction, ObservedMapping, ObservedQueue
from taskq_cloud.deploy.topology.model import Topology

_ABSENT: Final = ("ResourceNotFoundException", "ResourceNotFound")


def functions(topology: Topology, queues: Mapping[str, ObservedQueue]) -> Flow[dict[str, ObservedFunction]]:
    """Observe the declared functions, and return the existing ones by name."""
    found = {}
    for declared in topology.functions:
        source = queues.get(topology.queue_named(declared.queue).name)
        observed = yield from _function(declared.name, source.arn if source else None)
        if observed is not None:
            found[declared.name] = observed
    return found


def _function(name: str, queue_arn: str | None) -> Flow[ObservedFunction | None]:
    """Observe a function and the event source mappings of its queue; None if the function does not exist.

    Args:
        name: the function's name.
        queue_arn: the ARN of the queue that it serves; None if that queue, and so any mapping of it, does not exist.
    """
    resource = f"function {name}"
    newest = yield from call(resource, "lambda", "get_function_configuration", _ABSENT, FunctionName=name)
    if newest is None:
        return None
    reserved = yield from call(resource, "lambda", "get_function_concurrency", FunctionName=name)
    loop = yield from recursive_loop(name)
    mappings: list[Mapping[str, Any]] = []
    if queue_arn is not None:
        # Ask for the queue's mappings, not the function's: another function may take messages from this queue.
        answer = yield from call(resource, "lambda", "list_event_source_mappings", EventSourceArn=queue_arn)
        mappings = (answer or {}).get("EventSourceMappings", [])
    by_function = [(str(each["FunctionArn"]).split(":function:")[1].partition(":"), each) for each in mappings]
    own = [_mapping(each, qualifier or None) for (receiver, _, qualifier), each in by_function if receiver == name]
    aliases = yield from _aliases(name)
    reached = []
    for version in _versions(aliases, own):
        found = yield from call(
            resource, "lambda", "get_function_configuration", _ABSENT, FunctionName=name, Qualifier=version
        )
        reached.append(found or newest)
    first, *further = reached or [newest]
    shared: dict[str, Any] = {
        "mappings": own,
        "reserved_concurrency": (reserved or {}).get("ReservedConcurrentExecutions"),
        "recursive_loop": loop or "Terminate",
        "competing_functions": [receiver for (receiver, *_), _ in by_function if receiver != name],
        "destinations": (yield from _destinations(resource, newest)),
        "aliases": frozenset(aliases),
        "snapshots": (newest.get("SnapStart") or {}).get("ApplyOn") == "PublishedVersions",
    }
    others = {str(each["Version"]): ObservedFunction(**_configuration(each), **shared) for each in further}
    return ObservedFunction(**_configuration(first), **shared, further_versions=others)


def _configuration(version: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an observation that a version of a function has of its own."""
    logging = version.get("LoggingConfig") or {}
    return {
        "timeout_seconds": version["Timeout"],
        "memory_mb": version["MemorySize"],
        "environment": version.get("Environment", {}).get("Variables", {}),
        "role": str(version["Role"]).rpartition("/")[2],
        "kms_key": version.get("KMSKeyArn") or None,
        "in_vpc": bool((version.get("VpcConfig") or {}).get("SubnetIds")),
        "traced": (version.get("TracingConfig") or {}).get("Mode") == "Active",
        "snapshot": (version.get("SnapStart") or {}).get("OptimizationStatus") == "On",
        "log_format": logging.get("LogFormat") or "Text",
        "log_group": logging.get("LogGroup") or f"/aws/lambda/{version['FunctionName']}",
    }


def _aliases(name: str) -> Flow[dict[str, Mapping[str, Any]]]:
    found: dict[str, Mapping[str, Any]] = {}
    more: dict[str, str] = {}
    while True:
        listed = yield from call(f"function {name}", "lambda", "list_aliases", _ABSENT, FunctionName=name, **more)
        answer: Mapping[str, Any] = listed or {}
        found |= {each["Name"]: each for each in answer.get("Aliases", [])}
        if not answer.get("NextMarker"):
            return found
        more = {"Marker": answer["NextMarker"]}


def _versions(aliases: Mapping[str, Mapping[str, Any]], mappings: Sequence[ObservedMapping]) -> list[str]:
    """Return the versions that the messages of a queue reach, the one with the largest part first."""
    found: list[str] = []
    for qualifier in [each.qualifier for each in mappings if each.qualifier is not None]:
        alias = aliases.get(qualifier)
        if alias is not None:
            routing = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
            found += [alias["FunctionVersion"], *sorted(routing)]
        elif qualifier.isdecimal():
            found.append(qualifier)
    return list(dict.fromkeys(found))


def _destinations(resource: str, function: Mapping[str, Any]) -> Flow[list[str]]:
    """Return the ARNs that Lambda sends a function's asynchronous invocations to, and the records of them."""
    name = function["FunctionName"]
    answer = yield from call(resource, "lambda", "list_function_event_invoke_configs", _ABSENT, FunctionName=name)
    # Each alias has a configuration of its own.
    configured = [each.get("DestinationConfig") or {} for each in (answer or {}).get("FunctionEventInvokeConfigs", [])]
    found = [(each.get(kind) or {}).get("Destination") for each in configured for kind in ("OnSuccess", "OnFailure")]
    found.append((function.get("DeadLetterConfig") or {}).get("TargetArn"))
    return [arn for arn in found if arn]


def recursive_loop(name: str) -> Flow[str | None]:
    """Observe a function's recursion configuration, ``Allow`` or ``Terminate``; None if the function does not exist."""
    found = yield from call(f"function {name}", "lambda", "get_function_recursion_config", _ABSENT, FunctionName=name)
    return None if found is None else str(found["RecursiveLoop"])


def _mapping(found: Mapping[str, Any], qualifier: str | None) -> ObservedMapping:
    return ObservedMapping(
        uuid=found["UUID"],
        state=found.get("State", ""),
        batch_size=found.get("BatchSize") or 0,
        window_seconds=found.get("MaximumBatchingWindowInSeconds") or 0,
        response_types=found.get("FunctionResponseTypes") or [],
        maximum_concurrency=(found.get("ScalingConfig") or {}).get("MaximumConcurrency"),
        pollers=_pollers(found.get("ProvisionedPollerConfig") or {}),
        filters=[each["Pattern"] for each in (found.get("FilterCriteria") or {}).get("Filters", [])],
        qualifier=qualifier,
    )


def _pollers(config: Mapping[str, Any]) -> tuple[int, int] | None:
    return (config["MinimumPollers"], config["MaximumPollers"]) if config else None
