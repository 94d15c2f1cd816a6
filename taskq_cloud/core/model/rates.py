"""Rates of tasks, and the arithmetic that decides when the next task may begin.

The algorithm is GCRA (ITU-T I.371, "virtual scheduling") with reservations: every request is given the next *slot*, a
time, and the slot after it is one interval later. Two slots of one key are never closer than an interval. A slot may
lie in the past by the ``credit`` that an idle time has left, and may be used for ``good_for_seconds`` from its own time
on. So at most ``ceil(W / interval) + burst`` tasks begin in any window of W seconds, as their slots lie in an interval
of ``W + burst * interval``.

This module has the rate and the slots kept in memory. The requests are in ``core.execution.steps.rate_limits``; each
store's adapter keeps the next slot of a key in its own way.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from typing import Final

from taskq_cloud.core.lazy.values import dataclass
from taskq_cloud.core.model.local_clock import LatestTime
from taskq_cloud.errors import ImproperlyConfigured

UNIT_SECONDS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600}
"""Celery's units of time, in seconds."""

LEAST_BURST_SECONDS: Final = 2
"""The smallest burst, in seconds of the rate. A message returns from its queue at a whole second (SQS's
``DelaySeconds``) and is then received: a slot that was good for a shorter time would often be lost."""
TRANSIT_SECONDS: Final = 1
"""The part of a slot's time that is kept for the way from its reservation to the start of the task."""
LONGEST_BURST_SECONDS: Final = 86_400
"""The largest burst, in seconds of the rate. A larger one would outlast the lifecycle rule by which a bucket removes
the slots of a key."""
FARTHEST_SLOT_SECONDS: Final = 15 * 86_400
"""No slot is given farther ahead than this: one day more than SQS keeps a message, which would be gone by then."""

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh]))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit on the number of tasks that begin.

    Args:
        per_second: tasks in a second, on average.
        burst: tasks that may begin beyond the average in any window of time.
    """

    per_second: float
    burst: int

    @property
    def interval_seconds(self) -> float:
        """The time from one slot to the next."""
        return 1 / self.per_second

    @property
    def good_for_seconds(self) -> float:
        """The time for which a slot may be used, from its own time on."""
        return self.burst * self.interval_seconds

    @property
    def credit_seconds(self) -> float:
        """The time by which a new slot may lie in the past, so that an unused slot is not lost at once."""
        return max(0.0, min(self.good_for_seconds - self.interval_seconds, self.good_for_seconds - TRANSIT_SECONDS))


def parse_rate(value: str | float | None, burst: int | None = None, *, of: str) -> Rate | None:
    """Read a rate as Celery writes it.

    Args:
        value: ``"100/m"``, ``"10/s"``, ``"1000/h"``, ``"10"`` or a number (a second); 0 and None: no limit.
        burst: tasks beyond the average; None: as many as the rate allows in two seconds, and at least 1.
        of: the name of the option and its owner, for the error: ``"task shop.notify: rate_limit"``.

    Raises:
        ImproperlyConfigured: the value isn't a rate, or the burst is too small or too large for it.
    """
    if value is None:
        return None
    found = _RATE.fullmatch(str(value)) if isinstance(value, str | int | float) and value is not True else None
    per_second = float(found[1]) / UNIT_SECONDS[found[2] or "s"] if found else math.nan
    if not math.isfinite(per_second):
        raise ImproperlyConfigured(
            f"{of}={value!r} isn't a rate: write '10/s', '100/m', '1000/h', or a number of tasks a second"
        )
    if per_second == 0:
        return None
    least = max(1, math.ceil(LEAST_BURST_SECONDS * per_second))
    if burst is None:
        return Rate(per_second, least)
    if isinstance(burst, bool) or not isinstance(burst, int) or burst < least:
        raise ImproperlyConfigured(
            f"{of}={value!r} with a burst of {burst!r}: the burst must be at least {least}, as many tasks as "
            f"{LEAST_BURST_SECONDS} s allow, because delayed messages return at whole seconds"
        )
    if burst > max(least, LONGEST_BURST_SECONDS * per_second):
        raise ImproperlyConfigured(
            f"{of}={value!r} with a burst of {burst}: the burst can be at most "
            f"{max(least, math.floor(LONGEST_BURST_SECONDS * per_second))}, as many tasks as a day allows"
        )
    return Rate(per_second, burst)


def take_slot(next_slot: float | None, credit_seconds: float, now: float) -> float | None:
    """Compute the slot that ``ResultStore.reserve`` gives; the key's next slot is one interval later.

    Args:
        next_slot: the key's next slot as the store has it, or None for a new key.
        credit_seconds: the time by which a slot may lie before ``now``.
        now: the time, in seconds since the epoch.

    Returns:
        The slot's time, in seconds since the epoch; None if it lies too far ahead.
    """
    if next_slot is None:
        return now - credit_seconds
    return None if next_slot > now + FARTHEST_SLOT_SECONDS else max(next_slot, now - credit_seconds)


class LocalSlots:
    """The slots of all keys in this process's memory; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}
        self._spent_at: dict[str, float] = {}
        self._sweep_over = 1000
        self._latest = LatestTime()

    def take(self, key: str, interval_seconds: float, credit_seconds: float, now: float) -> float | None:
        """Take a key's next slot: see ``ResultStore.reserve``."""
        with self._lock:
            self._follow_clock(now)
            self._sweep(now)
            slot = take_slot(self._next.get(key), credit_seconds, now)
            if slot is not None:
                self._next[key] = slot + interval_seconds
                self._spent_at[key] = slot + interval_seconds + credit_seconds
            return slot

    def _follow_clock(self, now: float) -> None:
        back_seconds = self._latest.step_back(now)
        if back_seconds:
            self._next = {key: at - back_seconds for key, at in self._next.items()}
            self._spent_at = {key: at - back_seconds for key, at in self._spent_at.items()}

    def _sweep(self, now: float) -> None:
        """Forget keys whose next slot is long past. It reads every key, so it waits until their number has doubled."""
        if len(self._next) < self._sweep_over:
            return
        self._spent_at = {key: at for key, at in self._spent_at.items() if at > now}
        self._next = {key: self._next[key] for key in self._spent_at}
        self._sweep_over = max(1000, 2 * len(self._next))
