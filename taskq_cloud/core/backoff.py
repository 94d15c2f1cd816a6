"""How long to wait before something is tried again: with jitter for failed calls, doubling for messages."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often a failed call is made again, and how long to wait before: exponential with full jitter.

    Args:
        attempts: calls in all, the first included.
        base_seconds: the longest wait before the second call; it doubles from there.
        ceiling_seconds: no wait is longer.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog; the AWS SDKs' *standard* mode has the same shape.
    """

    attempts: int = 5
    base_seconds: float = 0.1
    ceiling_seconds: float = 5.0

    def seconds(self, attempt: int, rng: random.Random) -> float:
        """How long to wait after failed attempt number ``attempt`` (from 0), in seconds."""
        return rng.uniform(0, min(self.ceiling_seconds, self.base_seconds * 2.0**attempt))


DEFAULT_BACKOFF = Backoff()


def growing_delay(count: int, first_seconds: float, longest_seconds: float) -> float:
    """Seconds to wait after the ``count``-th time: doubling from the first, up to a ceiling."""
    return min(longest_seconds, first_seconds * 2.0 ** min(count - 1, 30))
