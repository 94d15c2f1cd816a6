"""Triggers as expressions of EventBridge Scheduler: ``cron(minutes hours day-of-month month day-of-week year)``.

Source: User Guide, "schedule-types". Sunday is 1; one of the two fields for days is ``?``; ``2#1`` is a month's first
Monday.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from taskq_cloud.core.schedules import fields
from taskq_cloud.core.schedules.triggers import Trigger

WEEKS: Final = True
"""Whether an expression can say "the second Monday of a month"."""
ENDS: Final = True
"""Whether a schedule can have an end."""
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FEW: Final = 2


def expression(trigger: Trigger) -> str:
    """Write a trigger as an expression, which the platform evaluates in the trigger's time zone."""
    of_week = "?"
    if trigger.day_of_week is not None:
        days = sorted(trigger.day_of_week)
        of_week = f"{days[0] + 1}#{trigger.week}" if trigger.week else ",".join(_WEEKDAYS[day] for day in days)
    of_month = "?" if trigger.day_of_week is not None else "*"
    if trigger.day_of_month is not None:
        of_month = _text(trigger.day_of_month, fields.DAY_OF_MONTH)
    months = _text(trigger.month_of_year, fields.MONTH_OF_YEAR)
    minutes, hours = _text(trigger.minute, fields.MINUTE), _text(trigger.hour, fields.HOUR)
    return f"cron({minutes} {hours} {of_month} {months} {of_week} *)"


def _text(values: frozenset[int], of: fields.Field) -> str:
    """Write numbers as shortly as possible: the longest expression then has 240 of the 256 characters allowed."""
    if values == of.all:
        return "*"
    ordered = sorted(values)
    first, step = ordered[0], (ordered[1:] or ordered)[0] - ordered[0]
    if len(ordered) > _FEW and ordered == list(range(first, of.most + 1, step)) and step > 1:
        return f"{first}/{step}"
    return ",".join(_run(run) for run in _runs(ordered))


def _runs(ordered: Iterable[int]) -> Iterator[list[int]]:
    """Group numbers that have no gap between them."""
    for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0]):
        yield [number for _, number in run]


def _run(run: Sequence[int]) -> str:
    return f"{run[0]}-{run[-1]}" if len(run) > _FEW else ",".join(map(str, run))
