"""Local times around changes of a zone's clock: those that repeat, and those that the clock skips.

Celery asks ``dateutil`` for this. The answers here are the same, for every ``tzinfo`` that knows of ``fold``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


def knows_changes(zone: tzinfo | None) -> bool:
    """Whether a zone can tell the times that repeat: a ``ZoneInfo``, or a zone of ``dateutil``."""
    return isinstance(zone, ZoneInfo) or hasattr(zone, "is_ambiguous")


def fold_matters(time: datetime) -> bool:
    """Whether a local time repeats or is skipped, so that its ``fold`` decides on its offset."""
    zone = time.tzinfo
    if not knows_changes(zone):
        return False
    own_answer = getattr(zone, "is_ambiguous", None)
    if own_answer is not None:
        return bool(own_answer(time))
    first, second = time.replace(fold=0), time.replace(fold=1)
    return (first.utcoffset(), first.dst()) != (second.utcoffset(), second.dst())


def is_skipped(time: datetime) -> bool:
    """Whether the zone's clock never shows a local time."""
    if not knows_changes(time.tzinfo):
        return False
    wall = time.replace(tzinfo=None)
    try:
        shown = time.astimezone(UTC).astimezone(time.tzinfo)
    except (ValueError, OverflowError):
        return False  # At the ends of the calendar, no clock changes.
    return shown.replace(tzinfo=None) != wall


def moved_out_of_gap(time: datetime) -> datetime:
    """Move a skipped local time by the change of the clock; any other time is returned unchanged."""
    if not is_skipped(time):
        return time
    before, after = (time - _DAY).utcoffset(), (time + _DAY).utcoffset()
    if before is None or after is None:
        return time
    return time + (after - before)
