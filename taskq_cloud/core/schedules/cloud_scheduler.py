"""Triggers as expressions of Google's Cloud Scheduler: the five fields of unix-cron.

Source: Cloud Scheduler, "Cron job format and time zone". Sunday is 0. The page recommends UTC for times that a zone
skips or repeats; triggers for such times are in UTC.
"""

from __future__ import annotations

from typing import Final

from taskq_cloud.core.schedules import fields
from taskq_cloud.core.schedules.triggers import Trigger

WEEKS: Final = False
"""Whether an expression can say "the second Monday of a month"."""
ENDS: Final = False
"""Whether a schedule can have an end; if not, it fires on after the end of its entry, and nothing runs."""
_FEW: Final = 2


def expression(trigger: Trigger) -> str:
    """Write a trigger as an expression, which the platform evaluates in the trigger's time zone."""
    return " ".join(
        (
            _text(trigger.minute, fields.MINUTE),
            _text(trigger.hour, fields.HOUR),
            # If both kinds of days were limited, cron would fire on days that match either; a trigger limits only one.
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
