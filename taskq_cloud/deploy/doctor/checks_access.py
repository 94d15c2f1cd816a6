"""The doctor's checks of who may use topics and subscriptions of Pub/Sub, by the roles on the resources themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final, TypeAlias

from taskq_cloud.deploy.doctor.check import Check, require
from taskq_cloud.deploy.doctor.matching import (
    DEAD_LETTER_SUBSCRIPTIONS,
    DEAD_LETTER_TOPICS,
    SUBSCRIPTIONS,
    TOPICS,
    Kind,
    Pair,
)
from taskq_cloud.deploy.doctor.observed import Observed
from taskq_cloud.deploy.topology.model import Subscription, Topology

Access: TypeAlias = Mapping[str, frozenset[str]]
AccessPair: TypeAlias = Pair[Subscription, Access]

_AGENT: Final = re.compile(r"serviceAccount:service-\d+@gcp-sa-pubsub\.iam\.gserviceaccount\.com")
"""The account with which Pub/Sub moves dead letters (Pub/Sub documentation, "Handle message failures")."""

_EVERYONE: Final = frozenset({"allUsers", "allAuthenticatedUsers"})


def _of(*kinds: Kind[Subscription, object]) -> Callable[[Topology, Observed], Iterator[AccessPair]]:
    """Return a function that yields the declared queues with the access to their resources of some kinds."""

    def pairs(topology: Topology, observed: Observed) -> Iterator[AccessPair]:
        for each in chain.from_iterable(kind.deployed(topology, observed) for kind in kinds):
            name = each.resource.partition(" ")[2]
            if name in observed.access:
                access = observed.access[name]
                yield Pair(each.resource, each.declared, access, each.remedy, topology, observed)

    return pairs


def worker_account(topology: Topology, service: str) -> str:
    """Return the address of the service account that the Terraform modules name after a worker pool."""
    domain, _, project = (topology.project or "").rpartition(":")
    return f"{service}@{f'{project}.{domain}' if domain else project}.iam.gserviceaccount.com"


def worker_members(topology: Topology) -> list[str]:
    """Return the service accounts of all worker pools as members of a policy."""
    return [f"serviceAccount:{worker_account(topology, each.name)}" for each in topology.services]


def _holders(access: AccessPair, role: str) -> frozenset[str]:
    """Return the members that have a role of Pub/Sub on a resource, or one that includes it."""
    return frozenset[str]().union(*(access.live.get(f"roles/pubsub.{each}", ()) for each in (role, "editor", "admin")))


def _workers_may(role: str) -> Callable[[AccessPair], str | None]:
    def expect(access: AccessPair) -> str | None:
        holders = _holders(access, role)
        lacking = [each for each in worker_members(access.topology) if each not in holders]
        return require(not lacking, f"these don't have roles/pubsub.{role} on it: {', '.join(lacking)}")

    return expect


def _agent_may(role: str) -> Callable[[AccessPair], str | None]:
    return lambda access: require(
        any(map(_AGENT.fullmatch, _holders(access, role))),
        f"Pub/Sub's own account doesn't have roles/pubsub.{role} on it",
    )


def _open_to_everyone(access: AccessPair) -> str | None:
    open_roles = sorted(role for role, members in access.live.items() if members & _EVERYONE)
    return require(not open_roles, f"everyone has a role on it: {', '.join(open_roles)}")


CHECKS: Final = (
    Check(
        "topic.publishers",
        _of(TOPICS, DEAD_LETTER_TOPICS),
        _workers_may("publisher"),
        "workers can neither call tasks nor keep a message that can't be run, which comes back until it expires",
    ),
    Check(
        "topic.publishers",
        _of(DEAD_LETTER_TOPICS),
        _agent_may("publisher"),
        "Pub/Sub can't move dead letters: a message that kills its worker comes back until it expires",
    ),
    Check(
        "subscription.subscribers",
        _of(SUBSCRIPTIONS),
        _workers_may("subscriber"),
        "workers receive nothing: messages wait until their retention ends",
    ),
    Check(
        "subscription.subscribers",
        _of(SUBSCRIPTIONS),
        _agent_may("subscriber"),
        "Pub/Sub can't take dead letters off the subscription: a message that kills its worker comes back until it"
        " expires",
    ),
    Check(
        "subscription.viewers",
        _of(SUBSCRIPTIONS),
        _workers_may("viewer"),
        "workers can't warn of dead letters that get lost and of a subscription that expires",
        severity="warning",
    ),
    Check(
        "topic.public",
        _of(TOPICS, DEAD_LETTER_TOPICS),
        _open_to_everyone,
        "strangers can call tasks",
    ),
    Check(
        "subscription.public",
        _of(SUBSCRIPTIONS, DEAD_LETTER_SUBSCRIPTIONS),
        _open_to_everyone,
        "strangers can read arguments, and take messages away from the workers",
    ),
)
