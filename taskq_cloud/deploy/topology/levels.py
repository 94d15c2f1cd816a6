"""Levels of priority in the ``deployment`` setting: the options of a queue are those of all its levels.

``orders-p2`` names one level of the queue ``orders``, and ``orders-p0`` the lowest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from taskq_cloud.core.model.priorities import PriorityLevels
from taskq_cloud.deploy.topology.deployment import Deployment, FunctionOptions, ServiceOptions

T = TypeVar("T")


def with_levels(deployment: Deployment, priorities: PriorityLevels) -> Deployment:
    """Return the setting with the queues of all levels in the place of the queues that it names."""
    return deployment.model_copy(
        update={
            "functions": _functions(deployment.functions, priorities),
            "services": _services(deployment.services, priorities),
        }
    )


def _functions(given: Mapping[str, FunctionOptions], priorities: PriorityLevels) -> dict[str, FunctionOptions]:
    whole, single = _split(given, priorities)
    found = {queue: options for name, options in whole.items() for queue in priorities.expanded([name])}
    for name, options in single.items():
        (queue,) = priorities.expanded([name])
        found[queue] = found[queue].with_changes(options) if queue in found else options
    return found


def _services(given: Mapping[str, ServiceOptions], priorities: PriorityLevels) -> dict[str, ServiceOptions]:
    named = {queue: None for each in given.values() for queue in each.queues}
    elsewhere = {queue for name in _split(named, priorities)[1] for queue in priorities.expanded([name])}
    found = {}
    for service, options in given.items():
        whole, single = _split(dict.fromkeys(options.queues), priorities)
        queues = [queue for queue in priorities.expanded(whole) if queue not in elsewhere]
        found[service] = options.model_copy(update={"queues": (*queues, *priorities.expanded(single))})
    return found


def _split(given: Mapping[str, T], priorities: PriorityLevels) -> tuple[dict[str, T], dict[str, T]]:
    """Split the names of queues from those of single levels."""
    whole = {name: each for name, each in given.items() if priorities.base(name) == name}
    return whole, {name: each for name, each in given.items() if name not in whole}
