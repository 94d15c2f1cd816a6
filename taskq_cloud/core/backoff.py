"""Delays before another attempt: with jitter for calls to a service, and without for messages that are given back."""

from __future__ import annotations

import os
import random
from typing import Final

from taskq_cloud.core.lazy.values import dataclass

RNG: Final = random.Random()
"""Draws every wait of this package. Processes that begin with one state would wait equally long, and come back at the
same time: a forked child gets a state of its own here, a restored snapshot of a Lambda function in
``serverless.starting``."""

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=RNG.seed)


@dataclass(frozen=True, slots=True)
class Backoff:
    """The number of attempts of a call, and the waits between them: exponential with full jitter.

    Args:
        attempts: the number of calls in all, the first included.
        base_seconds: the longest wait before the second call; it doubles with each further call.
        ceiling_seconds: the longest wait of all.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog; the AWS SDKs' *standard* mode has the same shape.
    """

    attempts: int = 5
    base_seconds: float = 0.1
    ceiling_seconds: float = 5.0

    def seconds(self, attempt: int, rng: random.Random) -> float:
        """Draw the wait after a failed attempt, in seconds; ``attempt`` counts from 0."""
        return rng.uniform(0, min(self.ceiling_seconds, self.base_seconds * 2.0**attempt))


DEFAULT_BACKOFF = Backoff()


def growing_delay(count: int, first_seconds: float, longest_seconds: float) -> float:
    """The wait after attempt number ``count`` (from 1), in seconds: it doubles each time, up to a longest wait."""
    return min(longest_seconds, first_seconds * 2.0 ** min(count - 1, 30))
