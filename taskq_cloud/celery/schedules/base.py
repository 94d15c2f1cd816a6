"""What all of Celery's schedules have in common: the application, its time zone and the time now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from taskq_cloud.celery.utils.time import maybe_make_aware, timezone

Cronspec: TypeAlias = int | str | Iterable[int]
"""The types that specify a field of a crontab."""

Now: TypeAlias = Callable[[], datetime]


class schedstate(NamedTuple):
    """Whether a task is due, and the seconds after which to ask again."""

    is_due: bool
    next: float


def cronfield(s: Cronspec | None) -> Cronspec:
    """A field of a crontab as it was written; None means every value."""
    return "*" if s is None else s


class BaseSchedule:
    """The times at which a task is due. Users derive their own schedules from this class.

    Args:
        nowfun: returns the time now; None: the application's ``now`` does.
        app: the Celery application; None: the current one.
    """

    def __init__(self, nowfun: Now | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app

    def now(self) -> datetime:
        """The time now."""
        found: datetime = (self.nowfun or self.app.now)()
        return found

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time until a task that last ran at ``last_run_at`` is due. Each kind of schedule defines this."""
        raise NotImplementedError

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds after which to ask again.

        Each kind of schedule defines this.
        """
        raise NotImplementedError

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """Give a naive time the schedule's time zone; ``naive_as_utc`` tells whether the time is in UTC."""
        return maybe_make_aware(dt, self.tz, naive_as_utc=naive_as_utc)

    @property
    def app(self) -> Any:
        """The application."""
        if self._app:
            return self._app
        from taskq_cloud.celery._state import get_current_app  # a schedule of a given application needs no current one

        return get_current_app()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @cached_property
    def tz(self) -> tzinfo:
        """The time zone of the schedule: the application's."""
        zone: tzinfo = self.app.timezone
        return zone

    @cached_property
    def utc_enabled(self) -> bool:
        """Whether the application uses UTC."""
        return bool(self.app.conf.enable_utc)

    def to_local(self, dt: datetime) -> datetime:
        """Convert a time to the machine's zone, unless the application uses UTC."""
        return dt if self.utc_enabled else timezone.to_local_fallback(dt)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BaseSchedule):
            return bool(other.nowfun == self.nowfun)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # schedules can be changed in place
