"""One periodic task of a scheduler: what is called, when, and when it was called last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import total_ordering
from typing import Any, Final, NamedTuple

from taskq_cloud.celery.schedules import maybe_schedule

_EDITABLE: Final = ("task", "schedule", "args", "kwargs", "options")
"""The fields that a change of the setting ``beat_schedule`` can change."""


class SchedulingError(Exception):
    """A periodic task could not be sent."""


class event_t(NamedTuple):
    """An entry in a scheduler's heap: the entry that is to be looked at next comes first."""

    time: float
    priority: int
    entry: Any


class BeatLazyFunc:
    """An argument of a periodic task that is computed anew for each call.

    Args:
        func: returns the argument.
        args: the positional arguments of ``func``.
        kwargs: the keyword arguments of ``func``.
    """

    computed_for_each_call = True

    def __init__(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._args, self._kwargs = args, kwargs

    def __call__(self) -> Any:
        """Compute the argument."""
        return self.delay()

    def delay(self) -> Any:
        """Compute the argument."""
        return self._func(*self._args, **self._kwargs)


def computed(value: Any) -> Any:
    """Compute an argument if it is a ``BeatLazyFunc``; any other value is returned unchanged."""
    return value() if isinstance(value, BeatLazyFunc) else value


def computed_args(args: Any) -> list[Any]:
    """The positional arguments of one call."""
    return [computed(value) for value in args or ()]


def computed_kwargs(kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The keyword arguments of one call."""
    return {name: computed(value) for name, value in (kwargs or {}).items()}


@total_ordering
class ScheduleEntry:
    """A periodic task.

    Args:
        name: the name of the periodic task.
        task: the name of the task that is called.
        last_run_at: the time of the last call; None: now, so that the first call comes one interval later.
        total_run_count: how often the task was called.
        schedule: a schedule, a timedelta or a number of seconds.
        args: the positional arguments of each call.
        kwargs: the keyword arguments of each call.
        options: the options of each call: those of ``apply_async``.
        relative: whether the times of an interval are rounded: see ``schedule``.
        app: the Celery application.
    """

    name: Any = None
    schedule: Any = None
    args: Any = None
    kwargs: Any = None
    options: Any = None
    last_run_at: Any = None
    total_run_count: int = 0

    def __init__(
        self,
        name: str | None = None,
        task: str | None = None,
        last_run_at: datetime | None = None,
        total_run_count: int | None = None,
        schedule: Any = None,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        relative: bool = False,
        app: Any = None,
    ) -> None:
        self.app = app
        self.name = name
        self.task: Any = task
        self.args = args
        self.kwargs = kwargs or {}
        self.options = options or {}
        self.schedule = maybe_schedule(schedule, relative, app=app)
        self.last_run_at = last_run_at or self.default_now()
        self.total_run_count = total_run_count or 0

    def default_now(self) -> datetime:
        """The time now, by the clock of the schedule."""
        now: datetime = (self.schedule or self.app).now()
        return now

    _default_now = default_now

    def _next_instance(self, last_run_at: datetime | None = None) -> ScheduleEntry:
        """The entry after one more call, made now or at the given time."""
        changed = {"last_run_at": last_run_at or self.default_now(), "total_run_count": self.total_run_count + 1}
        return type(self)(**{**dict(self), **changed})

    __next__ = next = _next_instance

    def __reduce__(self) -> tuple[Any, ...]:
        fields = ("name", "task", "last_run_at", "total_run_count", "schedule", "args", "kwargs", "options")
        return type(self), tuple(getattr(self, name) for name in fields)

    def update(self, other: ScheduleEntry) -> None:
        """Take over from another entry what is called, and when; the last run and the count of runs stay."""
        vars(self).update({name: getattr(other, name) for name in _EDITABLE})

    def is_due(self) -> tuple[bool, float]:
        """Whether the task is due, and the seconds after which to ask again."""
        state: tuple[bool, float] = self.schedule.is_due(self.last_run_at)
        return state

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __repr__(self) -> str:
        from taskq_cloud.celery.canvas.reprs import reprcall  # a scheduler makes no workflows

        call = reprcall(self.task, self.args or (), self.kwargs or {})
        return f"<{type(self).__name__}: {self.name} {call} {self.schedule}"  # without the end, as in Celery

    def __lt__(self, other: object) -> bool:
        # Any order will do: a heap compares entries only if their times are equal.
        return id(self) < id(other) if isinstance(other, ScheduleEntry) else NotImplemented

    def editable_fields_equal(self, other: Any) -> bool:
        """Whether two entries call one task with one schedule, one set of arguments and one set of options."""
        return all(getattr(self, name) == getattr(other, name) for name in _EDITABLE)

    def __eq__(self, other: object) -> bool:
        return self.editable_fields_equal(other)

    __hash__ = None  # type: ignore[assignment]  # entries are changed in place
