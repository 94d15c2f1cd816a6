"""Determines the members that have arrived at a join from the keys of objects, because a listing contains only keys.

Every arrival creates one object, which no other arrival writes. So there is no counter that could count a member twice,
and no object that all members write at once. The object's key states the member, the time of the arrival, and the time
until which the join is kept: ``<member>/<arrived at>_<expires at>``. Sorted by time, the arrivals show the state of the
join.

This module makes no calls; ``_objects`` makes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

PREFIX: Final = "taskq-join-"
COMPLETED_PREFIX: Final = "taskq-joined-"
"""The prefix of the object that names the member which completed a join; a listing of the arrivals leaves it out."""

_NEVER: Final = "never"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A member's arrival; the times are seconds since the epoch.

    Args:
        member: the member's id.
        arrived_at: the time by the clock of the machine that ran the member. Differences between clocks matter only to
            a join that is about to expire.
        expires_at: when the join expires, unless another member arrives; None: never.
    """

    member: str
    arrived_at: float
    expires_at: float | None

    @property
    def key(self) -> str:
        """The last part of the key of the arrival's object."""
        expires = _NEVER if self.expires_at is None else repr(self.expires_at)
        return f"{quote(self.member, safe='')}/{self.arrived_at!r}_{expires}"


def arrival_of(key: str) -> Arrival:
    """Read an arrival from the last part of its object's key: the inverse of ``Arrival.key``."""
    member, _, times = key.partition("/")
    arrived_at, _, expires_at = times.partition("_")
    return Arrival(unquote(member), float(arrived_at), None if expires_at == _NEVER else float(expires_at))


def present(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Sort arrivals by time and keep those since the join last expired. The last arrival determines the expiry."""
    counted: list[Arrival] = []
    for arrival in sorted(arrivals, key=lambda each: (each.arrived_at, _end(each))):
        if counted and _end(counted[-1]) <= arrival.arrived_at:
            counted = []
        counted.append(arrival)
    return counted


def _end(arrival: Arrival) -> float:
    return math.inf if arrival.expires_at is None else arrival.expires_at
