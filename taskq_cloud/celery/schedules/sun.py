"""``solar``: the times of one event of the sun, such as sunrise, seen from one place.

The native ``solar`` and this class ask the ``ephem`` library the same questions. Only this one answers as Celery does
where Celery's answer depends on its observer, which users can see as ``cal`` and change.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from taskq_cloud.celery.exceptions import ImproperlyConfigured
from taskq_cloud.celery.schedules.base import BaseSchedule, schedstate
from taskq_cloud.celery.utils.time import localize, subtract_datetimes, timezone

_TWILIGHTS: Final = {"astronomical": "-18", "nautical": "-12", "civil": "-6"}
"""Kind of twilight -> the height of the sun's centre at its outer end, in degrees."""
_REFRACTION: Final = "-0:34"
"""The Naval Observatory's horizon for sunrise and sunset: the sun's upper limb is then just visible."""


class solar(BaseSchedule):
    """A schedule of all times of one event of the sun, seen from one place.

    Args:
        event: ``dawn_astronomical``, ``dawn_nautical``, ``dawn_civil``, ``sunrise``, ``solar_noon``, ``sunset``,
            ``dusk_civil``, ``dusk_nautical`` or ``dusk_astronomical``.
        lat: latitude in degrees, -90 to 90, north positive.
        lon: longitude in degrees, -180 to 180, east positive.
        kwargs: ``nowfun`` and ``app``: see ``BaseSchedule``.

    Raises:
        ImproperlyConfigured: the ``ephem`` library is not installed.
        ValueError: the event is unknown, or the place is not on earth.
    """

    _horizons: ClassVar[dict[str, str]] = {
        **{f"dawn_{name}": horizon for name, horizon in _TWILIGHTS.items()},
        "sunrise": _REFRACTION,
        "solar_noon": "0",
        "sunset": _REFRACTION,
        **{f"dusk_{name}": horizon for name, horizon in _TWILIGHTS.items()},
    }
    _all_events: ClassVar[set[str]] = set(_horizons)
    _methods: ClassVar[dict[str, str]] = {
        **{f"dawn_{name}": "next_rising" for name in _TWILIGHTS},
        "sunrise": "next_rising",
        "solar_noon": "next_transit",
        "sunset": "next_setting",
        **{f"dusk_{name}": "next_setting" for name in _TWILIGHTS},
    }
    _use_center_l: ClassVar[dict[str, bool]] = {event: event.startswith(("dawn", "dusk")) for event in _horizons}

    max_search_days = 366
    """How many days are searched for an event that doesn't happen every day."""

    def __init__(self, event: str, lat: float, lon: float, **kwargs: Any) -> None:
        try:
            import ephem  # optional
        except ImportError as error:
            raise ImproperlyConfigured(
                "You need to install the ephem library to use solar schedules: pip install 'taskq-cloud[solar]'"
            ) from error
        super().__init__(**kwargs)
        self.ephem = ephem
        self.event, self.lat, self.lon = event, lat, lon
        if event not in self._all_events:
            known = ", ".join(sorted(self._all_events))
            raise ValueError(f'Argument event "{event}" is invalid, must be one of {known}.')
        for name, value, most in (("latitude", lat, 90), ("longitude", lon, 180)):
            if not -most <= value <= most:
                raise ValueError(f"Argument {name} {value} is invalid, must be between -{most} and {most}.")
        self.cal = ephem.Observer()
        self.cal.lat, self.cal.lon, self.cal.elev = str(lat), str(lon), 0
        self.cal.horizon, self.cal.pressure = self._horizons[event], 0
        self.method = self._methods[event]
        self.use_center = self._use_center_l[event]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.event, self.lat, self.lon)

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def _next_event(self, start: Any) -> Any:
        """The first event after a time, or the time at which the search ended without one."""
        sun = self.ephem.Sun()
        options = {"use_center": True} if self.use_center else {}
        for _ in range(self.max_search_days):
            try:
                return getattr(self.cal, self.method)(sun, start=start, **options)
            except self.ephem.CircumpolarError:  # no event on this day: midnight sun or polar night
                start = self.cal.next_antitransit(sun, start=start)
        return start

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """The time from now until the first event after ``last_run_at``; negative if that time is past."""
        last = localize(self.maybe_make_aware(last_run_at), timezone.utc)
        self.cal.date = last
        event = self.maybe_make_aware(self._next_event(self.ephem.Date(last)).datetime())
        return subtract_datetimes(event, self.maybe_make_aware(self.now()))

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a task that last ran at ``last_run_at`` is due, and the seconds after which to ask again."""
        seconds = self.remaining_estimate(last_run_at).total_seconds()
        if seconds > 0:
            return schedstate(is_due=False, next=seconds)
        again = self.remaining_estimate(self.now()).total_seconds()
        return schedstate(is_due=True, next=max(again, 0))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, solar):
            return NotImplemented
        return (other.event, other.lat, other.lon) == (self.event, self.lat, self.lon)

    __hash__ = None
