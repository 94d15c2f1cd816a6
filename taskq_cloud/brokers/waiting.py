"""How a receive waits where the broker can't hold the call open: it looks again, less and less often."""

from __future__ import annotations

from collections.abc import Iterator

from taskq_cloud.core.flows import Sleep

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 0.2
"""Five looks a second from an idle worker cost next to nothing, and a person doesn't notice the delay."""


def polling(wait_seconds: float) -> Iterator[Sleep]:
    """The pauses that make up a wait: each twice the last, up to a fifth of a second."""
    pause_seconds = FIRST_PAUSE_SECONDS
    left_seconds = wait_seconds
    while left_seconds > 0:
        yield Sleep(min(pause_seconds, left_seconds))
        left_seconds -= pause_seconds
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
