"""``Scheduler``: keeps the entries in order of their next call, and sends the tasks that are due."""

from __future__ import annotations

import copy
import heapq
import time
import traceback
from calendar import timegm
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from taskq_cloud.celery.beat.entry import ScheduleEntry, SchedulingError, computed_args, computed_kwargs, event_t
from taskq_cloud.celery.schedules import crontab
from taskq_cloud.celery.utils._lazy import maybe_evaluate
from taskq_cloud.celery.utils.functional import is_numeric_value
from taskq_cloud.celery.utils.log import get_logger
from taskq_cloud.celery.utils.time import humanize_seconds, maybe_make_aware

logger: Final = get_logger("taskq_cloud.celery.beat")

DEFAULT_MAX_INTERVAL: Final = 300
"""The longest sleep of a scheduler, in seconds."""

_PRIORITY: Final = 5
_CLEANUP: Final = "celery.backend_cleanup"
_CLEANUP_EXPIRES_SECONDS: Final = 12 * 3600


@contextmanager
def logged_errors(text: str) -> Iterator[None]:
    """Log an error of a step of cleaning up, so that the error before it is the one that is raised."""
    try:
        yield
    except Exception:
        logger.exception(text)


class Scheduler:
    """Sends periodic tasks when they are due. Projects derive their own schedulers from this class.

    Args:
        app: the Celery application.
        schedule: the entries by name; None: none but those of the setting ``beat_schedule``.
        max_interval: the longest time between two looks at the schedule, in seconds.
        Producer: the class of the producer that sends the messages.
        lazy: whether the schedule is not set up: the scheduler is only asked about itself.
        sync_every_tasks: the number of calls after which the schedule is saved; 0: none.
        kwargs: further arguments of derived classes, such as ``schedule_filename``.
    """

    Entry: Any = ScheduleEntry

    max_interval: Any = DEFAULT_MAX_INTERVAL
    sync_every: float = 3 * 60
    sync_every_tasks: Any = None

    _last_sync: float | None = None
    _tasks_since_sync = 0

    logger = logger

    def __init__(
        self,
        app: Any,
        schedule: Any = None,
        max_interval: float | None = None,
        Producer: Any = None,
        lazy: bool = False,
        sync_every_tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.app = app
        self.data = maybe_evaluate({} if schedule is None else schedule)
        self.max_interval = max_interval or app.conf.beat_max_loop_interval or self.max_interval
        # Calls need no producer, as the native application has connections of its own.
        self.Producer = Producer or getattr(app.amqp, "Producer", None)
        self._heap: Any = None
        self.old_schedulers: Any = None
        self.sync_every_tasks = app.conf.beat_sync_every if sync_every_tasks is None else sync_every_tasks
        if not lazy:
            self.setup_schedule()

    # -- the schedule

    def setup_schedule(self) -> None:
        """Fill the schedule with the application's entries."""
        self.install_default_entries(self.data)
        self.merge_inplace(self.app.conf.beat_schedule)

    def install_default_entries(self, data: Mapping[str, Any]) -> None:
        """Add the daily removal of old results, for result backends whose results don't expire by themselves.

        The stores of ``taskq_cloud`` need no such task: a record ends by the store's own means, such as DynamoDB's time
        to live or a bucket's lifecycle rule. So their backends have ``supports_autoexpire``.
        """
        entries: dict[str, Any] = {}
        if self.app.conf.result_expires and not self.app.backend.supports_autoexpire and _CLEANUP not in data:
            entries[_CLEANUP] = {
                "task": _CLEANUP,
                "schedule": crontab("0", "4", "*"),
                "options": {"expires": _CLEANUP_EXPIRES_SECONDS},
            }
        self.update_from_dict(entries)

    def get_schedule(self) -> Any:
        """The entries by name."""
        return self.data

    def set_schedule(self, schedule: Any) -> None:
        """Replace all entries."""
        self.data = schedule

    schedule = property(get_schedule, set_schedule)

    def add(self, **kwargs: Any) -> Any:
        """Make an entry of the arguments of ``Entry``, and add it to the schedule."""
        entry = self.Entry(app=self.app, **kwargs)
        self.schedule[entry.name] = entry
        return entry

    def _maybe_entry(self, name: str, entry: Any) -> Any:
        if isinstance(entry, self.Entry):
            entry.app = self.app
            return entry
        return self.Entry(**dict(entry, name=name, app=self.app))

    def update_from_dict(self, dict_: Mapping[str, Any]) -> None:
        """Add entries, which can be mappings with the keys of ``beat_schedule``, to the schedule."""
        self.schedule.update({name: self._maybe_entry(name, entry) for name, entry in dict_.items()})

    def merge_inplace(self, b: Mapping[str, Any]) -> None:
        """Make the schedule equal to a mapping of declarations; entries that it had keep the time of their last run."""
        schedule = self.schedule
        for name in [name for name in schedule if name not in b]:
            schedule.pop(name, None)
        for name, declared in b.items():
            entry = self.Entry(**dict(declared, name=name, app=self.app))
            known = schedule.get(name)
            if known:
                known.update(entry)
            else:
                schedule[name] = entry

    def schedules_equal(self, old_schedules: Any, new_schedules: Any) -> bool:
        """Whether two schedules have the same names, and equal entries."""
        if old_schedules is None or new_schedules is None:
            return old_schedules is new_schedules
        if set(old_schedules.keys()) != set(new_schedules.keys()):
            return False
        # The entry in the new schedule may have been removed meanwhile.
        return all((entry := new_schedules.get(name)) and entry == old for name, old in old_schedules.items())

    # -- looking for due tasks

    def adjust(self, n: float | None, drift: float = -0.010) -> float | None:
        """Shorten a wait by the time that the look itself takes."""
        return n + drift if n and n > 0 else n

    def is_due(self, entry: Any) -> Any:
        """Whether an entry is due, and the seconds after which to ask again."""
        return entry.is_due()

    def _ask(self, ask: Callable[[], Any], entry: Any) -> Any:
        """Ask whether an entry is due; an entry that can't tell must not hold up the others."""
        try:
            return ask()
        except Exception:
            text = "beat: Cannot calculate the next run of %r, trying again in %s."
            logger.exception(text, entry.name, humanize_seconds(self.max_interval))
            return False, self.max_interval

    def _when(self, entry: Any, next_time_to_run: float, mktime: Callable[[Any], float] = timegm) -> float:
        """The time of an entry's next look, in seconds since the epoch."""
        now: datetime = maybe_make_aware(entry.default_now())
        return mktime(now.utctimetuple()) + now.microsecond / 1e6 + (self.adjust(next_time_to_run) or 0)

    def populate_heap(self, event_t: Any = event_t, heapify: Callable[[Any], None] = heapq.heapify) -> None:
        """Fill the heap with the entries of the schedule."""
        self._heap = []
        for entry in self.schedule.values():
            is_due, delay = self._ask(entry.is_due, entry)
            self._heap.append(event_t(self._when(entry, 0 if is_due else delay) or 0, _PRIORITY, entry))
        heapify(self._heap)

    def tick(
        self,
        event_t: Any = event_t,
        min: Callable[..., float] = min,
        heappop: Callable[[Any], Any] = heapq.heappop,
        heappush: Callable[[Any, Any], None] = heapq.heappush,
    ) -> float:
        """Send the first task that is due, if there is one, and return the seconds after which to call this again."""
        if self._heap is None or not self.schedules_equal(self.old_schedulers, self.schedule):
            self.old_schedulers = copy.copy(self.schedule)
            self.populate_heap()
        heap = self._heap
        if not heap:
            return self.max_interval  # type: ignore[no-any-return]
        event = heap[0]
        entry = event[2]
        wait = event[0] - self._when(entry, 0)
        if wait > 0:
            return min(wait, self.max_interval)
        is_due, delay = self._ask(lambda: self.is_due(entry), entry)
        first = heappop(heap)
        if first is not event:
            heappush(heap, first)
            return min(first[0] - self._when(first[2], 0), self.max_interval)
        if is_due:
            upcoming = self.reserve(entry)
            self.apply_entry(entry, producer=self.producer)
            heappush(heap, event_t(self._when(upcoming, delay), event[1], upcoming))
            return 0
        # The entry asks for a later look: the others get their turn until then.
        if not is_numeric_value(delay):
            delay = self.max_interval
        heappush(heap, event_t(self._when(entry, delay), event[1], entry))
        return min(self.adjust(delay), self.max_interval) if heap[0][2] is entry else 0

    # -- sending

    def reserve(self, entry: Any) -> Any:
        """Count a call of an entry, and return the entry that replaces it."""
        new_entry = self.schedule[entry.name] = next(entry)
        return new_entry

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send the task of an entry that is due; a failure is logged, so that the other entries go on."""
        logger.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            result = self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:
            reason, stack = str(error), traceback.format_stack()
            logger.exception("Message Error: %s\n%s", reason, stack)
            return
        if result and hasattr(result, "id"):
            logger.debug("%s sent. id->%s", entry.task, result.id)
        else:
            logger.debug("%s sent.", entry.task)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:
        """Send the task of an entry.

        Args:
            entry: the entry.
            producer: the producer that sends the message.
            advance: whether the call is counted, before it is made; so a task that can't be sent isn't due for ever.
            kwargs: not used.

        Raises:
            SchedulingError: the task could not be sent.
        """
        if advance:
            entry = self.reserve(entry)
        try:
            args, call_kwargs, options = computed_args(entry.args), computed_kwargs(entry.kwargs), dict(entry.options)
            options["headers"] = {**(options.get("headers") or {}), "celery_beat_task": True}
            task = self.app.tasks.get(entry.task)
            if task:
                return task.apply_async(args, call_kwargs, producer=producer, **options)
            return self.send_task(entry.task, args, call_kwargs, producer=producer, **options)
        except Exception as error:
            raise SchedulingError(f"Couldn't apply scheduled task {entry.name}: {error}") from error
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def send_task(self, *args: Any, **kwargs: Any) -> Any:
        """Send a task that isn't registered here: see ``Celery.send_task``."""
        return self.app.send_task(*args, **kwargs)

    @cached_property
    def connection(self) -> Any:
        """The connection to the broker."""
        return self.app.connection_for_write()

    @cached_property
    def producer(self) -> Any:
        """The producer that sends the messages; None if the application has no class for it."""
        connection = self._ensure_connected()
        return self.Producer(connection, auto_declare=False) if self.Producer else None

    def _ensure_connected(self) -> Any:
        def report(error: BaseException, interval: float) -> None:
            logger.error("beat: Connection error: %s. Trying again in %s seconds...", error, interval)

        return self.connection.ensure_connection(report, self.app.conf.broker_connection_max_retries)

    # -- saving

    def should_sync(self) -> bool:
        """Whether the schedule is to be saved: after three minutes, or after ``sync_every_tasks`` calls."""
        if not self._last_sync or time.monotonic() - self._last_sync > self.sync_every:
            return True
        return bool(self.sync_every_tasks and self._tasks_since_sync >= self.sync_every_tasks)

    def _do_sync(self) -> None:
        logger.debug("beat: Synchronizing schedule...")
        try:
            self.sync()
        finally:
            self._last_sync = time.monotonic()
            self._tasks_since_sync = 0

    def sync(self) -> None:
        """Save the schedule; this class keeps it in memory only."""

    def close(self) -> None:
        """Save the schedule, and close the connection to the broker if there is one."""
        try:
            self.sync()
        except BaseException:
            with logged_errors("beat: Connection cleanup failed after sync error"):
                self._disconnect()
            raise
        self._disconnect()

    def _disconnect(self) -> None:
        vars(self).pop("producer", None)
        connection = vars(self).pop("connection", None)
        if connection is None:
            return
        try:
            connection.release()
        except (*connection.connection_errors, *connection.channel_errors) as error:
            logger.debug("beat: The connection to the broker was closed already: %r", error)

    @property
    def info(self) -> str:
        """What the program shows of the scheduler when it starts."""
        return ""
