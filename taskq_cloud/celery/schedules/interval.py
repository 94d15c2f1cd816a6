"""``schedule``: times that are one interval apart."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from taskq_cloud.celery.schedules.base import BaseSchedule, Now, schedstate
from taskq_cloud.celery.utils.time import humanize_seconds, maybe_timedelta, remaining


class schedule(BaseSchedule):
    """A schedule of times that are one interval apart, counted from the last run.

    Args:
        run_every: the interval, as a timedelta or in seconds.
        relative: each time is rounded down to the interval's unit: days, hours or minutes.
        nowfun: returns the time now.
        app: the Celery application.
    """

    relative: bool = False

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Now | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun=nowfun, app=app)
        self.run_every = maybe_timedelta(run_every)
        self.relative = relative

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time from now until a task that last ran at ``last_run_at`` is due; negative if that time is past."""
        last, now = self.maybe_make_aware(last_run_at), self.maybe_make_aware(self.now())
        return remaining(last, self.run_every, now, self.relative)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds after which to ask again."""
        last = self.maybe_make_aware(last_run_at)
        seconds = self.remaining_estimate(last).total_seconds()
        if seconds > 0:
            return schedstate(is_due=False, next=seconds)
        if not self.relative:
            return schedstate(is_due=True, next=self.seconds)
        # The next rounded time can be nearer than the interval, so that it is computed from now.
        now = self.maybe_make_aware(self.now()).astimezone(last.tzinfo)
        again = self.remaining_estimate(now).total_seconds()
        return schedstate(is_due=True, next=again if again > 0 else self.seconds)

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __eq__(self, other: object) -> bool:
        return bool(self.run_every == (other.run_every if isinstance(other, schedule) else other))

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_every, self.relative, self.nowfun)

    @property
    def seconds(self) -> float:
        """The interval in seconds, at least 0."""
        length: float = self.run_every.total_seconds()
        return max(length, 0)

    @property
    def human_seconds(self) -> str:
        """The interval for a reader: ``"2.00 hours"``."""
        return humanize_seconds(self.seconds)


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """Make a schedule of a number of seconds or a ``timedelta``; a schedule gets the application, and None stays None.

    Args:
        s: the number, the ``timedelta``, the schedule or None.
        relative: whether the interval's times are rounded: see ``schedule``.
        app: the Celery application.
    """
    if s is None:
        return None
    if isinstance(s, int | float):
        s = timedelta(seconds=s)
    if isinstance(s, timedelta):
        return schedule(s, relative, app=app)
    s.app = app
    return s
