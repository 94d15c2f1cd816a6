"""Rates, and when the next task of one may begin: arithmetic on numbers that anyone's clock may give.

The algorithm is GCRA (ITU-T I.371, "virtual scheduling"), with reservations: whoever asks is given the next *slot*, a
time, and the one after it is an interval later. Slots of one key are never closer than that. A slot may lie in the past
by the ``credit`` that an idle time has left, and is good for ``good_for_seconds`` from its own time on, so that the
starts in any window of W seconds are at most ``ceil(W / interval) + burst``: their slots lie in an interval of
``W + burst * interval``.

What lives here: what a rate is, and memory's slots. What does not: who asks (``core.rate_limits``), and how a store
keeps a key's next slot (its adapter).
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from taskq_cloud.errors import ImproperlyConfigured

UNIT_SECONDS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600}
"""Celery's units."""

LEAST_BURST_SECONDS: Final = 2
"""What comes back to a queue does so by the whole second (SQS's ``DelaySeconds``), and is then received: a slot that
was good for less would often be lost."""
TRANSIT_SECONDS: Final = 1
"""Of a slot's time, kept for the way from its reservation to the start."""
LONGEST_BURST_SECONDS: Final = 86_400
"""A burst of more than a day's worth would outlast what a bucket's lifecycle lets a store remember."""
FARTHEST_SLOT_SECONDS: Final = 15 * 86_400
"""A slot farther away is none: a day more than SQS keeps a message, which would be gone by then."""

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh]))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """How many tasks may begin.

    Args:
        per_second: on average.
        burst: at most so many more in any window of time.
    """

    per_second: float
    burst: int

    @property
    def interval_seconds(self) -> float:
        """From one slot to the next."""
        return 1 / self.per_second

    @property
    def good_for_seconds(self) -> float:
        """How long after its own time a slot may be used."""
        return self.burst * self.interval_seconds

    @property
    def credit_seconds(self) -> float:
        """How far in the past a new slot may lie: what is left unused is not lost at once."""
        return max(0.0, min(self.good_for_seconds - self.interval_seconds, self.good_for_seconds - TRANSIT_SECONDS))


def parse_rate(value: str | float | None, burst: int | None = None, *, of: str) -> Rate | None:
    """Read a rate as Celery writes it.

    Args:
        value: ``"100/m"``, ``"10/s"``, ``"1000/h"``, ``"10"`` or a number (a second); 0 and None: no limit.
        burst: None: two seconds' worth, and at least 1.
        of: whose it is, for the error: ``"task shop.notify: rate_limit"``.

    Raises:
        ImproperlyConfigured: it is no rate, or the burst is too small or too large for it.
    """
    if value is None:
        return None
    found = _RATE.fullmatch(str(value)) if isinstance(value, str | int | float) and value is not True else None
    per_second = float(found[1]) / UNIT_SECONDS[found[2] or "s"] if found else math.nan
    if not math.isfinite(per_second):
        raise ImproperlyConfigured(
            f"{of}={value!r} is no rate: write '10/s', '100/m', '1000/h', or a number of tasks a second"
        )
    if per_second == 0:
        return None
    least = max(1, math.ceil(LEAST_BURST_SECONDS * per_second))
    if burst is None:
        return Rate(per_second, least)
    if isinstance(burst, bool) or not isinstance(burst, int) or burst < least:
        raise ImproperlyConfigured(
            f"{of}={value!r} with a burst of {burst!r}: it takes at least {least}, what {LEAST_BURST_SECONDS} s allow, "
            "as messages that are put back return by the second"
        )
    if burst > max(least, LONGEST_BURST_SECONDS * per_second):
        raise ImproperlyConfigured(
            f"{of}={value!r} with a burst of {burst}: it takes at most "
            f"{max(least, math.floor(LONGEST_BURST_SECONDS * per_second))}, what a day allows"
        )
    return Rate(per_second, burst)


def take_slot(next_slot: float | None, credit_seconds: float, now: float) -> float | None:
    """The slot that ``ResultStore.reserve`` gives; the key's next one is an interval later.

    Args:
        next_slot: the key's, or None where it has none.
        credit_seconds: how far before ``now`` a slot may lie.
        now: the time, in seconds since the epoch.

    Returns:
        The slot's time; None where it lies too far ahead.
    """
    if next_slot is None:
        return now - credit_seconds
    return None if next_slot > now + FARTHEST_SLOT_SECONDS else max(next_slot, now - credit_seconds)


class LocalSlots:
    """The slots of keys in this process's memory; any thread may take them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}
        self._spent_at: dict[str, float] = {}
        self._sweep_over = 1000

    def take(self, key: str, interval_seconds: float, credit_seconds: float, now: float) -> float | None:
        """Take a key's next slot: see ``ResultStore.reserve``."""
        with self._lock:
            self._sweep(now)
            slot = take_slot(self._next.get(key), credit_seconds, now)
            if slot is not None:
                self._next[key] = slot + interval_seconds
                self._spent_at[key] = slot + interval_seconds + credit_seconds
            return slot

    def _sweep(self, now: float) -> None:
        """Forget keys whose next slot is as good as none; by the time it takes, not before their number has doubled."""
        if len(self._next) < self._sweep_over:
            return
        self._spent_at = {key: at for key, at in self._spent_at.items() if at > now}
        self._next = {key: self._next[key] for key in self._spent_at}
        self._sweep_over = max(1000, 2 * len(self._next))
