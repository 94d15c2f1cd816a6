"""The cost of a look into the result store. It decides when a look that isn't necessary is worth its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SHORTEST_WAIT_SECONDS: Final = 0.02
LOOKS_PER_WAIT: Final = 20
"""A look takes at most a twentieth of the time that the message has waited."""
LONGEST_WAIT_SECONDS: Final = 1.0
"""However slow the store is, a message that has waited for this long is looked up."""


@dataclass(slots=True)
class LookCost:
    """The cost of a look, as this process has last measured it.

    Args:
        seconds: how long the last look took.
    """

    seconds: float = 0

    def is_worth(self, waited_seconds: float) -> bool:
        """Whether a message has waited for so long that a look is a small part of that time."""
        return waited_seconds > max(SHORTEST_WAIT_SECONDS, min(self.seconds * LOOKS_PER_WAIT, LONGEST_WAIT_SECONDS))
