"""Pairs of a declared resource and the deployed resource of its name, which the doctor's checks compare.

Each kind of resource yields two sequences of pairs: the deployed resources, and the missing ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from taskq_cloud.deploy.doctor.observed import Observed, ObservedFunction, ObservedQueue, ObservedService
from taskq_cloud.deploy.doctor.observed_monitoring import ObservedLogGroup
from taskq_cloud.deploy.topology.model import Function, ScheduleGroup, Service, Topology

D_co = TypeVar("D_co", covariant=True)
L_co = TypeVar("L_co", covariant=True)

TERRAFORM: Final = "apply Terraform"
PROVISION: Final = "apply Terraform, or run taskq provision"


@dataclass(frozen=True, slots=True)
class Pair(Generic[D_co, L_co]):
    """A declared resource with the deployed one.

    Args:
        resource: the resource as findings name it: ``"queue shop-orders"``.
        declared: the declaration.
        live: the observation of the deployed resource; None if it is missing.
        remedy: the usual remedy for a difference in a resource of this kind.
        topology: the whole declaration, for checks that compare several resources.
        observed: the whole deployment, for such checks.
    """

    resource: str
    declared: D_co
    live: L_co
    remedy: str
    topology: Topology
    observed: Observed


@dataclass(frozen=True, slots=True)
class Kind(Generic[D_co, L_co]):
    """A kind of resource: where to find its declarations, and where to find its observations.

    Args:
        label: how findings name the kind: ``"queue"``.
        declared: returns the declared resources.
        live: returns the observed resources, by name.
        remedy: the usual remedy: the command that creates resources of this kind.
        name: returns the name that a declared resource is deployed under.
    """

    label: str
    declared: Callable[[Topology], Iterable[D_co]]
    live: Callable[[Observed], Mapping[str, L_co]]
    remedy: str
    name: Callable[[Any], str] = attrgetter("name")
    collection: str | None = None
    """The collection on Google Cloud, whose resources are observed by their full names; None: names are complete."""

    def deployed(self, topology: Topology, observed: Observed) -> Iterator[Pair[D_co, L_co]]:
        """Yield a pair for each declared resource that is deployed."""
        live = self.live(observed)
        for each, name in self._named(topology):
            if name in live:
                yield Pair(f"{self.label} {name}", each, live[name], self.remedy, topology, observed)

    def missing(self, topology: Topology, observed: Observed) -> Iterator[Pair[D_co, None]]:
        """Yield a pair for each declared resource that is not deployed."""
        live = self.live(observed)
        for each, name in self._named(topology):
            if name not in live:
                yield Pair(f"{self.label} {name}", each, None, self.remedy, topology, observed)

    def _named(self, topology: Topology) -> Iterator[tuple[D_co, str]]:
        for each in self.declared(topology):
            name = self.name(each)
            yield each, name if self.collection is None else topology.google_name(self.collection, name)


def _group(topology: Topology) -> list[ScheduleGroup]:
    return [topology.schedule_group] if topology.schedule_group else []


QUEUES: Final = Kind("queue", lambda topology: topology.queues, lambda observed: observed.queues, PROVISION)
DEAD_LETTER_QUEUES: Final = Kind("queue", QUEUES.declared, QUEUES.live, PROVISION, attrgetter("dead_letter_queue.name"))
"""Pairs of a declared queue and its deployed dead-letter queue."""
SCHEDULE_DEAD_LETTER_QUEUES: Final = Kind(
    "queue",
    lambda topology: [group for group in _group(topology) if group.dead_letter_queue],
    QUEUES.live,
    PROVISION,
    attrgetter("dead_letter_queue.name"),
)
"""Pairs of a declared schedule group and the deployed queue for messages that its schedules can't send."""
FUNCTIONS: Final = Kind("function", lambda topology: topology.functions, lambda observed: observed.functions, TERRAFORM)
SERVICES: Final = Kind(
    "service",
    lambda topology: topology.services if topology.provider == "aws" else (),
    lambda observed: observed.services,
    TERRAFORM,
)
"""Pairs of a declared and a deployed service of ECS."""
WORKER_POOLS: Final = Kind(
    "worker pool",
    lambda topology: topology.services if topology.provider == "google" else (),
    lambda observed: observed.worker_pools,
    TERRAFORM,
)
"""Pairs of a declared service and a deployed worker pool of Cloud Run."""
SCALING: Final = Kind("service", SERVICES.declared, lambda observed: observed.scaling, TERRAFORM)
"""Pairs of a declared service and its scaling."""
TABLES: Final = Kind("table", lambda topology: topology.tables, lambda observed: observed.tables, PROVISION)
BUCKETS: Final = Kind(
    "bucket",
    lambda topology: [bucket for bucket in topology.buckets if bucket.provider == "aws"],
    lambda observed: observed.buckets,
    PROVISION,
)
GOOGLE_BUCKETS: Final = Kind(
    "bucket",
    lambda topology: [bucket for bucket in topology.buckets if bucket.provider == "google"],
    lambda observed: observed.google_buckets,
    TERRAFORM,
)
CONTAINERS: Final = Kind(
    "container",
    lambda topology: [bucket for bucket in topology.buckets if bucket.provider == "azure"],
    lambda observed: observed.containers,
    TERRAFORM,
)
TOPICS: Final = Kind(
    "topic",
    lambda topology: topology.subscriptions,
    lambda observed: observed.topics,
    TERRAFORM,
    attrgetter("topic"),
    "topics",
)
DEAD_LETTER_TOPICS: Final = Kind(
    "topic", TOPICS.declared, TOPICS.live, TERRAFORM, attrgetter("dead_letter_topic"), "topics"
)
SUBSCRIPTIONS: Final = Kind(
    "subscription",
    TOPICS.declared,
    lambda observed: observed.subscriptions,
    TERRAFORM,
    attrgetter("subscription"),
    "subscriptions",
)
DEAD_LETTER_SUBSCRIPTIONS: Final = Kind(
    "subscription",
    SUBSCRIPTIONS.declared,
    SUBSCRIPTIONS.live,
    TERRAFORM,
    attrgetter("dead_letter_subscription"),
    "subscriptions",
)
JOBS: Final = Kind(
    "job",
    lambda topology: topology.scheduler_jobs,
    lambda observed: observed.jobs,
    TERRAFORM,
    lambda job: f"{job.location}/jobs/{job.name}",
    "locations",
)
SCHEDULE_GROUPS: Final = Kind(
    "schedule group", _group, lambda observed: dict.fromkeys(observed.schedule_groups, True), PROVISION
)
SCHEDULES: Final = Kind("schedule", lambda topology: topology.schedules, lambda observed: observed.schedules, TERRAFORM)
ROLES: Final = Kind("role", lambda topology: topology.roles, lambda observed: observed.roles, TERRAFORM)


def all_queues(topology: Topology, observed: Observed) -> Iterator[Pair[object, ObservedQueue]]:
    """Yield the deployed queues, their dead-letter queues, and the dead-letter queue of the schedules."""
    kinds = (QUEUES, DEAD_LETTER_QUEUES, SCHEDULE_DEAD_LETTER_QUEUES)
    return chain.from_iterable(kind.deployed(topology, observed) for kind in kinds)


def versions(topology: Topology, observed: Observed) -> Iterator[Pair[Function, ObservedFunction]]:
    """Yield the deployed functions, and each further version that an alias shifts a part of the messages to."""
    for function in FUNCTIONS.deployed(topology, observed):
        yield function
        for version, live in function.live.further_versions.items():
            yield replace(function, resource=f"{function.resource}:{version}", live=live)


def log_groups(topology: Topology, observed: Observed) -> Iterator[Pair[Function | Service, ObservedLogGroup | None]]:
    """Yield the deployed functions and services, each with the log group that it is configured with."""
    if "logs" in observed.skipped:
        return
    workers: Iterator[Pair[Function | Service, ObservedFunction | ObservedService]] = chain(
        FUNCTIONS.deployed(topology, observed), SERVICES.deployed(topology, observed)
    )
    for worker in workers:
        name = worker.live.log_group
        if name is not None:
            live = observed.log_groups.get(name)
            yield Pair(f"log group {name}", worker.declared, live, worker.remedy, topology, observed)


def partition_of(observed: Observed) -> str:
    """Return the partition of AWS that the queues are in, such as ``aws-cn``."""
    return next((queue.arn.split(":")[1] for queue in observed.queues.values()), "aws")
