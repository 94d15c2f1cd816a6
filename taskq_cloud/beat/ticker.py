"""The local ticker: sends the messages of periodic tasks when they are due, without a platform's scheduler.

Several tickers can run. One of them leads: it holds a lock in the result store and renews it, while the others wait for
the lock to lapse. For each entry, the store also keeps the time up to which its ticks were sent, under the lock's
fencing number. So a new leader continues where the last one stopped. A tick that both have sent has one id and runs
once. Nothing here waits: ``turn`` sends what is due and returns when it is to be called again, and ``beat.run`` calls
it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from taskq_cloud.beat.tick_messages import application_name, queue_of, tick_message, transport_of
from taskq_cloud.core import serializers
from taskq_cloud.core.backoff import growing_delay
from taskq_cloud.core.flows import Flow
from taskq_cloud.core.messages.sending import Addressed
from taskq_cloud.core.model.ids import derived_id
from taskq_cloud.core.model.message import Message, Refused
from taskq_cloud.core.ports import ResultStore
from taskq_cloud.core.records import document
from taskq_cloud.core.records.record import STARTED, Record
from taskq_cloud.core.schedules import ticks
from taskq_cloud.core.schedules.entry import ScheduleEntry
from taskq_cloud.errors import ImproperlyConfigured, TaskQError
from taskq_cloud.runtime.protocols import Application

logger: Final = logging.getLogger("taskq_cloud.beat")

LEASE_SECONDS: Final = 30.0
"""The time after which the lock of a leader that has died lapses."""
RENEWALS: Final = 3
"""The number of renewals within that time, so that two of them may fail."""
TICKS_AT_ONCE: Final = 100
"""The most messages that are sent before the store records it."""
COMPARED_EVERY_SECONDS: Final = 600.0
"""How often a ticker that doesn't lead compares its entries with the leader's: rarely, so that it costs little and
doesn't fill the log."""
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 30.0
"""The longest wait before the ticks of an entry that could not be sent are sent again."""


@dataclass(slots=True, kw_only=True)
class Ticker:
    """One ticker of an application.

    Args:
        app: the application.
        entries: the application's periodic tasks.
        owner: a name that no other ticker has.
        clock: returns the time, in seconds since the epoch.
        lease_seconds: see ``LEASE_SECONDS``.

    Raises:
        ImproperlyConfigured: the application has no name, or its result store has no locks.
    """

    app: Application
    entries: Sequence[ScheduleEntry]
    owner: str
    clock: Callable[[], float]
    lease_seconds: float = LEASE_SECONDS
    _application: str = field(init=False)
    _fence: int | None = field(init=False, default=None)
    _renewed_at: float = field(init=False, default=-math.inf)
    _sent_until: dict[str, datetime] = field(init=False, default_factory=dict)
    _upcoming: dict[str, datetime | None] = field(init=False, default_factory=dict)
    _failures: dict[str, int] = field(init=False, default_factory=dict)
    _again_at: dict[str, float] = field(init=False, default_factory=dict)
    _compared_at: float = field(init=False, default=-math.inf)
    _turned_at: float = field(init=False, default=-math.inf)

    def __post_init__(self) -> None:
        if self.app.main is None:
            raise ImproperlyConfigured(
                "the application has no name, so its tickers can't be told from those of other applications: name it, "
                'as in TaskQ("shop")'
            )
        self._application = application_name(self.app)
        if not self.app.store.capabilities.claims:
            raise ImproperlyConfigured(
                "a ticker needs a result store with locks, so that only one of several tickers sends: set "
                "TASKQ_RESULTS, for example to sqlite:///results.db, dynamodb://table or s3://bucket"
            )

    @property
    def leads(self) -> bool:
        """Whether this is the ticker that sends."""
        return self._fence is not None

    def turn(self) -> Flow[float]:
        """Send the ticks that are due, and return the seconds after which to call this method again.

        Ticks that can't be sent stay due.

        Raises:
            TaskQError: the result store can't be used.
        """
        self._notice_clock_set_back()
        yield from self._lead_or_follow()
        if self._fence is None:
            return self.lease_seconds / RENEWALS
        for entry in self._enabled():
            if self.clock() < self._next_look(entry):
                continue
            yield from self._try_to_send(entry)
            if self._fence is None or self.clock() >= self._renewal_at:
                return 0.0  # many entries may be due, but the lock has to be renewed first
        return max(0.0, min([self._renewal_at, *map(self._next_look, self._enabled())]) - self.clock())

    def resign(self) -> Flow[None]:
        """Give up the lock, so that another ticker can lead at once."""
        if self._fence is not None:
            self._fence = None
            yield from self._store.claim(self._lock_key, self.owner, 0)
            logger.info("ticker %s has given up its lock", self.owner, extra={"action": "beat.resigned"})

    # -- leading

    def _lead_or_follow(self) -> Flow[None]:
        """Claim or renew the lock, as soon as it is time for that."""
        now = self.clock()
        if self._fence is not None and now < self._renewal_at:
            return
        if now - self._renewed_at >= self.lease_seconds:
            self._fence = None  # the lock has lapsed: another ticker may lead by now
        fence = yield from self._store.claim(self._lock_key, self.owner, self.lease_seconds)
        if fence is None:
            self._follow()
            yield from self._compare_with_leader()
            return
        self._renewed_at = now
        if fence != self._fence:
            yield from self._take_over(fence)
            self._fence = fence
            text = "ticker %s leads and sends %d periodic tasks"
            logger.info(text, self.owner, len(self._enabled()), extra={"action": "beat.leading"})

    def _follow(self) -> None:
        if self._fence is not None:
            text = "ticker %s no longer leads, as another ticker has taken its lock"
            logger.warning(text, self.owner, extra={"action": "beat.lost"})
        self._fence = None

    def _compare_with_leader(self) -> Flow[None]:
        """Log a warning if the leader lacks entries: of another application, or while a deployment is rolled out."""
        if self.clock() < self._compared_at + COMPARED_EVERY_SECONDS:
            return
        record = (yield from self._store.load([self._leader_id])).get(self._leader_id)
        if record is None:
            return  # the leader has only just begun to lead
        self._compared_at = self.clock()
        leader = document.decode(record.payload)["result"]
        missing = sorted({entry.name for entry in self._enabled()} - set(leader["entries"]))
        if missing:
            logger.warning(
                "ticker %s leads for application %r and doesn't have the periodic tasks %s, so they are not sent. If a "
                "deployment is under way, wait for its end; two applications that share a result store need two names",
                leader["owner"],
                self._application,
                ", ".join(map(repr, missing)),
                extra={"action": "beat.not_sent", "schedules": missing},
            )

    def _take_over(self, fence: int) -> Flow[None]:
        """Read the times up to which ticks were sent. New entries, and entries that were disabled, begin now."""
        now = self._now()
        enabled = {self._record_id(entry): entry for entry in self._enabled()}
        disabled = [self._record_id(entry) for entry in self.entries if not entry.enabled]
        found = yield from self._store.load([*enabled, self._leader_id])
        # A store forgets a lock's fencing number after a time, and begins again with a smaller one. A record with a
        # larger number could not be replaced under it.
        outlived = [each for each in found if found[each].fence > fence]
        yield from self._store.delete([*disabled, *outlived])
        self._sent_until = {
            entry.name: min(now, _sent_until(found[record_id])) if record_id in found else now
            for record_id, entry in enabled.items()
        }
        self._upcoming = {entry.name: entry.timing.following(self._sent_until[entry.name]) for entry in self._enabled()}
        self._failures, self._again_at = {}, {}
        unknown = [entry for record_id, entry in enabled.items() if record_id not in found or record_id in outlived]
        leader = {"owner": self.owner, "entries": [entry.name for entry in self._enabled()]}
        leader_record = self._make_record(self._leader_id, "beat", leader, fence)
        yield from self._store.save([leader_record, *(self._record(entry, fence) for entry in unknown)])

    # -- sending

    def _try_to_send(self, entry: ScheduleEntry) -> Flow[None]:
        """Send an entry's ticks that are due; an entry that can't be sent must not hold up the others."""
        try:
            yield from self._send_due(entry, self._now())
        except TaskQError as error:
            failures = self._failures[entry.name] = self._failures.get(entry.name, 0) + 1
            wait_seconds = growing_delay(failures, FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
            self._again_at[entry.name] = self.clock() + wait_seconds
            extra = {"action": "beat.failed", "task": entry.task, "schedule": entry.name}
            logger.error(  # noqa: TRY400 - the error's text is enough
                "periodic task %s could not be sent and is tried again in %.0f s: %s",
                entry.name,
                wait_seconds,
                error,
                extra=extra,
            )
        else:
            self._failures.pop(entry.name, None)
            self._again_at.pop(entry.name, None)

    def _send_due(self, entry: ScheduleEntry, now: datetime) -> Flow[None]:
        """Send an entry's due ticks; if several are due, the ones that its ``catch_up`` asks for."""
        while due := self._due(entry, now):
            addressed = [self._addressed(entry, fire_time) for fire_time in due]
            answers = yield from self.app.outbox.send(addressed)
            for answer in answers:
                if isinstance(answer, Refused):
                    raise answer.error
            for fire_time in due:
                extra = {"action": "beat.sent", "task": entry.task, "schedule": entry.name}
                logger.info("sent periodic task %s, due at %s", entry.name, fire_time.isoformat(), extra=extra)
            self._sent_until[entry.name] = due[-1]
            self._upcoming[entry.name] = entry.timing.following(due[-1])
            if not (yield from self._save_sent_until(entry)):
                return

    def _due(self, entry: ScheduleEntry, now: datetime) -> list[datetime]:
        """The fire times up to now that are to be sent next."""
        last = self._sent_until[entry.name]
        if entry.catch_up == "all":
            return _first(entry.timing.between(last + timedelta(seconds=1), now + timedelta(seconds=1)), TICKS_AT_ONCE)
        due = self._upcoming[entry.name]
        if due is None or due > now:
            return []
        return [entry.timing.latest(now) or due]

    def _addressed(self, entry: ScheduleEntry, fire_time: datetime) -> Addressed:
        app = self.app
        tick = ticks.tick_of_entry(entry, self._application, jitter_seconds=entry.jitter_seconds)
        message = tick_message(app, entry, tick, fire_time)
        return app.outbox.address(message, queue_of(app, entry), self.clock(), transport_of(app, entry))

    def _save_sent_until(self, entry: ScheduleEntry) -> Flow[bool]:
        """Save the time up to which an entry's ticks were sent, and return whether this ticker still leads."""
        (written,) = yield from self._store.save([self._record(entry, self._fence or 0)])
        if not written:
            stored = (yield from self._store.load([self._record_id(entry)])).get(self._record_id(entry))
            if stored is not None and stored.fence != self._fence:
                self._follow()
                self._renewed_at = -math.inf
                return False
        return True

    # -- records in the store

    @property
    def _store(self) -> ResultStore:
        return self.app.store

    @property
    def _lock_key(self) -> str:
        return derived_id(self._application, "beat")

    @property
    def _leader_id(self) -> str:
        return derived_id(self._application, "beat/leader")

    def _record_id(self, entry: ScheduleEntry) -> str:
        return derived_id(f"{self._application}/{entry.name}", "beat")

    def _record(self, entry: ScheduleEntry, fence: int) -> Record:
        content = {"schedule": entry.name, "sent_until": self._sent_until[entry.name].isoformat()}
        return self._make_record(self._record_id(entry), entry.task, content, fence)

    def _make_record(self, record_id: str, task: str, content: Mapping[str, Any], fence: int) -> Record:
        message = Message(task=task, id=record_id)
        text = document.encode(message, STARTED, serializers.dumps(content), now=self.clock())
        return Record(record_id, STARTED, 0, text, None, fence)

    # -- time

    def _enabled(self) -> list[ScheduleEntry]:
        return [entry for entry in self.entries if entry.enabled]

    def _notice_clock_set_back(self) -> None:
        """Go on from the time that the clock shows now if it was set back. Ticks that are sent again keep their ids."""
        now, last = self.clock(), self._turned_at
        self._turned_at = now
        if now >= last - ticks.CLOCKS_DIFFER_SECONDS:
            return
        text = "the clock was set back by %.0f s; periodic tasks that are due again keep their ids, and run only once"
        logger.warning(text, last - now, extra={"action": "beat.clock_set_back"})
        self._renewed_at, self._compared_at = min(now, self._renewed_at), -math.inf
        self._again_at = {name: min(at, now + LONGEST_RETRY_SECONDS) for name, at in self._again_at.items()}
        for entry in self._enabled() if self._sent_until else ():
            self._sent_until[entry.name] = min(self._now(), self._sent_until[entry.name])
            self._upcoming[entry.name] = entry.timing.following(self._sent_until[entry.name])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(math.floor(self.clock()), UTC)

    @property
    def _renewal_at(self) -> float:
        return self._renewed_at + self.lease_seconds / RENEWALS

    def _next_look(self, entry: ScheduleEntry) -> float:
        upcoming = self._upcoming[entry.name]
        due = math.inf if upcoming is None else upcoming.timestamp()
        return max(due, self._again_at.get(entry.name, 0.0))


def _sent_until(record: Record) -> datetime:
    content = document.decode(record.payload)["result"]
    return datetime.fromisoformat(content["sent_until"])


def _first(fire_times: Iterable[datetime], count: int) -> list[datetime]:
    return list(islice(fire_times, count))
