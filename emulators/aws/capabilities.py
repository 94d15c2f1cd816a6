"""What each stack can't do of what AWS does: the one place where that is said. Tests ask by name.

An endpoint that is none of the stacks here (an account's, another emulator's) is taken to be able to do it all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Capability = Literal["fires_schedules", "names_missing_groups", "tells_stale_receipts", "keeps_state", "carries_load"]
"""
``fires_schedules``: schedules send what they hold when they are due.
``names_missing_groups``: what is done in a schedule group that isn't there is refused with that reason.
``tells_stale_receipts``: the receipt of a lease that is over is refused once the message has been received again; AWS's
page on receipt handles promises less.
``keeps_state``: what was stored is there again after a restart.
``carries_load``: thousands of tasks go through it in a test's time.
"""

CAPABILITIES: Final[tuple[str, ...]] = get_args(Capability)

LACKING: Final[Mapping[str, Mapping[str, str]]] = {
    "ministack": {},
    "localstack": {
        "fires_schedules": "LocalStack keeps schedules, and fires none",
        "names_missing_groups": "LocalStack lists nothing in a missing schedule group, and fails when one is put there",
        "tells_stale_receipts": "LocalStack takes any receipt of a message that somebody holds",
        "keeps_state": "LocalStack keeps nothing over a restart without an account",
        "carries_load": "LocalStack answers some tens of calls a second",
    },
}
"""Stack -> capability -> what it does instead."""


def lacking(stack: str | None, capability: str) -> str | None:
    """Why a stack can't do something; None where it can.

    Raises:
        ValueError: no capability has that name.
    """
    if capability not in CAPABILITIES:
        raise ValueError(f"{capability!r} is no capability of a stack; there are {', '.join(CAPABILITIES)}")
    return LACKING.get(stack or "", {}).get(capability)
