"""The end of an interval that is rounded down to its unit on the local clock: Celery's ``relative`` schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from taskq_cloud.celery.utils._clock_changes import is_skipped, moved_out_of_gap

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)

_LOWER_FIELDS: Final = (
    (DAY, {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}),
    (HOUR, {"minute": 0, "second": 0, "microsecond": 0}),
    (MINUTE, {"second": 0, "microsecond": 0}),
)
"""Unit -> the fields of a time that are 0 once it is rounded down to the unit."""


def round_down(time: datetime, interval: timedelta) -> datetime:
    """Round a local time down to the unit of an interval: days, hours or minutes."""
    for unit, zeros in _LOWER_FIELDS:
        if interval >= unit:
            return time.replace(**zeros)  # type: ignore[arg-type]
    return time


def rounded_end(start: datetime, interval: timedelta, end: datetime) -> datetime:
    """The end of a relative interval, in UTC.

    It is the last rounded local time at or before the exact end, and after the start. An interval of days ends on the
    first midnight of its last day that comes after the start.

    Args:
        start: the start of the interval.
        interval: the interval.
        end: the exact end: in calendar days for an interval of days, else in elapsed time.
    """
    start_utc = start.astimezone(UTC)
    candidates = _instants(end, interval)
    if interval >= DAY:
        return min((each for each in candidates if each > start_utc), default=end.astimezone(UTC))
    exact = start_utc + interval
    rounded = _last_until(exact, candidates, min(candidates))
    if interval < MINUTE or rounded > start_utc:
        return rounded
    # The clock went back by less than an hour, so that the rounded time lies before the start.
    unit = HOUR if interval >= HOUR else MINUTE
    candidates += [*_instants(end + unit, interval), *_instants(start + interval, interval)]
    future = [each for each in candidates if each > start_utc]
    return _last_until(exact, future, min(future, default=exact))


def _last_until(end: datetime, candidates: list[datetime], otherwise: datetime) -> datetime:
    return max((each for each in candidates if each <= end), default=otherwise)


def _instants(end: datetime, interval: timedelta) -> list[datetime]:
    """Both instants of the rounded local time, in UTC; they are one instant if the time does not repeat."""
    rounded = round_down(end, interval).replace(microsecond=0)
    return [_forwards(rounded.replace(fold=fold)).astimezone(UTC) for fold in (0, 1)]


def _forwards(time: datetime) -> datetime:
    if not is_skipped(time):
        return time
    # Some zones take a repeated time for a skipped one; only a true gap moves a time forwards.
    return max(time, moved_out_of_gap(time))
