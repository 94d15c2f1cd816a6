"""How long a chord may take: until when its members are counted, and their results kept for its body.

Each member's message says when the last member is due, in an option of the chord's body. A member may then wait in its
queue for as long as queues keep messages. A member that ends after that ends the chord with a ``ChordError``: the store
may have forgotten members that ended before, so the chord would wait for ever.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from taskq_cloud.core.model.message import Signature
from taskq_cloud.core.model.option_values import time_from_option
from taskq_cloud.core.records.record import LONGEST_MESSAGE_SECONDS
from taskq_cloud.core.workflows.stages import GroupStage, Stages, TaskStage

CHORD_DUE: Final = "chord_due"
"""The option of a chord's body for the time at which the last member is due, in seconds since the epoch."""


def latest_due(members: Sequence[Stages], now: float) -> int:
    """The time at which the last member of a header is due, in whole seconds since the epoch.

    Args:
        members: the members.
        now: the time at which the header starts, in seconds since the epoch.
    """
    return math.ceil(max((_due(member, now) for member in members), default=now))


def read_due(chord: Signature) -> float | None:
    """The time at which the last member of a chord is due; None: the chord's body doesn't say it.

    Raises:
        ValueError: the option isn't a time.
    """
    due = (chord.get("options") or {}).get(CHORD_DUE)
    if due is None or (isinstance(due, int | float) and not isinstance(due, bool) and 0 <= due <= _LATEST):
        return due
    raise ValueError(f"{CHORD_DUE} isn't a time: {due!r:.100}")


def kept_from(chord: Signature, now: float) -> float:
    """The time from which the results of a chord's members are kept for ``result_expires`` seconds."""
    try:
        return max(now, read_due(chord) or 0)
    except (ValueError, AttributeError):  # whoever reads the member's place in the chord reports that
        return now


def last_arrival(due: float | None, result_expires: float | None) -> float | None:
    """The time after which a chord's members are no longer counted; None: there is no such time.

    Args:
        due: the time at which the last member is due; None: unknown.
        result_expires: seconds for which results are kept; None: for ever.
    """
    if due is None or result_expires is None:
        return None
    return due + result_expires + LONGEST_MESSAGE_SECONDS


def join_expiry(due: float | None, result_expires: float | None, now: float) -> float | None:
    """The time at which the store may forget a join, which is after the last arrival; None: never."""
    if result_expires is None:
        return None
    return max(now, due or 0) + result_expires + LONGEST_MESSAGE_SECONDS


_LATEST: Final = 253_402_300_799
"""The last second of the year 9999, which is the last that Python's ``datetime`` knows."""


def _due(stages: Stages, now: float) -> float:
    """The time at which the last of some stages can start if none of them takes any time."""
    for stage in stages:
        match stage:
            case TaskStage(options=options):
                eta, countdown = options.get("eta"), options.get("countdown")
                # A value that isn't a time is reported when the task's own message is made.
                with suppress(TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
                    own = time_from_option(eta if countdown is None else countdown, now)
                    now = now if own is None else max(now, own.timestamp())
            case GroupStage(members=members):
                now = max((_due(member, now) for member in members), default=now)
    return now
