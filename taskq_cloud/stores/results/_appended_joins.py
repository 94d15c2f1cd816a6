r"""Counts the members of a join in one value to which each member appends its arrival, where a store can append.

The value is a list of arrivals in their order, a line each. A member appends its own and then reads the list: so
whoever is the last finds all of them before its own, without a condition that could fail, however many arrive at once.
Lines behind its own are of members that will find out by themselves. A member that arrives again, as its message came
twice, is in the list twice and counts once.

A writer that is killed may leave a part of a line. Each line begins with a line break, so the part spoils no other.
"""

from __future__ import annotations

import json

from taskq_cloud.stores.buckets import StoredObject
from taskq_cloud.stores.results._embedded_fields import embedded
from taskq_cloud.stores.results._object_joins import Arrival, present


def line_of(arrival: Arrival) -> bytes:
    """The line that a member appends. It says as every value of the store when it may be removed."""
    line = json.dumps({"member": arrival.member, "arrived_at": arrival.arrived_at, "expires_at": arrival.expires_at})
    return b"\n" + embedded(StoredObject(line.encode(), {}, expires_at=arrival.expires_at))


def is_complete(value: bytes, line: bytes, size: int) -> bool:
    """Whether all members of a join had arrived, since it last expired, when one of them appended its line.

    Args:
        value: the list of arrivals.
        line: the member's line.
        size: how many members the join has.
    """
    own = value.rfind(line)
    if own < 0:  # the store has dropped the value since
        return False
    until_then = value[: own + len(line)]
    return len(present(filter(None, map(_arrival_in, until_then.splitlines())))) >= size


def _arrival_in(line: bytes) -> Arrival | None:
    try:
        found = json.loads(line)
        return Arrival(found["member"], found["arrived_at"], found["expires_at"])
    except (ValueError, LookupError, TypeError, RecursionError):  # a part of a line, or the empty first one
        return None
