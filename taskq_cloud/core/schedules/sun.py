"""``solar``: the times at which the sun rises, sets, culminates or stands at a given angle below the horizon.

It needs the ``ephem`` library (the extra ``solar``). Celery uses that library too, so both compute the same times.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any, Final

from taskq_cloud.core.lazy.values import dataclass, field
from taskq_cloud.core.model.option_values import aware
from taskq_cloud.core.schedules.base import EPOCH, Now, ScheduleState, now_of
from taskq_cloud.errors import MissingExtra, ScheduleError

_STANDARD_REFRACTION: Final = "-0:34"
"""The Naval Observatory's horizon for sunrise and sunset, at which the sun's upper limb crosses the horizon."""

_EVENTS: Final = {
    "dawn_astronomical": ("next_rising", "-18"),
    "dawn_nautical": ("next_rising", "-12"),
    "dawn_civil": ("next_rising", "-6"),
    "sunrise": ("next_rising", _STANDARD_REFRACTION),
    "solar_noon": ("next_transit", "0"),
    "sunset": ("next_setting", _STANDARD_REFRACTION),
    "dusk_civil": ("next_setting", "-6"),
    "dusk_nautical": ("next_setting", "-12"),
    "dusk_astronomical": ("next_setting", "-18"),
}
"""Event -> the method of ephem's observer, and the horizon in degrees."""

LONGEST_SEARCH_DAYS: Final = 366
_GRID: Final = timedelta(hours=6)
"""A time that is shorter than the time between two events of one kind."""


@dataclass(frozen=True, slots=True)
class solar:
    """A schedule of all times of one event of the sun, seen from one place.

    Args:
        event: ``dawn_astronomical``, ``dawn_nautical``, ``dawn_civil``, ``sunrise``, ``solar_noon``, ``sunset``,
            ``dusk_civil``, ``dusk_nautical`` or ``dusk_astronomical``.
        lat: latitude in degrees, -90 to 90, north positive.
        lon: longitude in degrees, -180 to 180, east positive.
        nowfun: a function that returns the time now; for tests.

    Raises:
        ScheduleError: the event is unknown, or the place is not on earth.
        MissingExtra: ephem is not installed.
    """

    event: str
    lat: float
    lon: float
    nowfun: Now | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.event not in _EVENTS:
            raise ScheduleError(f"solar: unknown event {self.event!r}; known: {', '.join(sorted(_EVENTS))}")
        for name, value, most in (("latitude", self.lat, 90), ("longitude", self.lon, 180)):
            if not -most <= value <= most:
                raise ScheduleError(f"solar: {name} {value} must be between -{most} and {most}")
        if find_spec("ephem") is None:
            raise MissingExtra("solar schedules", "solar")

    @property
    def timezone(self) -> str:
        """Always UTC, as the sun keeps no local time."""
        return "UTC"

    def in_timezone(self, timezone: str) -> solar:
        """The schedule itself: a time zone makes no difference to the sun."""
        return self

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time from now until a task that last ran at ``last_run_at`` is due; negative if that time is past."""
        return self._next_event(aware(last_run_at)) - now_of(self.nowfun)

    def is_due(self, last_run_at: datetime) -> ScheduleState:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds until it is due next."""
        remaining = self.remaining_estimate(last_run_at)
        if remaining > timedelta(0):
            return ScheduleState(is_due=False, next=remaining.total_seconds())
        now = now_of(self.nowfun)
        again = (self._next_event(now) - now).total_seconds()
        return ScheduleState(is_due=True, next=max(again, 0))

    def following(self, moment: datetime, anchor: datetime = EPOCH) -> datetime:
        """The first event after ``moment``, in UTC, rounded down to whole seconds; ``anchor`` isn't used."""
        moment = moment.astimezone(UTC)
        start = moment - _GRID
        while (due := self._canonical(self._next_event(start))) <= moment:
            start = due + _GRID / 2
        return due

    def _canonical(self, event: datetime) -> datetime:
        """Compute an event again from a fixed time, as ephem's last digits depend on the start of its search."""
        begin = event - (event - EPOCH) % _GRID - _GRID
        return self._next_event(begin).replace(microsecond=0)

    def _next_event(self, start: datetime) -> datetime:
        import ephem  # optional

        method, horizon = _EVENTS[self.event]
        place, sun = ephem.Observer(), ephem.Sun()
        place.lat, place.lon = str(self.lat), str(self.lon)
        place.elevation, place.pressure, place.horizon = 0, 0, horizon
        options: dict[str, Any] = {"use_center": True} if self.event.startswith(("dawn", "dusk")) else {}
        begin = ephem.Date(start.astimezone(UTC))
        for _ in range(LONGEST_SEARCH_DAYS):
            try:
                found = getattr(place, method)(sun, start=begin, **options)
            except ephem.CircumpolarError:  # no event on this day: midnight sun or polar night
                begin = place.next_antitransit(sun, start=begin)
            else:
                moment: datetime = found.datetime()
                return moment.replace(tzinfo=UTC)
        stopped: datetime = begin.datetime()
        return stopped.replace(tzinfo=UTC)
