"""Who has arrived at a join, told from the names of objects alone: a listing has no more than names on every provider.

Every arrival creates one object, which no other arrival writes: there is nothing to count up, so nothing that is
counted twice, and no object that all members fight over. Its key says who came, when, and until when the join is to be
remembered: ``<member>/<arrived at>_<expires at>``. Sorted by time, the arrivals tell what has become of the join.

What lives here is pure; the calls are made in ``_objects``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

PREFIX: Final = "taskq-join-"
COMPLETED_PREFIX: Final = "taskq-joined-"
"""Of the object that says who has completed a join: not listed with its arrivals."""

_NEVER: Final = "never"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A member's arrival; the times are seconds since the epoch.

    Args:
        member: who.
        arrived_at: when, by the clock of the machine that ran it. Clocks that differ matter only to a join that is on
            the point of expiring.
        expires_at: when the join ceases to exist, unless another arrives; None: never.
    """

    member: str
    arrived_at: float
    expires_at: float | None

    @property
    def key(self) -> str:
        """The end of its object's key."""
        expires = _NEVER if self.expires_at is None else repr(self.expires_at)
        return f"{quote(self.member, safe='')}/{self.arrived_at!r}_{expires}"


def arrival_of(key: str) -> Arrival:
    """The arrival that an object's key tells of: ``Arrival.key`` read back."""
    member, _, times = key.partition("/")
    arrived_at, _, expires_at = times.partition("_")
    return Arrival(unquote(member), float(arrived_at), None if expires_at == _NEVER else float(expires_at))


def present(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Those that count, in their order: all since the join has last expired. The last arrival says when it does."""
    counted: list[Arrival] = []
    for arrival in sorted(arrivals, key=lambda each: (each.arrived_at, _end(each))):
        if counted and _end(counted[-1]) <= arrival.arrived_at:
            counted = []
        counted.append(arrival)
    return counted


def _end(arrival: Arrival) -> float:
    return math.inf if arrival.expires_at is None else arrival.expires_at
