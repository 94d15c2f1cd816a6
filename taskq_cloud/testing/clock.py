"""A clock that a test moves, for adapters and other code that take ``clock`` as an argument."""

from __future__ import annotations

import time


class FakeClock:
    """Returns the time as ``time.time`` does, and stands still until ``advance`` is called.

    Args:
        now: the time at which the clock starts, in seconds since the epoch; None: the time now.
    """

    def __init__(self, now: float | None = None) -> None:
        self._now = time.time() if now is None else now

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._now += seconds
