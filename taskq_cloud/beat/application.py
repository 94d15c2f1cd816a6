"""The periodic tasks of an application: ``TaskQ`` is one, and has these methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taskq_cloud.core.lazy import lazy
from taskq_cloud.runtime.registry import Registry

if TYPE_CHECKING:
    from taskq_cloud.beat.declarations import Declaration, Signal
    from taskq_cloud.core.schedules.entry import ScheduleEntry


class PeriodicTasks(Registry):
    """An application that declares periodic tasks."""

    @lazy
    def _periodic(self) -> list[Declaration]:
        return []

    def add_declarations(self, declared: Iterable[Declaration]) -> None:
        """Add the schedules that ``@app.task`` has declared."""
        self._periodic.extend(declared)

    @lazy
    def on_after_configure(self) -> Signal:
        """Celery's signal: a connected function is called once, with ``sender=app``, to declare periodic tasks."""
        from taskq_cloud.beat.declarations import Signal  # most applications have no periodic tasks

        return Signal()

    @property
    def on_after_finalize(self) -> Signal:
        """Celery's other signal, which is the signal ``on_after_configure`` here."""
        return self.on_after_configure

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        name: str | None = None,
        **opts: Any,
    ) -> str:
        """Declare a periodic task, as in Celery, and return its name.

        Args:
            schedule: a schedule of ``taskq_cloud.schedules``, a ``timedelta`` or a number of seconds.
            sig: a task, or the signature of a task.
            args: positional arguments, which come before the signature's own.
            kwargs: keyword arguments, in addition to the signature's own.
            name: the periodic task's name; None: a name that is made from the signature.
            opts: options of each call, and ``enabled``, ``timezone``, ``start``, ``end``, ``jitter``, ``overlap`` and
                ``catch_up``: see docs/periodic-tasks.md.

        Raises:
            ScheduleError: the signature is a workflow of several tasks.
        """
        from taskq_cloud.beat.declarations import from_call  # most applications have no periodic tasks

        declared = from_call(schedule, sig, args, kwargs or {}, name, **opts)
        self._periodic.append(declared)
        return declared.name

    def schedule_entries(self) -> list[ScheduleEntry]:
        """List all periodic tasks, by name: from ``beat_schedule``, ``add_periodic_task`` and ``@app.task``.

        Raises:
            ScheduleError: a declaration is wrong, or two periodic tasks have one name.
        """
        from taskq_cloud.beat.declarations import make_entries  # most processes don't ask

        self.import_modules()
        self.on_after_configure.send_once(self)
        return make_entries(self, self._periodic)
