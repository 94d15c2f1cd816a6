"""Triggers in the words of Google's Cloud Scheduler: the five fields of unix-cron.

Source: Cloud Scheduler, "Cron job format and time zone". Sunday is 0. It recommends UTC for times that a zone skips or
repeats, which is what such triggers are in.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.schedules import fields
from taskq_cloud.core.schedules.triggers import Trigger

WEEKS: Final = False
"""Whether it can say "the second Monday of a month"."""
ENDS: Final = False
"""Whether a schedule can have an end; without one, its firings after the end run nothing."""
_FEW: Final = 2


def expression(trigger: Trigger) -> str:
    """The expression, to be evaluated in the trigger's zone."""
    return " ".join(
        (
            _text(trigger.minute, fields.MINUTE),
            _text(trigger.hour, fields.HOUR),
            # Limited both, they would be one or the other to cron; a trigger limits one at most.
            _text(trigger.day_of_month, fields.DAY_OF_MONTH),
            _text(trigger.month_of_year, fields.MONTH_OF_YEAR),
            _text(trigger.day_of_week, fields.DAY_OF_WEEK),
        )
    )


def _text(values: frozenset[int] | None, of: fields.Field) -> str:
    if values is None or values == of.all:
        return "*"
    ordered = sorted(values)
    first, last, step = ordered[0], ordered[-1], (ordered[1:] or ordered)[0] - ordered[0]
    if len(ordered) > _FEW and ordered == list(range(first, last + 1, step)):
        return f"{first}-{last}" if step == 1 else f"{first}-{last}/{step}"
    return ",".join(map(str, ordered))
