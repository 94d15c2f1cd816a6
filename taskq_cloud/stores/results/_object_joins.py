r"""Counts the members of a join by objects of a bucket, in one write for most of the members.

Every member has a place, an object that is created when it arrives. So there is no counter that could count a member
twice, and no object that all members write at once. A member has to notice that it was the last, but only a few list
the places to find out, as exactly one absent member is *watched*: an object at its place, the marker, tells it to look.

    place free ----> write the arrival: another member is watched, so this one isn't the last
    place watched -> write the arrival over the marker, and list the places: -> no one is absent: the join is complete
                                                                            \-> put a marker at an absent member's place

The last member of the header, in its order, looks without a marker. Most headers end in their order, and then it looks
once. If members arrive at random, about ``log(size)`` of them look, as each picks one of the absent members by chance.

A member looks only after its arrival is written. So a member that it finds absent and watched will look later, and see
it. A marker is only put where nothing is: if that fails, the absent member has arrived meanwhile, and the watching one
looks again. A process may die after any of these calls. When its message comes back, the member has arrived before, and
looks as well: the dead process may have owed a look. A second marker costs some calls and nothing else.

A listing has no contents. It tells a marker by its size, and the oldest arrival by the service's own time. Arrivals are
read only if the oldest has expired, or has changed since the listing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Final

from taskq_cloud.core.flows import Flow
from taskq_cloud.core.lazy.values import dataclass, replace
from taskq_cloud.stores.buckets import StoredObject
from taskq_cloud.stores.results._conditional_objects import ConditionalObjects

PREFIX: Final = "taskq-join-place-"

MARKER_BYTES: Final = 1_000
"""The size of a marker. An arrival is far smaller, even with the blanks that S3's adapter appends."""

_MOST_ARRIVALS: Final = 10
"""The most arrivals of one member that are kept. They are as far apart as joins are kept, which is weeks."""

_MARKER: Final = StoredObject(b"[]".ljust(MARKER_BYTES), {})


@dataclass(frozen=True, slots=True)
class Arrival:
    """A member's arrival; the times are seconds since the epoch.

    Args:
        member: the member's number.
        arrived_at: the time by the clock of the machine that ran the member. Differences between clocks matter only to
            a join that is about to expire.
        expires_at: when the join expires, unless another member arrives; None: never.
    """

    member: int
    arrived_at: float
    expires_at: float | None

    @property
    def ends_at(self) -> float:
        """When the join expires, as a number."""
        return math.inf if self.expires_at is None else self.expires_at


def place_of(arrivals: Sequence[Arrival]) -> StoredObject:
    """The object at the place of a member that has arrived: its arrivals, each after the one before had expired."""
    last = arrivals[-_MOST_ARRIVALS:]
    return StoredObject(json.dumps([[each.arrived_at, each.expires_at] for each in last]).encode(), {})


def arrivals_at(member: int, place: StoredObject | None) -> list[Arrival]:
    """Read the arrivals at a member's place; there are none if a marker is there, or nothing."""
    if place is None or len(place.body) >= MARKER_BYTES:
        return []
    return [Arrival(member, *each) for each in json.loads(place.body)]


def present(arrivals: Iterable[Arrival]) -> set[int]:
    """The members that have arrived since the join last expired."""
    counted: set[int] = set()
    ends_at = -math.inf
    for arrival in sorted(arrivals, key=lambda each: each.arrived_at):
        if ends_at <= arrival.arrived_at:
            counted = set()
        counted.add(arrival.member)
        ends_at = max(ends_at, arrival.ends_at)
    return counted


@dataclass(frozen=True, slots=True)
class _Look:
    """What a member has seen of the others.

    Args:
        arrived: the members that have arrived.
        stale: members that arrived before the join expired -> what is at their places.
        watched: whether there is a marker at an absent member's place.
    """

    arrived: Collection[int]
    stale: Mapping[int, StoredObject | None]
    watched: bool = False


class Join:
    """One member's arrival at a join.

    Args:
        objects: the bucket's objects.
        directory: the beginning of the keys of the join's places.
        size: how many members the join has.
        arrival: the arrival.
    """

    def __init__(self, objects: ConditionalObjects, directory: str, size: int, arrival: Arrival) -> None:
        self._objects = objects
        self._directory = directory
        self._size = size
        self._arrival = arrival

    def arrive(self) -> Flow[bool]:
        """Count the member, and return whether all have arrived."""
        if not (yield from self._write_arrival()):
            return False
        while True:
            seen = yield from self._look()
            if self._is_complete(seen) or seen.watched:
                return not seen.watched
            member = self._one_absent(seen)
            written, _ = yield from self._objects.replace(self._place(member), _MARKER, seen.stale.get(member))
            if written:
                return False

    def _write_arrival(self) -> Flow[bool]:
        """Write the arrival, and return whether the member has to look for the others."""
        member = self._arrival.member
        arrivals, found = [self._arrival], None
        looks = member == self._size - 1
        while True:
            written, found = yield from self._objects.replace(self._place(member), place_of(arrivals), found)
            if written:
                return looks
            looks = True
            before = arrivals_at(member, found)
            arrivals = [*before, self._arrival]
            if before and before[-1].ends_at > self._arrival.arrived_at:
                if before[-1].ends_at >= self._arrival.ends_at:
                    return looks
                arrivals = [*before[:-1], replace(before[-1], expires_at=self._arrival.expires_at)]

    def _look(self) -> Flow[_Look]:
        listing = (yield from self._objects.list(self._directory)) if self._size > 1 else []
        taken = {
            int(name): each
            for each in listing
            if (name := each.key.removeprefix(self._directory)).isdecimal() and self._is_other(int(name))
        }
        arrived = {member: each for member, each in taken.items() if each.size < MARKER_BYTES}
        seen = _Look(arrived, {}, watched=len(taken) > len(arrived))
        if not arrived or not self._is_complete(seen):
            return seen
        oldest = min(arrived, key=lambda member: (arrived[member].modified, member))
        first = (yield from self._read([oldest]))[oldest]
        # If it has changed since the listing, its member has arrived anew, and others may be stale still.
        if first is not None and first.tag == arrived[oldest].tag:
            arrivals = arrivals_at(oldest, first)
            if arrivals and arrivals[-1].ends_at > self._arrival.arrived_at:
                return seen
        places = yield from self._read([*arrived, self._arrival.member])
        arrivals = [each for member, place in places.items() for each in arrivals_at(member, place)]
        counted = present([*arrivals, self._arrival])
        return _Look(
            counted - {self._arrival.member},
            {member: place for member, place in places.items() if member not in counted},
        )

    def _is_other(self, member: int) -> bool:
        return member < self._size and member != self._arrival.member

    def _is_complete(self, seen: _Look) -> bool:
        return len(seen.arrived) == self._size - 1

    def _one_absent(self, seen: _Look) -> int:
        """An absent member by chance, and the same one for all that have seen the same: so they put one marker."""
        digests = (hashlib.sha256(f"{self._directory}{number}".encode()).digest() for number in count())
        members = (int.from_bytes(digest) % self._size for digest in digests)
        return next(each for each in members if self._is_other(each) and each not in seen.arrived)

    def _read(self, members: Iterable[int]) -> Flow[dict[int, StoredObject | None]]:
        places = {self._place(member): member for member in members}
        found = yield from self._objects.read(places)
        return {places[key]: stored for key, stored in found.items()}

    def _place(self, member: int) -> str:
        return f"{self._directory}{member}"
