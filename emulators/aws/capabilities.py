"""The capabilities of AWS that each local stack lacks. Tests ask for them by name.

An endpoint that is not one of the stacks (an AWS account or another emulator) counts as having all capabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Capability = Literal["fires_schedules", "names_missing_groups", "tells_stale_receipts", "keeps_state", "carries_load"]
"""
``fires_schedules``: a schedule sends its message when it is due.
``names_missing_groups``: an operation in a schedule group that doesn't exist is refused with that reason.
``tells_stale_receipts``: the receipt of an expired lease is refused once the message has been received again; AWS's
page on receipt handles promises less.
``keeps_state``: stored data is still there after a restart.
``carries_load``: thousands of tasks pass through the stack within the time of a test.
"""

CAPABILITIES: Final[tuple[str, ...]] = get_args(Capability)

LACKING: Final[Mapping[str, Mapping[str, str]]] = {
    "ministack": {},
    "localstack": {
        "fires_schedules": "LocalStack keeps schedules but never fires them",
        "names_missing_groups": "LocalStack lists no schedules in a missing group, and fails when one is created there",
        "tells_stale_receipts": "LocalStack accepts any receipt of a leased message",
        "keeps_state": "LocalStack without an account loses its data in a restart",
        "carries_load": "LocalStack answers only some tens of calls a second",
    },
}
"""For each stack, the capabilities that it lacks, with its behaviour instead."""


def lacking(stack: str | None, capability: str) -> str | None:
    """Return why a stack lacks a capability, or None if it has it.

    Raises:
        ValueError: no capability has that name.
    """
    if capability not in CAPABILITIES:
        raise ValueError(f"{capability!r} isn't a capability of a stack; known: {', '.join(CAPABILITIES)}")
    return LACKING.get(stack or "", {}).get(capability)
