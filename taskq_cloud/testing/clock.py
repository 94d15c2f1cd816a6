"""A clock that a test moves by hand, for adapters and code that take ``clock`` as an argument."""

from __future__ import annotations

import time


class FakeClock:
    """Tells the time like ``time.time``, and stands still between two calls of ``advance``.

    Args:
        now: the time to begin with, in seconds since the epoch; None: the time it is.
    """

    def __init__(self, now: float | None = None) -> None:
        self._now = time.time() if now is None else now

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._now += seconds
